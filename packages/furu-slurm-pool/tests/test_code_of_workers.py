"""P9: workers that are jobs of their own name the code that they ran, not that of the program that asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

PROGRAM = """
    import pathlib
    from furu_slurm import SlurmSpec
    from furu_slurm_pool import run_slurm_pool
    from model import Leaf

    if __name__ == "__main__":
        pathlib.Path("later.py").write_text("VALUE = 2")
        print(run_slurm_pool(
            [Leaf()], specs={"default": SlurmSpec()}, cluster="local", max_workers_total=1,
            poll_interval_sec=0.2, progress=False,
        ).results())
    """
MODEL = """
    from furu_core import Furu

    class Leaf(Furu[int]):
        def _create(self) -> int:
            from later import VALUE
            return VALUE
    """


def test_p9_a_worker_names_the_modules_that_it_loaded(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    files = {"program.py": PROGRAM, "model.py": MODEL, "later.py": "VALUE = 1"}
    for name, text in files.items():
        (project / name).write_text(dedent(text))
    env = os.environ | {"FURU_PATH": str(tmp_path / "store")}
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=project, env=env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[2]"]
    (record,) = (tmp_path / "store" / "data").rglob(".furu.json")
    story = json.loads(record.read_bytes().splitlines()[1].partition(b"\t")[2])
    listing = json.loads((tmp_path / "store" / "code" / f"{story['code']}.json").read_bytes())
    assert sorted(listing["modules"]) == ["later", "model"]
    source = tmp_path / "store" / "code" / "sources" / f"{listing['modules']['later']['source']}.py"
    assert source.read_text() == "VALUE = 2"
