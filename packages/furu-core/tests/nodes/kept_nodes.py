"""Nodes of all kinds of results, for stores of format 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np

from furu_core import Furu, field
from furu_core._upkeep import _upgrade


@attrs.frozen
class Pair:
    first: int
    second: Any


class Kept(Furu[Any]):
    kind: str
    n: int = 0
    slack: float = field(default=0.5, omit_default_from_hash=True)

    def _create(self) -> Any:
        return {
            "number": lambda: self.n,
            "text": lambda: "ä\n",
            "tagged": lambda: {"pair": (self.n, {3})},
            "large": lambda: list(range(self.n, self.n + 9999)),
            "array": lambda: np.arange(self.n, self.n + 5.0),
            "arrays": lambda: {"a": np.arange(3), "b": (np.zeros(self.n + 1), 1)},
            "bytes": lambda: b"x" * 3000,
            "object": lambda: Pair(self.n, [Pair(1, 2)]),
            "class": lambda: Pair,
            "path": self._path,
            "prints": lambda: print("printed") or self.n,  # type: ignore[func-returns-value]
        }[self.kind]()

    def _path(self) -> Path:
        path = self.furu_dir / "folder" / "file"
        path.parent.mkdir()
        path.write_text("content")
        (self.furu_dir / "link").symlink_to("folder/file")
        return path


class Above(Furu[int]):
    below: Kept

    def _create(self) -> int:
        return len(str(self.below.get()))


class Loads(Furu[str]):
    def _create(self) -> None:
        (self.furu_dir / "text").write_text("written")

    def _load(self) -> str:
        return (self.furu_dir / "text").read_text()


unpickled: list[str] = []


class Trap:
    """Tells when it is unpickled."""

    def __reduce__(self) -> Any:
        return _spring, ()

    def __eq__(self, other: object) -> bool:
        return type(other) is Trap

    def __hash__(self) -> int:
        return 1


def _spring() -> Trap:
    unpickled.append("a trap")
    return Trap()


class Trapped(Furu[Trap]):
    def _create(self) -> Trap:
        return Trap()


KINDS = (
    "number", "text", "tagged", "large", "array", "arrays", "bytes", "object", "class", "path", "prints",
)  # fmt: skip


def roots(many: int) -> list[Furu[Any]]:
    """Nodes of all kinds."""
    kept = [Kept(kind=kind, n=n) for n in range(many) for kind in KINDS]
    return [*kept, *(Above(below=node) for node in kept[:3]), Loads()]


def upgrade() -> dict[str, Any]:
    """Upgrade the store."""
    return attrs.asdict(_upgrade.upgrade())


def churn(end: str, first: int, rounds: int) -> None:
    """Remove and compute ten nodes again and again, and make a file at the end."""
    try:
        for _ in range(rounds):
            for n in range(first, first + 10):
                assert Kept(kind="path", n=n).delete()
                Kept(kind="path", n=n).get()
    finally:
        Path(end).touch()
