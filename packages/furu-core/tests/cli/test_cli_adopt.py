"""`furu adopt`: what it prints, and what it says of a command line that it cannot do."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

MODELS = """
    from furu_core import Furu, field
    class Fit(Furu[float]):
        rate: float = 0.1
        dropout: float = 0.0
        layers: tuple[int, ...] = (1, 2)
        def _create(self):
            raise AssertionError
    number = 3
"""
RENAMED = (
    "--map",
    "lr=rate",
    "--drop",
    "note=None",
    "--drop",
    "kind=SMALL",
    "--set",
    "dropout=0.5",
)
DATA = ("--drop", "data=Split(seed=0)")


@pytest.fixture
def project(project: Any) -> Any:
    project.write("exp/models.py", MODELS)
    project.python("from exp import train; train.Train().get(); train.Train(lr=0.5).get()")
    return project


def test_it_shows_what_it_would_do_then_does_it_and_takes_it_back(project: Any) -> None:
    how = ("adopt", "exp.train:Train", "exp.models:Fit", *RENAMED, *DATA)
    said = project.furu(*how)
    assert said.status == 0, said
    assert "2 results to be found under a second name" in said.out
    assert "field dropout = 0.5, which is new" in said.out
    assert sorted(shlex.split(said.out.rpartition("`furu ")[2].partition("`")[0])) == sorted(
        (*how, "--do")
    )
    assert not (project.store / "adoptions").exists()
    plan = json.loads(project.furu(*how, "--json").out)
    assert [one["class_name"] for one in plan["aliases"]] == ["exp.models:Fit"] * 2
    done = json.loads(project.furu(*how, "--do", "--json").out)
    assert (len(done["done"]), done["failed"]) == (2, {})
    assert project.python("from exp.models import Fit; print(sorted(f.rate for f in Fit.stored()))")
    shown = project.furu("show", done["done"][0]["hash"])
    assert "adopted    from exp.train:Train(" in shown.out
    undone = project.furu("adopt", "Train", "Fit", "--undo")
    assert undone.out == "moved 2 second names of results to the trash\n"
    again = project.furu("adopt", "Train", "Fit", "--undo")
    assert again.status == 2
    assert "Fit has adopted nothing of Train" in again.err


WRONG = {
    "no such class in the store": (
        ("exp.train:Trian", "exp.models:Fit"), "the store has no result of exp.train:Trian",
    ),
    "no such name": (("Trian", "exp.models:Fit"), "did you mean"),
    "no such module": (("Train", "exp.model:Fit"), "there is no module 'exp.model'"),
    "no such new class": (("Train", "exp.models:Fti"), "Fti"),
    "no class": (("Train", "exp.models:number"), "exp.models:number is no config class"),
    "no colon": (("Train", "Fit"), "'Fit' is no MODULE:CLASS"),
    "no pair": (("Train", "exp.models:Fit", "--map", "lr"), "--map 'lr' is no FIELD=VALUE"),
    "twice": (
        ("Train", "exp.models:Fit", "--map", "lr=rate", "--map", "lr=dropout"), "the same field again",
    ),
    "no such field": (
        ("Train", "exp.models:Fit", "--map", "lr=rates"), "has no field 'rates'; did you mean 'rate'?",
    ),
    "no such new field": (("Train", "exp.models:Fit", "--set", "x=1"), "has no field 'x'"),
    "no such value": (("Train", "exp.models:Fit", "--set", "rate=fast"), "--set rate=fast: "),
    "undo with options": (("Train", "Fit", "--undo", "--do"), "--undo takes OLD and NEW alone"),
    "nothing there": (("exp.models:Fit", "exp.models:Fit"), "no result of exp.models:Fit"),
    "nothing changed": (("Split", "exp.train:Split"), "of the class as it is today"),
}  # fmt: skip


def test_a_command_line_that_makes_no_sense_is_an_error_that_says_what_to_do(project: Any) -> None:
    for case, (arguments, message) in WRONG.items():
        said = project.furu("adopt", *arguments)
        assert said.status == 2, (case, said)
        assert message in " ".join(said.err.replace("`", "").split()), (case, said.err)
        assert "Traceback" not in said.err


def test_what_is_left_out_is_told_once_for_each_reason(project: Any) -> None:
    said = project.furu("adopt", "Train", "exp.models:Fit", "--map", "lr=rate")
    assert said.status == 0
    assert "2 results left out:" in said.out
    assert "and 1 more: exp.models:Fit has no field 'data': --map data=NEW says" in said.out
