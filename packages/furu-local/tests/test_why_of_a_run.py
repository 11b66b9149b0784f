"""`furu why run:ID` tells how things stood when the run began, whatever became of them since."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from furu_core import why
from furu_local import run_local
from furu_testing.nodes import Leaf


@pytest.mark.parametrize("forever", [False, True])
def test_a_root_that_was_there_may_be_gone_since(store: Path, *, forever: bool) -> None:
    there, new = Leaf(x=1), Leaf(x=2)
    there.get()
    run = run_local([there, new], worker="inline", max_workers=1)
    run.results()
    before = why(f"run:{run.id}")
    if forever:
        shutil.rmtree(there.furu_dir)
    else:
        assert there.delete()
    after = why(f"run:{run.id}")
    for found in (before, after):
        assert [(root.hash, root.is_there) for root in found.roots] == [
            (there.furu_hash, True),
            (new.furu_hash, False),
        ]
        assert found.compute == 1
