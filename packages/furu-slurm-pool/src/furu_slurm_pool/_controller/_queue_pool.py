"""The controller's side of a queue: what waits in it, who works on it, and what became of it."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from furu_core.executors import (
    Failure,
    FailureKind,
    GraphWriter,
    NodeResult,
    NodeState,
    Outcome,
    StateReader,
    record_death,
)
from furu_plan import PlanNode
from furu_plan.runs import (
    Begun,
    Broken,
    Ended,
    GivenBack,
    HandedOver,
    PoolEvent,
    Source,
    Task,
)
from furu_slurm import same_job
from furu_slurm_pool._controller._fleet import Fleet, StartsFail
from furu_slurm_pool._controller._recovery import Recovered, read_report
from furu_slurm_pool._controller._terms import Term
from furu_slurm_pool._controller._workers import Gone, Worker, revoke_claims
from furu_slurm_pool._queue import _heartbeats, _reports, _tasks
from furu_slurm_pool._queue._files import listed
from furu_slurm_pool._queue._reports import TaskEnd, TaskReport
from furu_slurm_pool._queue._run_folder import graph_file, open_queue, order_stop, unwritable
from furu_slurm_pool._queue._tasks import QueuedTask, QueueFolder
from furu_slurm_pool._waker import Waker

_log = logging.getLogger("furu.pool")

_FIRST_PAUSE_SECS: Final = 0.01
_AT_ONCE: Final = 200  # tasks that are queued before the loop goes on to listen
_SLOW_SECS: Final = 0.25  # between two looks at what changes less often
_INVISIBLE_SECS: Final = 60.0  # for which a network filesystem may hide an artifact


@attrs.define(eq=False)
class _OpenTask:
    """A task in the queue, or with a worker."""

    task: Task
    name: str
    queue: QueueFolder
    queued: QueuedTask
    since: float
    begun: bool = False  # a worker has it, as was seen lately


class QueuePool:
    """Workers that take tasks from a queue in the run's folder.

    Args:
        run_folder: the run's.
        term: of this controller.
        fleet: the workers.
        graph: nodes that are written to the first graph file, before any worker reads it.
        depth: how many tasks may wait in the queue at once.
        poll_secs: the longest pause between two looks at it.
        patience_secs: at the end, for workers to leave by themselves.
        local_store: no other host's artifacts are waited for.
        lease_secs: seconds without a sign of life that mean nothing yet.
        recovered: what controllers before this one left.
        waker: what this waits with; closed at the end.
    """

    def __init__(
        self,
        *,
        run_folder: str,
        term: Term,
        fleet: Fleet,
        graph: Iterable[PlanNode],
        recovered: Recovered,
        depth: int,
        poll_secs: float,
        patience_secs: float,
        local_store: bool,
        lease_secs: float,
        waker: Waker,
    ) -> None:
        self._run_folder = run_folder
        self._term = term
        self._fleet = fleet
        self._depth = depth
        self._poll_secs = poll_secs
        self._patience_secs = patience_secs
        self._visible_secs = 0.0 if local_store else max(lease_secs, _INVISIBLE_SECS)
        self._lease_secs = lease_secs
        self._waker = waker
        self._out: dict[str, _OpenTask] = {}  # by the task's name
        self._numbers = 0
        self._attempts: Counter[str] = Counter()
        self._queues: dict[str, QueueFolder] = {}
        self._recovered = recovered
        self._last_task: dict[str, str] = {}
        self._told_attempt: dict[str, int] = {}
        self._told_begun: set[int] = set()  # numbers of tasks, each of which begins once
        self._heard = list(recovered.files)  # report files whose events have been handed out
        self._seen = set(recovered.files)
        self._to_remove: list[Worker] = []
        self._events: deque[PoolEvent] = deque()
        self._unseen: dict[str, tuple[_OpenTask, NodeResult, float]] = {}
        self._recalling = False
        self._hurried = False
        self._handing_over = False
        self.on_stop: Callable[[], None] = lambda: None  # what to do when somebody asks for the end
        self._over = False
        self._more = False
        self._pause = _FIRST_PAUSE_SECS
        self._next_slow = 0.0
        self._next_stray = time.monotonic() + lease_secs
        self._strays: set[str] = set()
        self._graphs = 1
        self._graph_name = f"{term.number:03d}-{self._graphs:04d}.jsonl"
        self._places: dict[str, tuple[str, int]] = {}
        self._write_graph(list(graph))

    # What the controller asks for

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""
        told = sum(not isinstance(event, Begun) for event in self._events)
        return len(self._out) + len(self._unseen) + told

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes that workers have, as was seen last."""
        return [(out.task.node, out.since) for out in self._out.values() if out.begun]

    def task_of(self, node_hash: str) -> str:
        """The name of the task by which a node was tried last."""
        return self._last_task.get(node_hash, "")

    def feed(self, source: Source) -> None:
        """Queue what is ready, and see that there are workers for it."""
        self._settle()
        taken: list[Task] = []
        room = min(_AT_ONCE, self._depth - len(self._out))
        while len(taken) < room:
            task = source.take(None, queued=True)
            if task is None:
                break
            taken.append(task)
        if taken:
            self._queue_all(taken)
        self._more = source.ready(None) > 0 and len(self._out) < self._depth
        self._scale()

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """What has happened; waits until something does, or `feed` is due, or time is up."""
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
        for name, out in list(self._out.items()):
            if not out.begun and _tasks.withdraw(out.queue, name):
                del self._out[name]
                self._events.append(GivenBack(out.task))

    def cancel(self) -> None:
        """Interrupt the nodes being computed; `wait` reports how they ended."""
        self.recall()
        order_stop(self._run_folder)
        self._fleet.cancel(self._fleet.workers())

    def kill(self) -> list[PoolEvent]:
        """End all tasks at once, as cancelled; nothing is left to wait for."""
        if not self._over:
            order_stop(self._run_folder)
            self._fleet.cancel(self._fleet.workers())
        events = list(self._events)
        self._events.clear()
        # What nobody has begun was neither started nor interrupted.
        events += [GivenBack(out.task) for out in self._out.values() if not out.begun]
        begun = [out for out in self._out.values() if out.begun]
        for out in (*begun, *(out for out, _, _ in self._unseen.values())):
            node = out.task.node
            failure = Failure(
                FailureKind.CANCELLED, "", "its run was cancelled", node.name, node.hash
            )
            events.append(Ended(out.task, NodeResult(node.hash, Outcome.CANCELLED, None, failure)))
        self._out.clear()
        self._unseen.clear()
        return events

    def close(self) -> None:
        """End the workers."""
        if self._over:
            self._fleet.abandon()
        else:
            self._settle()
            order_stop(self._run_folder)
            self._hurried = False  # what was wanted until now has been done
            self._fleet.end(patience=self._patience_secs, hurried=self._is_hurried)
        self._waker.close()

    # Handing over

    def hand_over(self) -> None:
        """End soon, and leave workers and queue to the next controller."""
        self._handing_over = True
        self._next_slow = 0.0
        self.wake()

    @property
    def is_over(self) -> bool:
        """Whether another controller has the run, or is to have it."""
        return self._over

    # Queueing

    def _queue_all(self, tasks: list[Task]) -> None:
        late = [task.node for task in tasks if task.node.hash not in self._places]
        if late:
            # A file that has grown shows its new end late to those who have read it.
            self._graphs += 1
            self._graph_name = f"{self._term.number:03d}-{self._graphs:04d}.jsonl"
            self._write_graph(late)
        for task in tasks:
            if not self._goes_on(task):
                self._enqueue(task)

    def _goes_on(self, task: Task) -> bool:
        """Whether an attempt of the time of another controller is this task's."""
        node_hash = task.node.hash
        told = self._recovered.reported.pop(node_hash, None)
        name = self._recovered.claimed.pop(node_hash, None) if told is None else told[0].task
        if name is None:
            return False
        self._attempts[node_hash] += 1
        self._last_task[node_hash] = name
        out = self._made(task, name)
        if told is not None:
            self._ended(out, *told)
        else:
            self._begin(out)
            self._out[name] = out
        return True

    def _made(self, task: Task, name: str) -> _OpenTask:
        key = task.node.spec_key
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = open_queue(self._run_folder, key)
        node_hash = task.node.hash
        graph, offset = self._places[node_hash]
        queued = QueuedTask(node_hash, graph, offset, task.node.rerun, self._attempts[node_hash])
        return _OpenTask(task, name, queue, queued, time.monotonic())

    def _enqueue(self, task: Task, *, again: bool = False) -> None:
        node_hash = task.node.hash
        self._numbers += 1
        name = _tasks.task_name(self._numbers, self._term.number, node_hash)
        if not again:
            self._attempts[node_hash] += 1
        out = self._made(task, name)
        try:
            _tasks.enqueue(out.queue, name, out.queued)
        except OSError as error:
            raise unwritable(self._run_folder, error) from error
        self._out[name] = out
        self._last_task[node_hash] = name

    def _write_graph(self, nodes: list[PlanNode]) -> None:
        with GraphWriter(Path(graph_file(self._run_folder, self._graph_name))) as writer:
            for node in nodes:
                self._places[node.hash] = (self._graph_name, writer.add(node.obj))

    def _scale(self) -> None:
        demand = Counter(out.task.node.spec_key for out in self._out.values())
        if not self._recalling:
            try:
                self._fleet.scale(demand)
            except OSError as error:
                raise unwritable(self._run_folder, error) from error

    # Listening

    def _look(self) -> None:
        self._hear_all()
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
        try:
            gone = self._fleet.look()
        except StartsFail as error:
            self._events.append(Broken(f"{error}", error.worker.log))
            return
        # One for all: it lists whole classes, and many machines may fail at once.
        reader = StateReader()
        for one in gone:
            self._take_back_tasks(one, reader)
        self._confirm()
        self._see_who_has_what(now)
        # A worker that died with nothing to do is no event, so `feed` might not be called for long.
        self._scale()

    def _hand_over(self, why: str, *, hint: str) -> None:
        self._over = True
        self._events.append(HandedOver(why, hint))

    def _hear_all(self) -> None:
        for file in _reports.names(self._run_folder):
            if file in self._seen:
                continue
            self._seen.add(file)
            self._fleet.heard_of(_reports.worker_of(file))
            reports = read_report(self._run_folder, file)
            for report in () if reports is None else reports.tasks:
                assert reports is not None
                out = self._out.pop(report.task, None)
                node_hash = _tasks.hash_of(report.task)
                if out is not None:
                    self._ended(out, report, reports.worker)
                elif self._recovered.claimed.get(node_hash) == report.task:
                    del self._recovered.claimed[node_hash]
                    if report.kind is not TaskEnd.GIVEN_BACK:
                        self._recovered.reported[node_hash] = (report, reports.worker)
            self._heard.append(file)

    def _ended(self, out: _OpenTask, report: TaskReport, worker: str) -> None:
        node = out.task.node
        match report.kind:
            case TaskEnd.GIVEN_BACK:
                if self._recalling:
                    self._events.append(GivenBack(out.task))
                else:
                    self._enqueue(out.task, again=True)
            case TaskEnd.UNREADABLE:
                failure = Failure(
                    FailureKind.PROTOCOL, "UnreadableTask", report.message, node.name, node.hash
                )
                self._report(out, NodeResult(node.hash, Outcome.FAILED, None, failure), worker)
            case TaskEnd.ENDED:
                assert report.result is not None
                self._begin(out)  # it was quicker than two looks
                self._report(out, report.result, worker)

    def _begin(self, out: _OpenTask) -> None:
        """Note that a worker has a task; that a node has begun is told once, whoever gives it back."""
        if not out.begun:
            out.begun, out.since = True, time.monotonic()
        if out.task.number not in self._told_begun:
            self._told_begun.add(out.task.number)
            self._events.append(Begun(out.task))

    def _report(self, out: _OpenTask, result: NodeResult, worker: str) -> None:
        if result.attempt is not None:
            self._told_attempt[out.task.node.hash] = result.attempt
        if result.outcome in (Outcome.COMPUTED, Outcome.LOADED):
            if not out.task.node.obj.exists():
                self._unseen[out.name] = (out, result, time.monotonic())
                return
        elif result.failure is not None and result.failure.kind is FailureKind.PROTOCOL:
            result = attrs.evolve(result, failure=self._explained(out, result.failure, worker))
        self._events.append(Ended(out.task, result))

    def _explained(self, out: _OpenTask, failure: Failure, name: str) -> Failure:
        """A failure of a rule, with all that leads to its cause."""
        worker = self._fleet.worker(name)
        if worker is not None:
            self._fleet.await_job_of(worker)
        path = f"{out.queue.claimed}/{name}/{out.name}"
        message = (
            f"{failure.message} (task {path}, hash {out.task.node.hash}, spec key "
            f"{out.task.node.spec_key!r}, worker {worker or name}, attempt {out.queued.attempt} of "
            "this run)"
        )
        log = failure.log or (None if worker is None else worker.log)
        return attrs.evolve(failure, message=message, log=log)

    def _confirm(self) -> None:
        """Look again for artifacts that a network filesystem did not show yet."""
        if not self._unseen:
            return
        reader = StateReader()
        for name, (out, result, since) in list(self._unseen.items()):
            node = out.task.node
            if reader.done(node.obj):
                del self._unseen[name]
                self._events.append(Ended(out.task, result))
            elif time.monotonic() - since > self._visible_secs:
                del self._unseen[name]
                failure = Failure(
                    FailureKind.LOST,
                    "",
                    f"its worker said that it was {result.outcome.value}, and "
                    f"{self._visible_secs:.0f} s later there is no artifact",
                    node.name,
                    node.hash,
                )
                lost = NodeResult(node.hash, Outcome.FAILED, result.attempt, failure)
                self._events.append(Ended(out.task, lost))

    def _see_who_has_what(self, now: float) -> None:
        """Note which tasks workers have; queue those again that are nowhere."""
        waiting: set[str] = set()
        claimed: set[str] = set()
        for queue in self._queues.values():
            waiting.update(listed(queue.todo))
            for names in _tasks.claimed_by(queue).values():
                claimed.update(names)
        nowhere: set[str] = set()
        for name, out in self._out.items():
            if name in claimed and not out.begun:
                self._begin(out)
            if name not in claimed and name not in waiting:
                nowhere.add(name)
        if now < self._next_stray:
            return
        # A worker clears a task away after its report is written, so what stays nowhere was lost, for
        # instance because a controller that had been given up for dead woke and removed the report.
        self._next_stray = now + self._lease_secs
        for name in nowhere & self._strays & self._out.keys():
            out = self._out.pop(name)
            _log.warning("the task of %s is gone, and queued again", out.task.node.name)
            self._enqueue(out.task, again=True)
        self._strays = nowhere

    # Deaths

    def _take_back_tasks(self, gone: Gone, reader: StateReader) -> None:
        """See to the tasks of a worker that does nothing any more."""
        worker = gone.worker
        names = revoke_claims(self._run_folder, worker)
        self._hear_all()  # what it told before; it can tell nothing after that
        outs = [self._out.pop(name) for name in names if name in self._out]
        self._to_remove.append(worker)
        if not outs:
            return
        _log.warning("worker %s is gone: %s; its %d tasks go back", worker, gone.why, len(outs))
        message = f"its worker {worker} is gone: {gone.why}"
        info = gone.worker.health.info
        if info is not None and info.reason not in ("", "None"):
            message += f" ({info.reason})"
        results = [self._left_behind(out, worker, message, reader) for out in outs]
        if not any(results):
            # None had begun, as far as can be seen; but somebody has to pay, so that this ends.
            node = outs[0].task.node
            failure = Failure(FailureKind.LOST, "", message, node.name, node.hash, worker.log)
            results[0] = NodeResult(node.hash, Outcome.FAILED, None, failure)
        for out, result in zip(outs, results, strict=True):
            if result is not None:
                self._begin(out)
                self._report(out, result, worker.name)
            elif self._recalling:
                self._events.append(GivenBack(out.task))
            else:
                self._enqueue(out.task, again=True)

    def _left_behind(
        self, out: _OpenTask, worker: Worker, message: str, reader: StateReader
    ) -> NodeResult | None:
        """What became of a node whose worker died; None when it had not begun with it."""
        node = out.task.node
        info = reader.state(node.obj)
        if info.state is NodeState.DONE and not node.rerun:
            return NodeResult(node.hash, Outcome.COMPUTED)
        submission = None if info.holder is None else info.holder.submission
        job_id = worker.full_id
        if submission is None or job_id is None or not same_job(submission.id, job_id):
            return None
        if info.attempt is None or info.attempt <= self._told_attempt.get(node.hash, 0):
            return None
        failure = info.failure
        if failure is None or info.state in (NodeState.RUNNING, NodeState.STALE):
            failure = record_death(node.obj, info.attempt, FailureKind.LOST, message)
            if failure is None:
                return NodeResult(node.hash, Outcome.COMPUTED)
        return NodeResult(node.hash, Outcome.FAILED, info.attempt, failure)

    # Between two rounds

    def _settle(self) -> None:
        """Remove what the controller has heard and dealt with."""
        if self._over:
            return
        folder = _reports.folder_of(self._run_folder)
        for file in self._heard:
            with suppress(OSError):
                os.unlink(f"{folder}/{file}")
        self._heard.clear()
        if len(self._seen) > 10_000:
            self._seen.intersection_update(listed(folder))
        for worker in self._to_remove:
            if (
                worker.health.begun
            ):  # else its name stays among the dead, should its job start after all
                _tasks.remove_orphans(open_queue(self._run_folder, worker.spec_key), worker.name)
                _heartbeats.remove(self._run_folder, worker.name)
            self._fleet.forget(worker)
        self._to_remove.clear()

    def _is_hurried(self, seconds: float) -> bool:
        self._waker.sleep(seconds)
        return self._hurried
