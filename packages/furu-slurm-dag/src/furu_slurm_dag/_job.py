"""The program that runs in the job of a node.

Its process is small and imports none of the user's code: it watches the child that computes the node,
counts failures, tries again, and requeues itself before its walltime ends. So the code of a node can
crash the child and nothing else. The job ends with status 0 if and only if the node has an artifact.

What only some jobs come to, such as waiting for others or asking Slurm for something, is called by way
of the package that has it, which imports it then.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Final

import attrs

import furu_core.planning
import furu_core.workers
import furu_slurm
from furu_core.errors import FuruError
from furu_core.executors import Failure, FailureKind, Waker, is_local_folder
from furu_core.planning import NodeInfo, NodeRef, NodeState, absent
from furu_core.workers import NodeProcess, NodeResult, Outcome, WorkerContext, worker_session
from furu_plan import Decision, NextStep, RetryLedger, Spent, failure_of
from furu_slurm import JobEnvironment, JobPayload, this_job
from furu_slurm_dag._run_folder import (
    GRAPH,
    NAME,
    Assignment,
    Batch,
    JobRecord,
    JobRef,
    read_job_record,
    write_job_record,
)

FUNCTION: Final = "furu_slurm_dag._job:compute"

_CACHE_SECS: Final = 60.0  # for so long network filesystems may hide what another host wrote
_LATE_SECS: Final = 40.0  # a SIGTERM so shortly before the walltime's end is caused by it
_MARGIN_SECS: Final = 15.0  # for bookkeeping between the end of the node and that of the job
_SHORTEST_GRACE_SECS: Final = 5.0
_TERM_GRACE_SECS: Final = 20.0  # Slurm kills half a minute after SIGTERM
_WORD_SECS: Final = 60.0
_REQUEUES: Final = 5
_REQUEUE_PAUSE_SECS: Final = 3.0


class ExitStatus(IntEnum):
    """The exit statuses of the job; with 1 it ended before it came to its node."""

    DONE = 0
    FAILED = 10
    BLOCKED = 11  # a dependency has no artifact
    REQUEUED = 75  # Slurm ignores this status, because the job is in the queue again
    TERMINATED = 143


def compute(payload: JobPayload, index: int) -> int:
    """Compute one node of a submission, and return the exit status of the job.

    Args:
        payload: of `Batch.payload`.
        index: the job's place in its array.
    """
    batch = Batch.of(payload)
    name = JobRef(batch.run_id, payload.token, index)
    job = this_job()
    assert job is not None
    with _caught_signals() as signals:
        assignment = batch.assignments[index]
        return _Job(payload.run_folder, batch, assignment, name, job).run(signals)


@attrs.define
class _Signals:
    """The signals that the job has received, and a pipe that becomes readable when one arrives."""

    waker: Waker
    ending: bool = False  # the walltime ends soon
    terminated: bool = False

    def wait(self, *others: NodeProcess, timeout: float) -> None:
        """Wait until a signal arrives, a node process reports something, or time is up."""
        self.waker.sleep(timeout, *others)

    def __bool__(self) -> bool:
        return self.ending or self.terminated


@contextmanager
def _caught_signals() -> Iterator[_Signals]:
    """Note the signals that announce an end, instead of dying of them."""
    waker = Waker()
    signals = _Signals(waker)

    def on_ending(_number: int, _frame: FrameType | None) -> None:
        signals.ending = True

    def on_term(_number: int, _frame: FrameType | None) -> None:
        signals.terminated = True

    before = signal.set_wakeup_fd(waker.wakeup_fd)
    signal.signal(signal.SIGUSR2, on_ending)
    signal.signal(signal.SIGTERM, on_term)
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(before)
        waker.close()


class _Blocked(Exception):
    """The node cannot begin, because a dependency has no artifact."""

    def __init__(self, ref: NodeRef, reason: str) -> None:
        super().__init__(reason)
        self.ref = ref


class _Interrupted(Exception):
    """A signal came while the job waited for others."""


class _Job:
    """One node, from the job's start to its end."""

    def __init__(
        self, folder: Path, batch: Batch, assignment: Assignment, name: JobRef, job: JobEnvironment
    ) -> None:
        self._folder = folder
        self._batch = batch
        self._assignment = assignment
        self._ref = assignment.ref
        self._name = name
        self._job = job
        self._settings = furu_core.settings()
        self._record = JobRecord()
        self._retries = RetryLedger(self._settings, keep_going=True)

    def run(self, signals: _Signals) -> int:
        """Compute the node, or report why that is not possible."""
        submission = self._name.submission(self._job.restarts)
        context = WorkerContext(
            executor=NAME,
            run_id=self._batch.run_id,
            spec_key=self._batch.spec_key,
            echo=True,
            known_done_wait_secs=self._hidden_secs(),
            submission=submission,
        )
        # The session makes liveness checks in this process see that this job is alive.
        with worker_session(context):
            failure = self._take_up()
            if failure is not None:
                return self._give_up(failure)
            try:
                if self._is_finished():
                    return self._done("it was there already")
                self._await_dependencies(signals)
                context = attrs.evolve(context, job_times=furu_slurm.job_times(self._job))
                graph = self._folder / GRAPH
                with NodeProcess(
                    None, graph=graph, wait_secs=_CACHE_SECS, idle_secs=None
                ) as process:
                    return self._compute(process, context, signals)
            except _Blocked as blocked:
                return self._blocked(blocked)
            except _Interrupted:
                return self._leave(signals, None)
            except FuruError as error:
                return self._give_up(self._failure(FailureKind.PROTOCOL, error))

    # The start

    def _take_up(self) -> Failure | None:
        """Continue the counts of earlier starts of this job, and of earlier jobs of this run."""
        before = read_job_record(self._folder, self._ref.hash)
        self._record = JobRecord(
            spent=Spent() if before is None else before.spent,
            token=self._name.token,
            restarts=self._job.restarts,
            retries=() if before is None else before.retries,
        )
        self._retries = RetryLedger(
            self._settings, keep_going=True, spent={self._ref.hash: self._record.spent}
        )
        if before is not None and not before.ended and not self._is_finished():
            # The start that wrote the record was killed before it could report why.
            failure = self._failure(
                FailureKind.LOST, message="its job was killed, preempted, or lost its node"
            )
            decision = self._decide(failure)
            if decision.next_step is not NextStep.RETRY:
                return failure
            if before.token != self._name.token:
                # The process that submitted the node again has reported this loss already.
                self._record = attrs.evolve(self._record, retries=before.retries)
            self._say(f"{failure.message} ({decision.reason}); it is tried again")
        self._write()
        return None

    def _await_dependencies(self, signals: _Signals) -> None:
        """Check in the store that all dependencies are done, because Slurm forgets failed jobs."""
        began = unseen_since = time.monotonic()
        said = 0.0
        pause = 0.05
        while missing := absent(self._batch.dependencies):
            ref = missing[0]
            info = furu_core.planning.state_at(ref)
            now = time.monotonic()
            limit = self._settings.max_wait_secs
            match info.state:
                case NodeState.FAILED:
                    raise _Blocked(ref, f"it failed: {info.failure}")
                case NodeState.RUNNING | NodeState.QUEUED | NodeState.DONE:
                    unseen_since = now
                    if limit is not None and now - began > limit:
                        raise _Blocked(ref, f"after {limit:g} s it is {info.state.value}")
                case NodeState.ABSENT | NodeState.LOST | NodeState.CANCELLED | NodeState.UNREADABLE:
                    if now - unseen_since > self._visible_secs():
                        raise _Blocked(ref, f"nobody computes it, it is {info.state.value}")
            if now - said > _WORD_SECS:
                said = now
                self._say(f"waiting for {_state_text(ref, info)}")
            signals.wait(timeout=pause)
            pause = min(2 * pause, self._settings.poll_interval_secs)
            if signals:
                raise _Interrupted

    # The node

    def _compute(self, process: NodeProcess, context: WorkerContext, signals: _Signals) -> int:
        while True:
            self._say(f"computing {self._ref.name}")
            process.assign(self._assignment.offset, context, rerun=self._assignment.rerun)
            process.flush()
            result = None
            while result is None:
                if signals:
                    return self._leave(signals, self._interrupted(process, signals))
                signals.wait(process, timeout=_WORD_SECS)
                result = _result(process)
            status = self._judged(result, signals)
            if status is not None:
                return status
            if signals:
                return self._leave(signals, None)

    def _judged(self, result: NodeResult, signals: _Signals) -> int | None:
        """What follows from an attempt; None to make another one."""
        match result.outcome:
            case Outcome.COMPUTED | Outcome.LOADED:
                if self._is_there():
                    return self._done(f"{result.outcome.value} in {result.seconds:.1f} s")
                failure = self._failure(FailureKind.LOST, message="its artifact is gone again")
            case Outcome.BUSY:
                self._say(f"{result.holder} computes {self._ref.name}; waiting for it")
                return self._await_other(signals)
            case Outcome.INVALID_DEPENDENCY:
                return self._give_up(self._known(result, FailureKind.COMPUTE))
            case Outcome.CANCELLED | Outcome.FAILED:
                failure = self._known(result)
        if signals:  # the signal may be what killed the node's child processes
            failure = attrs.evolve(failure, kind=FailureKind.LOST)
        decision = self._decide(failure)
        if decision.next_step in (NextStep.RETRY, NextStep.FREE):
            self._say(f"{failure} ({decision.reason}); it is tried again")
            self._write()
            return None
        return self._give_up(failure)

    def _await_other(self, signals: _Signals) -> int | None:
        """Wait for another process's attempt while that lives; None to compute the node after all."""
        began = time.monotonic()
        pause = 0.05
        while True:
            info = furu_core.planning.state_at(self._ref)
            if info.state is NodeState.DONE or self._is_there():
                return self._done("computed by somebody else")
            if info.state is not NodeState.RUNNING:
                return None
            limit = self._settings.max_wait_secs
            if limit is not None and time.monotonic() - began > limit:
                message = f"waited {limit:g} s for {info.holder}, which computes it"
                return self._give_up(self._failure(FailureKind.LOST, message=message))
            signals.wait(timeout=pause)
            pause = min(2 * pause, self._settings.poll_interval_secs)
            if signals:
                raise _Interrupted

    # The end

    def _interrupted(self, process: NodeProcess, signals: _Signals) -> NodeResult | None:
        """Interrupt the node, and kill it if it does not end in time."""
        self._job = furu_slurm.with_current_end(self._job)
        left = self._job.seconds_left
        if signals.terminated:
            reason, grace = "Slurm ends its job", _TERM_GRACE_SECS
        else:
            reason = "its job runs out of walltime"
            grace = _TERM_GRACE_SECS if left is None else left - _MARGIN_SECS
        self._say(f"{reason}: {self._ref.name} is interrupted")
        process.interrupt(reason, lost=True)
        deadline = time.monotonic() + max(_SHORTEST_GRACE_SECS, grace)
        late = signals.terminated
        while process.busy:
            result = _result(process)
            if result is not None:
                return result
            if signals.terminated and not late:
                late = True
                deadline = min(deadline, time.monotonic() + _TERM_GRACE_SECS)
            left = deadline - time.monotonic()
            if left <= 0:
                process.kill()
            signals.wait(process, timeout=min(1.0, left) if left > 0 else 1.0)
        return None

    def _leave(self, signals: _Signals, result: NodeResult | None) -> int:
        """End because Slurm demands it: requeue the job, unless Slurm decides about that."""
        computed = result is not None and result.outcome in (Outcome.COMPUTED, Outcome.LOADED)
        if (computed and self._is_there()) or self._is_finished():
            return self._done("computed at the last moment")
        self._job = furu_slurm.with_current_end(self._job)
        left = self._job.seconds_left
        near = left is not None and left < _LATE_SECS
        if signals.terminated and not signals.ending and not near:
            # It was preempted or cancelled, or its machine was drained: Slurm decides about a restart.
            self._record = attrs.evolve(self._record, terminated=True)
            self._write()
            self._say("ended by Slurm")
            return ExitStatus.TERMINATED
        failure = self._failure(FailureKind.LOST, message="its job ran out of walltime")
        if result is not None:
            failure = attrs.evolve(self._known(result), kind=FailureKind.LOST)
        decision = self._decide(failure)
        if decision.next_step is not NextStep.RETRY:
            return self._give_up(failure)
        self._write(ended=True)
        return self._requeue(decision)

    def _requeue(self, decision: Decision) -> int:
        self._say(f"out of walltime ({decision.reason}): back into the queue")
        for _ in range(_REQUEUES):
            try:
                furu_slurm.SlurmCluster().requeue(self._job.job_id)
            except FuruError as error:
                self._say(error.message)
                time.sleep(_REQUEUE_PAUSE_SECS)
            else:
                return ExitStatus.REQUEUED
        # A process that waits for the run submits the node again, as does running the command again.
        self._record = attrs.evolve(self._record, ended=True)
        return ExitStatus.REQUEUED

    def _done(self, how: str) -> int:
        self._write(ended=True)
        self._say(f"{self._ref.name} is there: {how}")
        return ExitStatus.DONE

    def _give_up(self, failure: Failure) -> int:
        self._record = attrs.evolve(self._record, failure=failure)
        self._write(ended=True)
        self._say(f"failed for good: {failure}")
        return ExitStatus.FAILED

    def _blocked(self, blocked: _Blocked) -> int:
        self._record = attrs.evolve(self._record, blocked_by=blocked.ref.name)
        self._write(ended=True)
        self._say(
            f"{self._ref.name} cannot begin: its dependency {blocked.ref.name} is not there, "
            f"{blocked}; mend that and run the same command again"
        )
        return ExitStatus.BLOCKED

    # Bookkeeping

    def _decide(self, failure: Failure) -> Decision:
        lost = failure.kind is FailureKind.LOST
        progress = lost and furu_core.workers.made_progress(self._ref)
        decision = self._retries.decide(self._ref.hash, failure.kind, progress=progress)
        self._record = attrs.evolve(self._record, spent=decision.spent)
        if decision.next_step in (NextStep.RETRY, NextStep.FREE):
            self._record = self._record.tried_again(f"{decision.reason}: {failure}")
        return decision

    def _write(self, *, ended: bool = False) -> None:
        self._record = attrs.evolve(self._record, ended=ended)
        try:
            write_job_record(self._folder, self._ref.hash, self._record)
        except FuruError as error:  # then the counts are lost, but not the node's result
            self._say(str(error))

    def _is_there(self) -> bool:
        return not absent([self._ref])

    def _is_finished(self) -> bool:
        return self._is_there() and not self._assignment.rerun

    def _hidden_secs(self) -> float:
        """For how many seconds this host may not see an existing artifact."""
        # On a local filesystem a node that loads an undeclared dependency need not wait before it fails.
        return 0.0 if is_local_folder(self._settings.path) else self._visible_secs()

    def _visible_secs(self) -> float:
        return max(self._settings.lease_secs, _CACHE_SECS)

    def _known(self, result: NodeResult, kind: FailureKind | None = None) -> Failure:
        """The failure of a result, with the node's name, which the failure of an unreadable node lacks."""
        failure = failure_of(result, node=self._ref.name, node_hash=self._ref.hash)
        return attrs.evolve(failure, kind=kind or failure.kind)

    def _failure(
        self, kind: FailureKind, error: BaseException | None = None, *, message: str = ""
    ) -> Failure:
        node, node_hash = self._ref.name, self._ref.hash
        if error is not None:
            return Failure.of(kind, error, node=node, hash=node_hash)
        return Failure(kind, "", message, node, node_hash)

    def _say(self, text: str) -> None:
        print(f"furu: job {self._job.job_id}: {text}", file=sys.stderr, flush=True)


def _result(process: NodeProcess) -> NodeResult | None:
    """The result of the node, once its process has reported it or died."""
    reports = process.poll()
    return reports[0].result if reports else None


def _state_text(ref: NodeRef, info: NodeInfo) -> str:
    by = f", computed by {info.holder}" if info.holder is not None else ""
    return f"{ref.name}, which is {info.state.value}{by}"
