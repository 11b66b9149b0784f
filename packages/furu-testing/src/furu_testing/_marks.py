"""What nodes of the conformance suite leave behind: one file for each time that their code ran.

Marks are below the store, the one place that every worker shares with the tests, and they are written
without furu's own machinery, so an executor cannot tell of a computation that never was.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

import furu_core
from furu_testing._waiting import WAIT_SECS, wait_until

_FOLDER: Final = "conformance"


def box(store: Path | None = None) -> Path:
    """Where nodes and tests leave files for each other, below a store or below the current one."""
    return (furu_core.settings().path if store is None else store) / _FOLDER


@attrs.frozen
class Mark:
    """One computation of a node.

    Attributes:
        label: the node's label.
        number: counts the computations of the node from 1.
        pid: the process that computes.
        parent: the one that started it, where each worker has a child compute.
        host: on which machine.
        began: seconds since the epoch.
        ended: when the node's code returned; None when it has not, or raised.
        missing: labels of what the node needs and was not there when it began.
        facts: what else the node saw.
    """

    label: str
    number: int
    pid: int
    parent: int
    host: str
    began: float
    ended: float | None
    missing: tuple[str, ...]
    facts: Mapping[str, Any]


@contextmanager
def marked(label: str, *, missing: tuple[str, ...] = (), **facts: Any) -> Iterator[int]:
    """Leave a mark at the beginning of the enclosed code, and another at its end."""
    folder = box() / "marks"
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "host": socket.gethostname(),
        "began": time.time(),
        "missing": missing,
        "facts": facts,
    }
    number = _leave(folder, label, json.dumps(said))
    yield number
    _write(folder / f"{label}.{number}.ended", repr(time.time()))


def read_marks(store: Path) -> list[Mark]:
    """All marks below a store, in the order of time."""
    found = []
    with_end = {path.name: path for path in (box(store) / "marks").glob("*")}
    for name, path in with_end.items():
        label, _, number = name.rpartition(".")
        if not number.isdecimal():
            continue
        end = with_end.get(f"{name}.ended")
        said = json.loads(path.read_text())
        found.append(
            Mark(
                label=label,
                number=int(number),
                pid=said["pid"],
                parent=said["parent"],
                host=said["host"],
                began=said["began"],
                ended=None if end is None else float(end.read_text()),
                missing=tuple(said["missing"]),
                facts=said["facts"],
            )
        )
    return sorted(found, key=lambda mark: (mark.began, mark.label, mark.number))


def times(store: Path) -> dict[str, int]:
    """How often each node below a store was computed, by label."""
    counts: dict[str, int] = {}
    for mark in read_marks(store):
        counts[mark.label] = counts.get(mark.label, 0) + 1
    return counts


def await_mark(store: Path, label: str, number: int = 1, seconds: float = WAIT_SECS) -> Mark:
    """Wait until the computation of a node with a number begins.

    Raises:
        TimeoutError: it does not in time.
    """

    def found() -> list[Mark]:
        return [one for one in read_marks(store) if (one.label, one.number) == (label, number)]

    wait_until(f"computation {number} of {label!r}", found, seconds)
    return found()[0]


def let_go(store: Path, label: str = "") -> None:
    """Let nodes that wait end, or the one with a label."""
    touch(store, f"go-{label}" if label else "go")


def note(name: str, text: str) -> None:
    """Leave a file for tests to read."""
    path = box() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def noted(store: Path, name: str) -> str:
    """What a node has left for tests to read; empty where it has not."""
    path = box(store) / name
    return path.read_text() if path.exists() else ""


def touch(store: Path, name: str) -> None:
    """Leave an empty file for nodes to find."""
    path = box(store) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _leave(folder: Path, label: str, text: str) -> int:
    temporary = folder / f".{os.getpid()}-{os.urandom(4).hex()}.tmp"
    temporary.write_text(text)
    number = 1
    while True:
        try:
            # A link never replaces the mark of somebody who computes the node at the same time.
            os.link(temporary, folder / f"{label}.{number}")
        except FileExistsError:
            number += 1
        else:
            temporary.unlink()
            return number


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{os.getpid()}-{os.urandom(4).hex()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)
