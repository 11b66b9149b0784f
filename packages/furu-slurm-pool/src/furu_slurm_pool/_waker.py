"""How one thread sleeps until others, or signal handlers, wake it."""

from __future__ import annotations

import os
import select
from contextlib import suppress


class Waker:
    """A pipe that one thread listens to while it sleeps.

    It can be written to from any thread and from signal handlers, which a lock cannot.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        for fd in (self._reading, self._writing):
            os.set_blocking(fd, False)

    def fileno(self) -> int:
        """The end that is written to, as `signal.set_wakeup_fd` takes it."""
        return self._writing

    def wake(self) -> None:
        """End the sleep that is going on, or else the next one; does nothing once it is closed."""
        with suppress(OSError):  # nobody listens any more, or enough has been said
            os.write(self._writing, b"!")

    def sleep(self, seconds: float, *also: int) -> bool:
        """Sleep; whether somebody woke this.

        Args:
            seconds: at most.
            also: file descriptors that end the sleep as well, once there is something to read.
        """
        readable, _, _ = select.select([self._reading, *also], [], [], max(0.0, seconds))
        woken = self._reading in readable
        with suppress(BlockingIOError):
            while woken and os.read(self._reading, 4096):
                pass
        return woken

    def close(self) -> None:
        """Close both ends."""
        reading, writing = self._reading, self._writing
        self._reading = self._writing = -1  # or a late `wake` would write to somebody else's file
        for fd in (reading, writing):
            os.close(fd)
