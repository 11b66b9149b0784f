"""A process that computes nodes for a program that is not furu's own.

The worker of a scheduler or framework is no place for a node: it has threads of its own, serves others
as well, and dies of what a node's code does to it. Such a worker starts a `NodeProcess` instead, gives it
one node after the other, and tells the controller what it answers. The controller says with an `Origin`
what the process is to be like, and with a `NodeOrder` what it is to compute; both can be pickled.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

import attrs

from furu_core import _provenance
from furu_core._attempts._outcomes import Failure, FailureKind, NodeResult, Outcome
from furu_core._config._class_names import import_roots
from furu_core._executors._deaths import exit_text
from furu_core._executors._worker import run_node
from furu_core._executors._worker_session import WorkerContext, importing_user_code, worker_session
from furu_core._forms._pack import Packer, Unpacker
from furu_core._processes._guard import Guard
from furu_core._processes._guardian import kill_sessions
from furu_core._settings import _settings
from furu_core._settings._settings import Settings
from furu_core.errors import NodeCancelled

if TYPE_CHECKING:
    from furu_core._furu import Furu

_BOOT: Final = (
    "import sys; sys.path[:] = [*sys.argv[2:], *filter(None, sys.path)]; "
    "from furu_core._processes._node_process import serve; serve(int(sys.argv[1]))"
)
_LOOK_SECS: Final = 0.2  # between two looks at whether the node is still wanted
_GRACE_SECS: Final = 4.0  # for a node that was interrupted, before it is killed
_END_SECS: Final = 3.0  # for exit handlers of the user's code
_IDLE_SECS: Final = 5.0  # without a node; whoever started the process may have forgotten it
_FORKED: Final = 80  # the exit status when a fork in the node's code came back from it
_NO_CONNECTION: Final = 81  # and when the node's code closed the socket
_LEFT: Final = 82  # and when there was nothing to do
_OWN_ENDS: Final = {
    _FORKED: "ended after a fork in the node's code returned from it",
    _NO_CONNECTION: "ended because the node's code closed file descriptors that are not its own",
}


@attrs.frozen
class Origin:
    """What a process elsewhere has to be like, to compute a node as one of this program would.

    Attributes:
        settings: the settings, as environment variables.
        roots: folders where the user's code is imported from, save those of the interpreter, which a
            process elsewhere has its own of.
        folder: the working directory; None when it was deleted.
        argv: the command line.
        provenance: what artifacts record of the program that started their run.
    """

    settings: Mapping[str, str]
    roots: tuple[str, ...]
    folder: str | None
    argv: tuple[str, ...]
    provenance: Mapping[str, Any]


@attrs.frozen
class NodeOrder:
    """One attempt that a process elsewhere is to make.

    Attributes:
        packed: the node.
        hash: its hash.
        worker: what the process belongs to meanwhile.
        rerun: compute it although its artifact is there.
    """

    packed: bytes
    hash: str
    worker: WorkerContext
    rerun: bool = False


@attrs.frozen
class Died:
    """The process of a node died, so nobody has recorded it yet: see `lost_result`.

    Attributes:
        kind: `LOST`, or `CANCELLED` when it was killed because the node was not wanted any more.
        message: what was seen.
    """

    kind: FailureKind
    message: str


def origin_here(settings: Settings | None = None) -> Origin:
    """This process as the origin of others.

    Args:
        settings: those for the others; default: the current ones.

    Example:
        >>> from furu_core.executors import origin_here
        >>> "FURU_PATH" in origin_here().settings
        True
    """
    own = tuple(os.path.join(prefix, "") for prefix in {sys.prefix, sys.base_prefix})
    folder: str | None = None
    with suppress(OSError):
        folder = os.getcwd()
    return Origin(
        settings=_settings.to_env(_settings.current() if settings is None else settings),
        roots=tuple(root for root in import_roots() if not root.startswith(own)),
        folder=folder,
        argv=tuple(sys.argv),
        provenance=_provenance.process_provenance().record,
    )


def node_order(obj: Furu[Any], worker: WorkerContext, *, rerun: bool = False) -> NodeOrder:
    """An attempt at `obj`, for a `NodeProcess`.

    Args:
        obj: the node; its dependencies are there when the attempt begins.
        worker: what the process belongs to meanwhile.
        rerun: compute it although its artifact is there.

    Raises:
        FuruImportNameError: no other process could import a class of it.
    """
    return NodeOrder(Packer().pack(obj), obj.furu_hash, worker, rerun)


class NodeProcess:
    """Computes nodes one at a time, in a process that has a session of its own.

    The process starts with the first node, stays for the next, ends by itself after some seconds
    without one, and is replaced when it has died. When the calling process dies, all that its nodes
    have started is killed. Not for several threads at once: each has its own. Use it as a context
    manager, or `close` it.

    Args:
        origin: what the process is to be like.
        log: a file for what it prints that belongs to no node; default: the standard error.

    Example:
        >>> import tempfile
        >>> from furu_core import use_settings
        >>> from furu_core.executors import NodeProcess, WorkerContext, node_order, origin_here
        >>> from furu_testing.nodes import Value
        >>> with use_settings(path=tempfile.mkdtemp()):
        ...     with NodeProcess(origin_here()) as process:
        ...         result = process.compute(node_order(Value(x=3), WorkerContext("mine", "run-1")))
        ...     result.outcome.value, Value(x=3).get()
        ('computed', 3)
    """

    def __init__(self, origin: Origin, *, log: Path | None = None) -> None:
        self.origin = origin
        self._log = log
        self._guard: Guard | None = None
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return None if self._child is None else self._child.pid

    def compute(
        self, order: NodeOrder, *, unwanted: Callable[[], bool] = lambda: False
    ) -> NodeResult | Died:
        """Have one node computed, and wait for that.

        Args:
            order: which.
            unwanted: asked several times a second; once it says so, the node is interrupted, and
                killed if that does not help.

        Raises:
            OSError: no process can be started.
        """
        if self._child is not None and self._child.has_ended():
            self._bury(0.0)
        if self._child is None:
            self._child = self._start()
        child = self._child
        child.tell(order)
        deadline: float | None = None
        while not child.has_answer(_LOOK_SECS) and not child.has_ended():
            if deadline is None and unwanted():
                deadline = time.monotonic() + _GRACE_SECS
                child.terminate()
            elif deadline is not None and time.monotonic() > deadline:
                break
        answer = child.answer()
        if answer is not None and deadline is None:
            return answer
        code = self._bury(1.0 if deadline is None else 0.0)
        if answer is not None:
            return answer
        if deadline is not None:
            return Died(FailureKind.CANCELLED, "it was cancelled, and its process was killed")
        if code == _LEFT:
            return self.compute(order, unwanted=unwanted)
        why = _OWN_ENDS.get(code) or exit_text(code)
        return Died(FailureKind.LOST, f"process {child.pid} of the node {why}")

    def close(self) -> None:
        """End the process and all that its nodes have started; exit handlers may run, briefly."""
        if self._child is not None:
            self._child.dismiss()
            self._bury(_END_SECS)
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> _Child:
        if self._guard is None:
            self._guard = Guard()
        child = _Child(self.origin, self._log)
        self._guard.add(child.pid)
        return child

    def _bury(self, patience: float) -> int:
        assert self._child is not None
        assert self._guard is not None
        child, self._child = self._child, None
        code = child.bury(patience)
        self._guard.remove(child.pid)
        return code


class _Child:
    """The process of a `NodeProcess`, and the connection to it."""

    def __init__(self, origin: Origin, log: Path | None) -> None:
        self._socket, theirs = socket.socketpair()
        self._file = self._socket.makefile("rwb")
        environment = {key: os.environ[key] for key in os.environ if not key.startswith("FURU_")}
        try:
            with _opened(log) as output:
                self._process = subprocess.Popen(
                    # -P, as paths are told: else Python 3.13 needs a working directory for each
                    # missing attribute.
                    [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), *origin.roots],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    cwd=origin.folder if origin.folder and os.path.isdir(origin.folder) else None,
                    env={**environment, **origin.settings},
                )
        except BaseException:
            self._file.close()
            self._socket.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.tell(origin)

    def tell(self, what: Origin | NodeOrder) -> None:
        with suppress(OSError):  # it died, which waiting for its answer will tell
            pickle.dump(what, self._file)
            self._file.flush()

    def has_answer(self, within: float) -> bool:
        """Whether it has said something, or hung up."""
        return bool(select.select([self._socket], [], [], within)[0])

    def answer(self) -> NodeResult | None:
        """What it has said, if it has said anything."""
        if self.has_answer(0.0):
            with suppress(EOFError, OSError, pickle.UnpicklingError):
                found: NodeResult = pickle.load(self._file)
                return found
        return None

    def terminate(self) -> None:
        self._process.terminate()

    def dismiss(self) -> None:
        """Let it end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether it is gone, asked without taking its number from it."""
        deadline = time.monotonic() + within
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def bury(self, patience: float) -> int:
        """End it, after some seconds in which it may do so itself; its exit status."""
        ended = self.has_ended(patience)
        kill_sessions({self.pid})  # first: until it is waited for, nobody else can get its number
        code = self._process.wait()
        with suppress(OSError):  # part of what was to be told may still be here
            self._file.close()
        self._socket.close()
        return code if ended else _NO_CONNECTION


def _opened(log: Path | None) -> IO[bytes]:
    """Where the process prints to: not the standard output, where a program may print results."""
    with suppress(OSError):  # a full disk is for the nodes to report, if it matters to them
        return open(os.dup(2) if log is None else log, "ab")
    return open(os.devnull, "ab")


def serve(fd: int) -> None:
    """Compute what a `NodeProcess` orders, as its process.

    Args:
        fd: of the socket.
    """
    _Server(socket.socket(fileno=fd)).serve()


class _Server:
    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rwb")
        self._pid = os.getpid()
        self._interruptible = False
        signal.signal(signal.SIGTERM, self._on_sigterm)
        # Whoever started this may ignore what a terminal sends, and the node's children would as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.register_at_fork(after_in_child=self._in_child)

    def serve(self) -> None:
        origin: Origin = pickle.load(self._file)
        sys.argv[:] = origin.argv
        _provenance.adopt(origin.provenance)
        while True:
            self._socket.settimeout(_IDLE_SECS)
            try:
                order: NodeOrder = pickle.load(self._file)
            except EOFError:
                return
            except TimeoutError:
                sys.exit(_LEFT)
            self._socket.settimeout(None)
            answer = self._compute(order)
            if os.getpid() != self._pid:
                os._exit(_FORKED)
            try:
                pickle.dump(answer, self._file)
                self._file.flush()
            except (OSError, ValueError):  # the node's code closed it, so nobody could learn of it
                os._exit(_NO_CONNECTION)
            # What imported the node may have changed it.
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _compute(self, order: NodeOrder) -> NodeResult:
        try:
            with worker_session(order.worker):
                self._interruptible = True
                try:
                    try:
                        with importing_user_code(order.worker):
                            obj = Unpacker().unpack(order.packed)
                    except NodeCancelled:
                        raise
                    except BaseException as error:  # noqa: BLE001 - a module may raise anything
                        traceback.print_exc()
                        return _failed(order, FailureKind.PROTOCOL, error)
                    return run_node(obj, rerun=order.rerun)
                finally:
                    self._interruptible = False
        except (NodeCancelled, KeyboardInterrupt):
            return NodeResult(order.hash, Outcome.CANCELLED)
        except BaseException as error:  # noqa: BLE001 - such as GeneratorExit, which nothing catches
            traceback.print_exc()
            return _failed(order, FailureKind.COMPUTE, error)

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        if self._interruptible:
            self._interruptible = False  # a second one must not hit while the first is recorded
            raise NodeCancelled("the run was cancelled")

    def _in_child(self) -> None:
        # A child that outlives this process would keep the connection open, and one that is
        # terminated by the node's code must end instead of raising there.
        self._interruptible = False
        self._socket.detach()
        with suppress(OSError):
            os.close(self._file.fileno())
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _failed(order: NodeOrder, kind: FailureKind, error: BaseException) -> NodeResult:
    failure = Failure.of(kind, error, hash=order.hash)
    return NodeResult(order.hash, Outcome.FAILED, failure=failure)
