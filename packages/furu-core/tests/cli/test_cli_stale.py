"""P9: what `furu ls`, `show` and `rm` tell of stale results, and take with them."""

from __future__ import annotations

from typing import Any

import pytest

PROGRAM = """
from exp.train import *
nodes = [Train(), Train(lr=0.5), Train(data=Split(seed=1))]
for node in nodes:
    node.get()
Split().delete()
Split._create = lambda self: 7
Split().get()
print(*(node.furu_hash for node in (*nodes, Split())))
"""


@pytest.fixture
def outdated(project: Any) -> Any:
    """A project of which two results of three used another `Split` than there is now."""
    *project.trains, project.split = project.python(PROGRAM).split()[-4:]
    return project


def test_p9_ls_and_show_tell_which_results_are_stale_and_why(outdated: Any) -> None:
    split = f"Split({outdated.split[:6]})"
    stale = outdated.trains[:2]
    listed = outdated.furu("ls")
    assert len(listed.out.splitlines()) == 5
    assert f"2 results are stale (2 used another {split}): `furu ls --stale`" in listed.err
    lines = outdated.furu("ls", "--stale").out.splitlines()
    assert sorted(lines) == sorted(
        f"{one[:12]}  exp.train:Train  used another result of {split}" for one in stale
    )
    assert outdated.furu("ls", "Split", "--stale").out == ""
    table = outdated.furu("table", "Train")
    assert table.out.splitlines()[-1].startswith("3 done")
    assert f"2 results are stale (2 used another {split}): `furu ls --stale`" in table.err
    assert f"  stale      used another result of {split}\n" in outdated.furu("show", stale[0]).out
    assert outdated.json("show", stale[0])["stale"] == [f"used another result of {split}"]
    assert outdated.json("show", outdated.trains[2])["stale"] == []
    refused = outdated.furu("ls", "--stale", "--count")
    assert (refused.status, "exclude each other" in refused.err) == (2, True)


def test_p10_rm_takes_stale_results_or_all_that_depends_on_some(outdated: Any) -> None:
    stale = outdated.trains[:2]
    removed = outdated.json("rm", "--stale", "--yes")
    assert {one["hash"] for one in removed} == set(stale)
    assert outdated.furu("ls", "--stale").out == ""
    outdated.furu("rm", "--undo")
    assert len(outdated.furu("ls", "--stale").out.splitlines()) == 2
    removed = outdated.json("rm", outdated.split[:12], "--dependents", "--yes")
    assert {one["hash"] for one in removed} == {outdated.split, *stale}
    outdated.furu("rm", "--undo")
    assert len(outdated.furu("ls").out.splitlines()) == 5
    nothing = outdated.furu("rm", "Split", "--stale", "--yes")
    assert (nothing.status, nothing.err) == (0, "there is nothing to remove\n")
    refused = outdated.furu("rm", "--stale", "--empty")
    assert (refused.status, "exclude each other" in refused.err) == (2, True)


def test_stale_results_of_another_store_are_listed_by_the_command_that_is_told(
    outdated: Any,
) -> None:
    mine = {"FURU_PATH": "mine", "FURU_ALSO": str(outdated.store)}
    for command in (("ls", "--also"), ("table", "Train", "--also")):
        told = outdated.furu(*command, **mine).err
        assert ": `furu ls --stale --also`" in told
    listed = outdated.furu("ls", "--stale", "--also", **mine).out
    assert {line.split()[0] for line in listed.splitlines()} == {
        one[:12] for one in outdated.trains[:2]
    }
