"""A type checker understands config classes by the class statement alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

USER = """\
from __future__ import annotations
from typing import ClassVar, Generic, TypeVar
from furu_core import Furu, field, grid

T = TypeVar("T")

class Data(Furu[list[int]]):
    seed: int = 0
    KIND: ClassVar[str] = "data"
    def _create(self) -> list[int]:
        return [self.seed]

class Train(Furu[float]):
    data: Data
    lr: float = 0.1
    layers: list[int] = field(factory=list)
    workers: int = field(default=2, exclude_from_hash=True)
    name: str = field()
    sizes: tuple[int, ...] = field(default=(), converter=tuple)
    def _create(self) -> float:
        reveal_type(self.data.get())  # list[int]
        return self.lr

class Box(Furu[T], Generic[T]):
    value: T
    def _create(self) -> T:
        return self.value

train = Train(data=Data(seed=1), name="x", lr=1)
reveal_type(train.lr)  # float
reveal_type(train.get())  # float
reveal_type(train.layers)  # list[int]
reveal_type(train.workers)  # int
reveal_type(Box(value=3).get())  # int
reveal_type(grid(Train, lr=[1, 2]))  # list[user.Train]
reveal_type(Train.from_dict(train.to_dict()))  # user.Train
Train(data=Data())  # error: Missing named argument "name"
Train(data=3, name="x")  # error: Argument "data" to "Train" has incompatible type "int"
Train(Data(), name="x")  # error: Too many positional arguments
Train(data=Data(), name="x", more=1)  # error: Unexpected keyword argument "more"
train.lr = 0.2  # error: Property "lr" defined in "Train" is read-only
field(default=1, factory=int)  # error: No overload variant of "field"
"""


@pytest.mark.slow
def test_mypy_knows_fields_results_and_mistakes(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "user.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    said = {
        int(match[1]): match[2]
        for match in re.finditer(r"^user\.py:(\d+): (.*)$", done.stdout, re.MULTILINE)
        if "ossible overload" not in match[2] and " def " not in match[2]
    }
    wanted = {
        number: comment if comment.startswith("error") else f'note: Revealed type is "{comment}"'
        for number, line in enumerate(USER.splitlines(), start=1)
        if (comment := line.partition("  # ")[2])
    }
    assert said.keys() == wanted.keys(), done.stdout + done.stderr
    for number, text in wanted.items():
        assert said[number].startswith(text), done.stdout
