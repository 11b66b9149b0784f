"""The console: where standard output and error lead outside all nodes.

While a node computes, file descriptors 1 and 2 lead into its log. furu's own messages, and the
output of nodes that the console shows, go through this module to where the descriptors led before.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from furu_core._background import Background

STANDARD: Final = (1, 2)
_NAMES: Final = {1: "stdout", 2: "stderr"}
_POLL_SECS: Final = 0.1
_IDLE_POLLS: Final = 10


def stream(number: int) -> Any:
    """`sys.stdout` (1) or `sys.stderr` (2) as it is now; None where the process has none."""
    return getattr(sys, _NAMES[number])


def set_stream(number: int, value: Any) -> None:
    """Replace `sys.stdout` or `sys.stderr`."""
    setattr(sys, _NAMES[number], value)


def leads_to(a_stream: Any, number: int) -> bool:
    """Whether a text stream writes to file descriptor `number`."""
    try:
        return bool(a_stream.fileno() == number)
    except (AttributeError, OSError, ValueError):  # None, a notebook's stream, a closed file
        return False


def flush(a_stream: Any) -> None:
    """Flush a stream that may be closed, broken or None."""
    try:
        a_stream.flush()
    except (AttributeError, OSError, ValueError):
        pass


def above_standard(fd: int) -> int:
    """A descriptor above 2 for the same file: `open` may return 1 in a process without stdout."""
    if fd > 2:
        return fd
    higher = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return higher


def buffer_lines(a_stream: Any) -> None:
    """Let a stream write whole lines at once."""
    # A worker's stdout is no terminal, so Python would buffer prints, and a kill would lose them.
    if not getattr(a_stream, "line_buffering", True):
        with suppress(AttributeError, OSError, ValueError):
            a_stream.reconfigure(line_buffering=True)


def flush_streams() -> None:
    """Flush stdout and stderr, and those behind what furu put in their place."""
    for number in STANDARD:
        flush(unwrapped(stream(number)))


class Originals:
    """Where descriptors and streams led before the outermost node took them; one per process."""

    def __init__(self) -> None:
        self.fds: dict[int, int] = {}
        self.streams: dict[int, Any] = {}
        self.taken = False

    def take(self) -> None:
        """Remember where output leads now."""
        self.taken = True
        for number in STANDARD:
            self.streams[number] = stream(number)
            flush(self.streams[number])
            if self.streams[number] is not getattr(sys, f"__{_NAMES[number]}__"):
                flush(getattr(sys, f"__{_NAMES[number]}__"))
            # A process started without the stream may use this number for a socket or a file.
            if leads_to(getattr(sys, f"__{_NAMES[number]}__"), number):
                if number in self.fds:
                    continue  # they stayed with the log of the last node
                try:
                    self.fds[number] = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
                except OSError:
                    pass  # closed since

    def point_to(self, fd: int) -> None:
        """Let descriptors 1 and 2 lead to an open file."""
        for number in self.fds:
            os.dup2(fd, number)

    def give_back(self) -> None:
        """Let output lead where it led before."""
        self.taken = False
        for number, fd in self.fds.items():
            os.dup2(fd, number)
            os.close(fd)
        self.fds.clear()
        self.streams.clear()

    def write(self, number: int, text: str) -> None:
        """Write to the stdout (1) or stderr (2) that was there before; never raises for I/O."""
        target = self.streams[number] if self.taken else unwrapped(stream(number))
        if target is None:
            return
        if self.taken and number in self.fds and leads_to(target, number):
            encoding = getattr(target, "encoding", None) or "utf-8"
            self.write_fd(number, text.encode(encoding, "backslashreplace"))
            return
        with suppress(OSError, ValueError):  # a console that is gone must not fail a node
            target.write(text)
            target.flush()

    def write_fd(self, number: int, data: bytes) -> None:
        """Write bytes to where descriptor `number` led before; never raises for I/O."""
        fd = self.fds.get(number, number) if not self.taken else self.fds.get(number)
        while data and fd is not None:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                time.sleep(0.01)  # a terminal set to non-blocking is full for now
            except OSError:
                return  # a console that is gone (`| head`) must not fail a node

    def isatty(self) -> bool:
        """Whether the console is a terminal."""
        if self.taken and 2 in self.fds and leads_to(self.streams[2], 2):
            return os.isatty(self.fds[2])
        target = self.streams[2] if self.taken else unwrapped(stream(2))
        with suppress(AttributeError, OSError, ValueError):
            return bool(target.isatty())
        return False


class Console:
    """A text stream to the console's stderr, past every capture.

    Attributes:
        before_write: called before each write, so that older output of nodes is shown first.
    """

    encoding: Final = "utf-8"

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self.before_write: Callable[[], object] = lambda: None

    def write(self, text: str) -> int:
        """Write `text`; if the console is gone, it is lost without an error."""
        self.before_write()
        self._originals.write(2, text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """Whether a person looks at a terminal."""
        return self._originals.isatty()


class Copier:
    """The thread that copies native output to the console while interactive nodes compute.

    Args:
        copy: copies what is new, and returns whether there is anything to watch.
    """

    def __init__(self, copy: Callable[[], bool]) -> None:
        self._copy = copy
        self._thread = Background(self._run, "furu-echo")
        self._work = threading.Event()

    def wake(self) -> None:
        """Begin to copy, unless the thread copies already."""
        # Without a thread, what native code writes is shown when its node prints or ends.
        with suppress(RuntimeError):
            self._thread.ensure()
        if not self._work.is_set():
            self._work.set()

    def _run(self) -> None:
        idle = 0
        while True:
            self._work.wait()
            time.sleep(_POLL_SECS)
            idle = 0 if self._copy() else idle + 1
            if idle > _IDLE_POLLS:
                self._work.clear()
                if self._copy():  # one began just now
                    self._work.set()


class Unwrap:
    """A stream that stands in for another one, its `original`."""

    original: Any


def unwrapped(a_stream: Any) -> Any:
    """The stream behind those that furu put in its place."""
    while isinstance(a_stream, Unwrap):
        a_stream = a_stream.original
    return a_stream


originals: Final = Originals()
console: Final = Console(originals)
