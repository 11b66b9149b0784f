"""`furu why` and `furu diff` on a store with a known history."""

from __future__ import annotations

import json
from typing import Any

import pytest

STUDY = """
from __future__ import annotations
import os
from furu_core import Furu

class Split(Furu[int]):
    seed: int = 0
    def _create(self) -> int:
        return self.seed

class Train(Furu[dict]):
    data: Split
    lr: float = 0.1
    def _create(self) -> dict:
        data = self.data.get()
        if self.lr == 6:
            raise ValueError("lr is too high")
        if self.lr == 7:
            raise MemoryError("too little")
        if self.lr == 8:
            os.kill(os.getpid(), 9)
        return {"acc": data + self.lr, "epochs": 3}

class Report(Furu[float]):
    models: list[Train]
    def _create(self) -> float:
        return max(model.get()["acc"] for model in self.models)

def report(seed: int = 0, lr: float = 0.1):
    data = Split(seed=seed)
    return Report(models=[Train(data=data, lr=lr), Train(data=data, lr=0.2), Train(data=data, lr=0.3)])

def bad(lr: float):
    return Train(data=Split(), lr=lr)

sweep = [report(seed=seed) for seed in range(3)]
"""

HISTORY = """
import os
from exp.study import *
report().get()
for lr in (6, 7):
    try:
        bad(lr).get()
    except Exception:
        pass
if os.fork() == 0:
    bad(8).get()
os.wait()
bad(0.4).get()
bad(0.4).delete()
print(*(node.furu_hash for node in (report(), *report().models, bad(6), bad(7), bad(8), bad(0.4))))
"""


@pytest.fixture
def study(project: Any) -> Any:
    """A project with failures of three kinds, a removed result, and a report."""
    project.write("exp/study.py", STUDY)
    printed = project.python(HISTORY).split()[-8:]
    names = ("report", "first", "second", "third", "value", "memory", "killed", "removed")
    project.hashes = dict(zip(names, printed, strict=True))
    return project


def short(study: Any, name: str, cls: str = "Train") -> str:
    return f"{cls}({study.hashes[name][:6]})"


def lines(text: str) -> list[str]:
    """Lines without columns' padding."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_field_that_makes_all_new_is_one_line_and_the_status_is_3(study: Any) -> None:
    said = study.furu("why", "exp/study.py:report", "--set", "seed=1", "-j", "2")
    head, cause, end = lines(said.out)
    assert said.status == 3
    assert head.endswith(
        f"is not there: never computed closest: {short(study, 'report', 'Report')}, just now"
    )
    assert cause == "models[0].data.seed 0 -> 1 2 levels down; makes 5 of 5 nodes new"
    assert end.startswith("5 nodes to compute, 0 to load; by history about ")
    assert end.endswith(" with 2 workers")


def test_what_is_there_has_status_0(study: Any) -> None:
    said = study.furu("why", "exp.study:report")
    assert (said.status, len(said.out.splitlines())) == (0, 1)
    assert said.out.startswith(f"{short(study, 'report', 'Report')} is there: computed 20")
    by_hash = study.furu("why", study.hashes["report"][:8])
    assert (by_hash.status, by_hash.out) == (0, said.out)


@pytest.mark.parametrize(
    ("name", "lr", "state", "error"),
    [
        ("value", "6", "failed", "just now: ValueError: lr is too high"),
        ("memory", "7", "failed", "just now: MemoryError: too little"),
        ("killed", "8", "lost", "by process "),
    ],
)
def test_a_failure_is_told_with_its_error_its_parameters_and_its_log(
    study: Any, name: str, lr: str, state: str, error: str
) -> None:
    said = study.furu("why", "exp.study:report", "--set", f"lr={lr}")
    head, cause, parameters, command, end = lines(said.out)
    assert "is not there: never computed" in head
    assert cause.startswith(f"{short(study, name)} {state} {error}")
    assert cause.endswith("2 nodes with those that need it")
    assert parameters.startswith("Train(data=Split(")
    assert parameters.endswith(f"lr={lr}.0)")
    assert command == f"furu log {study.hashes[name][:12]}"
    assert end.startswith("2 nodes to compute, 3 to load; by history about ")
    assert study.furu(*command.split()[1:]).status == 0, "the next step works"
    (study.folder / "exp/study.py").write_text("raise SystemError('nobody imports this')")
    alone = study.furu("why", study.hashes[name])
    assert alone.status == 3
    assert f"lr 0.3 -> {lr}.0 as against {short(study, 'third')}" in lines(alone.out)


def test_a_removed_result_comes_back_by_the_command_that_is_told(study: Any) -> None:
    removed = study.hashes["removed"]
    for asked in (("exp.study:bad", "--set", "lr=0.4"), (removed,)):
        said = study.furu("why", *asked)
        assert said.status == 3
        assert lines(said.out)[:2] == [
            f"{short(study, 'removed')} is not there: removed",
            f"{short(study, 'removed')} removed just now",
        ]
    command = lines(said.out)[2]
    assert command == f"furu rm --undo {removed[:12]}"
    study.furu(*command.split()[1:])
    assert study.furu("why", removed).status == 0


def test_a_class_that_was_moved_is_recognized_with_the_line_that_keeps_its_results(
    study: Any,
) -> None:
    (study.folder / "exp/study.py").rename(study.folder / "exp/moved.py")
    (document,) = [study.json("why", "exp.moved:report")]
    told = {(cause["kind"], cause["class_name"], cause["nodes"]) for cause in document["causes"]}
    assert told == {
        ("renamed", "exp.moved:Report", 1),
        ("renamed", "exp.moved:Train", 4),
        ("renamed", "exp.moved:Split", 5),
    }
    assert {cause["next"] for cause in document["causes"]} == {
        f"furu adopt exp.study:{name} exp.moved:{name}" for name in ("Report", "Train", "Split")
    }


@pytest.mark.parametrize(
    ("edit", "options", "told"),
    [
        (("    lr: float = 0.1", "    rate: float = 0.1"), "--map lr=rate", {"lr", "rate"}),
        (("    lr: float = 0.1", "    lr: float = 0.1\n    drop: str = 'a b'"), "--set 'drop=a b'", {"drop"}),
        (("    lr: float = 0.1", "    formerly: int = 1\n    drop: bool = True"), "--drop lr=0.1 --set formerly=1 --set drop=True", {"lr", "formerly", "drop"}),
    ],
)  # fmt: skip
def test_a_class_with_other_fields_is_told_with_the_command_that_keeps_its_results(
    study: Any, edit: tuple[str, str], options: str, told: set[str]
) -> None:
    file = study.folder / "exp/study.py"
    classes = file.read_text().partition("def report")[0].replace(*edit)
    file.write_text(classes + "\none = Report(models=[Train(data=Split())])\n")
    causes = study.json("why", "exp.study:one")["causes"]
    mine = [cause for cause in causes if cause["class_name"] == "exp.study:Train"]
    assert {cause["path"].rpartition(".")[2] for cause in mine} >= told
    command = f"furu adopt exp.study:Train exp.study:Train {options}"
    assert {cause["next"] for cause in mine if cause["path"].endswith(tuple(told))} == {command}
    shown = study.shell(command)
    assert (shown.status, "nothing was changed" in shown.out + shown.err) == (0, True)


def test_p9_results_by_older_code_and_of_replaced_results_are_loaded_and_told(study: Any) -> None:
    file = study.folder / "exp/study.py"
    file.write_text(file.read_text().replace('"epochs": 3', '"epochs": 4'))
    said = study.furu("why", study.hashes["first"])
    assert said.status == 0
    why = f"{short(study, 'first')} by other code: exp/study.py Train._create changed"
    assert any(line.startswith(why) for line in lines(said.out)[2:])
    assert lines(said.out)[1].endswith("; loaded all the same")
    document = study.json("why", "exp.study:report", "--set", "seed=1")
    assert document["stale"] == {"stale": {}, "resting": {}}
    assert study.json("why", "exp.study:report")["stale"]["stale"]


def test_several_roots_and_reruns(study: Any) -> None:
    said = study.furu("why", "exp.study:sweep", "-j", "1")
    assert lines(said.out)[:2] == [
        "exp.study:sweep: 3 roots, 1 of them there",
        "models[0].data.seed 0 -> 1, 2 2 levels down; makes 10 of 11 nodes new",
    ]
    document = study.json("why", "exp.study:report", "--rerun", "Train")
    (cause,) = document["causes"]
    assert (cause["kind"], cause["own"], cause["nodes"]) == ("to be rerun", 3, 4)
    refused = study.furu("why", study.hashes["first"], "--rerun", "Train")
    assert (refused.status, "not for a HASH" in refused.err) == (2, True)
    assert study.furu("why", "ffffffff").status == 2


def test_why_tells_as_json_how_much_there_is_to_compute(study: Any) -> None:
    document = study.json("why", "exp.study:sweep")
    assert (document["complete"], document["target"]) == (False, "exp.study:sweep")
    assert document["nodes"] == {"compute": 10, "load": 1, "wait": 0}


def test_diff_tells_as_json_what_differs(study: Any) -> None:
    document = study.json("diff", study.hashes["first"], study.hashes["second"])
    assert [(one["path"], one["before"], one["after"]) for one in document["config"]] == [
        ("lr", "0.1", "0.2")
    ]
    assert [one["path"] for one in document["results"]] == ["result.acc"]
    assert document["code_is_known"] is True


def test_diff_tells_fields_code_and_results(study: Any) -> None:
    file = study.folder / "exp/study.py"
    file.write_text(file.read_text().replace('"epochs": 3', '"epochs": 4'))
    study.python("from exp.study import *\nbad(0.5).get()")
    other = study.python("from exp.study import *\nprint(bad(0.5).furu_hash)").split()[-1]
    said = study.furu("diff", study.hashes["first"], other)
    told = lines(said.out)
    assert told[0] == f"{short(study, 'first')} -> Train({other[:6]})"
    assert told[1] == "config lr 0.1 -> 0.5"
    assert "code exp/study.py Train._create changed" in told
    assert told[-3:] == ["result differs", "result.acc 0.1 -> 0.5", "result.epochs 3 -> 4"]
    assert f"furu diff --code {study.hashes['first']} {other}" in said.err
    code = study.furu("diff", "--code", study.hashes["first"], other).out
    assert '+        return {"acc": data + self.lr, "epochs": 4}' in code
    assert "config" not in code
    cost = lines(study.furu("diff", "--cost", study.hashes["first"], other).out)
    assert [line.split()[0] for line in cost[1:]] == ["cost", "cpu", "peak"]
    by_target = study.furu("diff", study.hashes["first"], "exp.study:one_more")
    assert by_target.status == 2
    assert "means 3 nodes" in study.furu("diff", "exp.study:sweep", other).err
    assert json.loads(study.furu("diff", "exp.study:report", other, "--json").out)
