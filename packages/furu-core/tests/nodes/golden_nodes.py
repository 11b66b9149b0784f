"""Nodes of all kinds of results: those of the golden stores, which `golden_maker.py` made of them.

A golden store is found by the hashes of these classes. So a class that is here is never changed; a new
kind of result is a new class, or a new kind, and stands in the golden stores that are made from then on.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import logging
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np

from furu_core import Furu, field


@attrs.frozen
class Pair:
    first: int
    second: Any


@dataclasses.dataclass
class Loose:
    first: Any
    others: list[Any]


class Point(NamedTuple):
    x: Any
    y: Any


class Color(enum.Enum):
    RED = 1


class Golden(Furu[Any]):
    """Results that codecs store."""

    kind: str
    n: int = 0
    slack: float = field(default=0.5, omit_default_from_hash=True)

    def _create(self) -> Any:
        if self.kind == "path":
            self.write()
        if self.kind == "prints":
            print("printed", self.n)
            print("an error", file=sys.stderr)
            logging.getLogger("golden").warning("w\xe4rned")
        return self.value()

    def write(self) -> None:
        """The files of a result that is a path."""
        path = self.furu_dir / "folder" / "f\xefle"
        path.parent.mkdir()
        path.write_text(f"content {self.n}")
        (self.furu_dir / "empty").touch()
        (self.furu_dir / "link").symlink_to("folder/f\xefle")

    def value(self) -> Any:
        """The result, made anew."""
        return VALUES[self.kind](self)


class OnGpu(Golden):
    """Has a spec key of its own."""

    def _executor_spec_key(self) -> str:
        return "gpu"


def _frame(n: int) -> Any:
    import pandas as pd  # not needed for the other kinds

    index = pd.Index([3, 1, 2], name="row")
    columns = {"a": [n, 2, 3], "b": [0.5, np.nan, -0.0], "c": [True, False, True]}
    return pd.DataFrame(columns, index=index)


def _structured(n: int) -> Any:
    return np.array([(n, 0.5), (2, -0.0)], dtype=[("a", "<i4"), ("b", ">f8")])


VALUES: dict[str, Any] = {
    "nothing": lambda node: None,
    "number": lambda node: node.n,
    "real": lambda node: [0.1, -0.0, float("inf"), 1e300, float("nan")],
    "huge": lambda node: 2**200 + node.n,
    "flag": lambda node: True,
    "text": lambda node: f"\xe4\n\udc80\u2028\U0001f600 {node.n}",
    "empty": lambda node: "",
    "mapping": lambda node: {"b": [1, {"n": node.n}], "a": None, "": {}},
    "tagged": lambda node: {"pair": (node.n, {3}), 1: frozenset({"x"}), "$ref": "no tag"},
    "dates": lambda node: [dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC), dt.timedelta(1)],
    "numbers": lambda node: [decimal.Decimal("1.10"), 1j, range(1, 9, 2), b"raw", ...],
    "large": lambda node: [node.n] * 9999,
    "large-tagged": lambda node: [(node.n, "x")] * 3000,
    "array": lambda node: np.arange(node.n, node.n + 5.0),
    "flat": lambda node: np.array(node.n),
    "structured": lambda node: _structured(node.n),
    "column-major": lambda node: np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "large-array": lambda node: np.zeros((200, 200), "f4") + node.n,
    "arrays": lambda node: {"a": np.arange(3), "b": (np.zeros(node.n + 1), 1), "c": np.float32(0.5)},
    "bytes": lambda node: b"x" * 3000 + bytes([node.n % 256]),
    "bytearray": lambda node: bytearray(b"\0\xff"),
    "object": lambda node: Pair(node.n, [Pair(1, 2), Point(1, (2,))]),
    "dataclass": lambda node: Loose(node.n, [Loose(1, []), Color.RED]),
    "objects": lambda node: {"config": Golden(kind="number", n=node.n), "array": np.arange(4), "shared": Color},
    "class": lambda node: Pair,
    "path": lambda node: node.furu_dir / "folder" / "f\xefle",
    "outside": lambda node: Path("somewhere/else"),
    "prints": lambda node: node.n,
    "frame": lambda node: _frame(node.n),
    "series": lambda node: _frame(node.n)["b"],
    "frames": lambda node: {"table": _frame(node.n), "rows": 3},
}  # fmt: skip
FRAMES = ("frame", "series", "frames")  # those that need pandas
KINDS = tuple(VALUES)


class Over(Furu[int]):
    """Depends on others."""

    below: Golden
    more: tuple[Furu[Any], ...] = ()

    def _create(self) -> int:
        return (
            self.value()
            + 0 * len(str(self.below.get()))
            + 0 * len([one.get() for one in self.more])
        )

    def value(self) -> int:
        return len(self.more)


class Loading(Furu[dict[str, bytes]]):
    """Loads its files itself."""

    n: int = 0

    def _create(self) -> None:
        folder = self.furu_dir / "model" / "layer"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(range(256)) * (self.n + 1))
        (self.furu_dir / "text").write_text("written\n")
        (self.furu_dir / "latest").symlink_to("model/layer")

    def _load(self) -> dict[str, bytes]:
        return {name: (self.furu_dir / name).read_bytes() for name in ("latest/weights", "text")}

    def value(self) -> dict[str, bytes]:
        return {"latest/weights": bytes(range(256)) * (self.n + 1), "text": b"written\n"}


def _told_to() -> set[str]:
    return set(os.environ.get("GOLDEN", "").split())


class Failing(Furu[int]):
    """Ends badly, in a way that it is told; and well where it is told nothing."""

    how: str
    n: int = 0

    def _create(self) -> Any:
        folder = self.checkpoint_dir
        if self.how == "saves":
            done = folder / "steps" / "done"
            done.parent.mkdir(exist_ok=True)
            done.write_text(done.read_text() + "again" if done.exists() else "half")
            print(done.read_text())
        if self.how in _told_to():
            print("fails now")
            if self.how == "saves":
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "interrupted":
                raise KeyboardInterrupt
            if self.how == "unstorable":
                return (n for n in ())
            raise ValueError("n\xe4ive \udc80 failure")
        return self.value()

    def value(self) -> int:
        return len(self.how)


class Queued(Furu[int]):
    """Is noted as a scheduler's job, and never computed."""

    n: int = 0

    def _create(self) -> int:
        return self.n


class Given(Furu[dict[str, Any]]):
    """Its result was made elsewhere, which is known since format 2."""

    def _create(self) -> dict[str, Any]:
        return self.value()

    def value(self) -> dict[str, Any]:
        return {"given": [1, (2,), np.arange(3.0)]}


def nodes_of(n: int) -> list[Any]:
    """One node of each kind, and some that depend on them."""
    kept: list[Any] = [Golden(kind=kind, n=n) for kind in KINDS]
    others = [Golden(kind="number", n=n, slack=0.25), Loading(n=n)]
    over = [
        *(Over(below=one) for one in kept[:3]),
        Over(below=kept[n % len(kept)], more=tuple(others)),
    ]
    return [*kept, *others, *over]


def run_by_worker() -> list[Any]:
    """Nodes that a worker of an executor computed."""
    return [OnGpu(kind="prints", n=100), OnGpu(kind="array", n=100)]


FAILED = ("raises", "interrupted", "unstorable")


def fill(first: int, many: int) -> None:
    """Compute so many nodes of each kind and class."""
    for n in range(first, first + many):
        for node in (
            *nodes_of(n),
            OnGpu(kind="number", n=n),
            Failing(how="well", n=n),
            Queued(n=n),
        ):
            node.get()


def load_and_compute(old: int, end: str) -> int:
    """Load nodes of a store and compute others until a file exists; how many were computed."""
    rng = random.Random(0)
    others = (node for n in itertools.count(1000) for node in nodes_of(n))
    for computed, node in enumerate(others):
        if os.path.exists(end):
            return computed
        assert same(node.get(), node.value()), node
        one = rng.choice(nodes_of(rng.randrange(old)))
        assert same(one.load_existing(), one.value()), one
    raise AssertionError


def same(first: Any, second: Any) -> bool:
    """Whether two results are equal in values and types; NaN is equal to NaN."""
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray | np.generic):
        return (
            first.dtype == second.dtype
            and first.shape == second.shape
            and first.tobytes() == second.tobytes()
        )
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        types = list(map(type, first))
        if set(types) <= {int, str}:
            return bool(first == second) and types == list(map(type, second))
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float):
        return first.hex() == second.hex()
    if type(first).__module__.partition(".")[0] == "pandas":
        one, other = (value.to_frame() if value.ndim == 1 else value for value in (first, second))
        return bool(one.equals(other)) and one.index.name == other.index.name
    return bool(first == second)
