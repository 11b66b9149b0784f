"""Signs of life: files whose names change, so that one listing shows which processes live.

::

    runs/<run id>/heartbeats/<name>.<count>

The owner renames its file to the next count now and then. A watcher compares counts, and measures time
by its own clock; so no two clocks are compared, and no cached attribute of a file is trusted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

from furu_core.executors import RecordFormat, list_folder, move_file


def folder_of(run_folder: str) -> str:
    """The folder of a run's heartbeats."""
    return f"{run_folder}/heartbeats"


@attrs.frozen
class BeatRecord:
    """The content of a worker's heartbeat file.

    Attributes:
        job: the full id of its job; empty where it is no job.
        restarts: how often the job was put back into the queue.
        process: the process, for human readers.
    """

    job: str
    restarts: int
    process: str


BEAT: Final = RecordFormat(BeatRecord, "a worker's sign of life", version=1)


class Heartbeat:
    """The heartbeat of this process.

    Args:
        run_folder: the folder of its run.
        name: the process's name in this run, without a dot.
        about: the content of the file, for human readers.
    """

    def __init__(self, run_folder: str, name: str, about: bytes) -> None:
        self._stem = f"{folder_of(run_folder)}/{name}"
        self._about = about
        self._count = 0
        self._write()

    def beat(self) -> None:
        """Give a sign of life."""
        before, self._count = self._count, self._count + 1
        if not move_file(f"{self._stem}.{before}", f"{self._stem}.{self._count}"):
            self._write()  # another process removed it

    def stop(self) -> None:
        """Remove the sign of life."""
        with suppress(OSError):
            os.unlink(f"{self._stem}.{self._count}")

    def _write(self) -> None:
        with suppress(OSError), open(f"{self._stem}.{self._count}", "wb") as file:
            file.write(self._about)


def remove(run_folder: str, name: str) -> None:
    """Remove the heartbeat of a process that died before it could remove it itself."""
    for entry in list_folder(folder_of(run_folder)):
        if entry.partition(".")[0] == name:
            with suppress(OSError):
                os.unlink(f"{folder_of(run_folder)}/{entry}")


def counts(run_folder: str) -> dict[str, int]:
    """The number of signs of life that each process has given, by its name."""
    found: dict[str, int] = {}
    for entry in list_folder(folder_of(run_folder)):
        name, _, count = entry.partition(".")
        if count.isdecimal():
            found[name] = max(int(count), found.get(name, -1))
    return found


class Watch:
    """For how long processes have given no sign of life, by the watcher's own clock.

    Args:
        run_folder: of their run.
        clock: seconds, for tests.
    """

    def __init__(self, run_folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._run_folder = run_folder
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._present: set[str] = set()

    def look(self) -> None:
        """Read the counts of all processes."""
        now = self._clock()
        found = counts(self._run_folder)
        self._present = set(found)
        for name, count in found.items():
            before = self._seen.get(name)
            if before is None or before[0] != count:
                self._seen[name] = (count, now)

    def silence(self, name: str) -> float | None:
        """Seconds since a process's last sign of life was noticed; None if there never was one."""
        seen = self._seen.get(name)
        return None if seen is None else self._clock() - seen[1]

    def is_present(self, name: str) -> bool:
        """Whether a process had begun and not ended by itself at the last look."""
        return name in self._present
