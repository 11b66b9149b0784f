"""P9: `furu code` and `furu accept`: which results are by other code than is there now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMPUTE = "from exp.train import *\nprint(one.get(), one.furu_hash, one.data.furu_hash)"


@pytest.fixture
def edited(project: Any) -> Any:
    """A project whose code was edited after it computed a `Train` and the `Split` that it needs."""
    project.value, project.train, project.split = project.python(COMPUTE).split()[-3:]
    file = project.folder / "exp/train.py"
    project.source = file.read_text()
    file.write_text(
        project.source.replace("self.data.get() + self.lr", "self.data.get() - self.lr")
    )
    return project


def test_p9_results_by_the_code_that_is_there_are_said_to_be(project: Any) -> None:
    project.python(COMPUTE)
    file = project.folder / "exp/train.py"
    file.write_text("# A comment.\n" + file.read_text())
    out = project.furu("code").out
    assert out == (
        "exp.train:Split\n  1 result, by the code that is there now\n"
        "exp.train:Train\n  1 result, by the code that is there now\n"
    )
    assert project.furu("ls", "--stale").out == ""


def test_p9_results_by_other_code_are_told_with_what_changed(edited: Any) -> None:
    done = edited.furu("code", "Train")
    assert done.out == (
        "exp.train:Train\n  1 of 1 by other code: exp/train.py Train._create changed\n"
    )
    assert "furu rm exp.train:Train --older-code" in done.err
    out = edited.furu("code", "Split").out
    assert "1 of 1: only what it does not use changed: exp/train.py Train._create" in out
    (told,) = edited.json("code", "Train")
    assert told["by_other_code"] == [{"changed": ["exp/train.py Train._create"], "results": 1}]
    why = "by other code: exp/train.py Train._create changed"
    assert f"  stale      {why}\n" in edited.furu("show", edited.train).out
    assert f"{edited.train[:12]}  exp.train:Train  {why}" in edited.furu("ls", "--stale").out
    removed = edited.json("rm", "Train", "--older-code", "--yes")
    assert [one["hash"] for one in removed] == [edited.train]
    (edited.folder / "exp/train.py").write_text(edited.source)
    edited.furu("rm", "--undo")
    assert edited.furu("ls", "--stale").out == "", "the old code is back"


def test_p9_a_change_that_is_accepted_makes_nothing_stale_until_that_is_taken_back(
    edited: Any,
) -> None:
    before = {path: path.read_bytes() for path in edited.store.rglob(".furu.json")}
    done = edited.furu("accept", "Train", "the sign does not matter")
    assert done.out == (
        "accepted: exp/train.py Train._create\n"
        "1 result of exp.train:Train; `furu accept Train --undo` takes it back\n"
    )
    assert "1 of 1 by code whose change is accepted: the sign does not matter (" in (
        edited.furu("code", "Train").out
    )
    assert edited.furu("ls", "--stale").out == ""
    again = edited.furu("accept", "Train", "twice")
    assert (again.status, "no result of exp.train:Train is by other code" in again.err) == (2, True)
    file = edited.folder / "exp/train.py"
    file.write_text(file.read_text().replace("- self.lr", "- self.lr * 2"))
    assert "Train._create" in edited.furu("ls", "Train", "--stale").out, "a further change"
    assert edited.furu("accept", "Train", "nor does this").status == 0
    assert edited.furu("ls", "Train", "--stale").out == ""
    assert "nor does this" in edited.furu("accept", "Train", "--undo").out
    assert "Train._create" in edited.furu("ls", "Train", "--stale").out
    edited.furu("accept", "Train", "--undo")
    nothing = edited.furu("accept", "Train", "--undo")
    assert (nothing.status, "nothing was accepted" in nothing.err) == (2, True)
    assert before == {path: path.read_bytes() for path in edited.store.rglob(".furu.json")}


def test_p9_the_code_of_a_result_computes_it_again_from_an_empty_folder(
    edited: Any, tmp_path: Path
) -> None:
    diff = edited.furu("code", "--diff", edited.train[:12]).out
    assert "-        return self.data.get() + self.lr\n" in diff
    assert "+        return self.data.get() - self.lr\n" in diff
    place = tmp_path / "elsewhere"
    told = edited.furu("code", "--checkout", edited.train[:12], str(place)).out
    name, _, roots = told.strip().partition("=")
    assert name == "PYTHONPATH"
    env = {**os.environ, name: roots, "FURU_PATH": str(tmp_path / "fresh")}
    again = subprocess.run(
        [sys.executable, "-P", "-c", COMPUTE],
        cwd=place, env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert again.stdout.split()[-3:] == [edited.value, edited.train, edited.split]
    new = edited.python(
        "from exp.train import *\nnode = Train(lr=0.5)\nprint(node.get(), node.furu_hash)"
    ).split()[-1]
    both = edited.furu("code", "--diff", edited.train[:12], new).out
    assert "+        return self.data.get() - self.lr\n" in both
    assert json.loads(edited.furu("code", "--diff", new, "--json").out) == []
    full = edited.furu("code", "--checkout", edited.train[:12], str(place))
    assert (full.status, "is not an empty folder" in full.err) == (2, True)


def test_results_whose_code_is_not_known_are_told_as_not_compared(project: Any) -> None:
    project.python("from exp.train import *\nSplit().put(3)")
    out = project.furu("code").out
    assert out == "exp.train:Split\n  1 of 1 not compared: its code was not recorded\n"
    done = project.furu("code", "--diff", "Split")
    assert (done.status, "was not recorded" in done.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ["code", "--diff"],
        ["code", "--checkout", "one"],
        ["code", "--diff", "--checkout", "a", "b"],
        ["code", "NoSuch"],
        ["accept", "Train"],
        ["accept", "Train", "why", "--undo"],
        ["accept", "NoSuch", "why"],
    ],
)
def test_wrong_words_are_refused(project: Any, words: list[str]) -> None:
    project.python(COMPUTE)
    done = project.furu(*words)
    assert done.status == 2
    assert "Traceback" not in done.err
