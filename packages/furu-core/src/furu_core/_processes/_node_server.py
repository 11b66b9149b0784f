"""The code that runs in a process of a `NodeProcess`: it computes its parent's orders one by one.

The main thread computes. One further thread listens to the parent, so that the process ends at once
when the parent is gone, and gives back orders that it has not begun at any time.
"""

from __future__ import annotations

import _socket  # what `socket` is made of; that itself takes 2 ms to import, for what is not used here
import atexit
import gc
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import attrs

from furu_core import _provenance
from furu_core._attempts._outcomes import Failure, FailureKind, NodeResult, Outcome
from furu_core._code import _observer
from furu_core._compute import _process_state
from furu_core._forms._graph_file import GraphReader
from furu_core._forms._pack import Unpacker
from furu_core._output import _capture
from furu_core._process_ids import this_pid
from furu_core._processes._messages import (
    Decoder,
    ExitCode,
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
    encode,
)
from furu_core._store._layout import NodeRef, ref_of
from furu_core._workers._worker import run_node
from furu_core._workers._worker_session import WorkerContext, importing_user_code, worker_session
from furu_core.errors import NodeCancelled, NodeLost

if TYPE_CHECKING:
    from furu_core._furu import Furu

_MOMENT_SECS: Final = 0.3  # in this time, all processes of a job get the signal to end
# A node that fails in this time after its process got such a signal has failed because of that.
_TOLD_SECS: Final = 5.0


def main(fd: int, collects: bool) -> None:
    """Serve a parent that has started this interpreter for that.

    Args:
        fd: the descriptor of the socket to the parent.
        collects: whether the interpreter collects garbage, which has been turned off for the imports.
    """
    connection = _Connection(_socket.socket(fileno=fd))
    server = _Server(connection, graph=None, in_job=False)
    connection.listen()
    setup = connection.setup()
    sys.argv[:] = setup.argv
    _provenance.adopt_provenance(setup.provenance)
    _observer.of_the_run = setup.sources
    # What furu consists of is never garbage: without this each search for some would look at all of
    # it, that at the interpreter's end as well, which would take longer than a short run's nodes.
    gc.freeze()
    if collects:
        gc.enable()
    connection.send(Notice.READY)
    server.serve(setup.idle_secs)


def serve_forked(
    connection: _socket.socket, graph: Path | None, wait_secs: float, idle_secs: float | None
) -> int:
    """Serve a parent that has forked this process; the exit status.

    Args:
        connection: the socket to the parent.
        graph: the file with the nodes.
        wait_secs: seconds to wait until that becomes visible.
        idle_secs: seconds without an order after which the process ends.
    """
    atexit._clear()  # noqa: SLF001 - what was registered is to happen at the parent's end
    # Schedulers send these to all processes of a job; the parent decides what follows.
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    channel = _Connection(connection)
    reader = None if graph is None else GraphReader(graph, wait_secs=wait_secs)
    server = _Server(channel, graph=reader, in_job=True)
    try:
        channel.listen()
        server.serve(idle_secs)
    finally:
        if this_pid() == server.pid:
            atexit._run_exitfuncs()  # noqa: SLF001 - a forked process leaves past the interpreter's end
        with suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


@attrs.define(eq=False)
class _Entry:
    """An order that has arrived."""

    order: Order
    recalled: bool = False
    wish: Interrupt | None = None


class _Connection:
    """The process's end of the connection to its parent."""

    def __init__(self, connection: _socket.socket) -> None:
        self.current: _Entry | None = None
        self._socket = connection
        self._arrived: queue.SimpleQueue[Setup | Notice | _Entry] = queue.SimpleQueue()
        self._waiting: dict[int, _Entry] = {}
        self._lock = threading.Lock()  # of `current` and of the waiting entries
        self._sending = threading.Lock()
        self._main = threading.get_ident()
        self._signals = self._signals_seen = 0

    def listen(self) -> None:
        """Begin to listen."""
        # A child that the node's code forks would keep the connection open after this process died.
        os.register_at_fork(after_in_child=self._forget)
        threading.Thread(target=self._listen_or_end, name="furu-parent", daemon=True).start()

    def setup(self) -> Setup:
        """The parent's first message."""
        first = self._arrived.get()
        assert isinstance(first, Setup)
        return first

    def entries(self, idle_secs: float | None) -> Iterator[_Entry]:
        """The orders in the order sent, those called back among them, until the parent says stop.

        Args:
            idle_secs: seconds without an order after which this ends as well.
        """
        with suppress(queue.Empty):
            while isinstance(entry := self._next(idle_secs), _Entry):
                with self._lock:
                    self._waiting.pop(entry.order.number, None)
                    self.current = entry
                yield entry
            return
        self.send(Notice.LEAVING)

    def _next(self, idle_secs: float | None) -> Setup | Notice | _Entry:
        with suppress(queue.Empty):
            return self._arrived.get_nowait()
        _capture.let_go()
        return self._arrived.get(timeout=idle_secs)

    def stop(self) -> None:
        """End `entries` after the orders that have arrived; may be called from a signal handler."""
        self._arrived.put(Notice.STOP)

    def send(self, message: FromProcess) -> None:
        """Send the parent a message; without a connection the process exits."""
        try:
            with self._sending:
                self._socket.sendall(encode(message))
        except OSError:  # the node's code closed it, so no result could be sent
            os._exit(ExitCode.NO_CONNECTION)

    def is_parents_signal(self) -> bool:
        """Whether the parent sent the SIGTERM that has just come; only the first call tells."""
        is_parents = self._signals_seen != self._signals
        self._signals_seen = self._signals
        return is_parents

    def _listen_or_end(self) -> None:
        try:
            self._listen()
        except BaseException:  # noqa: BLE001 - the parent would wait for ever for what it orders next
            with suppress(Exception):  # there may be no memory for that either
                traceback.print_exc()
            os._exit(ExitCode.DEAF)

    def _listen(self) -> None:
        decoder = Decoder()
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                data = b""
            if not data:  # the parent is gone; what the node's code started goes as well
                os.killpg(os.getpgrp(), signal.SIGKILL)
            for message in decoder.feed(data):
                match message:
                    case Order():
                        entry = _Entry(message)
                        with self._lock:
                            self._waiting[message.number] = entry
                        self._arrived.put(entry)
                    case Recall():
                        self._recall(message.numbers)
                    case Interrupt():
                        self._interrupt(message)
                    case _:
                        self._arrived.put(message)

    def _recall(self, numbers: tuple[int, ...]) -> None:
        with self._lock:
            entries = [self._waiting.pop(number, None) for number in numbers]
            found = [entry for entry in entries if entry is not None]
            for entry in found:
                entry.recalled = True
        self.send(Returned(tuple(entry.order.number for entry in found)))

    def _interrupt(self, wish: Interrupt) -> None:
        with self._lock:
            behind = list(self._waiting.values())
            head = self.current or (behind.pop(0) if behind else None)
            if head is not None:
                head.wish = wish
            if self.current is not None:
                self._signals += 1
                signal.pthread_kill(self._main, signal.SIGTERM)
        self._recall(tuple(entry.order.number for entry in behind))

    def _forget(self) -> None:
        with suppress(OSError):
            os.close(self._socket.detach())


class _Server:
    """Computes the orders, in the main thread.

    Args:
        connection: the connection to the parent.
        graph: the file with the nodes.
        in_job: whether the parent is a scheduler's job, whose processes all get its signals in turn.
    """

    def __init__(self, connection: _Connection, *, graph: GraphReader | None, in_job: bool) -> None:
        self.pid = this_pid()
        self._connection = connection
        self._graph = graph
        self._in_job = in_job
        self._unpacker = Unpacker()
        self._epoch = 0
        self._unreadable = False
        self._worker: WorkerContext | None = None
        self._entered: WorkerContext | None = None
        self._session = ExitStack()
        self._ref: NodeRef | None = None
        self._interruptible = False
        self._leaving = False
        self._told_to_end = -_TOLD_SECS
        # If the parent ignores SIGINT, this process and the node's children would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._listen_to_sigterm()
        os.register_at_fork(after_in_child=self._in_child)

    def serve(self, idle_secs: float | None) -> None:
        """Compute orders until the parent says stop.

        Args:
            idle_secs: seconds without an order after which this ends.
        """
        for entry in self._connection.entries(idle_secs):
            order = entry.order
            self._worker = order.worker or self._worker
            if order.epoch != self._epoch:
                self._epoch, self._unpacker, self._unreadable = order.epoch, Unpacker(), False
            if self._unreadable:
                continue  # the parent knows, and sends it again
            if self._leaving:
                if not entry.recalled:
                    self._connection.send(Returned((order.number,)))
                continue
            if order.imports or self._worker is not self._entered:
                _capture.let_go()  # what is printed now belongs to no node
            _capture.keep_between_nodes()
            answer = self._attempt(entry)
            if this_pid() != self.pid:
                os._exit(ExitCode.FORKED)  # a child that the node's code forked returned from it
            self._connection.current = None  # an interrupt after the answer is not for this order
            self._unreadable = isinstance(answer, Unreadable)
            if answer is not None:
                self._connection.send(answer)
            self._listen_to_sigterm()
        _capture.let_go()  # what exit handlers print belongs to no node
        if self._leaving:
            # The parent may have sent an order meanwhile: this tells it that none will begin.
            self._connection.send(Notice.LEAVING)
        self._session.close()

    def _attempt(self, entry: _Entry) -> Finished | Unreadable | None:
        """Make one attempt; None for an order that was called back."""
        order = entry.order
        answer: Finished | Unreadable | None = None
        told: NodeResult | None = None
        self._ref = None
        reading = True
        try:
            try:
                self._told_to_end = -_TOLD_SECS
                self._interruptible = True
                if entry.wish is not None:  # an interrupt came before the order was begun
                    self._interruptible = False
                    raise _interruption(entry.wish)
                # It must be unpacked in any case, because later ones may refer to parts of it.
                try:
                    obj = self._read(order)
                except NodeCancelled:
                    raise
                except BaseException as error:  # noqa: BLE001 - a module may raise anything
                    _capture.let_go()
                    traceback.print_exc()
                    told = self._result(FailureKind.PROTOCOL, error)
                else:
                    reading = False
                    # An order that was called back is only read.
                    if not entry.recalled:
                        if isinstance(order.node, int):
                            self._ref = ref_of(obj)
                            self._connection.send(Identified(order.number, self._ref))
                        answer = Finished(order.number, self._run(obj, rerun=order.rerun))
            finally:
                self._interruptible = False
        except NodeCancelled as error:
            # The signal may also come between the end of the node and this line: the result counts.
            lost = isinstance(error, NodeLost)
            told = told or self._result(FailureKind.LOST if lost else FailureKind.CANCELLED, error)
        except KeyboardInterrupt as error:
            told = told or self._result(FailureKind.CANCELLED, error)
        except BaseException as error:  # noqa: BLE001 - such as GeneratorExit, which nothing catches
            _capture.let_go()
            traceback.print_exc()
            told = self._result(FailureKind.COMPUTE, error)
        if answer is not None or told is None:
            return answer
        if reading and isinstance(order.node, bytes):
            return Unreadable(order.number, order.epoch, told)
        return None if entry.recalled else Finished(order.number, told)

    def _read(self, order: Order) -> Furu[Any]:
        worker = self._worker
        assert worker is not None
        if worker is not self._entered:
            self._session.close()
            self._session.enter_context(worker_session(worker))
            self._entered = worker
        with importing_user_code(worker) if order.imports else nullcontext():
            node: Furu[Any]
            if isinstance(order.node, bytes):
                node = self._unpacker.unpack(order.node)
            else:
                assert self._graph is not None
                node = self._graph.read(order.node)
            return node

    def _run(self, obj: Furu[Any], *, rerun: bool) -> NodeResult:
        return run_node(obj, rerun=rerun, ending=self._ending if self._in_job else None)

    def _result(self, kind: FailureKind, error: BaseException) -> NodeResult:
        name, node_hash = ("", "") if self._ref is None else (self._ref.name, self._ref.hash)
        failure = Failure.of(kind, error, node=name, hash=node_hash)
        cancelled = kind is FailureKind.CANCELLED
        outcome = Outcome.CANCELLED if cancelled else Outcome.FAILED
        return NodeResult(node_hash, outcome, failure=failure)

    def _ending(self) -> NodeCancelled | None:
        """Why this process is about to end, if it is; the processes of a job are told in turn."""
        self._interruptible = False  # from here on a signal would interrupt the recording
        deadline = time.monotonic() + _MOMENT_SECS
        while (now := time.monotonic()) < deadline:
            current = self._connection.current
            if current is not None and current.wish is not None:
                return _interruption(current.wish)
            if now - self._told_to_end < _TOLD_SECS:
                return NodeLost("its processes were told to end")
            time.sleep(0.01)
        return None

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        current = self._connection.current
        wish = None if current is None else current.wish
        if self._connection.is_parents_signal():
            pass
        elif self._in_job:
            self._told_to_end = time.monotonic()
        else:
            # This process computes no more, whichever process sent it; another may take its place.
            self._leaving = True
            self._connection.stop()
            wish = wish or Interrupt("the run was cancelled", lost=False)
        if self._interruptible and wish is not None:
            self._interruptible = False  # a second signal must not interrupt the recording
            raise _interruption(wish)

    def _listen_to_sigterm(self) -> None:
        """Let SIGTERM interrupt the next node, also if an imported module changed the handler."""
        if _process_state.handler_of(signal.SIGTERM) != self._on_sigterm:
            self._connection.is_parents_signal()  # drop one that came meanwhile: no handler heard it
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _in_child(self) -> None:
        # Else `Process.terminate()` in the node's code would raise there instead of ending the child.
        self._interruptible = False
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interruption(wish: Interrupt) -> NodeCancelled:
    return (NodeLost if wish.lost else NodeCancelled)(wish.reason)
