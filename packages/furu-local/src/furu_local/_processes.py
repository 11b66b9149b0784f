"""A pool of worker processes, driven by one `select` loop: no threads, no polling.

Most nodes take seconds to days, and then a worker has one at a time. Where they take milliseconds, the
way to a worker and back would cost more than the node, so workers get some ahead; what turns out to
lie behind a long node is called back as soon as somebody else could do it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import selectors
import sys
import time
from collections.abc import Iterator
from typing import Final

from furu_core.errors import FuruExecutorError
from furu_core.executors import (
    Failure,
    FailureKind,
    NodeResult,
    Outcome,
    Watchdog,
    death_result,
    kill_sessions,
    process_provenance,
)
from furu_local._deaths import described_exit
from furu_local._devices import Slot
from furu_local._process import Launch, WorkerProcess
from furu_local._wire import (
    Finished,
    FromWorker,
    Leaving,
    Ready,
    Recall,
    Returned,
    Setup,
    Stop,
    Unreadable,
)
from furu_plan import PlanNode
from furu_plan.runs import Broken, Ended, GivenBack, PoolEvent, Source

_log = logging.getLogger("furu.run")

_BRIEF_SECS: Final = 0.02  # nodes that take less are handed out ahead
_AHEAD_SECS: Final = 0.01  # as many as take so long together
_MOST_AHEAD: Final = 16
_PATIENCE_SECS: Final = 0.01  # a node that takes longer holds up those behind it
_START_SECS: Final = 300.0  # a worker that is not ready by then never will be
_STARTS: Final = 3  # so many in a row that fail are no accident
_END_SECS: Final = 3.0  # for exit handlers of the user's code when all is done
_LOOK_SECS: Final = 0.5  # between two looks at processes where nothing tells of their end


class ProcessPool:
    """Worker processes of one run.

    Args:
        max_workers: how many may compute at once.
        launch: what to start them with.
        executor: the executor's name.
        run_id: the run.
        slots: places with a device of their own; each gets a process of its own.
    """

    def __init__(
        self, max_workers: int, launch: Launch, executor: str, run_id: str, slots: tuple[Slot, ...]
    ) -> None:
        self._max_workers = max_workers
        self._launch = launch
        self._executor = executor
        self._run_id = run_id
        self._slots = slots
        self._workers: dict[int, WorkerProcess] = {}
        self._new: list[WorkerProcess] = []  # started, and not told yet what they are for
        self._count = 0
        self._failed_starts = 0
        self._guard: Watchdog | None = None
        self._seconds: float | None = None  # what nodes took lately
        self._starving_since: float | None = None
        self._due: float | None = None
        self._selector = selectors.DefaultSelector()
        self._waking, self._woken = os.pipe()
        for fd in (self._waking, self._woken):
            os.set_blocking(fd, False)
        self._selector.register(self._waking, selectors.EVENT_READ, None)

    # What the controller asks for

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""
        return sum(len(worker.tasks) for worker in self._workers.values())

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes being computed, and since when by `time.monotonic`."""
        heads = [(worker.head(), worker.since) for worker in self._workers.values()]
        return [(task.node, since) for task, since in heads if task is not None]

    def feed(self, source: Source) -> None:
        """Take as many tasks as workers can use now, and start workers for them."""
        self._due = None
        # Devices are scarcer than processors, so their nodes come first.
        for slot in (*self._slots, None):
            self._feed_idle(source, slot)
            self._start_workers(source, slot)
        self._set_up_new()
        if self._is_brief():
            self._feed_ahead(source)
        self._relieve(source)

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """What has happened; waits until something does, or `feed` is due, or time is up."""
        limits = [] if timeout is None else [timeout]
        if self._due is not None:
            limits.append(self._due - time.monotonic())
        if any(worker.pidfd is None for worker in self._workers.values()):
            limits.append(_LOOK_SECS)
        if any(not worker.ready for worker in self._workers.values()):
            limits.append(_START_SECS)
        events: list[PoolEvent] = []
        for key, mask in self._selector.select(max(0.0, min(limits)) if limits else None):
            worker: WorkerProcess | None = key.data
            if worker is None:
                self._drain_wake_ups()
            elif worker.number in self._workers:  # else it was buried a moment ago
                if mask & selectors.EVENT_WRITE:
                    self._flush(worker)
                events += self._hear(worker, ended=key.fileobj == worker.pidfd)
        events += self._look_after()
        return events

    def wake(self) -> None:
        """Let a `wait` return at once; may be called from any thread and from signal handlers."""
        with contextlib.suppress(OSError):  # full of wake-ups already, or closed
            os.write(self._woken, b"!")

    def recall(self) -> None:
        """Ask for all tasks back that were not begun; `wait` reports them."""
        for worker in self._workers.values():
            self._call_back(worker)

    def cancel(self) -> None:
        """Interrupt the nodes being computed; `wait` reports how they ended."""
        for worker in self._workers.values():
            self._call_back(worker)
            worker.terminate()

    def kill(self) -> list[PoolEvent]:
        """End all tasks at once, as cancelled; nothing is left to wait for."""
        events: list[PoolEvent] = []
        workers = list(self._workers.values())
        kill_sessions({worker.pid for worker in workers})
        for worker in workers:
            events += self._hear_messages(worker)[0]
            events += self._bury(worker, FailureKind.CANCELLED, "its run was cancelled")
        return events

    def close(self) -> None:
        """End the workers: those with nothing to do may run their exit handlers, briefly."""
        self._drain_wake_ups()
        workers = list(self._workers.values())
        for worker in workers:
            if worker.ready and not worker.tasks:
                worker.send(Stop())
        leaving = [worker for worker in workers if worker.ready and not worker.tasks]
        self._await_ends(leaving)
        kill_sessions({worker.pid for worker in workers})
        for worker in workers:
            self._remove(worker)
            worker.bury(patience=0.0)
            with contextlib.suppress(OSError):
                if worker.log.stat().st_size == 0:
                    worker.log.unlink()
        if self._guard is not None:
            self._guard.close()
        self._selector.close()
        os.close(self._waking)
        os.close(self._woken)

    # Handing out

    def _of(self, slot: Slot | None) -> Iterator[WorkerProcess]:
        return (worker for worker in self._workers.values() if worker.slot == slot)

    def _computing(self) -> int:
        return sum(bool(worker.tasks) for worker in self._workers.values())

    def _starting(self) -> int:
        return sum(not worker.ready for worker in self._workers.values())

    def _feed_idle(self, source: Source, slot: Slot | None) -> None:
        for worker in list(self._of(slot)):
            if worker.idle and not worker.cancelled and self._computing() < self._max_workers:
                task = source.take(slot)
                if task is None:
                    return
                worker.assign(task)
                self._flush(worker)

    def _start_workers(self, source: Source, slot: Slot | None) -> None:
        of_slot = list(self._of(slot))
        if slot is not None and of_slot:
            return
        wanted = source.ready(slot) - sum(not worker.ready for worker in of_slot)
        if slot is not None:
            wanted = min(wanted, 1)
        room = self._max_workers - self._computing() - self._starting()
        if slot is None:
            room = min(room, self._max_workers - len(of_slot))
        wanted = min(wanted, room)
        if slot is None and wanted <= 0:
            self._starving_since = None
        if wanted <= 0 or not self._is_worth_starting():
            return
        for _ in range(wanted):
            if not self._start(slot):
                return

    def _is_worth_starting(self) -> bool:
        """Whether nodes wait for long enough that a new process will be of use to them."""
        if not self._is_brief() or not self._computing():
            return True
        now = time.monotonic()
        if self._starving_since is None:
            self._starving_since = now
        if now - self._starving_since >= _BRIEF_SECS:
            return True
        self._be_due(self._starving_since + _BRIEF_SECS)
        return False

    def _start(self, slot: Slot | None) -> bool:
        try:
            if self._guard is None:
                self._guard = Watchdog()
            self._count += 1
            worker = WorkerProcess(self._count, self._launch, slot)
        except OSError as error:
            message = f"a worker process cannot be started: {error.strerror or error}"
            if not self._workers:
                raise FuruExecutorError(
                    message, hint="stop other processes, or ask for fewer workers"
                ) from error
            _log.warning("%s; going on with %d", message, len(self._workers))
            self._max_workers = len(self._workers)
            return False
        self._guard.add(worker.pid)
        self._workers[worker.number] = worker
        self._selector.register(worker.socket, selectors.EVENT_READ, worker)
        if worker.pidfd is not None:
            self._selector.register(worker.pidfd, selectors.EVENT_READ, worker)
        self._new.append(worker)
        return True

    def _set_up_new(self) -> None:
        """Tell new workers what they are for, once all of them have begun to start."""
        if not self._new:
            return
        setup = Setup(sys.argv, self._executor, self._run_id, process_provenance().record)
        for worker in self._new:
            worker.send(setup)
            self._watch_socket(worker)
        self._new.clear()

    def _flush(self, worker: WorkerProcess) -> None:
        worker.flush()
        self._watch_socket(worker)

    def _is_brief(self) -> bool:
        return self._seconds is not None and self._seconds < _BRIEF_SECS

    def _feed_ahead(self, source: Source) -> None:
        assert self._seconds is not None
        depth = min(_MOST_AHEAD, 1 + int(_AHEAD_SECS / max(self._seconds, 1e-6)))
        workers = [worker for worker in self._of(None) if worker.ready and worker.tasks]
        for worker in workers:
            if worker.cancelled or worker.stopping:
                continue
            if len(worker.tasks) > depth // 2:
                continue  # several at once wake the worker less often
            fair = 1 + source.ready(None) // len(workers)
            while len(worker.tasks) < min(depth, fair):
                task = source.take(None, ahead=True)
                if task is None:
                    break
                worker.assign(task)
            self._flush(worker)

    def _relieve(self, source: Source) -> None:
        """Call tasks back that lie behind a long node while somebody else could do them."""
        behind = [worker for worker in self._of(None) if len(worker.tasks) > 1]
        if not behind or source.ready(None):
            return
        idle = any(worker.idle for worker in self._of(None))
        if not idle and self._computing() + self._starting() >= self._max_workers:
            return
        now = time.monotonic()
        for worker in behind:
            if now - worker.since >= _PATIENCE_SECS:
                self._call_back(worker)
            else:
                self._be_due(worker.since + _PATIENCE_SECS)

    def _call_back(self, worker: WorkerProcess) -> None:
        tasks = worker.not_begun()
        if tasks and not worker.recalling:
            worker.recalling = True
            worker.send(Recall(tuple(tasks)))
            self._watch_socket(worker)

    def _be_due(self, when: float) -> None:
        self._due = when if self._due is None else min(self._due, when)

    # Listening

    def _watch_socket(self, worker: WorkerProcess) -> None:
        events = selectors.EVENT_READ
        if worker.wants_to_send:
            events |= selectors.EVENT_WRITE
        if self._selector.get_key(worker.socket).events != events:
            self._selector.modify(worker.socket, events, worker)

    def _hear(self, worker: WorkerProcess, *, ended: bool) -> list[PoolEvent]:
        events, at_end = self._hear_messages(worker)
        if at_end or ended:
            events += self._bury(worker, FailureKind.LOST, "", patience=1.0)
        return events

    def _hear_messages(self, worker: WorkerProcess) -> tuple[list[PoolEvent], bool]:
        messages, at_end = worker.receive()
        events: list[PoolEvent] = []
        for message in messages:
            events += self._heard(worker, message)
        return events, at_end

    def _heard(self, worker: WorkerProcess, message: FromWorker) -> list[PoolEvent]:
        match message:
            case Ready():
                worker.ready = True
                self._failed_starts = 0
                return []
            case Finished(number, result):
                task = worker.finished(number)
                if task is None:
                    return []
                self._note_seconds(result.seconds)
                return [Ended(task, result)]
            case Returned(numbers):
                worker.recalling = False
                tasks = [worker.tasks.pop(number, None) for number in numbers]
                return [GivenBack(task) for task in tasks if task is not None]
            case Leaving():
                worker.stopping = True
                left = list(worker.tasks.values())
                worker.tasks.clear()
                return [GivenBack(task) for task in left]
            case Unreadable():
                return self._unreadable(worker, message)

    def _unreadable(self, worker: WorkerProcess, message: Unreadable) -> list[PoolEvent]:
        events: list[PoolEvent] = []
        for task in worker.start_epoch(message.epoch):
            if task.number != message.task:
                events.append(GivenBack(task))
                continue
            failure = Failure(
                FailureKind.PROTOCOL,
                message.error_type,
                message.message,
                task.node.name,
                task.node.hash,
                worker.log,
            )
            events.append(Ended(task, NodeResult(task.node.hash, Outcome.FAILED, None, failure)))
        return events

    def _note_seconds(self, seconds: float) -> None:
        self._seconds = seconds if self._seconds is None else 0.7 * self._seconds + 0.3 * seconds

    def _look_after(self) -> list[PoolEvent]:
        """Notice workers that end or hang without telling."""
        events: list[PoolEvent] = []
        now = time.monotonic()
        for worker in list(self._workers.values()):
            if worker.pidfd is None and worker.has_ended():
                events += self._hear(worker, ended=True)
            elif not worker.ready and now - worker.since > _START_SECS:
                events += self._bury(worker, FailureKind.LOST, "")
        return events

    # Ends

    def _bury(
        self, worker: WorkerProcess, kind: FailureKind, message: str, *, patience: float = 0.0
    ) -> list[PoolEvent]:
        self._remove(worker)
        code = worker.bury(patience=patience)
        if self._guard is not None:
            self._guard.remove(worker.pid)
        if worker.cancelled:
            kind, message = FailureKind.CANCELLED, "its run was cancelled"
        if not message:
            message = described_exit(worker.pid, code)
        if not worker.ready and kind is FailureKind.LOST:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                return [Broken(f"{message}; so did {_STARTS - 1} before it", worker.log)]
        tasks = list(worker.tasks.values())
        events: list[PoolEvent] = [GivenBack(task) for task in tasks[1:]]
        if tasks:
            head = tasks[0]
            result = death_result(head.node.obj, worker.pid, kind, message, rerun=head.node.rerun)
            events.append(Ended(head, result))
        worker.tasks.clear()
        return events

    def _remove(self, worker: WorkerProcess) -> None:
        del self._workers[worker.number]
        self._selector.unregister(worker.socket)
        if worker.pidfd is not None:
            self._selector.unregister(worker.pidfd)

    def _drain_wake_ups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._waking, 4096):
                pass

    def _await_ends(self, leaving: list[WorkerProcess]) -> None:
        """Wait a little for processes that end by themselves, unless somebody is impatient."""
        deadline = time.monotonic() + _END_SECS
        while staying := [worker for worker in leaving if not worker.has_ended()]:
            left = deadline - time.monotonic()
            poll = select.poll()
            poll.register(self._waking, select.POLLIN)
            for worker in staying:
                if worker.pidfd is None:
                    left = min(left, 0.01)
                else:
                    poll.register(worker.pidfd, select.POLLIN)
            # A wake-up now is somebody who wants the run to end at once.
            if time.monotonic() > deadline or any(
                fd == self._waking for fd, _ in poll.poll(max(0.0, 1000 * left))
            ):
                return
