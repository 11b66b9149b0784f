"""A `Waker`, with which one thread sleeps until other threads or signal handlers wake it."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Protocol


class HasFileno(Protocol):
    """Something with a file descriptor, such as a socket or a process."""

    def fileno(self) -> int: ...


class Waker:
    """A pipe that one thread listens to while it sleeps.

    It can be written to from any thread and from signal handlers, which a lock cannot.

    Example:
        >>> from furu_core.executors import Waker
        >>> waker = Waker()
        >>> waker.wake()
        >>> waker.sleep(60.0)
        True
        >>> waker.close()
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        for fd in (self._reading, self._writing):
            os.set_blocking(fd, False)

    def fileno(self) -> int:
        """The descriptor that becomes readable when `wake` is called."""
        return self._reading

    @property
    def wakeup_fd(self) -> int:
        """The end that is written to, as `signal.set_wakeup_fd` takes it."""
        return self._writing

    def wake(self) -> None:
        """End the sleep that is going on, or else the next one; does nothing once it is closed."""
        with suppress(OSError):  # the pipe is closed, or full, in which case the sleep ends anyway
            os.write(self._writing, b"!")

    def sleep(self, seconds: float | None, *also: int | HasFileno) -> bool:
        """Sleep; whether `wake` was called.

        Args:
            seconds: at most; None for as long as nothing ends it.
            also: what ends the sleep as well, once there is something to read from it.
        """
        poll = select.poll()  # unlike `select`, for more than a thousand open files too
        for one in (self, *also):
            poll.register(one, select.POLLIN)
        milliseconds = None if seconds is None else 1000 * max(0.0, seconds)
        woken = any(fd == self._reading for fd, _ in poll.poll(milliseconds))
        if woken:
            self.drain()
        return woken

    def drain(self) -> None:
        """Forget earlier calls of `wake`."""
        with suppress(BlockingIOError):
            while os.read(self._reading, 4096):
                pass

    def close(self) -> None:
        """Close both ends."""
        reading, writing = self._reading, self._writing
        self._reading = self._writing = -1  # or a late `wake` would write to another open file
        for fd in (reading, writing):
            os.close(fd)
