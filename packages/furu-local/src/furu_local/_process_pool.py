"""A pool of worker processes, driven by one `select` loop: no threads, no polling.

Most nodes take seconds to days, and then a worker has one at a time. Where they take milliseconds,
sending a node to a worker and its result back would cost more than the node, so workers get several
ahead. Nodes that turn out to wait behind a long one are recalled as soon as another worker is free.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from furu_core.errors import FuruExecutorError
from furu_core.executors import Waker
from furu_core.workers import (
    NodeProcess,
    NodeReport,
    Origin,
    Watchdog,
    WorkerContext,
    kill_sessions,
)
from furu_local._devices import VARIABLE, Slot
from furu_plan import PlanNode
from furu_plan.runs import Broken, Ended, GivenBack, PoolEvent, Source, Task

_log = logging.getLogger("furu.run")

_BRIEF_SECS: Final = 0.02  # nodes that take less time are handed out ahead
_AHEAD_SECS: Final = 0.01  # how much work, in seconds, a worker gets ahead
_MOST_AHEAD: Final = 16
_LINGER_SHARE: Final = 0.5  # of the time that the worker with the fewest nodes will take for them
_LINGER_SECS: Final = 0.005
_PATIENCE_SECS: Final = 0.01  # when a node takes longer, those behind it are recalled
_STARTS: Final = 3  # when so many starts in a row fail, the pool is broken
_END_SECS: Final = 3.0  # how long exit handlers of the user's code may take at the end
_LOOK_SECS: Final = 0.5  # how often processes are looked at whose end wakes nothing


@attrs.frozen
class Launch:
    """What all worker processes of a run are started with.

    Attributes:
        origin: the settings, import folders and working directory that they get.
        environment: their environment, without the settings.
        logs: the folder of their own output.
    """

    origin: Origin
    environment: Mapping[str, str]
    logs: Path


class WorkerHandle:
    """A worker process, and the tasks that it has been given.

    Args:
        number: counts the workers of a run from 1.
        launch: how to start it.
        slot: the device it sees, if it is to have one of its own.
        watchdog: kills it if this process dies.
    """

    def __init__(self, number: int, launch: Launch, slot: Slot | None, watchdog: Watchdog) -> None:
        self.number = number
        self.slot = slot
        self.log = launch.logs / f"worker-{number}.log"
        self.tasks: dict[int, Task] = {}  # by the number of the order, as sent
        self.since = time.monotonic()  # when the first of them began
        self.process = NodeProcess(
            launch.origin,
            log=self.log,
            environment={
                **launch.environment,
                **({} if slot is None else {VARIABLE: slot.visible}),
            },
            idle_secs=None,
            watchdog=watchdog,
        )

    def fileno(self) -> int:
        """The file descriptor that becomes readable when the process has reported something."""
        return self.process.fileno()

    @property
    def idle(self) -> bool:
        """Whether it can begin a task at once."""
        return self.process.ready and not self.tasks

    def assign(self, task: Task, context: WorkerContext) -> None:
        """Give the worker a task, to be begun after those it has; `flush` sends it."""
        if not self.tasks:
            self.since = time.monotonic()
        node = task.node
        self.tasks[self.process.assign(node.obj, context, rerun=node.rerun)] = task

    def head(self) -> Task | None:
        """The task that it is working on."""
        return next(iter(self.tasks.values()), None)


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
        self._context = WorkerContext(executor=executor, run_id=run_id)
        self._contexts: dict[str, WorkerContext] = {}
        self._slots = slots
        self._workers: dict[int, WorkerHandle] = {}
        self._new: list[WorkerHandle] = []  # started, but not set up for this run yet
        self._count = 0
        self._failed_starts = 0
        self._watchdog: Watchdog | None = None
        self._seconds: float | None = None  # average time of the latest nodes
        self._starving_since: float | None = None
        self._due: float | None = None
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._selector.register(self._waker, selectors.EVENT_READ, None)

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
        """Wait until something happens, `feed` is due, or time is up; return what has happened."""
        limits = [] if timeout is None else [timeout]
        if self._due is not None:
            limits.append(self._due - time.monotonic())
        silent = [one for one in self._workers.values() if not one.process.tells_all]
        if silent:
            limits.append(_LOOK_SECS)
        self._linger()
        events: list[PoolEvent] = []
        heard = set(silent)
        for key, _ in self._selector.select(max(0.0, min(limits)) if limits else None):
            if key.data is None:
                self._waker.drain()
            else:
                heard.add(key.data)
        for worker in heard:
            events += self._hear(worker)
        return events

    def _linger(self) -> None:
        """Let reports of brief nodes come together, while every worker has others to do.

        Each report wakes this process, which takes as long as all that it does with it.
        """
        if not self._is_brief() or len(self._workers) < self._max_workers:
            return
        assert self._seconds is not None
        fewest = min(len(worker.tasks) for worker in self._workers.values())
        seconds = min(_LINGER_SHARE * fewest * self._seconds, _LINGER_SECS)
        if fewest > 1 and self._waker.sleep(seconds):
            self._waker.wake()  # `select` is to tell of it

    def wake(self) -> None:
        """Let a `wait` return at once; may be called from any thread and from signal handlers."""
        self._waker.wake()

    def recall(self) -> None:
        """Ask for all tasks back that were not begun; `wait` reports them."""
        for worker in self._workers.values():
            worker.process.recall()

    def cancel(self) -> None:
        """Interrupt the nodes being computed; `wait` reports how they ended."""
        for worker in self._workers.values():
            worker.process.interrupt()

    def kill(self) -> list[PoolEvent]:
        """End all tasks at once, as cancelled; nothing is left to wait for."""
        events: list[PoolEvent] = []
        workers = list(self._workers.values())
        self.cancel()
        _kill_all(workers)
        for worker in workers:
            while worker.tasks:
                events += self._hear(worker, timeout=1.0)
        return events

    def close(self) -> None:
        """End the workers: those with nothing to do may run their exit handlers, briefly."""
        self._waker.drain()
        workers = list(self._workers.values())
        leaving = [one.process for one in workers if one.process.came_up and not one.tasks]
        for process in leaving:
            process.dismiss()
        self._await_ends(leaving)
        _kill_all(workers)
        for worker in workers:
            self._remove(worker)
            with contextlib.suppress(OSError):
                if worker.log.stat().st_size == 0:
                    worker.log.unlink()
        if self._watchdog is not None:
            self._watchdog.close()
        self._selector.close()
        self._waker.close()

    # Handing out

    def _of(self, slot: Slot | None) -> Iterator[WorkerHandle]:
        return (worker for worker in self._workers.values() if worker.slot == slot)

    def _computing(self) -> int:
        return sum(bool(worker.tasks) for worker in self._workers.values())

    def _starting(self) -> int:
        return sum(not worker.process.came_up for worker in self._workers.values())

    def _feed_idle(self, source: Source, slot: Slot | None) -> None:
        for worker in list(self._of(slot)):
            if worker.idle and self._computing() < self._max_workers:
                task = source.take(slot)
                if task is None:
                    return
                self._assign(worker, task)
                worker.process.flush()

    def _assign(self, worker: WorkerHandle, task: Task) -> None:
        key = task.node.spec_key
        if key not in self._contexts:
            self._contexts[key] = attrs.evolve(self._context, spec_key=key)
        worker.assign(task, self._contexts[key])

    def _start_workers(self, source: Source, slot: Slot | None) -> None:
        of_slot = list(self._of(slot))
        if slot is not None and of_slot:
            return
        wanted = source.ready(slot) - sum(not worker.process.came_up for worker in of_slot)
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
        """Whether nodes have waited long enough that starting a process pays."""
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
            if self._watchdog is None:
                self._watchdog = Watchdog()
            self._count += 1
            worker = WorkerHandle(self._count, self._launch, slot, self._watchdog)
            worker.process.start()
        except (OSError, FuruExecutorError) as error:
            message = f"a worker process cannot be started: {_cause(error)}"
            if not self._workers:
                raise FuruExecutorError(
                    message, hint="stop other processes, or ask for fewer workers"
                ) from error
            _log.warning("%s; going on with %d", message, len(self._workers))
            self._max_workers = len(self._workers)
            return False
        self._workers[worker.number] = worker
        self._selector.register(worker, selectors.EVENT_READ, worker)
        self._new.append(worker)
        return True

    def _set_up_new(self) -> None:
        """Set new workers up for this run, once all of them have begun to start."""
        for worker in self._new:
            worker.process.flush()
        self._new.clear()

    def _is_brief(self) -> bool:
        return self._seconds is not None and self._seconds < _BRIEF_SECS

    def _feed_ahead(self, source: Source) -> None:
        assert self._seconds is not None
        depth = min(_MOST_AHEAD, 1 + int(_AHEAD_SECS / max(self._seconds, 1e-6)))
        workers = [worker for worker in self._of(None) if worker.process.ready and worker.tasks]
        for worker in workers:
            if len(worker.tasks) > depth // 2:
                continue  # sending several at once wakes the worker less often
            fair = 1 + source.ready(None) // len(workers)
            while len(worker.tasks) < min(depth, fair):
                task = source.take(None, ahead=True)
                if task is None:
                    break
                self._assign(worker, task)
            worker.process.flush()

    def _relieve(self, source: Source) -> None:
        """Recall tasks that wait behind a long node while another worker could do them."""
        behind = [worker for worker in self._of(None) if len(worker.tasks) > 1]
        if not behind or source.ready(None):
            return
        idle = any(worker.idle for worker in self._of(None))
        if not idle and self._computing() + self._starting() >= self._max_workers:
            return
        now = time.monotonic()
        for worker in behind:
            if now - worker.since >= _PATIENCE_SECS:
                worker.process.recall()
            else:
                self._be_due(worker.since + _PATIENCE_SECS)

    def _be_due(self, when: float) -> None:
        self._due = when if self._due is None else min(self._due, when)

    # Listening

    def _hear(self, worker: WorkerHandle, timeout: float = 0.0) -> list[PoolEvent]:
        was_up = worker.process.came_up
        events = [self._heard(worker, report) for report in worker.process.poll(timeout)]
        # Not with each node that another worker ends: those of a device may fail to start for ever.
        if worker.process.came_up and not was_up:
            self._failed_starts = 0
        if worker.process.pid is None:
            self._remove(worker)
            if not worker.process.came_up:
                self._failed_starts += 1
                if self._failed_starts >= _STARTS:
                    message = f"{worker.process.death}; so did {_STARTS - 1} before it"
                    events.append(Broken(message, worker.log))
        return events

    def _heard(self, worker: WorkerHandle, report: NodeReport) -> PoolEvent:
        task = worker.tasks.pop(report.number)
        if report.result is None:
            return GivenBack(task)
        worker.since = time.monotonic()
        if report.result.seconds:  # otherwise it died, and its time is not known
            self._note_seconds(report.result.seconds)
        return Ended(task, report.result)

    def _note_seconds(self, seconds: float) -> None:
        self._seconds = seconds if self._seconds is None else 0.7 * self._seconds + 0.3 * seconds

    # Ends

    def _remove(self, worker: WorkerHandle) -> None:
        del self._workers[worker.number]
        self._selector.unregister(worker)
        worker.process.close(patience=0.0)

    def _await_ends(self, leaving: list[NodeProcess]) -> None:
        """Wait a little for processes that end by themselves, unless the end is wanted at once."""
        deadline = time.monotonic() + _END_SECS
        while staying := [process for process in leaving if not process.has_ended()]:
            left = deadline - time.monotonic()
            telling = [process for process in staying if process.tells_all]
            if len(telling) < len(staying):
                left = min(left, 0.01)
            # A wake-up now means that the run is to end at once.
            if time.monotonic() > deadline or self._waker.sleep(left, *telling):
                return
            for process in staying:
                process.poll()  # an unread report would end each further wait at once


def _cause(error: OSError | FuruExecutorError) -> object:
    """The system's reason why no process can be started."""
    told = error if isinstance(error, OSError) else error.__cause__
    return (told.strerror if isinstance(told, OSError) else None) or error


def _kill_all(workers: list[WorkerHandle]) -> None:
    """Kill worker processes, with all that they have started, at once."""
    kill_sessions({pid for worker in workers if (pid := worker.process.pid) is not None})
