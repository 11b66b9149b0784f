"""Removing nodes and putting them back, in processes that a test starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from get_nodes import Files, Resumes, Square

from furu_core._status import _trash
from furu_core.errors import FuruComputeError


def everything() -> list[Any]:
    return [Square(side=1), Square(side=2), Files(), Resumes(attempts=9)]


def compute() -> None:
    """Results of two kinds, and a node that failed twice and left a checkpoint."""
    for node in everything():
        for _ in range(2):
            try:
                node.get()
            except FuruComputeError:
                continue


def remove() -> int:
    return sum(node.delete() for node in everything())


def undo_all() -> int:
    """Put back all that is in the trash; how much this process put back."""
    return sum(len(_trash.undo(removal).put_back) for removal in _trash.removals())


def tree(store: str) -> dict[str, str]:
    """The contents of all files below the data of a store."""
    data = Path(store, "data")
    return {
        str(path.relative_to(data)): path.read_bytes().hex()
        for path in sorted(data.rglob("*"))
        if path.is_file()
    }


def fill_and_remove(count: int) -> None:
    for side in range(count):
        Square(side=side).get()
    for side in range(count):
        Square(side=side).delete()


def wait_and_undo(gate: str) -> int:
    while not os.path.exists(gate):
        pass
    return undo_all()


def values() -> list[Any]:
    """The results, and how often the node had tried that fails."""
    *done, failing = everything()
    try:
        failing.get()
    except FuruComputeError as error:
        return [node.load_existing() for node in done] + [int(str(error.__cause__)[-1])]
    return []
