"""`furu table`: what it shows, of a store with a known history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
from __future__ import annotations
import dataclasses, enum, pathlib
from typing import Any, NamedTuple
from furu_core import Furu

class Split(NamedTuple):
    train: int
    test: int

@dataclasses.dataclass
class Score:
    acc: float
    split: Split
    curve: list[float]

class Data(Furu[int]):
    name: str
    def _create(self) -> int:
        return len(self.name)

class Train(Furu[Score]):
    data: Data
    lr: float
    seed: int = 0
    epochs: int = 3
    def _create(self) -> Score:
        if self.lr > 1:
            raise ValueError("too high")
        return Score(self.lr / 2 + self.seed / 10, Split(8, self.data.get()), [1.0, 0.5])
"""
HISTORY = """
from exp.scores import *
for name in ("digits", "iris"):
    for lr in (0.5, 0.25, 2.0):
        for seed in (0, 1):
            try:
                Train(data=Data(name=name), lr=lr, seed=seed).get()
            except Exception:
                pass
"""


@pytest.fixture(scope="module")
def scores(make_project: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with eight results of `Train`, four failures, and a class whose code is gone."""
    project = make_project(tmp_path_factory.mktemp("scores"))
    path = project.write("exp/scores.py", PROGRAM)
    project.python(HISTORY)
    path.unlink()
    return project


def test_a_table_has_the_fields_that_vary_and_the_parts_of_results(scores: Any) -> None:
    lines = scores.furu("table", "Train", "--sort", "-result.acc", "--top", "3").out.splitlines()
    assert [line.split()[:6] for line in lines[:4]] == [
        ["data.name", "lr", "seed", "result.acc", "result.split.train", "result.split.test"],
        ["digits", "0.5", "1", "0.35", "8", "6"],
        ["iris", "0.5", "1", "0.35", "8", "4"],
        ["digits", "0.5", "0", "0.25", "8", "6"],
    ]
    assert lines[0].split()[6:] == ["took", "peak", "node"]
    assert lines[4:] == [
        "3 of 8 rows, 8 done, 4 failed (--state failed), 1 constant column hidden (--all)"
    ]
