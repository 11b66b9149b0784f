"""Signs of life: files whose names change, so that one listing tells how many processes are.

::

    runs/<run id>/heartbeats/<name>.<count>

The owner renames its file to the next count now and then. Who watches compares counts, by a clock of
his own; so no two clocks are compared, and no cached attribute of a file is believed.
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
    """Where the heartbeats of a run are."""
    return f"{run_folder}/heartbeats"


@attrs.frozen
class BeatRecord:
    """What stands in a worker's sign of life.

    Attributes:
        job: the full id of its job; empty where it is none.
        restarts: how often that was put back into the queue.
        process: which process it is, for people.
    """

    job: str
    restarts: int
    process: str


BEAT: Final = RecordFormat(BeatRecord, "a worker's sign of life", version=1)


class Heartbeat:
    """One process's own sign of life.

    Args:
        run_folder: of the run it belongs to.
        name: the process's name in this run, without a dot.
        about: what its file says, for people.
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
            self._write()  # somebody removed it

    def stop(self) -> None:
        """Remove the sign of life."""
        with suppress(OSError):
            os.unlink(f"{self._stem}.{self._count}")

    def _write(self) -> None:
        with suppress(OSError), open(f"{self._stem}.{self._count}", "wb") as file:
            file.write(self._about)


def remove(run_folder: str, name: str) -> None:
    """Remove the sign of life of a process that died, and so could not itself."""
    for entry in list_folder(folder_of(run_folder)):
        if entry.partition(".")[0] == name:
            with suppress(OSError):
                os.unlink(f"{folder_of(run_folder)}/{entry}")


def counts(run_folder: str) -> dict[str, int]:
    """How often each process has given a sign of life, by its name."""
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
        """Look at all signs of life."""
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
        """Whether a process has begun and not ended by itself, as it was seen last."""
        return name in self._present
