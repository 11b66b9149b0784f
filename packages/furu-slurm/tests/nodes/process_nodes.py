"""Nodes that do to their process what nodes do."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from furu_core import Furu
from furu_core.errors import FuruMissingArtifact
from furu_slurm import _node_child


class Value(Furu[int]):
    x: int

    def _create(self) -> int:
        print(f"computing {self.x}")
        return self.x


class Ends(Furu[str]):
    """Ends its process in one way, the first so many times."""

    how: str
    note: Path
    times: int = 1000

    def _create(self) -> str:
        with self.note.open("a") as file:
            file.write("x")
        if len(self.note.read_text()) > self.times:
            return "done"
        match self.how:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                ctypes.string_at(0)
            case "exit":
                os._exit(3)
            case "sys.exit":
                sys.exit("enough")
            case "raise":
                raise ValueError("bad value")
            case "close":
                os.closerange(3, 100)
            case "fork":
                _fork_and_return()
            case _:
                raise AssertionError(self.how)
        return "alive"


class LosesChild(Furu[int]):
    """Its own child process is told to end, and a moment later, or never, so is itself."""

    myself_too: bool

    def _create(self) -> int:
        # A moment is short, for a node that fails ends only after it; a busy machine takes longer.
        _node_child._MOMENT_SECS = 60.0 if self.myself_too else 0.3
        if self.myself_too:
            subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -TERM {os.getpid()}"])
        subprocess.run(["sh", "-c", "kill -TERM $$"], check=True)
        return 1


def _fork_and_return() -> None:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)


class Sleeps(Furu[int]):
    """Tells that it has begun, with a child of its own beside it, and then sleeps."""

    note: Path
    swallows: bool = False

    def _create(self) -> int:
        child = subprocess.Popen(["sleep", "1000"])
        (self.checkpoint_dir / "step").write_text("1")
        temporary = self.note.with_suffix(".new")
        temporary.write_text(f"{os.getpid()} {child.pid}")
        temporary.rename(self.note)
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                if not self.swallows:
                    raise


class Asks(Furu[int]):
    """Asks for what nobody has computed, and swallows the answer."""

    other: int

    def _create(self) -> int:
        try:
            return Value(x=self.other).get()
        except FuruMissingArtifact:
            return -1


class Threads(Furu[int]):
    """Leaves its working directory and its SIGTERM handler changed."""

    def _create(self) -> int:
        os.chdir("/")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 1
