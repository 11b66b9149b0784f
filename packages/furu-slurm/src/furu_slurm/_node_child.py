"""A child process that computes nodes, one after the other, for a small parent.

The parent watches, beats hearts and talks to the scheduler; it never imports the user's code. So a
node that takes its process down, by a crash or for want of memory, takes nothing else with it, and what
happened to it is recorded and tried again by the parent.

The child is forked, which takes milliseconds where a new interpreter takes a tenth of a second.
Commands and results travel through a socket; what has to be known when the child cannot speak any more
stands in memory that both share.
"""

from __future__ import annotations

import atexit
import json
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

import attrs

import furu_core.executors
from furu_core.errors import FuruExecutorError, NodeCancelled, NodeLost
from furu_core.executors import (
    Failure,
    FailureKind,
    NodePlace,
    NodeResult,
    Outcome,
    Watchdog,
    WorkerContext,
    importing_user_code,
    kill_sessions,
    place_of,
    worker_session,
)

_START: Final = struct.Struct(">Q?")  # a node's place in the graph, and whether to compute it anew
_LENGTH: Final = struct.Struct(">I")
_CHUNK: Final = 1 << 16
_MEMORY: Final = 1 << 15
_REASON: Final = slice(1, 1 << 10)
_PLACE: Final = 1 << 10
_END_SECS: Final = 3.0  # for exit handlers of the user's code
_MOMENT_SECS: Final = 0.3  # within which all processes of a job are told to end
_TOLD_SECS: Final = (
    5.0  # for which a node that fails has failed because its process was told to end
)
_LOOK_SECS: Final = 0.2  # between two looks at the child where nothing tells of its end


class _Wish(IntEnum):
    """What the parent wants of the node that is computed."""

    GO_ON = 0
    CANCEL = 1
    LOSE = 2


class _ExitCode(IntEnum):
    """How the child ends when it ends itself."""

    FORKED = 80  # a child of the node's code came back from it
    NO_CONNECTION = 81  # the socket is gone, so no result can be told


_OWN_ENDS: Final[dict[int, str]] = {
    _ExitCode.FORKED: "ended after a fork in the node's code returned from it",
    _ExitCode.NO_CONNECTION: "ended because the node's code closed file descriptors that are not its "
    "own",
}


@attrs.frozen
class ChildDied:
    """The child died in the middle of a node.

    Attributes:
        message: what was seen.
        result: what that means for the node; its hash is empty where the node was not even read.
    """

    message: str
    result: NodeResult


class NodeChild:
    """Computes nodes one after the other in a forked child.

    The calling process must have one thread, so that the child inherits no lock that nobody will
    release. When it dies, the child and all that was started in the child's session are killed. Use it
    as a context manager, or `close` it.

    Args:
        context: what the child belongs to.
        graph: the file of a `GraphWriter` with the nodes.
        wait_secs: seconds to wait until that file becomes visible on a network filesystem.
    """

    def __init__(self, context: WorkerContext, graph: Path, *, wait_secs: float = 0.0) -> None:
        self._context = context
        self._graph = graph
        self._wait_secs = wait_secs
        self._memory = mmap.mmap(-1, _MEMORY)
        self._watch = select.epoll()
        self._guard: Watchdog | None = None
        self._child: _Child | None = None
        self._busy = False
        self._rerun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """What becomes readable when `poll` has something to tell."""
        return self._watch.fileno()

    @property
    def busy(self) -> bool:
        """Whether a node was started and `poll` has not told its end."""
        return self._busy

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is a child."""
        return None if self._child is None else self._child.pid

    @property
    def place(self) -> NodePlace | None:
        """Where the node that was started last stands, once the child has read it."""
        return _noted_place(self._memory)

    def start(self, offset: int, *, rerun: bool = False) -> None:
        """Begin to compute a node; `poll` tells what became of it.

        Args:
            offset: its place in the graph's file.
            rerun: compute it although its artifact is there.

        Raises:
            FuruExecutorError: no process can be started.
        """
        assert not self._busy, "one node at a time"
        self._memory[0] = _Wish.GO_ON
        _forget_place(self._memory)
        self._rerun = rerun
        self._busy = True
        message = _START.pack(offset, rerun)
        if self._child is None or not self._child.send(message):
            self._bury()
            self._child = self._fork()
            self._child.send(message)

    def poll(self, timeout: float | None = 0.0) -> NodeResult | ChildDied | None:
        """What became of the node that was started; None while it is computed.

        Args:
            timeout: seconds to wait for that; None waits as long as it takes.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._busy and self._child is not None:
            data, at_end = self._child.receive()
            if data is not None:
                self._busy = False
                result: NodeResult = pickle.loads(data)
                return result
            if at_end or self._child.has_ended():
                return self._died(self._child)
            left = _LOOK_SECS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return None
            known = self._child.pidfd is not None
            self._watch.poll(None if known and deadline is None else min(left, _LOOK_SECS))
        return None

    def interrupt(self, reason: str = "the run was cancelled", *, lost: bool = False) -> None:
        """Interrupt the node; `poll` tells how it ended.

        Nothing of that happens while the node's code is in a call that no signal interrupts: `kill`
        it then.

        Args:
            reason: for the attempt's record.
            lost: whether its worker is being taken away, which counts as `LOST`, instead of
                cancelled on purpose.
        """
        if not self._busy or self._child is None:
            return
        text = reason.encode()[: _REASON.stop - _REASON.start - 1]
        self._memory[_REASON] = text.ljust(_REASON.stop - _REASON.start, b"\0")
        self._memory[0] = _Wish.LOSE if lost else _Wish.CANCEL
        self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the child and all that it started; `poll` tells what that means for the node."""
        if self._child is not None:
            kill_sessions({self._child.pid})

    def close(self) -> None:
        """End the child, which may run its exit handlers, briefly, unless it is in a node."""
        self._bury(patience=0.0 if self._busy else _END_SECS)
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        self._watch.close()

    def _fork(self) -> _Child:
        sys.stdout.flush()
        sys.stderr.flush()
        ours, theirs = socket.socketpair()
        try:
            if self._guard is None:
                self._guard = Watchdog()
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise FuruExecutorError(
                f"no process can be started for a node: {error.strerror or error}",
                hint="does the job ask for enough memory and processes?",
            ) from error
        if pid == 0:
            status: int = _ExitCode.NO_CONNECTION
            try:
                ours.close()
                self._watch.close()
                self._guard.forget()
                if self._child is not None:
                    self._child.forget()
                status = _serve(theirs, self._memory, self._context, self._graph, self._wait_secs)
            finally:
                os._exit(status)
        theirs.close()
        self._guard.add(pid)
        child = _Child(pid, ours)
        self._watch.register(ours, select.EPOLLIN)
        if child.pidfd is not None:
            self._watch.register(child.pidfd, select.EPOLLIN)
        return child

    def _bury(self, *, patience: float = 0.0) -> int:
        """End the child, if there is one; its exit status."""
        child, self._child = self._child, None
        if child is None:
            return 0
        self._watch.unregister(child.socket)
        if child.pidfd is not None:
            self._watch.unregister(child.pidfd)
        code = child.bury(patience=patience)
        if self._guard is not None:
            self._guard.remove(child.pid)
        return code

    def _died(self, child: _Child) -> ChildDied:
        closed_only = not child.has_ended(within=1.0)
        code = self._bury()
        self._busy = False
        ends = _OWN_ENDS.get(_ExitCode.NO_CONNECTION if closed_only else code)
        # By way of the module: most jobs see nobody die, and need not import this.
        ends = ends or furu_core.executors.exit_text(code)
        message = f"process {child.pid} of the node {ends}"
        wish = _Wish(self._memory[0])
        if wish is not _Wish.GO_ON:
            message = f"{_reason(self._memory)}, and its process had to be killed"
        kind = FailureKind.CANCELLED if wish is _Wish.CANCEL else FailureKind.LOST
        place = self.place
        if place is None:
            return ChildDied(message, _result("", Failure(kind, "", message, "", "")))
        result = furu_core.executors.death_result(
            place, child.pid, kind, message, rerun=self._rerun
        )
        return ChildDied(message, result)


class _Child:
    """The child, as its parent sees it."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.socket = connection
        self.socket.setblocking(False)
        self.pidfd = _pidfd(pid)
        self._status: int | None = None
        self._buffer = bytearray()

    def send(self, message: bytes) -> bool:
        """Send a message; whether anybody is there to read it."""
        if self.has_ended():
            return False
        try:
            self.socket.sendall(message)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[bytes | None, bool]:
        """A message, if a whole one has come, and whether the connection is at its end."""
        while True:
            if len(self._buffer) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer)
                end = _LENGTH.size + length
                if len(self._buffer) >= end:
                    data = bytes(self._buffer[_LENGTH.size : end])
                    del self._buffer[:end]
                    return data, False
            try:
                more = self.socket.recv(_CHUNK)
            except BlockingIOError:
                return None, False
            except OSError:
                return None, True
            if not more:
                return None, True
            self._buffer += more

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether the process is gone, asked without taking its number from it."""
        deadline = time.monotonic() + within
        while True:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self.pidfd is not None:
                select.select([self.pidfd], [], [], left)
            else:
                time.sleep(min(left, 0.01))

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def bury(self, *, patience: float) -> int:
        """Wait for the child's end, kill what it left in its session, and free what it held."""
        self.socket.close()
        self.has_ended(within=patience)
        # First its session, then its own remains: until then nobody else can get its number.
        kill_sessions({self.pid})
        _, status = os.waitpid(self.pid, 0)
        self.forget()
        return os.waitstatus_to_exitcode(status)

    def forget(self) -> None:
        self.socket.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


# What both sides know without a word


def _note_place(memory: mmap.mmap, place: NodePlace) -> None:
    text = json.dumps([place.folder, place.hash, place.name]).encode()
    begin = _PLACE + _LENGTH.size
    if begin + len(text) <= _MEMORY:
        memory[begin : begin + len(text)] = text
        memory[_PLACE:begin] = _LENGTH.pack(len(text))  # last, so that a whole text is there


def _forget_place(memory: mmap.mmap) -> None:
    memory[_PLACE : _PLACE + _LENGTH.size] = _LENGTH.pack(0)


def _noted_place(memory: mmap.mmap) -> NodePlace | None:
    begin = _PLACE + _LENGTH.size
    (length,) = _LENGTH.unpack(memory[_PLACE:begin])
    return NodePlace(*json.loads(memory[begin : begin + length])) if length else None


def _reason(memory: mmap.mmap) -> str:
    return memory[_REASON].rstrip(b"\0").decode(errors="ignore")


# In the child


def _serve(
    connection: socket.socket,
    memory: mmap.mmap,
    context: WorkerContext,
    graph: Path,
    wait_secs: float,
) -> int:
    """Compute what the parent asks for until it closes the connection; the exit status."""
    os.setsid()
    atexit._clear()  # noqa: SLF001 - what was registered is to happen at the parent's end
    signal.set_wakeup_fd(-1)
    # Schedulers send these to all processes of a job; what follows is for the parent to decide.
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    worker = _Worker(connection, memory, context)
    try:
        with worker_session(context):
            worker.prepare(graph, wait_secs)
            worker.serve()
    finally:
        if os.getpid() == worker.pid:
            atexit._run_exitfuncs()  # noqa: SLF001 - a forked process leaves past the interpreter's end
        with suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


class _Worker:
    """What the child does."""

    def __init__(
        self, connection: socket.socket, memory: mmap.mmap, context: WorkerContext
    ) -> None:
        self.pid = os.getpid()
        self._socket = connection
        self._memory = memory
        self._context = context
        self._interruptible = False
        self._told_to_end = -_TOLD_SECS
        self._listen_to_sigterm()
        os.register_at_fork(after_in_child=self._in_child)

    def prepare(self, graph: Path, wait_secs: float) -> None:
        """Import what computes nodes, which the parent has not, before anything can be interrupted."""
        self._reader = furu_core.executors.GraphReader(graph, wait_secs=wait_secs)
        self._run_node = furu_core.executors.run_node

    def serve(self) -> None:
        """Compute until the parent closes the connection."""
        while message := self._next():
            offset, rerun = _START.unpack(message)
            answer = self._attempt(offset, rerun=rerun)
            if os.getpid() != self.pid:
                os._exit(_ExitCode.FORKED)  # a fork in the node's code came back from it
            data = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
            try:
                self._socket.sendall(_LENGTH.pack(len(data)) + data)
            except OSError:  # the node's code closed it, so nobody could learn of any result
                os._exit(_ExitCode.NO_CONNECTION)
            self._listen_to_sigterm()

    def _next(self) -> bytes:
        data = b""
        while len(data) < _START.size:
            try:
                more = self._socket.recv(_START.size - len(data))
            except OSError:
                os._exit(_ExitCode.NO_CONNECTION)
            if not more:
                return b""
            data += more
        return data

    def _attempt(self, offset: int, *, rerun: bool) -> NodeResult:
        answer: NodeResult | None = None
        try:
            try:
                self._told_to_end = -_TOLD_SECS
                self._interruptible = True
                if self._memory[0] != _Wish.GO_ON:  # it was said before anybody listened
                    self._interruptible = False
                    raise self._interruption()
                try:
                    with importing_user_code(self._context):
                        obj = self._reader.read(offset)
                except NodeCancelled:
                    raise
                except BaseException as error:  # noqa: BLE001 - a module may raise anything
                    _print_error()
                    answer = _unreadable(error)
                else:
                    _note_place(self._memory, place_of(obj))
                    answer = self._run_node(obj, rerun=rerun, ending=self._ending)
            finally:
                self._interruptible = False
        except NodeCancelled as error:
            # It may also hit between the end of the node and this line: then the result counts.
            lost = isinstance(error, NodeLost)
            kind = FailureKind.LOST if lost else FailureKind.CANCELLED
            answer = answer or self._told(kind, error)
        except KeyboardInterrupt as error:
            answer = answer or self._told(FailureKind.CANCELLED, error)
        except BaseException as error:  # noqa: BLE001 - such as GeneratorExit, which nothing catches
            _print_error()
            answer = self._told(FailureKind.COMPUTE, error)
        return answer

    def _told(self, kind: FailureKind, error: BaseException) -> NodeResult:
        place = _noted_place(self._memory) or NodePlace("", "", "")
        failure = Failure.of(kind, error, node=place.name, hash=place.hash)
        return _result(place.hash, failure)

    def _interruption(self) -> NodeCancelled:
        lost = self._memory[0] == _Wish.LOSE
        return (NodeLost if lost else NodeCancelled)(_reason(self._memory))

    def _ending(self) -> NodeCancelled | None:
        """Why this process is about to end, if it is; whoever ends a job tells its processes one by one."""
        self._interruptible = False  # from here on it would hit the recording
        deadline = time.monotonic() + _MOMENT_SECS
        while (now := time.monotonic()) < deadline:
            if self._memory[0] != _Wish.GO_ON:
                return self._interruption()
            if now - self._told_to_end < _TOLD_SECS:
                return NodeLost("its processes were told to end")
            time.sleep(0.01)
        return None

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_end = time.monotonic()
        # A scheduler that ends a job sends it to all processes; only the parent knows what it means.
        if self._interruptible and self._memory[0] != _Wish.GO_ON:
            self._interruptible = False  # a second one must not hit while the first is recorded
            raise self._interruption()

    def _listen_to_sigterm(self) -> None:
        """Have the next node interrupted by it, also where a module changed that when it was imported."""
        if signal.getsignal(signal.SIGTERM) != self._on_sigterm:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _in_child(self) -> None:
        # A child of the node's code would keep the connection open after this process has died.
        with suppress(OSError):
            os.close(self._socket.detach())
        # And `Process.terminate()` in the node's code must end it.
        self._interruptible = False
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _print_error() -> None:
    """Let the log of the job, or worker, have the whole of the error that is being handled."""
    import traceback  # only who fails needs it

    traceback.print_exc()


def _unreadable(error: BaseException) -> NodeResult:
    return _result("", Failure.of(FailureKind.PROTOCOL, error))


def _result(node_hash: str, failure: Failure) -> NodeResult:
    cancelled = failure.kind is FailureKind.CANCELLED
    outcome = Outcome.CANCELLED if cancelled else Outcome.FAILED
    return NodeResult(node_hash, outcome, failure=failure)


def _pidfd(pid: int) -> int | None:
    """What becomes readable when the process ends; None where the system has no such thing."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None
