"""A worker process: computes the nodes that its controller sends, one at a time.

The main thread computes. One further thread listens to the controller, so that the worker ends at
once when the controller is gone, and gives back at any time what it has not begun.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from queue import SimpleQueue
from types import FrameType

import attrs

from furu_core.errors import NodeCancelled
from furu_core.executors import (
    Failure,
    FailureKind,
    NodeResult,
    Outcome,
    Unpacker,
    WorkerContext,
    adopt_provenance,
    importing_user_code,
    run_node,
    worker_session,
)
from furu_local._wire import (
    Decoder,
    ExitCode,
    Finished,
    FromWorker,
    Leaving,
    Ready,
    Recall,
    Returned,
    Setup,
    Stop,
    Unreadable,
    Work,
    encode,
)


def main(fd: int) -> None:
    """Serve the controller at the other end of a socket until it says stop.

    Args:
        fd: the socket's file descriptor.
    """
    channel = Channel(socket.socket(fileno=fd))
    channel.start()
    _Worker(channel, channel.setup()).serve()


@attrs.define(eq=False)
class _Entry:
    """A task that has arrived."""

    work: Work
    taken: bool = False
    recalled: bool = False


class Channel:
    """The worker's end of the connection to its controller."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._arrived: SimpleQueue[Setup | Stop | _Entry] = SimpleQueue()
        self._entries: dict[int, _Entry] = {}  # not begun yet; guarded by the lock
        self._entries_lock = threading.Lock()
        self._sending = threading.Lock()

    def start(self) -> None:
        """Begin to listen."""
        # A child of the node's code would keep the connection open after this process has died.
        os.register_at_fork(after_in_child=self._forget)
        threading.Thread(target=self._listen, name="furu-controller", daemon=True).start()

    def setup(self) -> Setup:
        """The controller's first message."""
        first = self._arrived.get()
        assert isinstance(first, Setup)
        return first

    def entries(self) -> Iterator[_Entry]:
        """Tasks in the order in which they were sent, those called back among them."""
        while isinstance(entry := self._arrived.get(), _Entry):
            with self._entries_lock:
                self._entries.pop(entry.work.task, None)
                entry.taken = True
            yield entry

    def stop(self) -> None:
        """End `entries` after those that have arrived; may be called from a signal handler."""
        self._arrived.put(Stop())

    def send(self, message: FromWorker) -> None:
        """Tell the controller something; without a connection the process ends."""
        try:
            with self._sending:
                self._socket.sendall(encode(message))
        except OSError:  # the node's code closed it, so nobody could learn of any result
            os._exit(ExitCode.NO_CONNECTION)

    def _listen(self) -> None:
        decoder = Decoder()
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                data = b""
            if not data:  # the controller is gone; what the node's code started goes as well
                os.killpg(os.getpgrp(), signal.SIGKILL)
            for message in decoder.feed(data):
                match message:
                    case Work():
                        entry = _Entry(message)
                        with self._entries_lock:
                            self._entries[message.task] = entry
                        self._arrived.put(entry)
                    case Recall():
                        self._recall(message)
                    case _:
                        self._arrived.put(message)

    def _recall(self, message: Recall) -> None:
        with self._entries_lock:
            entries = [self._entries.pop(task, None) for task in message.tasks]
            found = [entry for entry in entries if entry is not None]
            for entry in found:
                entry.recalled = True
        self.send(Returned(tuple(entry.work.task for entry in found)))

    def _forget(self) -> None:
        os.close(self._socket.detach())


class _Worker:
    """What the main thread does."""

    def __init__(self, channel: Channel, setup: Setup) -> None:
        self._channel = channel
        self._setup = setup
        self._pid = os.getpid()
        self._unpacker = Unpacker()
        self._epoch = 0
        self._unreadable = False
        self._context: WorkerContext | None = None
        self._session = ExitStack()
        self._cancelled = False
        self._interruptible = False
        sys.argv = setup.argv
        adopt_provenance(setup.provenance)
        self._listen_to_sigterm()
        os.register_at_fork(after_in_child=self._in_child)

    def serve(self) -> None:
        """Compute what arrives until the controller says stop."""
        self._channel.send(Ready())
        for entry in self._channel.entries():
            work = entry.work
            if work.epoch != self._epoch:
                self._epoch, self._unpacker, self._unreadable = work.epoch, Unpacker(), False
            if self._unreadable:
                continue  # the controller knows, and sends it again
            if self._cancelled and not entry.recalled:
                self._channel.send(Returned((work.task,)))
                continue
            answer = self._compute(entry)
            if os.getpid() != self._pid:
                os._exit(ExitCode.FORKED)  # a fork in the node's code came back from it
            if isinstance(answer, Unreadable):
                self._unreadable = True
            if answer is not None:
                self._channel.send(answer)
            self._listen_to_sigterm()
        if self._cancelled:
            # The controller may have sent a node since it heard of the last one.
            self._channel.send(Leaving())
        self._session.close()

    def _compute(self, entry: _Entry) -> Finished | Unreadable | None:
        """Make one attempt; None for a task that was called back."""
        work = entry.work
        answer: Finished | Unreadable | None = None
        try:
            try:
                self._interruptible = True
                try:
                    # Whatever happens before it is unpacked: later ones may refer to parts of it.
                    context = self._enter(work.spec_key)
                    # Entering costs a tenth of a brief node, and only words an error better.
                    with importing_user_code(context) if work.new_class else nullcontext():
                        obj = self._unpacker.unpack(work.packed)
                except NodeCancelled:
                    raise
                except BaseException as error:  # noqa: BLE001 - a module may raise anything
                    traceback.print_exc()
                    answer = Unreadable(work.task, work.epoch, *_import_failure(error))
                else:
                    # One that was called back is only read: later ones may refer to parts of it.
                    if not entry.recalled:
                        answer = Finished(work.task, run_node(obj, rerun=work.rerun))
            finally:
                self._interruptible = False
        except (NodeCancelled, KeyboardInterrupt):
            # It may also hit between the end of the node and this line: then the result counts.
            if answer is None and not entry.recalled:
                answer = Finished(work.task, NodeResult("", Outcome.CANCELLED))
        except BaseException as error:  # noqa: BLE001 - such as GeneratorExit, which nothing catches
            traceback.print_exc()
            answer = Finished(work.task, _raised(error))
        return answer

    def _enter(self, spec_key: str) -> WorkerContext:
        """Be a worker for a spec key from now on."""
        if self._context is None or self._context.spec_key != spec_key:
            self._session.close()
            self._context = WorkerContext(
                executor=self._setup.executor, run_id=self._setup.run_id, spec_key=spec_key
            )
            self._session.enter_context(worker_session(self._context))
        return self._context

    def _listen_to_sigterm(self) -> None:
        """Have the next node interrupted by it, also where a module changed that when it was imported."""
        if signal.getsignal(signal.SIGTERM) != self._on_sigterm:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        # Whoever sent it, this process computes no more; if the run goes on, another takes its place.
        self._cancelled = True
        self._channel.stop()
        if self._interruptible:
            self._interruptible = False  # a second one must not hit while the first is recorded
            raise NodeCancelled("the run was cancelled")

    def _in_child(self) -> None:
        # Else `Process.terminate()` in the node's code would raise there instead of ending the child.
        self._interruptible = False
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _import_failure(error: BaseException) -> tuple[str, str]:
    """The type and text of what kept a node from being read."""
    failure = Failure.of(FailureKind.PROTOCOL, error)
    return failure.error_type, failure.message


def _raised(error: BaseException) -> NodeResult:
    return NodeResult("", Outcome.FAILED, failure=Failure.of(FailureKind.COMPUTE, error))
