"""One worker process, as its controller sees it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import attrs

from furu_core.errors import FuruPlatformError
from furu_core.executors import Packer, import_roots, kill_sessions
from furu_local._devices import VARIABLE, Slot
from furu_local._wire import Decoder, ToWorker, Work, encode
from furu_plan.runs import Task

_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from furu_local._worker import main; main(int(sys.argv[1]))"
)
_CHUNK: Final = 1 << 18


@attrs.frozen
class Launch:
    """What all worker processes of a run are started with.

    Attributes:
        environment: the whole environment, settings included.
        folder: the working directory; None when it was deleted.
        logs: where the workers' own output goes.
    """

    environment: Mapping[str, str]
    folder: str | None
    logs: Path


def launch_of(environment: Mapping[str, str], logs: Path) -> Launch:
    """What to start workers with, as things stand in this process now."""
    try:
        folder: str | None = os.getcwd()
    except OSError:
        folder = None  # it was deleted, and a child could not enter it either
    return Launch(environment, folder, logs)


class WorkerProcess:
    """A worker process: its connection, what it has been sent, and its end.

    Args:
        number: counts the workers of a run from 1.
        launch: how to start it.
        slot: the device it sees, if it is to have one of its own.
    """

    def __init__(self, number: int, launch: Launch, slot: Slot | None) -> None:
        self.number = number
        self.slot = slot
        self.log = launch.logs / f"worker-{number}.log"
        self.tasks: dict[int, Task] = {}  # sent and not reported, in the order of sending
        self.since = time.monotonic()  # when the first of them began
        self.ready = False
        self.stopping = False
        self.recalling = False
        self.cancelled = False
        self._packer = Packer()
        self._classes: set[type] = set()
        self._epoch = 0
        self._decoder = Decoder()
        self._outgoing = bytearray()
        self.socket, theirs = socket.socketpair()
        try:
            self._process = _start(launch, slot, self.log, theirs)
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()
        self.socket.setblocking(False)
        self.pidfd = _pidfd(self._process.pid)

    @property
    def pid(self) -> int:
        """Its process id, and that of its session."""
        return self._process.pid

    @property
    def idle(self) -> bool:
        """Whether it could begin a task at once."""
        return self.ready and not self.tasks and not self.stopping

    @property
    def wants_to_send(self) -> bool:
        """Whether part of what is to be sent is still here."""
        return bool(self._outgoing)

    def assign(self, task: Task) -> None:
        """Write a task down for the worker; `flush` sends it. It begins after those before it."""
        node = task.node
        packed = self._packer.pack(node.obj)
        if not self.tasks:
            self.since = time.monotonic()
        self.tasks[task.number] = task
        is_new = type(node.obj) not in self._classes
        self._classes.add(type(node.obj))
        work = Work(task.number, self._epoch, node.spec_key, node.rerun, is_new, packed)
        self._outgoing += encode(work)

    def head(self) -> Task | None:
        """The task that it is at."""
        return next(iter(self.tasks.values()), None)

    def not_begun(self) -> list[int]:
        """The numbers of the tasks behind that."""
        return list(self.tasks)[1:]

    def finished(self, number: int) -> Task | None:
        """Take a task off, because it was reported."""
        self.since = time.monotonic()
        return self.tasks.pop(number, None)

    def start_epoch(self, epoch: int) -> list[Task]:
        """Forget what was sent in an epoch; the tasks that went with it.

        Args:
            epoch: the one in which the worker could not read a task; empty when it has passed.
        """
        if epoch != self._epoch:
            return []
        self._epoch += 1
        self._packer = Packer()
        self._classes.clear()
        tasks = list(self.tasks.values())
        self.tasks.clear()
        return tasks

    def send(self, message: ToWorker) -> None:
        """Send a message, or as much of it as the connection takes now."""
        self._outgoing += encode(message)
        self.flush()

    def flush(self) -> None:
        """Send what is left."""
        try:
            while self._outgoing:
                sent = self.socket.send(memoryview(self._outgoing)[:_CHUNK])
                del self._outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:  # it died, which its end of the connection tells as well
            self._outgoing.clear()

    def receive(self) -> tuple[list[Any], bool]:
        """What it said, and whether the connection is at its end."""
        messages: list[Any] = []
        while True:
            try:
                data = self.socket.recv(_CHUNK)
            except BlockingIOError:
                return messages, False
            except OSError:  # reset, because it died before it had read everything
                return messages, True
            if not data:
                return messages, True
            messages += self._decoder.feed(data)
            if len(data) < _CHUNK:
                return messages, False

    def has_ended(self) -> bool:
        """Whether the process is gone, asked without taking its number from it."""
        return self._ended_within(0.0)

    def terminate(self) -> None:
        """Ask the process to interrupt its node."""
        self.cancelled = True
        with suppress(OSError):
            self._process.terminate()

    def bury(self, *, patience: float) -> int | None:
        """Wait for the process's end, kill what it left in its session, and free what it held.

        Args:
            patience: seconds to wait until it ends by itself.

        Returns:
            Its exit status; None when it had to be killed.
        """
        ended = self._ended_within(patience)
        # First its session, then its own remains: until then nobody else can get its number.
        kill_sessions({self.pid})
        code = self._process.wait()
        self.socket.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
        return code if ended else None

    def _ended_within(self, seconds: float) -> bool:
        if self.pidfd is not None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            return bool(poll.poll(1000 * seconds))
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None


def _start(
    launch: Launch, slot: Slot | None, log: Path, theirs: socket.socket
) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise FuruPlatformError(
            "worker processes need sys.executable, which is empty in this program",
            hint='use worker="thread"',
        )
    environment = dict(launch.environment)
    if slot is not None:
        environment[VARIABLE] = slot.visible
    with _opened(log) as output:
        return subprocess.Popen(
            # -P, as paths are told: else Python 3.13 needs a working directory for each missing attribute.
            [sys.executable, "-P", *_flags(), "-c", _BOOT, str(theirs.fileno()), *import_roots()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[theirs.fileno()],
            # So a Ctrl-C of the terminal reaches the controller alone, which decides; and so all that
            # the node's code starts can be found.
            start_new_session=True,
            cwd=launch.folder,
            env=environment,
        )


def _opened(log: Path) -> IO[bytes]:
    try:
        return open(log, "ab")
    except OSError:  # a full disk is for the nodes to report, if it matters to them
        return open(os.devnull, "ab")


def _flags() -> list[str]:
    """The interpreter flags of this process that a worker needs to behave the same."""
    flags = [*("-O" for _ in range(sys.flags.optimize))]
    if sys.flags.dont_write_bytecode:
        flags.append("-B")
    if sys.flags.ignore_environment:
        flags.append("-E")
    if sys.flags.no_user_site:
        flags.append("-s")
    if sys.flags.dev_mode:
        flags += ["-X", "dev"]
    if sys.flags.utf8_mode:
        flags += ["-X", "utf8"]
    flags += [f"-W{option}" for option in sys.warnoptions]
    return flags


def _pidfd(pid: int) -> int | None:
    """What becomes readable when the process ends; None where the system has no such thing."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None
