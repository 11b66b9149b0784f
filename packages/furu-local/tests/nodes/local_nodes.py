"""Nodes that only executors on this machine are tested with: odd ends, devices, what they leave behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from typing import Final

from furu_core import Furu
from furu_testing import marked, note
from furu_testing.nodes import Leaf, Step


class Nests(Furu[int]):
    """Depends on others, and asks for none of them."""

    inside: tuple[Furu[int], ...] = ()
    level: int = 0

    def _create(self) -> int:
        return self.level


class Breaks(Furu[int]):
    """Ends as few nodes do, so many times, then works.

    Attributes:
        how: a key of `ENDS`; the node's label.
        times: how often.
    """

    how: str
    times: int = 1_000_000

    def _create(self) -> int:
        with marked(self.how) as number:
            if number <= self.times:
                ENDS[self.how]()
            return number


def _two_lines() -> None:
    raise ValueError("it fails\non purpose")


def _memory() -> None:
    raise MemoryError("no more")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _generator_exit() -> None:
    raise GeneratorExit


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(200)


def _close_standard() -> None:
    for fd in range(3):
        os.close(fd)


def _return_from_a_fork() -> None:
    if os.fork():
        os.wait()


ENDS: Final[dict[str, Callable[[], object]]] = {
    "two lines": _two_lines,
    "system exit": lambda: sys.exit("that is all"),
    "memory": _memory,
    "interrupt": _interrupt,
    "generator exit": _generator_exit,
    "terminate": _terminate,
    "close standard": _close_standard,
    "close all": lambda: os.closerange(0, 1024),
    "fork": _return_from_a_fork,
}


class Sees(Step):
    """Notes which devices its process sees, as ``sees-<label>``."""

    def _create(self) -> int:
        note(f"sees-{self.label}", os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
        return super()._create()


class LeavesChild(Step):
    """Leaves a process behind that would live on, and notes its id as ``child-<label>``."""

    def _create(self) -> int:
        child = subprocess.Popen(["sleep", "600"])
        child.returncode = 0  # so that its end is nobody's business any more
        note(f"child-{self.label}", str(child.pid))
        return super()._create()


class Stubborn(Furu[int]):
    """Cannot be interrupted by anything but SIGKILL; how is its label."""

    how: str

    def _create(self) -> int:
        with marked(self.how):
            match self.how:
                case "swallows":
                    while True:
                        try:
                            time.sleep(600)
                        except BaseException:
                            pass
                case "ignores":
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    while True:
                        time.sleep(600)
                case "holds the lock":
                    # One call into C that never looks at signals and never lets other threads run.
                    pow(3, 10**9)
            return 0


class Noisy(Furu[int]):
    """Writes to all that leads out of a process."""

    x: int = 0

    def _create(self) -> int:
        print("printed")
        print("printed to stderr", file=sys.stderr)
        os.write(1, b"native\n")
        subprocess.run(["echo", "from a child"], check=True)
        return self.x


class LosesDependency(Furu[int]):
    """Somebody removes what it depends on while it begins for the first time."""

    leaf: Leaf

    def _create(self) -> int:
        if not (seen := self.checkpoint_dir / "seen").exists():
            seen.touch()
            shutil.rmtree(self.leaf.furu_dir)
        return self.leaf.get()


class Wanders(Furu[tuple[str, int]]):
    """Leaves the working directory, and tells where it began and in which process."""

    n: int

    def _create(self) -> tuple[str, int]:
        before = os.getcwd()
        os.chdir("/")
        return (before, os.getpid())


class Collects(Furu[bool]):
    """Whether garbage is collected where its code runs, by itself and on time."""

    def _create(self) -> bool:
        class Ring:
            pass

        ring = Ring()
        ring.itself = ring  # type: ignore[attr-defined]
        gone = weakref.ref(ring)
        del ring
        for _ in range(1_000_000):
            kept: list[object] = [[]]
            kept[0] = kept
            if gone() is None:
                return gc.isenabled()
        return False


class Drawn(Furu[int]):
    """Differs whenever it is computed, within a range: its number of times, modulo that."""

    label: str
    range: int = 1_000_000

    def _create(self) -> int:
        with marked(self.label) as number:
            return number % self.range


class Sum(Furu[int]):
    """Adds up what it depends on."""

    below: tuple[Furu[int], ...]
    n: int = 0

    def _create(self) -> int:
        return sum(one.get() for one in self.below) + self.n
