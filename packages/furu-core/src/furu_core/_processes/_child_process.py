"""A child process that computes nodes: forking it, the connection to it, and its end."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from furu_core._processes._messages import Decoder, ExitCode, ToProcess, encode
from furu_core._processes._watchdog_main import kill_sessions

_CHUNK: Final = 1 << 18
# A program that lets SIGPIPE end it, as one for `| head` does, must not end because a worker has.
_NO_SIGNAL: Final[int] = getattr(socket, "MSG_NOSIGNAL", 0)
_OWN_ENDS: Final = {
    ExitCode.FORKED: "after a fork in the node's code returned from it",
    ExitCode.NO_CONNECTION: "because the node's code closed file descriptors that are not its own",
    ExitCode.DEAF: "because it could not read what it was told, perhaps because memory ran out",
}


class ChildProcess:
    """A process that leads a session of its own, and the connection to it.

    Args:
        pid: its process id. No other code may wait for its end.
        connection: the socket to it.
    """

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.socket = connection
        self.socket.setblocking(False)
        self.pidfd = _pidfd(pid)
        self.since = time.monotonic()
        self._code: int | None = None
        self._decoder = Decoder()
        self._outgoing = bytearray()

    @property
    def wants_to_send(self) -> bool:
        """Whether a part of the messages is not sent yet."""
        return bool(self._outgoing)

    def write(self, message: ToProcess) -> None:
        """Put a message into the buffer; `flush` sends it."""
        self._outgoing += encode(message)

    def flush(self) -> None:
        """Send as much as the connection takes now."""
        try:
            while self._outgoing:
                with memoryview(self._outgoing) as view:
                    sent = self.socket.send(view[:_CHUNK], _NO_SIGNAL)
                del self._outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:  # the process died; `receive` notices that as well
            self._outgoing.clear()

    def receive(self) -> tuple[list[Any], bool]:
        """The messages that arrived, and whether the connection is at its end."""
        messages: list[Any] = []
        while True:
            try:
                data = self.socket.recv(_CHUNK)
            except BlockingIOError:
                return messages, False
            except OSError:  # reset: the process died before it had read everything
                return messages, True
            if not data:
                return messages, True
            messages += self._decoder.feed(data)

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether the process has ended; it is not reaped, so its pid stays taken.

        Args:
            within: seconds to wait for that.
        """
        if self.pidfd is not None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            return bool(poll.poll(max(0.0, 1000 * within)))
        deadline = time.monotonic() + within
        while not self._is_zombie():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def reap(self, *, patience: float = 0.0) -> int | None:
        """End the process, kill what it left in its session, and free its resources.

        Args:
            patience: seconds to wait until it ends by itself.

        Returns:
            Its exit status; None when it had to be killed.
        """
        ended = self.has_ended(patience)
        # The session first: until the process itself is reaped, no other one can get its pid.
        kill_sessions({self.pid})
        self._wait(0)
        self.socket.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
        return self._code if ended else None

    def _is_zombie(self) -> bool:
        if not hasattr(
            os, "waitid"
        ):  # macOS before Python 3.13, where its number may be taken then
            return self._wait(os.WNOHANG)
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # this program ignores SIGCHLD, so there is nothing to wait for
            return True

    def _wait(self, options: int) -> bool:
        """Reap the process, once, and keep its exit status; whether it has ended."""
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:  # this program ignores SIGCHLD, so the status is lost
                self._code = 0
                return True
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None


def fork(serve: Callable[[socket.socket], int]) -> ChildProcess:
    """Fork a child that leads a session of its own and serves this process, which has one thread.

    Args:
        serve: called in the child with its end of the connection; returns its exit status.

    Raises:
        OSError: no process can be started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        status = 1
        try:
            # First: a signal to this process must not wake the parent.
            signal.set_wakeup_fd(-1)
            os.setsid()
            ours.close()
            status = serve(theirs)
        except BaseException:  # noqa: BLE001 - nobody above it may go on in this process
            import traceback  # needed only after a failure

            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    return ChildProcess(pid, ours)


def death_text(pid: int, code: int | None) -> str:
    """How a process ended in the middle of a node, in words.

    Args:
        pid: its process id.
        code: the exit status; negative for the number of a signal; None for a process that did not
            end although it had closed its connection.
    """
    # Imported here, because for most parents no process dies.
    from furu_core._workers._deaths import exit_text

    who = f"worker process {pid}"
    if code is None:
        return f"{who} closed its connection {_OWN_ENDS[ExitCode.NO_CONNECTION]}"
    if code in _OWN_ENDS:
        return f"{who} ended {_OWN_ENDS[ExitCode(code)]}"
    return f"{who} {exit_text(code)}"


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has none."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None
