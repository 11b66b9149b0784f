"""Nodes for jobs on a test cluster. What they did, they write into a file of the test."""

from __future__ import annotations

from pathlib import Path

from furu_core import Furu


class Source(Furu[int]):
    x: int
    note: Path

    def _create(self) -> int:
        record(self.note, f"Source {self.x}")
        return self.x


class Add(Furu[int]):
    terms: tuple[Furu, ...]
    note: Path
    extra: int = 0

    def _create(self) -> int:
        record(self.note, f"Add {self.extra}")
        return sum(term.get() for term in self.terms) + self.extra


def record(note: Path, line: str) -> None:
    """Append a line, whole."""
    with note.open("a") as file:
        file.write(line + "\n")
