"""Nodes computed by threads of this process, or by the calling thread itself.

Both share the process with the program that runs them, so they start at once, and can be neither
killed nor isolated: a node that crashes takes the program with it, and one that is cancelled ends
only when its code returns to the Python interpreter.
"""

from __future__ import annotations

import ctypes
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context

import attrs

from furu_core.errors import FuruExecutorError, NodeCancelled
from furu_core.executors import Failure, FailureKind, Waker
from furu_core.workers import NodeResult, Outcome, WorkerContext, run_node, worker_session
from furu_plan import PlanNode
from furu_plan.runs import Ended, GivenBack, PoolEvent, Source, Task

_log = logging.getLogger("furu.run")


def compute(task: Task, context: WorkerContext) -> NodeResult:
    """Make one attempt at a task's node in the calling thread; it never raises."""
    node = task.node
    result = NodeResult(node.hash, Outcome.CANCELLED)
    try:
        with worker_session(attrs.evolve(context, spec_key=node.spec_key)):
            result = run_node(node.obj, rerun=node.rerun)
    except (NodeCancelled, KeyboardInterrupt):
        pass  # it arrived between two steps of run_node; what that has recorded so far stands
    except BaseException as error:  # noqa: BLE001 - such as GeneratorExit, which nothing catches
        failure = Failure.of(FailureKind.COMPUTE, error, node=node.name, hash=node.hash)
        result = NodeResult(node.hash, Outcome.FAILED, failure=failure)
    return result


class InlinePool:
    """A pool without workers: the calling thread computes, one node at a time, inside `wait`."""

    def __init__(self, executor: str, run_id: str) -> None:
        # The calling thread has the terminal: nodes print to it, so that a debugger can be used there.
        self._context = WorkerContext(executor=executor, run_id=run_id, echo=True)
        self._task: Task | None = None
        self._since = 0.0
        self._computing = False
        # A `SimpleQueue`, because a signal handler may put into it while its thread is using it.
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""
        return int(self._task is not None)

    def running(self) -> list[tuple[PlanNode, float]]:
        """The node that is to be computed by the next `wait`, if there is one."""
        return [] if self._task is None else [(self._task.node, self._since)]

    def feed(self, source: Source) -> None:
        """Take a task."""
        if self._task is None:
            self._task = source.take(None)
            self._since = time.monotonic()

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """Compute the task that was taken; without one, wait."""
        if self._task is None:
            with suppress(queue.Empty):
                self._wake_ups.get(timeout=timeout)
            return []
        result = NodeResult(self._task.node.hash, Outcome.CANCELLED)
        try:
            try:
                self._computing = True
                result = compute(self._task, self._context)
            finally:
                self._computing = False
        except NodeCancelled:
            pass  # the signal arrived between the end of the node and this line
        task, self._task = self._task, None
        return [Ended(task, result)]

    def wake(self) -> None:
        """Let a `wait` return at once; in a signal handler, interrupt the node being computed."""
        self._wake_ups.put(None)
        if self._computing and threading.current_thread() is threading.main_thread():
            self._computing = False
            raise NodeCancelled("the run was cancelled")

    def recall(self) -> None:
        """Do nothing: a task that was taken is computed at once."""

    def cancel(self) -> None:
        """Do nothing: no node is being computed while the controller's thread is here."""

    def kill(self) -> list[PoolEvent]:
        """Give back the task that was taken and not begun."""
        task, self._task = self._task, None
        return [] if task is None else [GivenBack(task)]

    def close(self) -> None:
        """Do nothing: there are no workers to end."""


@attrs.define(eq=False)
class _WorkerThread:
    tasks: queue.SimpleQueue[Task | None] = attrs.field(factory=queue.SimpleQueue)
    task: Task | None = None
    since: float = 0.0
    thread: threading.Thread | None = None
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _computing: bool = False
    _cancelled: bool = False

    def assign(self, task: Task) -> None:
        """Give the thread, which must be idle, a task to compute."""
        self.task, self.since = task, time.monotonic()
        self._computing = self._cancelled = False
        self.tasks.put(task)

    def interrupt(self) -> None:
        """Raise `NodeCancelled` in the code of the task's node; once, and in no other code.

        In other code it would end the thread, and the tasks it is given next would not be computed.
        """
        with self._lock:
            if self._computing and not self._cancelled:
                self._raise_in_thread(NodeCancelled)
            self._cancelled = True

    def compute(self, task: Task, context: WorkerContext) -> NodeResult:
        """Make one attempt at a task's node, in this worker's thread; it never raises."""
        result = NodeResult(task.node.hash, Outcome.CANCELLED)
        try:
            try:
                if self._begin():
                    result = compute(task, context)
            finally:
                self._end()
        except NodeCancelled:
            pass  # it was raised while the node ended
        return result

    def _begin(self) -> bool:
        with self._lock:
            self._computing = not self._cancelled
            return self._computing

    def _end(self) -> None:
        with self._lock:
            self._computing = False
            self._raise_in_thread(None)  # withdraw an exception that has not been raised yet

    def _raise_in_thread(self, error: type[BaseException] | None) -> None:
        assert self.thread is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.thread.ident or 0),
            None if error is None else ctypes.py_object(error),
        )


class ThreadPool:
    """Worker threads of one run.

    Args:
        max_workers: how many may compute at once.
        executor: the executor's name.
        run_id: the run.
    """

    def __init__(self, max_workers: int, executor: str, run_id: str) -> None:
        self._context = WorkerContext(executor=executor, run_id=run_id, whole_process=False)
        self._max_workers = max_workers
        self._workers: list[_WorkerThread] = []
        self._reports: deque[tuple[_WorkerThread, Task, NodeResult]] = deque()
        self._waker = Waker()
        self._session = ExitStack()
        self._session.enter_context(_process_session(self._context))

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""
        return sum(worker.task is not None for worker in self._workers)

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes being computed, and since when by `time.monotonic`."""
        tasks = [(worker.task, worker.since) for worker in self._workers]
        return [(task.node, since) for task, since in tasks if task is not None]

    def feed(self, source: Source) -> None:
        """Take as many tasks as there are threads with nothing to do, and start threads."""
        for worker in self._workers:
            if worker.task is None and not self._assign(worker, source):
                return
        while len(self._workers) < self._max_workers and source.ready(None):
            started = self._start()
            if started is None:
                return
            self._workers.append(started)
            if not self._assign(started, source):
                return

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """Wait until something happens, or time is up; return what has happened."""
        self._waker.sleep(0.0 if self._reports else timeout)
        events: list[PoolEvent] = []
        while self._reports:
            worker, task, result = self._reports.popleft()
            worker.task = None
            events.append(Ended(task, result))
        return events

    def wake(self) -> None:
        """Let a `wait` return at once; may be called from any thread and from signal handlers."""
        self._waker.wake()

    def recall(self) -> None:
        """Do nothing: every task that was taken is being computed."""

    def cancel(self) -> None:
        """Raise `NodeCancelled` in the threads, as soon as they run Python code."""
        for worker in self._workers:
            if worker.task is not None:
                worker.interrupt()

    def kill(self) -> list[PoolEvent]:
        """Report all tasks as cancelled, and leave threads running that cannot be stopped.

        They end with the program.
        """
        events: list[PoolEvent] = []
        for worker in self._workers:
            if worker.task is not None:
                _log.warning(
                    "%s cannot be stopped, because it runs in a thread: it goes on until its code "
                    "comes back to Python or this program ends",
                    worker.task.node.name,
                )
                events.append(
                    Ended(worker.task, NodeResult(worker.task.node.hash, Outcome.CANCELLED))
                )
                worker.task = None
        return events

    def close(self) -> None:
        """Let the threads end."""
        for worker in self._workers:
            worker.tasks.put(None)
        for worker in self._workers:
            if worker.task is None and worker.thread is not None:
                worker.thread.join(0.5)
        self._session.close()
        # The pipe stays open while a thread that was left running may still write to it.
        if not any(
            worker.thread is not None and worker.thread.is_alive() for worker in self._workers
        ):
            self._waker.close()

    def _start(self) -> _WorkerThread | None:
        """Start a further worker; None where no more threads can be started."""
        worker = _WorkerThread()
        worker.thread = threading.Thread(
            target=self._serve,
            args=(worker,),
            name=f"furu-worker-{len(self._workers) + 1}",
            # A thread that cannot be stopped must not keep the program from ending.
            daemon=True,
        )
        try:
            worker.thread.start()
        except RuntimeError as error:
            if not self._workers:
                raise FuruExecutorError(
                    f"no thread can be started that computes nodes: {error}",
                    hint="the threads and processes that you may have here are used up (`ulimit -u`): "
                    "end some or raise the limit, and run the same command again",
                ) from error
            self._max_workers = len(self._workers)
            _log.warning("%s, so the run goes on with %d workers", error, self._max_workers)
            return None
        return worker

    def _assign(self, worker: _WorkerThread, source: Source) -> bool:
        task = source.take(None)
        if task is None:
            return False
        worker.assign(task)
        return True

    def _serve(self, worker: _WorkerThread) -> None:
        while (task := worker.tasks.get()) is not None:
            self._reports.append((worker, task, worker.compute(task, self._context)))
            self.wake()


_sessions = 0
_session = ExitStack()
_lock = threading.Lock()
_variables = copy_context()  # every thread enters and leaves sessions in this one context


@contextmanager
def _process_session(context: WorkerContext) -> Iterator[None]:
    """Forbid `get()` to compute in threads that nodes start, which belong to no worker."""
    global _sessions
    with _lock:
        # Sessions of the whole process must end in reverse order, which runs may not: they share one.
        if not _sessions:
            whole = worker_session(attrs.evolve(context, whole_process=True))
            _variables.run(_session.enter_context, whole)
        _sessions += 1
    try:
        yield
    finally:
        with _lock:
            _sessions -= 1
            if not _sessions:
                _variables.run(_session.close)
