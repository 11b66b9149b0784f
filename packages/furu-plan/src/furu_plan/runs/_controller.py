"""The loop of a run: it hands out ready nodes, receives results, and decides what follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import IntEnum
from typing import Final

import attrs

from furu_core import Settings
from furu_core import settings as current_settings
from furu_core.errors import FuruExecutorError, FuruWaitTimeout
from furu_core.executors import EventKind, EventLog, Failure, FailureKind, RunState, RunStatus
from furu_core.planning import note_rerun
from furu_core.workers import NodeResult, Outcome, made_progress
from furu_plan._elsewhere import Waits
from furu_plan._frontier import Frontier, Reopening, Stage
from furu_plan._node import PlanNode
from furu_plan._plan import DependencyPlan
from furu_plan._retries import NextStep, RetryLedger, failure_of
from furu_plan.runs._display import Display, choose_display
from furu_plan.runs._journal import RunJournal
from furu_plan.runs._pool import (
    Begun,
    Broken,
    Ended,
    GivenBack,
    HandedOver,
    Place,
    Pool,
    PoolEvent,
    Task,
)
from furu_plan.runs._source import FrontierSource

_log = logging.getLogger("furu.run")

_GRACE_SECS: Final = 5.0  # for nodes that were interrupted, before they are killed
_FIRST_LOOK_SECS: Final = 0.05
_LOOK_SHARE: Final = 4  # a look, which lists whole classes, may take a fifth of the time
_LATEST_LOOP_SECS: Final = 60.0


class Wish(IntEnum):
    """What a caller, a signal or another process has asked of a run."""

    GO_ON = 0
    CANCEL = 1
    KILL = 2


class Controller:
    """One run, from its plan to its end. It runs in one thread; others may call `ask` and `status`.

    Args:
        run_id: the run.
        frontier: what there is to do.
        pool: computes; closed at the end.
        events: where what happens is written; closed at the end.
        settings: how to wait for nodes that other runs compute, and the limits of retries; default:
            the current settings.
        keep_going: a failed node ends only what depends on it.
        limits: spec key to the number of its nodes that may be computed at once; others have none.
        places: spec key to its places, for those whose nodes not every worker can compute.
        ledger: decides what follows from failures; default: a new one for these settings.
        display: shows the progress of the run; closed at the end. Default: what fits the console.
        workers: called when the display is drawn: says what keeps workers from working; empty for
            nothing.

    Attributes:
        cause: the error that ended the run, where that was no node's failure.
        handed_over: the event that another controller has taken the run; its state then stays RUNNING.
    """

    def __init__(
        self,
        *,
        run_id: str,
        frontier: Frontier,
        pool: Pool,
        events: EventLog,
        settings: Settings | None = None,
        keep_going: bool = False,
        limits: Mapping[str, int] | None = None,
        places: Mapping[str, tuple[Place, ...]] | None = None,
        ledger: RetryLedger | None = None,
        display: Display | None = None,
        workers: Callable[[], str] | None = None,
    ) -> None:
        settings = current_settings() if settings is None else settings
        self._run_id = run_id
        self._frontier = frontier
        self._ledger = RetryLedger(settings, keep_going=keep_going) if ledger is None else ledger
        self._pool = pool
        self._workers = workers
        self._journal = journal = RunJournal(run_id, frontier, events)
        self._source = FrontierSource(
            frontier,
            limits or {},
            places or {},
            on_start=lambda node: journal.note(EventKind.NODE_STARTED, node),
        )
        self._display = choose_display(wanted=None, live=True) if display is None else display
        self._keep_going = keep_going
        self._longest_look = settings.poll_interval_secs
        self._look_pause = min(_FIRST_LOOK_SECS, self._longest_look)
        self._next_look = time.monotonic()
        # This loop decides when to look, so `Waits` gets no interval of its own.
        self._waits = Waits(attrs.evolve(settings, poll_interval_secs=1e-6))
        self._wish = Wish.GO_ON
        self._obeyed = Wish.GO_ON
        self._kill_at: float | None = None
        self._accepting = keep_going or not journal.failures
        self._always_rerun = bool(settings.always_rerun)
        self.retry_failed = settings.retry_failed
        self._running = 0
        self._ended = False
        self.cause: Exception | None = None
        self.handed_over: HandedOver | None = None

    # For other threads and signal handlers

    def ask(self, wish: Wish) -> None:
        """Ask the run to end, gently or at once; asking twice for less changes nothing."""
        self._wish = max(self._wish, wish)
        if not self._ended:
            self._pool.wake()

    @property
    def wish(self) -> Wish:
        """What the run has been asked for."""
        return self._wish

    @property
    def state(self) -> RunState:
        """The state of the run."""
        return self._journal.state

    @property
    def plan(self) -> DependencyPlan:
        """What there was to do when the run began."""
        return self._frontier.plan

    def status(self) -> RunStatus:
        """The status of the run, with its counts and failures."""
        return self._journal.status(0 if self._ended else self._running)

    # The loop

    def run(self) -> None:
        """Compute until every node is done, or no other can be, or the run was asked to end."""
        self._journal.begin()
        state = RunState.FAILED
        try:
            self._loop()
            roots = self._frontier.plan.roots
            if all(self._frontier.stage(root) is Stage.DONE for root in roots):
                state = RunState.DONE
            elif self._obeyed is not Wish.GO_ON:
                state = RunState.CANCELLED
        except Exception as error:  # noqa: BLE001 - `wait` raises it; the workers must end first
            self.cause = error
            _log.error("run %s ends: %s: %s", self._run_id, type(error).__name__, error)
            # Nodes interrupted now count as cancelled, not as lost: none is tried again.
            self._accepting, self._kill_at = False, time.monotonic()
            self._take_stock(self._pool.kill())
        finally:
            with ExitStack() as stack:  # each of these is called, whatever the others raise
                stack.callback(self._end, state)
                stack.callback(self._pool.close)
                stack.callback(self._display.close)

    def _end(self, state: RunState) -> None:
        self._ended = True
        if self.handed_over is None:
            self._journal.end(state)
        else:
            self._journal.close()

    def _loop(self) -> None:
        while True:
            self._obey()
            self._journal.sign()
            if self._accepting:
                self._look_elsewhere()
                if self._frontier.idle:
                    self._frontier.take(limit=0)  # raises for nodes that wait for each other
                self._pool.feed(self._source)
            self._running = len(self._pool.running())
            if not self._pool.busy and (not self._accepting or self._frontier.finished):
                return
            for event in self._pool.wait(self._patience()):
                self._hear(event)
            if self.handed_over is not None:
                _log.warning("run %s: %s", self._run_id, self.handed_over.why)
                return
            due = self._display.due_in()
            if due is not None and due <= 0:
                progress = self._journal.progress(
                    self._pool.running(),
                    note="" if self._accepting else "stopping",
                    workers="" if self._workers is None else self._workers(),
                )
                self._display.update(progress)

    def _patience(self) -> float:
        """Seconds that the loop may wait for the pool, because it has nothing else to do."""
        now = time.monotonic()
        limits = [_LATEST_LOOP_SECS]
        if self._accepting and any(self._frontier.waiting()):
            limits.append(self._next_look - now)
        if self._kill_at is not None:
            limits.append(self._kill_at - now)
        due = self._display.due_in()
        if due is not None:
            limits.append(due)
        return max(0.0, min(limits))

    def _obey(self) -> None:
        """Do what the run was asked, and kill nodes that do not end in time."""
        if self._wish > self._obeyed:
            if self._obeyed is Wish.GO_ON:
                self._stop("cancelled: nothing new starts, what runs is stopped")
                self._cancel()
            self._obeyed = self._wish
        late = self._kill_at is not None and time.monotonic() >= self._kill_at
        if self._obeyed is Wish.KILL or late:
            self._take_stock(self._pool.kill())

    def _cancel(self) -> None:
        self._accepting = False
        self._pool.cancel()
        self._kill_at = time.monotonic() + _GRACE_SECS

    def _stop(self, why: str) -> None:
        """Start nothing new."""
        if self._accepting:
            _log.warning("run %s %s", self._run_id, why)
        self._accepting = False
        self._pool.recall()

    def _take_stock(self, events: list[PoolEvent]) -> None:
        for event in events:
            self._hear(event)

    def _look_elsewhere(self) -> None:
        """See what became of nodes that another run or process computes."""
        now = time.monotonic()
        if now < self._next_look:
            return
        waiting = self._frontier.waiting()
        if not waiting:
            return
        try:
            found = self._waits.check(waiting, idle=self._frontier.idle)
        except FuruWaitTimeout as error:
            self.cause = error
            failure = Failure.of(FailureKind.LOST, error, node=error.node, hash=error.hash)
            self._fail(failure, ends_run=not self._keep_going)
            return
        pause = _FIRST_LOOK_SECS if found else 1.5 * self._look_pause
        self._look_pause = min(pause, self._longest_look)
        took = time.monotonic() - now
        self._next_look = now + took + max(self._look_pause, _LOOK_SHARE * took)
        for node in found.done:
            self._journal.done(node, computed=False)
        for node in found.failed:
            if node.failure is not None:
                self._journal.failed(node.failure)
        self._frontier.resolve(found)
        # Nodes below those that are no longer computed elsewhere may have failed before.
        late = bool(found.todo) and self._journal.late_failures()
        if (found.failed or late) and not self._keep_going:
            self._stop("has a node that failed elsewhere or before: nothing new starts")

    # What became of tasks

    def _hear(self, event: PoolEvent) -> None:
        match event:
            case Begun(task):
                self._journal.note(EventKind.NODE_STARTED, task.node)
            case Ended(task, result):
                self._source.came_back(task)
                self._settle(task, result)
            case GivenBack(task):
                self._source.came_back(task)
                self._frontier.retry(task.node.hash)
            case HandedOver():
                self.handed_over = event
            case Broken(message, log):
                raise FuruExecutorError(f"workers cannot start: {message}", hint=f"read {log}")

    def _settle(self, task: Task, result: NodeResult) -> None:
        node = task.node
        match result.outcome:
            case Outcome.COMPUTED | Outcome.LOADED:
                computed = result.outcome is Outcome.COMPUTED
                if self._always_rerun:
                    note_rerun(node.hash)
                took = f"{result.seconds:.3f} s"
                self._journal.done(node, computed=computed, seconds=result.seconds, detail=took)
                self._frontier.done(node.hash)
            case Outcome.BUSY:
                self._journal.note(EventKind.NODE_WAITING, node, f"computed by {result.holder}")
                self._frontier.elsewhere(node.hash)
                self._look_soon()
            case Outcome.INVALID_DEPENDENCY:
                self._reopen(node, result)
            case Outcome.CANCELLED if self._wish is not Wish.GO_ON or self._kill_at is not None:
                self._journal.note(EventKind.NODE_CANCELLED, node)
                self._frontier.retry(node.hash)
            case Outcome.CANCELLED | Outcome.FAILED:
                self._judge(node, result)

    def _judge(self, node: PlanNode, result: NodeResult) -> None:
        """Decide whether a node is tried again, and do so or let it fail."""
        failure = failure_of(result, node=node.name, node_hash=node.hash)
        progress = failure.kind is FailureKind.LOST and made_progress(node.obj)
        decision = self._ledger.decide(node.hash, failure.kind, progress=progress)
        match decision.next_step:
            case NextStep.RETRY | NextStep.FREE:
                self._journal.note(EventKind.NODE_RETRIED, node, f"{decision.reason}: {failure}")
                if self._accepting:
                    _log.warning("%s (%s, tried again)", failure, decision.reason)
                self._frontier.retry(node.hash)
            case NextStep.GIVE_UP | NextStep.STOP_RUN:
                self._fail(failure, ends_run=decision.ends_run, reason=decision.reason)
                if decision.next_step is NextStep.STOP_RUN and self._kill_at is None:
                    self._cancel()

    def _reopen(self, node: PlanNode, result: NodeResult) -> None:
        """Have a bad dependency computed again, at most once in a run."""
        culprit = result.culprit or ""
        answer = self._frontier.reopen(culprit, node.hash)
        if answer is Reopening.REFUSED:
            failure = result.failure or Failure(
                FailureKind.COMPUTE, "FuruInvalidDependency", culprit, node.name, node.hash
            )
            failure = attrs.evolve(failure, kind=FailureKind.COMPUTE)
            self._fail(failure, ends_run=not self._keep_going)
            return
        if answer is Reopening.REOPENED:
            again = self._frontier.node(culprit)
            _log.warning("%s is invalid or was removed, and is computed again", again.name)
            self._journal.note(EventKind.NODE_REOPENED, again, f"found by {node.name}")

    def _fail(self, failure: Failure, *, ends_run: bool, reason: str = "") -> None:
        """A node has failed for good."""
        self._journal.failed(failure)
        blocked = self._frontier.failed(failure.hash)
        said = [
            part for part in (reason, f"{len(blocked)} more need it" if blocked else "") if part
        ]
        # A run that ends lists the logs in its summary.
        told = attrs.evolve(failure, log=None) if ends_run else failure
        _log.error("%s%s", told, f" ({', '.join(said)})" if said else "")
        if ends_run:
            running = max(0, len(self._pool.running()))
            rest = f"; {running} running finish" if running else ""
            self._stop(f"stops, because a node failed: nothing new starts{rest}")

    def _look_soon(self) -> None:
        self._look_pause = min(_FIRST_LOOK_SECS, self._longest_look)
        self._next_look = min(self._next_look, time.monotonic() + self._look_pause)
