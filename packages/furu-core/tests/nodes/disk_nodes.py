"""Nodes for tests of full, read-only and otherwise unusable disks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from furu_core import Furu

hooks: dict[str, Callable[[], object]] = {}  # what a node does, by its field `hook`

PAGE = 4096


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Write a file until the disk is full, then leave so many pages free."""
    path = folder / "filler"
    size = 0
    with path.open("wb", buffering=0) as file:
        for step in (64 * PAGE, PAGE):
            try:
                while True:
                    size += file.write(bytes(step))
            except OSError:
                size = os.fstat(file.fileno()).st_size
    os.truncate(path, max(size // PAGE - leave, 0) * PAGE)
    return path


class Value(Furu[str]):
    """A small result, with a hook in between."""

    hook: str = "default"
    n: int = 0

    def _create(self) -> str:
        if self.hook in hooks:
            hooks[self.hook]()
        return f"value {self.n}"


class WritesMuch(Furu[str]):
    """Needs more room than there is."""

    size: int = 1 << 20

    def _create(self) -> str:
        (self.furu_dir / "large").write_bytes(bytes(self.size))
        return "written"


class Fails(Furu[None]):
    """Fills the disk and raises."""

    folder: Path

    def _create(self) -> None:
        (self.checkpoint_dir / "progress").write_text("a week of work")
        print("a line in the log")
        fill(self.folder)
        raise ValueError("and there is no room to write it down")
