"""The living processes of a test: those that know its store, and those that it has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

_PROC: Final = Path("/proc")
# They serve the program that started them until it ends, and compute nothing.
_SERVANTS: Final = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@attrs.frozen
class Process:
    """A living process.

    Attributes:
        pid: its process id.
        command: its command line.
    """

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def can_be_listed() -> bool:
    """Whether this machine tells of its processes."""
    return (_PROC / "self" / "environ").exists()


def is_running(pid: int) -> bool:
    """Whether a process of this machine lives."""
    if can_be_listed():
        return _state(pid) not in ("", "Z", "X")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def processes_of(store: Path) -> list[Process]:
    """The living processes that were started with a store in their environment.

    This one is left out, and what `multiprocessing` started for it: that serves later tests as well.
    """
    variable = f"FURU_PATH={store}".encode()
    found = [
        Process(pid, _command(pid))
        for pid in _pids()
        if pid != os.getpid()
        and variable in _bytes(pid, "environ").split(b"\0")
        and is_running(pid)
    ]
    return [one for one in found if not (_is_servant(one) and _parent(one.pid) == os.getpid())]


def started_since(before: frozenset[int]) -> list[Process]:
    """The living processes that descend from this one and were not there before.

    Args:
        before: process ids; their descendants are theirs.
    """
    children: dict[int, list[int]] = {}
    for pid in _pids():
        children.setdefault(_parent(pid), []).append(pid)
    found: list[Process] = []
    stack = [os.getpid()]
    while stack:
        for pid in children.get(stack.pop(), ()):
            if pid not in before:
                stack.append(pid)
                if is_running(pid):
                    found.append(Process(pid, _command(pid)))
    return [one for one in found if not _is_servant(one)]


def _is_servant(process: Process) -> bool:
    return any(servant in process.command for servant in _SERVANTS)


def all_pids() -> frozenset[int]:
    """The ids of all processes."""
    return frozenset(_pids())


def _pids() -> Iterator[int]:
    if can_be_listed():
        for entry in os.listdir(_PROC):
            if entry.isdecimal():
                yield int(entry)


def _bytes(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return b""


def _stat(pid: int) -> list[str]:
    return _bytes(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def _command(pid: int) -> str:
    return _bytes(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
