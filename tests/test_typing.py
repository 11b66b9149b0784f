"""A small user module, checked by mypy: what `get()` gives has the type that the class states.

Each line of the module says in a comment what mypy is to reveal there, or which mistake it is to
report; anything else that mypy says, in any line, fails the test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """\
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

import furu_core
from furu_core import Furu, field, grid
from furu_core.executors import Run
from furu_core.workers import NodeResult, run_node
from furu_local import run_local

T = TypeVar("T")


class Split(Furu[tuple[list[int], list[int]]]):
    test_size: float = 0.2
    seed: int = 0

    def _create(self) -> tuple[list[int], list[int]]:
        return [self.seed], []


class Train(Furu[float]):
    data: Split
    lr: float = 1e-3
    tags: list[str] = field(factory=list)

    def _create(self) -> float:
        train, test = self.data.get()
        reveal_type(train)  # list[int]
        return self.lr * len(train)


class Tuned(Train):  # a subclass of a subclass keeps the type of the result and adds a field
    rounds: int

    @property
    def _executor_spec_key(self) -> str:
        return "gpu" if self.rounds > 10 else "default"

    def _dependencies(self) -> Iterable[Furu[Any]]:
        return [self.data]


class Moved(Furu[int], formerly="old:Moved", removed={"momentum": 0.9}):
    lr: float = field(default=0.1, formerly="learning_rate")
    rounds: int = field(formerly="n")


class OnGpu(Train):
    _executor_spec_key = "gpu"


class OnCpu(OnGpu):
    _executor_spec_key = "cpu"


class Figure(Furu[Path]):
    of: Train | None = None

    def _create(self) -> Path:
        return self.furu_dir / "figure.png"

    def _validate(self) -> bool:
        return self.get().exists()


class Cached(Furu[T], Generic[T]):
    inner: Furu[T]

    def _create(self) -> T:
        return self.inner.get()


class Pairs(Cached[tuple[list[int], list[int]]]):
    pass


class Wrong(Furu[int]):
    def _create(self) -> str:  # error: Return type "str" of "_create" incompatible with return type
        return "no int"


class WrongLoad(Furu[int]):
    def _create(self) -> int:
        return 1

    def _load(self) -> bytes:  # error: Return type "bytes" of "_load" incompatible with return type
        return b""


class WrongInside(Furu[int]):
    def _create(self) -> int:
        return Split().get()  # error: Incompatible return value type


train = Train(data=Split(seed=1))
reveal_type(train.get())  # float
reveal_type(train.get(force=True))  # float
reveal_type(train.data)  # module.Split
reveal_type(train.data.get()[0])  # list[int]
reveal_type(train.tags)  # list[str]
reveal_type(Moved(rounds=3).lr)  # float
reveal_type(train.exists())  # bool
reveal_type(train.status())  # furu_core._status._states.NodeState
reveal_type(train.furu_dir)  # pathlib.Path
reveal_type(train.furu_hash)  # str
reveal_type(Tuned(data=Split(), rounds=3).get())  # float
reveal_type(Tuned(data=Split(), rounds=3).rounds)  # int
reveal_type(OnGpu(data=Split()).get())  # float
reveal_type(Figure(of=train).get().name)  # str
reveal_type(Cached(inner=train).get())  # float
reveal_type(Cached(inner=Figure()).get())  # pathlib.Path
reveal_type(Pairs(inner=Split()).get())  # tuple[list[int], list[int]]
reveal_type(grid(Train, data=Split(), lr=[0.1, 0.2]))  # list[module.Train]
reveal_type([node.get() for node in grid(Train, data=Split())])  # list[float]
reveal_type(train.to_dict())  # dict[str, Any]
reveal_type(Train.from_dict(train.to_dict()))  # module.Train
reveal_type(Train.from_dict(train.to_dict()).get())  # float
reveal_type(furu_core.run([train], executor="local"))  # furu_core._executors._run.Run
reveal_type(run_node(train).seconds)  # float
reveal_type(train == Train(data=Split()))  # bool
reveal_type({train: 1})  # dict[module.Train, int]

run: Run = run_local([train, Split()], max_workers=2)
run_local({"one": train, "two": Figure()})
result: NodeResult = run_node(train)
anything: Furu[object] = train

Train()  # error: Missing named argument "data" for "Train"
Train(data=Split().get())  # error: Argument "data" to "Train" has incompatible type
Train(data=Split(), lr="fast")  # error: Argument "lr" to "Train" has incompatible type "str"
Train(data=Split(), tags=[1])  # error: List item 0 has incompatible type "int"
Moved(n=3)  # error: Unexpected keyword argument "n"
Train(Split())  # error: Too many positional arguments
Train(data=Split(), speed=1)  # error: Unexpected keyword argument "speed"
Tuned(data=Split())  # error: Missing named argument "rounds" for "Tuned"
Cached(inner=3)  # error: Argument "inner" to "Cached" has incompatible type "int"
Pairs(inner=Figure())  # error: Argument "inner" to "Pairs" has incompatible type "Figure"
train.lr = 0.2  # error: Property "lr" defined in "Train" is read-only
train.data.seed = 2  # error: Property "seed" defined in "Split" is read-only
train.speed  # error: "Train" has no attribute "speed"
text: str = train.get()  # error: Incompatible types in assignment
"""


def expected(module: str) -> dict[int, str]:
    """What the comments say: line numbers and the beginning of what mypy is to say there."""
    said = {}
    for number, line in enumerate(module.splitlines(), start=1):
        code, _, comment = line.partition("  # ")
        if comment.startswith("error: "):
            said[number] = comment
        elif "reveal_type(" in code:
            said[number] = f'note: Revealed type is "{comment}"'
    return said


# `make types` checks all packages as Python 3.11 reads them.
VERSIONS = ("3.11", "3.13") if os.environ.get("TEST_THOROUGH") else ("3.13",)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_users_module_is_checked_as_it_reads(tmp_path: Path, version: str) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", version]
    options = ["--show-error-codes", "--no-error-summary", "--hide-error-context", "--no-pretty"]
    cache = tmp_path / "cache"
    done = subprocess.run(
        [*command, *options, "--cache-dir", str(cache), "module.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert not done.stderr, done.stderr
    said: dict[int, str] = {}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"module\.py:(\d+): (.*)", line)
        assert match is not None, line
        # What mypy calls builtins.int in one release is int in another.
        text = match[2].replace("builtins.", "")
        number = int(match[1])
        if not text.startswith("note: ") or "Revealed" in text:
            assert number not in said, f"two findings in line {number}: {text}"
            said[number] = text
    wanted = expected(MODULE)
    for number in sorted(wanted.keys() | said.keys()):
        line = MODULE.splitlines()[number - 1]
        assert wanted.get(number, "nothing") in said.get(number, ""), (line, said.get(number))


def test_the_packages_say_that_they_are_typed() -> None:
    import furu_core
    import furu_local
    import furu_plan

    for package in (furu_core, furu_plan, furu_local):
        assert package.__file__ is not None
        assert (Path(package.__file__).parent / "py.typed").is_file()
