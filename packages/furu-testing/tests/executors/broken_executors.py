"""Executors with one fault each; in everything else they do as the sound one does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs
from sound_executor import Process, Processes, SoundExecutor

from furu_core import Settings
from furu_core.errors import FuruExecutorError, FuruRunError
from furu_core.executors import (
    Event,
    EventKind,
    EventLog,
    FailureKind,
    Liveness,
    Roots,
    RunStatus,
    Submission,
    note_submission,
)
from furu_core.workers import NodeResult, Outcome, WorkerContext
from furu_plan import Decision, DependencyPlan, Frontier, RetryLedger
from furu_plan.runs import ControlledRun, Controller, Ended, PoolEvent, Task

_kept: list[object] = []


# Order, and what is computed


class WrongOrder(SoundExecutor):
    """Begins everything at once, as if nothing needed anything."""

    name = "wrong-order"

    def plan(self, roots: Roots) -> DependencyPlan:
        plan = super().plan(roots)
        nodes = {
            node.hash: attrs.evolve(node, dependencies=(), dependents=())
            for node in reversed(list(plan))
        }
        return attrs.evolve(plan, nodes=nodes)


class ComputesTwice(SoundExecutor):
    """Computes each node twice."""

    name = "computes-twice"
    worker = "ComputesTwice"


class ComputesAgain(SoundExecutor):
    """Computes what is there."""

    name = "computes-again"

    def plan(self, roots: Roots) -> DependencyPlan:
        for root in roots.items:
            root.delete()
        return super().plan(roots)


class ReportsWithoutArtifacts(SoundExecutor):
    """Says that nodes are done which it never computed."""

    name = "reports-without-artifacts"
    worker = "ComputesNothing"


class TrustsExitStatus(SoundExecutor):
    """Takes a worker that ended well for one that has done its node."""

    name = "trusts-exit-status"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _TrustingPool(self.worker, self.max_workers, context, environment, folder)


class _TrustingPool(Processes):
    def died(self, worker: Process) -> list[PoolEvent]:
        task = worker.task
        events = super().died(worker)
        if worker.popen.returncode == 0 and task is not None:
            return [Ended(task, NodeResult(task.node.hash, Outcome.COMPUTED))]
        return events


class SortsResults(SoundExecutor):
    """Gives results in an order of its own."""

    name = "sorts-results"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return _SortingRun(run_id, folder, roots, controller, None)


class _SortingRun(ControlledRun):
    def results(self) -> Any:
        found = super().results()
        return sorted(found) if isinstance(found, list) else found


class IgnoresWindow(SoundExecutor):
    """Begins all roots, whatever the window is."""

    name = "ignores-window"

    def frontier(self, plan: DependencyPlan) -> Frontier:
        return Frontier(plan, window="bfs")


class ForgetsReruns(SoundExecutor):
    """Never computes anew what is there."""

    name = "forgets-reruns"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _OncePool(self.worker, self.max_workers, context, environment, folder)


class _OncePool(Processes):
    def begin(self, worker: Process, task: Task) -> None:
        super().begin(worker, attrs.evolve(task, node=attrs.evolve(task.node, rerun=False)))
        worker.task = task


class TakesAnyOption(SoundExecutor):
    """Ignores options that it does not know."""

    name = "takes-any-option"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> SoundExecutor:
        return super().from_options({key: options[key] for key in options if key in _OPTIONS})


_OPTIONS = ("max_workers", "window_size", "keep_going")


# Strictness


class IsInteractive(SoundExecutor):
    """Its workers are no workers: `get()` computes in them."""

    name = "is-interactive"
    worker = "IsInteractive"


class LosesChildren(SoundExecutor):
    """Loses the context in threads and children of a node."""

    name = "loses-children"
    worker = "LosesChildren"


class HasOneSpecKey(SoundExecutor):
    """Its workers do not know for which spec key they compute."""

    name = "has-one-spec-key"
    worker = "HasOneSpecKey"


# Failures


class SwallowsFailures(SoundExecutor):
    """`wait` returns although nodes have failed."""

    name = "swallows-failures"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return _SilentRun(run_id, folder, roots, controller, None)


class _SilentRun(ControlledRun):
    def wait(self, timeout: float | None = None) -> Self:
        try:
            return super().wait(timeout)
        except FuruRunError:
            return self


class ExitsWell(SoundExecutor):
    """Ends the program with exit status 0 when a run has failed."""

    name = "exits-well"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return _ExitingRun(run_id, folder, roots, controller, None)


class _ExitingRun(ControlledRun):
    def wait(self, timeout: float | None = None) -> Self:
        try:
            return super().wait(timeout)
        except FuruRunError as error:
            raise SystemExit(0) from error


class SaysNothing(SoundExecutor):
    """Its errors do not say what failed."""

    name = "says-nothing"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return _TerseRun(run_id, folder, roots, controller, None)


class _TerseRun(ControlledRun):
    def wait(self, timeout: float | None = None) -> Self:
        try:
            return super().wait(timeout)
        except FuruRunError as error:
            raise FuruRunError("something went wrong") from error


class _OtherLedger(RetryLedger):
    """Takes some kinds of failure for others."""

    taken: ClassVar[dict[FailureKind, FailureKind]] = {}

    def decide(self, node_hash: str, kind: FailureKind, *, progress: bool = False) -> Decision:
        return super().decide(node_hash, self.taken.get(kind, kind), progress=progress)


class _ProtocolIsLost(_OtherLedger):
    taken: ClassVar = {FailureKind.PROTOCOL: FailureKind.LOST}


class _LostIsCompute(_OtherLedger):
    taken: ClassVar = {FailureKind.LOST: FailureKind.COMPUTE}


class _LostIsFree(_OtherLedger):
    taken: ClassVar = {FailureKind.LOST: FailureKind.CANCELLED}


class _NoProgress(RetryLedger):
    def decide(self, node_hash: str, kind: FailureKind, *, progress: bool = False) -> Decision:
        return super().decide(node_hash, kind, progress=False)


class RetriesProtocol(SoundExecutor):
    """Tries again what trying again cannot mend."""

    name = "retries-protocol"

    def ledger(self, settings: Settings) -> RetryLedger:
        return _ProtocolIsLost(settings, keep_going=self.keep_going)


class CountsLostAsCompute(SoundExecutor):
    """Bounds lost workers by the bound for failures of the node's code."""

    name = "counts-lost-as-compute"

    def ledger(self, settings: Settings) -> RetryLedger:
        return _LostIsCompute(settings, keep_going=self.keep_going)


class RetriesLostForEver(SoundExecutor):
    """Never gives up on a node whose workers are killed."""

    name = "retries-lost-for-ever"

    def ledger(self, settings: Settings) -> RetryLedger:
        return _LostIsFree(settings, keep_going=self.keep_going)


class IgnoresProgress(SoundExecutor):
    """Counts lost workers though the node gets on."""

    name = "ignores-progress"

    def ledger(self, settings: Settings) -> RetryLedger:
        return _NoProgress(settings, keep_going=self.keep_going)


class IgnoresKeepGoing(SoundExecutor):
    """Ends a run at the first failure, whatever it was told."""

    name = "ignores-keep-going"

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "keep_going": False})


# Ends


class NeverEnds(SoundExecutor):
    """`wait` never returns."""

    name = "never-ends"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return _EndlessRun(run_id, folder, roots, controller, None)


class _EndlessRun(ControlledRun):
    def wait(self, timeout: float | None = None) -> Self:
        super().wait(timeout)
        while True:
            time.sleep(60)


class IgnoresCancel(SoundExecutor):
    """`cancel` does nothing."""

    name = "ignores-cancel"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return _StubbornRun(run_id, folder, roots, controller, None)


class _StubbornRun(ControlledRun):
    def cancel(self) -> None:
        """Go on."""


class IsNeverIdle(SoundExecutor):
    """Looks for news all the time."""

    name = "is-never-idle"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _RestlessPool(self.worker, self.max_workers, context, environment, folder)


class _RestlessPool(Processes):
    def wait(self, timeout: float | None) -> list[PoolEvent]:
        return super().wait(0.0)


class LeaksProcesses(SoundExecutor):
    """Leaves its workers behind."""

    name = "leaks-processes"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _LeakyPool(self.worker, self.max_workers, context, environment, folder)


class _LeakyPool(Processes):
    def close(self) -> None:
        _kept.extend(self.workers)


class LeavesFiles(SoundExecutor):
    """Kills what it cancels and tells nobody, so the attempt's files stay."""

    name = "leaves-files"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _RudePool(self.worker, self.max_workers, context, environment, folder)


class _RudePool(Processes):
    def cancel(self) -> None:
        for worker in self.workers:
            worker.cancelled = True
            worker.popen.kill()

    def died(self, worker: Process) -> list[PoolEvent]:
        task, worker.task = worker.task, None
        super().died(worker)
        return [] if task is None else [Ended(task, NodeResult(task.node.hash, Outcome.CANCELLED))]


class NeedsCleaningUp(SoundExecutor):
    """Refuses to run when an earlier run has not ended as it should."""

    name = "needs-cleaning-up"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        lock = folder.parent / "lock"
        if lock.exists():
            raise FuruExecutorError("another run is going on", hint=f"remove {lock}")
        lock.touch()
        return _LockedRun(run_id, folder, roots, controller, None)


class _LockedRun(ControlledRun):
    def wait(self, timeout: float | None = None) -> Self:
        try:
            return super().wait(timeout)
        finally:
            (self.folder.parent / "lock").unlink(missing_ok=True)


class LeavesNotes(SoundExecutor):
    """Notes that it has submitted nodes, and leaves the notes of those that have failed."""

    name = "leaves-notes"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _NotingPool(self.worker, self.max_workers, context, environment, folder)


class _NotingPool(Processes):
    def begin(self, worker: Process, task: Task) -> None:
        job = Submission(self.context.executor, f"job-{task.number}")
        note_submission(task.node.obj, job)
        super().begin(worker, task)


class ForgetsOthers(SoundExecutor):
    """Takes a node that somebody else computes for one that has failed."""

    name = "forgets-others"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _LonelyPool(self.worker, self.max_workers, context, environment, folder)

    def plan(self, roots: Roots) -> DependencyPlan:
        plan = super().plan(roots)
        nodes = {
            node.hash: attrs.evolve(node, status=type(node.status).TODO)
            if node.status.name == "IN_PROGRESS"
            else node
            for node in plan
        }
        return attrs.evolve(plan, nodes=nodes)


class _LonelyPool(Processes):
    def wait(self, timeout: float | None) -> list[PoolEvent]:
        return [_without_others(event) for event in super().wait(timeout)]


def _without_others(event: PoolEvent) -> PoolEvent:
    if isinstance(event, Ended) and event.result.outcome is Outcome.BUSY:
        return Ended(event.task, attrs.evolve(event.result, outcome=Outcome.FAILED))
    return event


# What workers know


class DropsSettings(SoundExecutor):
    """Tells its workers where the store is, and nothing else."""

    name = "drops-settings"

    def environment(self, settings: Settings) -> dict[str, str]:
        outer = {key: value for key, value in os.environ.items() if not key.startswith("FURU_")}
        return {**outer, "FURU_PATH": str(settings.path)}


class StartsElsewhere(SoundExecutor):
    """Its workers begin in a folder of their own."""

    name = "starts-elsewhere"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _ElsewherePool(self.worker, self.max_workers, context, environment, folder)


class _ElsewherePool(Processes):
    def start(self) -> Process:
        return Process(self.kind, self.environment, str(self.folder), self.folder / "workers.log")


# What a run says


class _PickyLog(EventLog):
    left_out: ClassVar[tuple[EventKind, ...]] = ()

    def write(self, kind: EventKind, **fields: Any) -> Event:
        if kind in self.left_out:
            return Event(time.time(), kind)
        return super().write(kind, **fields)


class _NoStarts(_PickyLog):
    left_out = (EventKind.NODE_STARTED,)


class _NoEnd(_PickyLog):
    left_out = (EventKind.RUN_ENDED,)


class LeavesEventsOut(SoundExecutor):
    """Does not tell that nodes begin."""

    name = "leaves-events-out"

    def events(self, folder: Path) -> EventLog:
        return _NoStarts(folder)


class LeavesTheEndOut(SoundExecutor):
    """Does not tell that a run has ended."""

    name = "leaves-the-end-out"

    def events(self, folder: Path) -> EventLog:
        return _NoEnd(folder)


class SaysDone(SoundExecutor):
    """Its status is always the same."""

    name = "says-done"

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return _ContentRun(run_id, folder, roots, controller, None)


class _ContentRun(ControlledRun):
    def status(self) -> RunStatus:
        return RunStatus(type(super().status().state).DONE)


class LivenessRaises(SoundExecutor):
    """Cannot be asked about what it does not know."""

    name = "liveness-raises"

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        known: dict[str, Liveness] = {}
        return {submission: known[submission.id] for submission in submissions}


class LivenessIsHopeful(SoundExecutor):
    """Says of everything that it lives."""

    name = "liveness-is-hopeful"

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        return dict.fromkeys(submissions, Liveness.ALIVE)


class LivenessKillsTheLiving(SoundExecutor):
    """Says of work that goes on that it is gone."""

    name = "liveness-kills-the-living"

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return _SubmittingPool(self.worker, self.max_workers, context, environment, folder)

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        return dict.fromkeys(submissions, Liveness.GONE)


class _SubmittingPool(Processes):
    def context_of(self, task: Task) -> WorkerContext:
        job = Submission(self.context.executor, f"job-{task.number}")
        return attrs.evolve(super().context_of(task), submission=job)


def all_broken() -> Iterator[type[SoundExecutor]]:
    """The broken ones of this module."""
    for value in list(globals().values()):
        if (
            isinstance(value, type)
            and issubclass(value, SoundExecutor)
            and value is not SoundExecutor
        ):
            yield value
