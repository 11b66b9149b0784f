"""The pool of a run, as its controller uses it: it queues tasks and reports their outcomes."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from furu_core import Settings
from furu_core.executors import Failure, FailureKind, Waker
from furu_core.planning import NodeState, StateReader
from furu_core.workers import NodeResult, Outcome, record_death
from furu_plan import PlanNode
from furu_plan.runs import Begun, Broken, Ended, GivenBack, HandedOver, PoolEvent, Source, Task
from furu_slurm import same_job
from furu_slurm_pool._controller._fleet import Fleet
from furu_slurm_pool._controller._recovery import Recovered
from furu_slurm_pool._controller._request import Request
from furu_slurm_pool._controller._task_queue import OpenTask, TaskQueue
from furu_slurm_pool._controller._terms import Term
from furu_slurm_pool._controller._workers import LostWorker, Worker
from furu_slurm_pool._queue._reports import TaskEnd, TaskReport
from furu_slurm_pool._queue._run_folder import order_stop, unwritable

_log = logging.getLogger("furu.pool")

_FIRST_PAUSE_SECS: Final = 0.01
_AT_ONCE: Final = 200  # how many tasks are queued before the loop reads reports again
_SLOW_SECS: Final = 0.25  # how often is looked at what changes less often
_INVISIBLE_SECS: Final = 60.0  # for so long a network filesystem may hide an artifact
_LEAVE_SECS: Final = 2.0  # how long workers may take to leave once the run is over
_TASKS_A_WORKER: Final = 20  # that wait in the queue, so that no worker is idle
_TASKS: Final = 2_000


class QueuePool:
    """Workers that take tasks from a queue in the run's folder.

    Args:
        term: of this controller.
        fleet: the workers.
        request: the options of the run.
        settings: the settings of the run.
        nodes: the nodes to be computed, as far as they are known.
        recovered: tasks and reports that earlier controllers left.
        code: the digest of the snapshot whose code is to compute nodes; empty for none.
        waker: wakes `wait`; closed at the end.

    Attributes:
        on_stop: called when another process asks the run to stop.
        is_over: whether another controller has the run, or is to have it.
    """

    def __init__(
        self,
        term: Term,
        fleet: Fleet,
        request: Request,
        settings: Settings,
        *,
        nodes: Iterable[PlanNode],
        recovered: Recovered,
        code: str,
        waker: Waker,
    ) -> None:
        self.on_stop: Callable[[], None] = lambda: None
        self.is_over = False
        self._term = term
        self._fleet = fleet
        self._recovered = recovered
        self._queue = TaskQueue(
            *(term.run_folder, term.number, nodes),
            code=code,
            heard=recovered.files,
            lease_secs=settings.lease_secs,
        )
        self._depth = _TASKS + _TASKS_A_WORKER * request.max_workers_total
        self._poll_secs = request.poll_interval_sec
        self._visible_secs = (
            0.0 if request.local_store else max(settings.lease_secs, _INVISIBLE_SECS)
        )
        self._waker = waker
        self._events: deque[PoolEvent] = deque()
        # Tasks whose artifacts are not visible yet, their workers' results, and since when.
        self._unseen: dict[str, tuple[OpenTask, NodeResult, float]] = {}
        self._reported_attempts: dict[str, int] = {}  # the latest ones, by the hash of the node
        self._begun_tasks: set[int] = set()  # numbers of tasks, each of which begins once
        self._recalling = False
        self._hurried = False
        self._handing_over = False
        self._more = False
        self._pause = _FIRST_PAUSE_SECS
        self._next_slow = 0.0

    # What the controller asks for

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""
        told = sum(not isinstance(event, Begun) for event in self._events)
        return len(self._queue.open) + len(self._unseen) + told

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes that workers had at the last look, and since when by `time.monotonic`."""
        return [(one.node, one.since) for one in self._queue.open.values() if one.begun]

    def task_of(self, node_hash: str) -> str:
        """The name of a node's latest task."""
        return self._queue.last_task(node_hash)

    def feed(self, source: Source) -> None:
        """Queue ready nodes, and have workers for them."""
        self._settle()
        taken: list[Task] = []
        room = min(_AT_ONCE, self._depth - len(self._queue.open))
        while len(taken) < room:
            task = source.take(None, queued=True)
            if task is None:
                break
            taken.append(task)
        self._queue.describe(task.node for task in taken)
        for task in taken:
            if not self._goes_on(task):
                self._queue.enqueue(task)
        self._more = source.ready(None) > 0 and len(self._queue.open) < self._depth
        self._scale()

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """Wait until something happens, `feed` is due, or time is up; return what has happened."""
        self._settle()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._look()
            if self._events:
                self._pause = _FIRST_PAUSE_SECS
                events = list(self._events)
                self._events.clear()
                return events
            if self._more:
                return []
            pause = self._pause
            self._pause = min(1.3 * self._pause, self._poll_secs)
            if deadline is not None:
                pause = min(pause, deadline - time.monotonic())
            if self._waker.sleep(pause) or (deadline is not None and time.monotonic() >= deadline):
                return []

    def wake(self) -> None:
        """Let a `wait` return at once; may be called from any thread and from signal handlers."""
        self._hurried = True
        self._waker.wake()

    def recall(self) -> None:
        """Take all tasks back that no worker has; `wait` reports them."""
        self._recalling = True
        self._events += [GivenBack(one.task) for one in self._queue.withdraw_waiting()]

    def cancel(self) -> None:
        """Interrupt the nodes being computed; `wait` reports how they ended."""
        self.recall()
        order_stop(self._term.run_folder)
        self._fleet.cancel(self._fleet.workers())

    def kill(self) -> list[PoolEvent]:
        """End all tasks at once, as cancelled; nothing is left to wait for."""
        if not self.is_over:
            order_stop(self._term.run_folder)
            self._fleet.cancel(self._fleet.workers())
        events = list(self._events)
        self._events.clear()
        # Tasks that no worker has begun were neither started nor interrupted.
        events += [GivenBack(one.task) for one in self._queue.open.values() if not one.begun]
        begun = [one for one in self._queue.open.values() if one.begun]
        for one in (*begun, *(one for one, _, _ in self._unseen.values())):
            failure = _failure(one.node, FailureKind.CANCELLED, "its run was cancelled")
            result = NodeResult(one.node.hash, Outcome.CANCELLED, None, failure)
            events.append(Ended(one.task, result))
        self._queue.open.clear()
        self._unseen.clear()
        return events

    def close(self) -> None:
        """End the workers."""
        if self.is_over:
            self._fleet.abandon()
        else:
            self._settle()
            order_stop(self._term.run_folder)
            self._hurried = False  # earlier requests to end at once have been met
            self._fleet.end(patience=self._poll_secs + _LEAVE_SECS, hurried=self._is_hurried)
        self._waker.close()

    def hand_over(self) -> None:
        """End soon, and leave workers and queue to the next controller."""
        self._handing_over = True
        self._next_slow = 0.0
        self.wake()

    # Queueing

    def _goes_on(self, task: Task) -> bool:
        """Whether an attempt from an earlier controller's term goes on as this task."""
        node_hash = task.node.hash
        reported = self._recovered.reported.pop(node_hash, None)
        if reported is not None:
            report, worker = reported
            self._ended(self._queue.resume(task, report.task), report, worker)
            return True
        name = self._recovered.claimed.pop(node_hash, None)
        if name is not None:
            self._queue.open[name] = resumed = self._queue.resume(task, name)
            self._begin(resumed)
        return name is not None

    def _requeue(self, one: OpenTask) -> None:
        """Queue a task again, or give it back, because it was not begun after all."""
        if self._recalling:
            self._events.append(GivenBack(one.task))
        else:
            self._queue.enqueue(one.task, again=True)

    def _scale(self) -> None:
        if not self._recalling:
            try:
                self._fleet.scale(self._queue.demand())
            except OSError as error:
                raise unwritable(self._term.run_folder, error) from error

    # Reports, orders and lost workers

    def _look(self) -> None:
        self._read_reports()
        now = time.monotonic()
        if now < self._next_slow:
            return
        self._next_slow = now + min(_SLOW_SECS, self._poll_secs)
        self._term.beat()
        if self._handing_over:
            self._hand_over(
                "this controller hands the run over", hint="the next one goes on with it"
            )
            return
        if self._term.is_asked_to_stop():
            self.on_stop()
        if self._term.is_over():
            self._hand_over(
                "another process controls this run now, because this one gave no sign of life",
                hint="see `furu pool status`; raise FURU_LEASE_SECS if machines here stall that long",
            )
            return
        gone = self._fleet.look()
        broken = [one for one in gone if one.is_hopeless]
        if broken:
            self._events.append(Broken(broken[0].why, broken[0].worker.log))
            return
        # One reader for all, because it lists whole classes, and many machines may fail at once.
        reader = StateReader()
        for one in gone:
            self._take_back_tasks(one, reader)
        self._confirm()
        begun, lost = self._queue.look()
        for open_task in begun:
            self._begin(open_task)
        for open_task in lost:
            _log.warning("the task of %s is gone, and queued again", open_task.node.name)
            self._requeue(self._queue.open.pop(open_task.name))
        # The death of an idle worker makes no event, so `feed` might not be called for long.
        self._scale()

    def _hand_over(self, why: str, *, hint: str) -> None:
        self.is_over = True
        self._events.append(HandedOver(why, hint))

    def _read_reports(self) -> None:
        for told in self._queue.new_reports():
            self._fleet.note_begun(told.worker)
            for report in told.tasks:
                one = self._queue.open.pop(report.task, None)
                if one is not None:
                    self._ended(one, report, told.worker)
                else:
                    self._recovered.add(report, told.worker)

    def _ended(self, one: OpenTask, report: TaskReport, worker: str) -> None:
        match report.kind:
            case TaskEnd.GIVEN_BACK:
                self._requeue(one)
            case TaskEnd.UNREADABLE:
                failure = _failure(
                    one.node, FailureKind.PROTOCOL, report.message, "FuruDamagedRecord"
                )
                self._report(one, _failed(failure), worker)
            case TaskEnd.ENDED:
                assert report.result is not None
                self._begin(one)  # it may have begun and ended between two looks
                self._report(one, report.result, worker)

    def _begin(self, one: OpenTask) -> None:
        """Note that a worker has a task; each task is reported as begun once, even if it is given back."""
        if not one.begun:
            one.begun, one.since = True, time.monotonic()
        if one.task.number not in self._begun_tasks:
            self._begun_tasks.add(one.task.number)
            self._events.append(Begun(one.task))

    def _report(self, one: OpenTask, result: NodeResult, worker: str) -> None:
        if result.attempt is not None:
            self._reported_attempts[one.node.hash] = result.attempt
        if result.outcome in (Outcome.COMPUTED, Outcome.LOADED):
            if not one.node.obj.exists():
                self._unseen[one.name] = (one, result, time.monotonic())
                return
        elif result.failure is not None and result.failure.kind is FailureKind.PROTOCOL:
            result = attrs.evolve(result, failure=self._explained(one, result.failure, worker))
        self._events.append(Ended(one.task, result))

    def _explained(self, one: OpenTask, failure: Failure, name: str) -> Failure:
        """A protocol failure, with what helps to find its cause."""
        worker = self._fleet.worker(name)
        if worker is not None:
            self._fleet.await_job_of(worker)
        path = f"{one.queue.claimed}/{name}/{one.name}"
        message = (
            f"{failure.message} (task {path}, hash {one.node.hash}, spec key "
            f"{one.node.spec_key!r}, worker {worker or name}, attempt {one.queued.attempt} of "
            "this run)"
        )
        log = failure.log or (None if worker is None else worker.log)
        return attrs.evolve(failure, message=message, log=log)

    def _confirm(self) -> None:
        """Look again for artifacts that a network filesystem has not shown yet."""
        if not self._unseen:
            return
        reader = StateReader()
        for name, (one, result, since) in list(self._unseen.items()):
            if reader.done(one.node.obj):
                del self._unseen[name]
                self._events.append(Ended(one.task, result))
            elif time.monotonic() - since > self._visible_secs:
                del self._unseen[name]
                message = (
                    f"its worker said that it was {result.outcome.value}, and "
                    f"{self._visible_secs:.0f} s later there is no artifact"
                )
                failure = _failure(one.node, FailureKind.LOST, message)
                self._events.append(Ended(one.task, _failed(failure, result.attempt)))

    # Deaths

    def _take_back_tasks(self, gone: LostWorker, reader: StateReader) -> None:
        """Take back the tasks of a worker that is gone, and report those that it had begun."""
        worker = gone.worker
        names = self._queue.revoke(worker)
        self._read_reports()  # its last reports; it can write none after that
        orphans = [self._queue.open.pop(name) for name in names if name in self._queue.open]
        if not orphans:
            return
        _log.warning("worker %s is gone: %s; its %d tasks go back", worker, gone.why, len(orphans))
        message = f"its worker {worker} is gone: {gone.why}"
        info = worker.health.info
        if info is not None and info.reason not in ("", "None"):
            message += f" ({info.reason})"
        results = [self._left_behind(one, worker, message, reader) for one in orphans]
        if not any(results):
            # No node seems to have begun; but one loss has to be counted, or this might go on for ever.
            failure = _failure(orphans[0].node, FailureKind.LOST, message)
            results[0] = _failed(attrs.evolve(failure, log=worker.log))
        for one, result in zip(orphans, results, strict=True):
            if result is None:
                self._requeue(one)
            else:
                self._begin(one)
                self._report(one, result, worker.name)

    def _left_behind(
        self, one: OpenTask, worker: Worker, message: str, reader: StateReader
    ) -> NodeResult | None:
        """The result of a node whose worker died; None when the node had not begun."""
        node = one.node
        info = reader.state(node.obj)
        if info.state is NodeState.DONE and not node.rerun:
            return NodeResult(node.hash, Outcome.COMPUTED)
        submission = None if info.holder is None else info.holder.submission
        job_id = worker.full_id
        if submission is None or job_id is None or not same_job(submission.id, job_id):
            return None
        if info.attempt is None or info.attempt <= self._reported_attempts.get(node.hash, 0):
            return None
        failure = info.failure
        if failure is None or info.state in (NodeState.RUNNING, NodeState.LOST):
            failure = record_death(node.obj, info.attempt, FailureKind.LOST, message)
            if failure is None:
                return NodeResult(node.hash, Outcome.COMPUTED)
        return _failed(attrs.evolve(failure, hash=node.hash), info.attempt)

    # Between two rounds

    def _settle(self) -> None:
        """Remove reports and orphans that the controller has dealt with."""
        if not self.is_over:
            for worker in self._queue.settle():
                self._fleet.forget(worker)

    def _is_hurried(self, seconds: float) -> bool:
        self._waker.sleep(seconds)
        return self._hurried


def _failure(node: PlanNode, kind: FailureKind, message: str, type_name: str = "") -> Failure:
    return Failure(kind, type_name, message, node.name, node.hash)


def _failed(failure: Failure, attempt: int | None = None) -> NodeResult:
    return NodeResult(failure.hash, Outcome.FAILED, attempt, failure)
