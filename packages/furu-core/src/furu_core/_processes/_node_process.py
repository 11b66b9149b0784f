"""The parent's handle of a process that computes nodes.

A controller, a scheduler's job or a framework's worker must not compute nodes in its own process,
which watches over others and could be killed by a node's code. It lets a `NodeProcess` compute
them, which starts its process in one of two ways:

- as a new interpreter, set up by an `Origin`;
- as a fork of this process, if that is small and has one thread, such as a scheduler's job: a fork
  takes milliseconds, a new interpreter a tenth of a second. A scheduler that ends such a job sends
  signals to all its processes, so there only the parent decides what they mean.

The process gets orders: objects of this program (`assign`), nodes in a graph's file (`assign` with
their places), or nodes packed by another program (`compute`). It computes them one at a time, in
their order. `poll` reports each order once: its result, also if the process died, or that it was
not begun. A process that has ended is replaced when there is something to compute.

A parent that waits for several things at once waits for its `fileno`.
"""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import attrs

from furu_core._attempts._outcomes import Failure, FailureKind, NodeResult, Outcome
from furu_core._processes import _child_process
from furu_core._processes._child_process import ChildProcess
from furu_core._processes._messages import (
    Finished,
    FromProcess,
    Identified,
    Interrupt,
    Notice,
    Order,
    Recall,
    Returned,
    Setup,
    Unreadable,
)
from furu_core._processes._watchdog import Watchdog
from furu_core._processes._watchdog_main import kill_sessions
from furu_core._store._layout import Node, ref_of
from furu_core._workers._worker_session import WorkerContext
from furu_core.errors import FuruExecutorError

if TYPE_CHECKING:
    from furu_core._forms._pack import Packer
    from furu_core._furu import Furu
    from furu_core._processes._origin import NodeOrder, Origin

_LOOK_SECS: Final = 0.2  # between two looks at events that no descriptor announces
_GRACE_SECS: Final = 4.0  # an interrupted node gets this time to end before it is killed
_END_SECS: Final = 3.0  # for exit handlers of the user's code
_IDLE_SECS: Final = 5.0  # then a process without an order ends: its parent may have forgotten it
_START_SECS: Final = 300.0  # a new interpreter that is not ready by then never will be


@attrs.frozen
class Died:
    """The process of a node died, and the death is not recorded yet: see `lost_result`.

    Attributes:
        kind: `LOST`, or `CANCELLED` when it was killed because the node was not wanted any more.
        message: how the process ended, in words.
    """

    kind: FailureKind
    message: str


@attrs.frozen
class NodeReport:
    """The result of one order of a `NodeProcess`.

    Attributes:
        number: the order's number.
        result: the attempt's result; None if it was not begun, and will not be.
    """

    number: int
    result: NodeResult | None


class _Pending:
    """An order that the process has and that is not reported yet."""

    def __init__(self, node: Node | None, hash: str, *, rerun: bool) -> None:
        self.node = node  # None while only the process knows it
        self.hash = hash
        self.rerun = rerun
        self.wish: Interrupt | None = None


# An order's number, the order, and its result: None if it was not begun.
_Heard: TypeAlias = tuple[int, _Pending, "NodeResult | Died | None"]


class NodeProcess:
    """Computes nodes one at a time, in a process that has a session of its own.

    The process starts with the first order, stays for the next, and is replaced when it has ended.
    When the calling process dies, all processes that its nodes have started are killed. It is not
    thread-safe: use one per thread. Use it as a context manager, or `close` it.

    Args:
        origin: sets up a new interpreter; None forks the calling process, which must have one
            thread, so that the fork inherits no lock that no thread will release.
        log: a file for what a new interpreter prints that belongs to no node; default: the standard
            error.
        environment: that of a new interpreter, without the settings; default: this process's own.
        graph: the file of a `GraphWriter` whose nodes a fork is to compute.
        wait_secs: seconds to wait until that file becomes visible on a network filesystem.
        idle_secs: seconds without an order after which the process ends; None: it stays.
        watchdog: one that this process has already; default: a new one.

    Example:
        >>> import tempfile
        >>> from furu_core import use_settings
        >>> from furu_core.workers import NodeProcess, WorkerContext, node_order, origin_here
        >>> from furu_testing.nodes import Value
        >>> with use_settings(path=tempfile.mkdtemp()):
        ...     with NodeProcess(origin_here()) as process:
        ...         result = process.compute(node_order(Value(x=3), WorkerContext("mine", "run-1")))
        ...     result.outcome.value, Value(x=3).get()
        ('computed', 3)
    """

    def __init__(
        self,
        origin: Origin | None,
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        graph: Path | None = None,
        wait_secs: float = 0.0,
        idle_secs: float | None = _IDLE_SECS,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.origin = origin
        #: How its last process ended, in words, where that was in the middle of a node or a start.
        self.death = ""
        self._log = log
        self._environment = environment
        self._graph = graph
        self._wait_secs = wait_secs
        self._idle_secs = idle_secs
        self._watchdog = watchdog
        self._own_watchdog: Watchdog | None = None
        self._watch = selectors.DefaultSelector()
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}  # in the order of sending
        self._child: ChildProcess | None = None
        self._new = self._ready = self._leaving = self._recalling = False
        self._packer: Packer | None = None
        self._classes: set[type] = set()
        self._epoch = 0
        self._worker: WorkerContext | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id, which is that of its session, while there is a process."""
        return None if self._child is None else self._child.pid

    @property
    def busy(self) -> bool:
        """Whether there are orders that `poll` has not reported."""
        return bool(self._pending)

    @property
    def ready(self) -> bool:
        """Whether there is a process that has started and is not about to end."""
        return self._child is not None and self._ready and not self._leaving

    @property
    def came_up(self) -> bool:
        """Whether the process, or the last one, has started far enough to compute."""
        return self._ready

    @property
    def tells_all(self) -> bool:
        """Whether `fileno` announces all that `poll` reports; else call `poll` now and then.

        It does not announce a start that takes too long, nor the process's end on some systems.
        """
        return self._child is None or (self._ready and self._child.pidfd is not None)

    def fileno(self) -> int:
        """A descriptor that becomes readable when `poll` has something to report."""
        number: int = self._watch.fileno()
        return number

    # Orders

    def start(self) -> None:
        """Start the process now, if there is none, without an order.

        Raises:
            FuruExecutorError: no process can be started.
        """
        if self._child is not None:
            return
        try:
            if self._watchdog is None:
                self._watchdog = self._own_watchdog = Watchdog()
            child = self._started()
        except OSError as error:
            raise FuruExecutorError(
                f"no process can be started for a node: {error.strerror or error}",
                hint="is there enough memory, and may there be as many processes?",
            ) from error
        self._watchdog.add(child.pid)
        self._child = child
        self._new = self.origin is not None
        self._ready = not self._new
        self._leaving = self._recalling = False
        self._worker = None
        self._begin_epoch()
        self._watch.register(child.socket, selectors.EVENT_READ)
        if child.pidfd is not None:
            self._watch.register(child.pidfd, selectors.EVENT_READ)

    def assign(self, node: Furu[Any] | int, worker: WorkerContext, *, rerun: bool = False) -> int:
        """Add an order, to be computed after those before it; `flush` sends it.

        Args:
            node: the node, whose dependencies are there; or its place in the graph's file.
            worker: the executor, run and spec key that the process works for meanwhile.
            rerun: compute it although its artifact is there.

        Returns:
            The order's number, by which `poll` reports it.

        Raises:
            FuruExecutorError: no process can be started.
            FuruImportNameError: no other process could import a class of it.
        """
        self._make_usable()
        if isinstance(node, int):
            return self._write(node, worker, _Pending(None, "", rerun=rerun))
        if self._packer is None:
            from furu_core._forms._pack import Packer  # a scheduler's job packs nothing

            self._packer = Packer()
        packed = self._packer.pack(node)
        # Marking an import costs a tenth of a short node, and only improves the words of an error.
        imports = type(node) not in self._classes
        self._classes.add(type(node))
        pending = _Pending(node, node.furu_hash, rerun=rerun)
        return self._write(packed, worker, pending, imports=imports)

    def flush(self) -> None:
        """Send the orders, or as much of them as the connection takes now."""
        child = self._child
        if child is None:
            return
        self._set_up()
        child.flush()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.wants_to_send else 0)
        if self._watch.get_key(child.socket).events != events:
            self._watch.modify(child.socket, events)

    def recall(self) -> None:
        """Ask for all orders back that are not begun; `poll` reports those that come back."""
        if self._child is not None and len(self._pending) > 1 and not self._recalling:
            self._recalling = True
            self._child.write(Recall(tuple(self._pending)[1:]))
            self.flush()

    def poll(self, timeout: float | None = 0.0) -> list[NodeReport]:
        """The reports of orders since the last call.

        Args:
            timeout: seconds to wait for the first, while there are orders; None waits without limit.
        """
        return [
            NodeReport(number, self._recorded(pending, answer, pid))
            for (number, pending, answer), pid in self._hear(timeout)
        ]

    def compute(
        self, order: NodeOrder, *, unwanted: Callable[[], bool] = lambda: False
    ) -> NodeResult | Died:
        """Compute one node that another program packed, and wait for it.

        Args:
            order: the order.
            unwanted: called several times a second; once it returns True, the node is interrupted,
                and killed if that does not help.

        Raises:
            FuruExecutorError: no process can be started.
        """
        while True:
            self._make_usable()
            self._begin_epoch()  # its packed bytes refer to no earlier order
            self._write(order.packed, order.worker, _Pending(None, order.hash, rerun=order.rerun))
            deadline: float | None = None
            try:
                while not (heard := self._hear(_LOOK_SECS)):
                    if deadline is None and unwanted():
                        deadline = time.monotonic() + _GRACE_SECS
                        self.interrupt("it was cancelled")
                    elif deadline is not None and time.monotonic() > deadline:
                        self.kill()
            except BaseException:  # its answer would be taken for that of the next order
                self._reap()
                self._pending.clear()
                raise
            if deadline is not None:
                self._reap()  # the interrupt may have hit anywhere: the next node gets a new process
            _, pending, answer = heard[0][0]
            if isinstance(answer, Died):
                return answer
            if answer is not None:
                return self._named(pending, answer)
            if deadline is not None:
                return NodeResult(order.hash, Outcome.CANCELLED)
            # The process ended for lack of orders before it had read this one.

    # Ends

    def interrupt(self, reason: str = "the run was cancelled", *, lost: bool = False) -> None:
        """Interrupt the node being computed, and give back the orders after it; `poll` reports both.

        This has no effect while the node's code is in a call that no signal interrupts: `kill` it
        then.

        Args:
            reason: for the attempt's record.
            lost: whether the worker is being taken away, which counts as `LOST`; else the node is
                cancelled on purpose.
        """
        if self._child is not None and self._pending:
            wish = Interrupt(reason, lost)
            for pending in self._pending.values():
                pending.wish = wish
            self._child.write(wish)
            self.flush()

    def kill(self) -> None:
        """Kill the process and all that it started; `poll` reports the result for its node."""
        if self._child is not None:
            kill_sessions({self._child.pid})

    def dismiss(self) -> None:
        """Let the process end when it has done its orders, and run its exit handlers."""
        if self._child is not None:
            self._set_up()  # which a new interpreter without an order still waits for
            self._leaving = True
            self._child.write(Notice.STOP)
            self.flush()

    def has_ended(self) -> bool:
        """Whether there is no process, or none that lives."""
        return self._child is None or self._child.has_ended()

    def close(self, *, patience: float = _END_SECS) -> None:
        """End the process and all that its nodes have started.

        Args:
            patience: seconds for exit handlers; none are run by a process that computes or starts.
        """
        idle = self.ready and not self._pending
        if idle:
            self.dismiss()
        self._reap(patience if idle or self._leaving else 0.0)
        self._pending.clear()
        self._watch.close()
        if self._own_watchdog is not None:
            self._own_watchdog.close()
            self._watchdog = self._own_watchdog = None

    def _started(self) -> ChildProcess:
        if self.origin is not None:
            from furu_core._processes import _origin  # a scheduler's job forks

            environment = os.environ if self._environment is None else self._environment
            return _origin.spawn(self.origin, environment, self._log)
        return _child_process.fork(self._serve)

    def _serve(self, connection: socket.socket) -> int:
        """Serve the parent, in a fork; the exit status."""
        assert self._watchdog is not None
        self._watch.close()
        self._watchdog.forget()
        from furu_core._processes import (
            _node_server,
        )  # all that computes, which the parent does not

        return _node_server.serve_forked(connection, self._graph, self._wait_secs, self._idle_secs)

    def _make_usable(self) -> None:
        """Make sure that there is a process that takes an order."""
        if not self._pending and self._child is not None:
            if self._leaving:
                self._reap(_END_SECS)
            elif self._child.has_ended():
                self._reap()
        self.start()

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._packer = None
        self._classes.clear()

    def _write(
        self, node: bytes | int, worker: WorkerContext, pending: _Pending, *, imports: bool = True
    ) -> int:
        assert self._child is not None
        number = next(self._numbers)
        self._pending[number] = pending
        known = worker == self._worker
        self._worker = worker
        self._set_up()
        told = None if known else worker
        self._child.write(Order(number, self._epoch, node, told, pending.rerun, imports))
        return number

    def _set_up(self) -> None:
        """Send a new interpreter its `Setup`."""
        if not self._new or self._child is None or self.origin is None:
            return
        self._new = False
        provenance = self.origin.provenance
        sources: dict[str, str] = {}
        if provenance is None:
            from furu_core._code._proofs import sources_here
            from furu_core._provenance import process_provenance

            provenance = process_provenance().record
            sources = sources_here()
        self._child.write(Setup(self.origin.argv, dict(provenance), sources, self._idle_secs))

    # Listening

    def _hear(self, timeout: float | None) -> list[tuple[_Heard, int]]:
        """The results of orders, each with the pid of its process."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (child := self._child) is not None:
            self.flush()
            heard = [(one, child.pid) for one in self._hear_now(child)]
            left = _LOOK_SECS if deadline is None else deadline - time.monotonic()
            if heard or not self._pending or left <= 0:
                return heard
            quiet = self.tells_all and deadline is None
            self._watch.select(None if quiet else min(left, _LOOK_SECS))
        return []

    def _hear_now(self, child: ChildProcess) -> list[_Heard]:
        messages, at_end = child.receive()
        if not messages and not at_end and child.has_ended():
            messages, at_end = child.receive()[0], True  # its last messages may just have arrived
        heard: list[_Heard] = []
        for message in messages:
            heard += self._heard(message)
        if at_end:
            heard += self._died(self._reap(1.0), child.pid)
        elif not self._ready and time.monotonic() - child.since > _START_SECS:
            self._reap()
            heard += self._dead(f"worker process {child.pid} did not start in {_START_SECS:g} s")
        return heard

    def _heard(self, message: FromProcess) -> list[_Heard]:
        match message:
            case Notice.READY:
                self._ready = True
            case Identified(number, place):
                self._pending[number].node = place
            case Finished(number, result):
                if result.edited and self._worker is not None:
                    _say_edited(self._worker.run_id, result.edited)
                return [(number, self._pending.pop(number), result)]
            case Unreadable(number, epoch, result) if epoch == self._epoch:
                # The orders after it refer to parts of it.
                self._begin_epoch()
                failed = self._pending.pop(number, None)  # None if it had been called back
                rest = self._given_back(tuple(self._pending))
                return rest if failed is None else [(number, failed, result), *rest]
            case Unreadable() | Notice.STOP:
                pass
            case Returned(numbers):
                self._recalling = False
                return self._given_back(numbers)
            case Notice.LEAVING:
                self._leaving = True
                return self._given_back(tuple(self._pending))
        return []

    def _given_back(self, numbers: tuple[int, ...]) -> list[_Heard]:
        return [(one, self._pending.pop(one), None) for one in numbers if one in self._pending]

    def _died(self, code: int | None, pid: int) -> list[_Heard]:
        if self._leaving and not self._pending:
            return []
        return self._dead(_child_process.death_text(pid, code))

    def _dead(self, message: str) -> list[_Heard]:
        """The results of the orders that the process had when it ended."""
        self.death = message
        number = next(iter(self._pending), None)
        if number is None:
            return []
        head = self._pending.pop(number)
        kind = FailureKind.LOST
        if head.wish is not None:
            kind = kind if head.wish.lost else FailureKind.CANCELLED
            self.death = message = f"{head.wish.reason}, and its process had to be killed"
        return [(number, head, Died(kind, message)), *self._given_back(tuple(self._pending))]

    def _reap(self, patience: float = 0.0) -> int | None:
        """End the process, if there is one; its exit status, None when it had to be killed."""
        child, self._child = self._child, None
        if child is None:
            return None
        self._watch.unregister(child.socket)
        if child.pidfd is not None:
            self._watch.unregister(child.pidfd)
        code = child.reap(patience=patience)
        if self._watchdog is not None:
            self._watchdog.remove(child.pid)
        return code

    # What it means

    def _recorded(
        self, pending: _Pending, answer: NodeResult | Died | None, pid: int
    ) -> NodeResult | None:
        """The result to report for an order; if its process died, that is recorded for its node."""
        if not isinstance(answer, Died):
            return None if answer is None else self._named(pending, answer)
        if pending.node is None:
            cancelled = answer.kind is FailureKind.CANCELLED
            failure = Failure(answer.kind, "", answer.message, "", "")
            outcome = Outcome.CANCELLED if cancelled else Outcome.FAILED
            return NodeResult("", outcome, failure=failure)
        # Imported here, because for most parents no process dies.
        from furu_core._workers._deaths import death_result

        return death_result(pending.node, pid, answer.kind, answer.message, rerun=pending.rerun)

    def _named(self, pending: _Pending, result: NodeResult) -> NodeResult:
        """The result with the node's name, which a process that could not read the node lacks."""
        if result.hash:
            return result
        failure = result.failure
        if failure is not None:
            name = "" if pending.node is None else ref_of(pending.node).name
            failure = attrs.evolve(
                failure, node=name, hash=pending.hash, log=failure.log or self._log
            )
        return attrs.evolve(result, hash=pending.hash, failure=failure)


_said_edited: Final[set[tuple[str, str]]] = set()  # runs and modules


def _say_edited(run_id: str, modules: tuple[str, ...]) -> None:
    """Say once in a run which modules a worker loaded from another source than this program."""
    new = [name for name in modules if (run_id, name) not in _said_edited]
    if new:
        from furu_core._output import _logging  # rarely needed

        _said_edited.update((run_id, name) for name in new)
        _logging.log.warning(
            "%s: edited since this program loaded it; workers that start now run what the file says "
            "now, and their results name that",
            ", ".join(new),
        )
