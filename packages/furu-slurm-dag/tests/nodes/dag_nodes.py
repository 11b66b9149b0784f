"""Nodes for jobs on a test cluster, which do what files in a folder of the test tell them to.

::

    <name>.starts   a line for each start of the node's code
    <name>.hold     while it is there, the node waits
    <name>.fail     while it is there, the node raises
    <name>.kill     how many of its first starts end in SIGKILL
    <name>.steps    how many seconds of work there are, each of which it writes into its checkpoint
    <name>.ran      the seconds of work done, in all
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from furu_core import Furu


class Step(Furu[int]):
    """Its result is 1 more than the results of what it comes after, in all."""

    name: str
    box: Path
    after: tuple[Furu, ...] = ()

    def _create(self) -> int:
        starts = self._note("starts")
        print(f"this is {self.name}")
        if int(self._told("kill") or 0) >= starts:
            os.kill(os.getpid(), signal.SIGKILL)
        while self._file("hold").exists():
            time.sleep(0.02)
        if self._file("fail").exists():
            raise ValueError(f"{self.name} was told to fail")
        self._work(int(self._told("steps") or 0))
        return 1 + sum(step.get() for step in self.after)

    def _work(self, steps: int) -> None:
        done = self.checkpoint_dir / "done"
        while (at := int(done.read_text()) if done.exists() else 0) < steps:
            time.sleep(1)
            self._note("ran")
            new = done.with_suffix(".new")  # it may be interrupted at any moment
            new.write_text(str(at + 1))
            new.replace(done)

    def _file(self, kind: str) -> Path:
        return self.box / f"{self.name}.{kind}"

    def _told(self, kind: str) -> str:
        return self._file(kind).read_text() if self._file(kind).exists() else ""

    def _note(self, kind: str) -> int:
        with self._file(kind).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return len(self._told(kind).splitlines())


class GpuStep(Step):
    """The same on another kind of node."""

    _executor_spec_key = "gpu"


class Number(Furu[int]):
    """Nearly nothing; how often it was computed, a line in one file tells."""

    x: int
    note: Path

    def _create(self) -> int:
        with self.note.open("a") as file:
            file.write(f"{self.x}\n")
        return self.x


class Total(Furu[int]):
    """The sum of many numbers."""

    numbers: tuple[Furu, ...]

    def _create(self) -> int:
        return sum(number.get() for number in self.numbers)
