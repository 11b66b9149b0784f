"""Nodes that do to their process what nodes do."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from furu_core import Furu
from furu_core._processes import _messages, _node_server
from furu_testing import marked, note


class Closes(Furu[int]):
    """Closes file descriptors that are not its own."""

    def _create(self) -> int:
        os.closerange(3, 100)
        return 1


class Forks(Furu[int]):
    """Its code is left by two processes."""

    def _create(self) -> int:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return 1


class Deafens(Furu[int]):
    """Leaves its process without memory for what it is told next."""

    def _create(self) -> int:
        def feed(*_: object) -> list[object]:
            raise MemoryError

        _messages.Decoder.feed = feed  # type: ignore[method-assign]
        return 1


class Leaves(Furu[int]):
    """Leaves its working directory and its SIGTERM handler changed."""

    def _create(self) -> int:
        os.chdir("/")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 1


class LosesChild(Furu[int]):
    """Its own child process is told to end, and a moment later, or never, so is itself."""

    myself_too: bool

    def _create(self) -> int:
        # A moment is short, for a node that fails ends only after it; a busy machine takes longer.
        _node_server._MOMENT_SECS = 60.0 if self.myself_too else 0.3
        if self.myself_too:
            subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -TERM {os.getpid()}"])
        subprocess.run(["sh", "-c", "kill -TERM $$"], check=True)
        return 1


class Clings(Furu[int]):
    """Has a child process, which it notes, and ends for nothing but a kill."""

    label: str

    def _create(self) -> int:
        child = subprocess.Popen(["sleep", "1000"])
        note(f"child-of-{self.label}", str(child.pid))
        with marked(self.label):
            while True:
                try:
                    time.sleep(1000)
                except BaseException:
                    pass
