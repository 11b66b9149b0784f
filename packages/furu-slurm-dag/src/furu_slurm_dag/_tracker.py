"""The jobs of a run's nodes, as its submitter sees them: what is to be submitted, and what ended."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from furu_core import NodeState, Settings
from furu_core.executors import EventKind, Failure, FailureKind
from furu_core.planning import NodeInfo, NodePlace, StateReader, place_of
from furu_core.workers import made_progress
from furu_plan import Frontier, NextStep, PlanNode, Reconciled, RetryLedger, Stage, Status
from furu_plan.runs import RunJournal
from furu_slurm import Health, JobHealth, JobInfo, JobState, Snapshot, job_log, last_word
from furu_slurm_dag._job import ExitStatus
from furu_slurm_dag._run_folder import JobRecord, parse_ref, read_job_record, run_folder
from furu_slurm_dag._submit import Job, Submitter, submission_to_wait_for

_log = logging.getLogger("furu.slurm")

_VISIBLE_SECS: Final = 60.0
_READ_SECS: Final = 60.0  # between two looks at what a job that runs says itself
_NOT_THERE: Final = tuple(stage for stage in Stage if stage is not Stage.DONE)
_UNSUBMITTED: Final = (Stage.PENDING, Stage.READY)
_SUBMITTED: Final = (Stage.OUT, Stage.WAITING)


@attrs.define
class TrackedNode:
    """A node that was not there when the run began, or when it came to the run.

    Attributes:
        node: as it came to the run; the frontier knows what it depends on now.
        place: where it stands in the store.
        job: the job that computes it.
        running: whether that has begun.
        waits_for: the jobs that it waits for, by the hashes of their nodes.
        adopted: whether somebody else submitted it.
        ended: since when it is known to be over and nothing seen of a result.
        health: how it is.
        since: when the node came to stand as it stands, by `time.monotonic`.
        read: when it was looked what its job, which runs, says itself.
        retries: how many times it was told that its jobs tried it again.
    """

    node: PlanNode
    place: NodePlace
    job: Job | None = None
    running: bool = False
    waits_for: Mapping[str, str] = attrs.field(factory=dict)
    adopted: bool = False
    ended: float | None = None
    health: JobHealth = attrs.field(factory=JobHealth)
    since: float = attrs.field(factory=time.monotonic)
    read: float = 0.0
    retries: int = 0

    @property
    def hash(self) -> str:
        """The node's hash."""
        return self.node.hash

    def has(self, job: Job | None) -> None:
        """The node is given to another job, or to none."""
        self.job = job
        self.running = self.adopted = False
        self.ended = None
        self.health = JobHealth()
        self.since = time.monotonic()


class Tracker:
    """Keeps the frontier of a run by what becomes of the jobs of its nodes.

    A node is OUT while a job of this run, or one that somebody submitted meanwhile, is to compute it;
    it is WAITING while one does that somebody had submitted before.

    Args:
        frontier: the nodes of the run.
        submitter: knows where logs are, and finds jobs that others submitted.
        settings: for budgets and waits.
        journal: is told what happens.

    Attributes:
        to_cancel: jobs that are not worth going on with.

    Raises:
        FuruExecutorError: a node is computed by somebody whose end no job can wait for.
    """

    def __init__(
        self, frontier: Frontier, submitter: Submitter, settings: Settings, journal: RunJournal
    ) -> None:
        self._frontier = frontier
        self._submitter = submitter
        self._losses = RetryLedger(settings, keep_going=True)
        self._journal = journal
        self._reader = StateReader()
        self._visible_secs = max(settings.lease_secs, _VISIBLE_SECS)
        self._nodes: dict[str, TrackedNode] = {}
        self._because: dict[str, str] = {}  # short names of failed nodes, by what they block
        self._left: list[PlanNode] = []  # whose adopted jobs are gone
        self.to_cancel: list[str] = []
        self._track(late=False)
        self._tell_blocked(frontier.in_stage(Stage.BLOCKED))
        self._take_over()

    # What there is

    def __getitem__(self, node_hash: str) -> TrackedNode:
        return self._nodes[node_hash]

    def jobs(self) -> dict[str, Job]:
        """The jobs of nodes that are not over, by hash."""
        return {one.hash: one.job for one in self._submitted() if one.job is not None}

    def job_ids(self) -> dict[str, str]:
        """The last jobs of nodes, by hash, those that have ended among them."""
        return {one.hash: one.job.job_id for one in self._nodes.values() if one.job is not None}

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes whose jobs have begun, and since when by `time.monotonic`."""
        return [(one.node, one.since) for one in self._submitted() if one.running]

    def queued(self) -> list[Job]:
        """The jobs that wait in Slurm's queue."""
        return [one.job for one in self._submitted() if one.job is not None and not one.running]

    def unsubmitted(self) -> list[PlanNode]:
        """The nodes that are to have a job and have none."""
        return self._frontier.in_stage(*_UNSUBMITTED)

    def pending(self) -> set[str]:
        """The nodes that are not there."""
        return {node.hash for node in self._frontier.in_stage(*_NOT_THERE)}

    def blocked(self) -> tuple[tuple[str, str], ...]:
        """Short names of nodes that can never run, each with that of the node that failed."""
        return tuple(
            (node.name, self._because[node.hash]) for node in self._frontier.in_stage(Stage.BLOCKED)
        )

    def refresh(self) -> None:
        """See in the store what is there by now, before jobs are made to wait for it."""
        self._reader.refresh()
        for one in self._nodes.values():
            if self._stage(one) in (*_UNSUBMITTED, *_SUBMITTED) and self._is_there(one):
                self._done(one)

    def took(self, jobs: Mapping[str, Job], waits_for: Mapping[str, Job]) -> None:
        """Note the jobs that were submitted or adopted.

        Args:
            jobs: of nodes, by hash.
            waits_for: those that they wait for, by the hashes of their nodes.
        """
        names = {one: job.job_id for one, job in waits_for.items()}
        for node_hash, job in jobs.items():
            self._frontier.claim(node_hash)
            one = self._nodes[node_hash]
            one.has(job)
            one.waits_for = names
            if job.name.run_id != self._submitter.run_id:
                self._tell_adopted(one)

    def _stage(self, one: TrackedNode) -> Stage:
        return self._frontier.stage(one.hash)

    def _submitted(self) -> Iterable[TrackedNode]:
        return (one for one in self._nodes.values() if self._stage(one) in _SUBMITTED)

    def _below(self, one: TrackedNode) -> tuple[str, ...]:
        return self._frontier.node(one.hash).dependencies

    def _is_there(self, one: TrackedNode) -> bool:
        return not one.node.rerun and self._reader.done(one.node.obj)

    # Looking

    def look(self, snapshot: Snapshot) -> None:
        """See how all nodes stand now.

        Args:
            snapshot: how the jobs stood a moment ago; what it does not know is left as it is.
        """
        self._reader.refresh()
        for one in list(self._nodes.values()):
            match self._stage(one):
                case Stage.DONE:
                    self._look_back(one, snapshot)
                case Stage.FAILED | Stage.BLOCKED:
                    pass
                case _ if self._is_there(one):
                    self._done(one)
                case _ if one.job is not None:
                    if snapshot.known:
                        self._look_at_job(one, one.job, snapshot)
                case Stage.WAITING:
                    # At the last look nobody could be waited for, or that was broken off.
                    self._adopt(one, self._reader.state(one.node.obj))
                case _:
                    pass
        self._take_over()

    def _look_at_job(self, one: TrackedNode, job: Job, snapshot: Snapshot) -> None:
        running = one.running
        one.health.left = self._left_since(one, job) if running else None
        one.health.unblocked = None if running else self._unblocked_since(one)
        health = one.health.look(job.submitted, snapshot)
        info = one.health.info
        match health:
            case Health.HEALTHY:
                assert info is not None
                one.ended = None
                self._stands(one, running=not info.state.waiting)
            case Health.DROPPED:
                self.to_cancel.append(job.job_id)
                self._lost(one, job, info, began=False)
            case Health.UNSCHEDULABLE:
                assert info is not None
                text = (
                    f"job {job.job_id} is pending for a reason that does not pass by itself: "
                    f"{info.reason}; mend specs[{one.node.spec_key!r}]"
                )
                self.to_cancel.append(job.job_id)
                self._fail(one, self._failure(one, FailureKind.PROTOCOL, text))
            case Health.STRANDED:
                self.to_cancel.append(job.job_id)
                self._again(one)
            case Health.GHOST:
                self.to_cancel.append(job.job_id)
                self._judge(one, job, None, snapshot, waited=math.inf)
            case Health.ENDED:
                assert info is not None
                if one.node.rerun and info.state is JobState.COMPLETED:
                    self._done(one)
                else:
                    self._has_ended(one, job, info, snapshot)
            case Health.DENIED:
                self._has_ended(one, job, None, snapshot)
            case Health.UNKNOWN | Health.OUT_OF_SIGHT | Health.SILENT | Health.LOST:
                # That a listing does not show it proves nothing. Of another user's its attempt says more.
                if one.adopted and self._reader.state(one.node.obj).state is NodeState.STALE:
                    self._has_ended(one, job, None, snapshot)
            case Health.RESTARTED:
                raise AssertionError("jobs of nodes may be restarted")

    def _has_ended(
        self, one: TrackedNode, job: Job, info: JobInfo | None, snapshot: Snapshot
    ) -> None:
        now = time.monotonic()
        one.ended = now if one.ended is None else one.ended
        self._judge(one, job, info, snapshot, waited=now - one.ended)

    def _look_back(self, one: TrackedNode, snapshot: Snapshot) -> None:
        """See that the job of a node that is there has ended, in Slurm's eyes as well."""
        if one.job is None or one.adopted:
            return
        if one.health.verdict in (Health.ENDED, Health.DENIED):
            return
        one.health.left = one.health.left or one.since
        if one.health.look(one.job.submitted, snapshot) is Health.GHOST:
            self.to_cancel.append(one.job.job_id)
            one.job = None

    def _unblocked_since(self, one: TrackedNode) -> float | None:
        """Since when all that a node's job waits for has been there."""
        if not one.waits_for and not one.adopted:
            return None  # a dependency of the user's own
        below = [self._nodes[item] for item in self._below(one) if item in self._nodes]
        there = all(self._stage(other) is Stage.DONE for other in below)
        return max([one.since, *(other.since for other in below)]) if there else None

    def _left_since(self, one: TrackedNode, job: Job) -> float | None:
        """Since when a job that runs, as Slurm says, has said its last word; looked at now and then.

        A controller of Slurm that was killed may forget ends of jobs, and believe in them until their
        walltime.
        """
        now, left = time.monotonic(), one.health.left
        if left is None and now - max(one.since, one.read) <= _READ_SECS:
            return None
        one.read = now
        record = self._listen(one, job)
        if record is None or not record.ended or record.token != job.name.token:
            return None
        return now if left is None else left

    def _judge(
        self, one: TrackedNode, job: Job, info: JobInfo | None, snapshot: Snapshot, *, waited: float
    ) -> None:
        """What became of a node whose job is over and whose artifact is not to be seen."""
        record = self._listen(one, job)
        if record is not None and record.token != job.name.token:
            record = None  # of an earlier job of this run
        if record is not None and record.failure is not None:
            log = record.failure.log or self.log_of(one)
            self._fail(one, attrs.evolve(record.failure, log=log))
        elif record is not None and record.blocked_by:
            self._because[one.hash] = record.blocked_by
            self._tell_blocked(self._frontier.blocked(one.hash))
        elif one.node.rerun and info is None and record is not None and record.ended:
            self._done(one)
        elif waited < self._visible_secs and _says_more(info, record):
            return  # a network filesystem shows it later
        elif record is None and any(map(self._is_lost, self._below(one))):
            self._again(one)  # which the frontier knows better
        elif self._follow(one, job):
            return
        elif record is None and self._is_orphan(one, snapshot):
            self._again(one)
        elif info is not None and info.state is JobState.CANCELLED:
            self._cancelled(one, f"its job {job.job_id} was cancelled")
        elif info is None and record is not None and record.terminated:
            self._cancelled(one, f"its job {job.job_id} was ended by Slurm")
        else:
            self._lost(one, job, info, began=record is not None)

    def _follow(self, one: TrackedNode, job: Job) -> bool:
        """Whether somebody else computes the node now, whom to wait for instead."""
        state = self._reader.state(one.node.obj)
        if state.state is NodeState.RUNNING:
            return True
        holder = state.holder
        if state.state is not NodeState.QUEUED or holder is None or holder.submission is None:
            return False
        other = parse_ref(holder.submission)
        if other is None or other == job.name:
            return other is not None
        found = self._submitter.adopt(one.node, holder.submission)
        if found is None:
            self._again(one)
        else:
            one.has(found)
            self._tell_adopted(one)
        return True

    def _lost(self, one: TrackedNode, job: Job, info: JobInfo | None, *, began: bool) -> None:
        """A job that ended without a word: submit the node again, so many times in a row."""
        how = f"its job {job.job_id} is gone" if info is None else f"its {info.words}"
        if not began and info is not None and info.state is JobState.FAILED:
            # It never came to its node, and would not the next time.
            said = self._last_word(one) or "without a word"
            failure = self._failure(one, FailureKind.PROTOCOL, f"{how}: {said}")
            self._fail(one, failure)
            return
        # Jobs that began count their losses by themselves; but perhaps they cannot write it down.
        progress = made_progress(one.place)
        decision = self._losses.decide(one.hash, FailureKind.LOST, progress=progress)
        if decision.next_step is not NextStep.RETRY:
            self._fail(one, self._failure(one, FailureKind.LOST, how))
            return
        self._again(one)

    def _again(self, one: TrackedNode) -> None:
        """Have a node submitted once more, unless it can never run."""
        blocked: tuple[PlanNode, ...] = ()
        if self._stage(one) is Stage.WAITING:
            self._left.append(one.node)
        else:
            blocked = self._frontier.retry(one.hash)
        if self._stage(one) is not Stage.BLOCKED:
            one.has(None)
            self._journal.note(EventKind.NODE_RETRIED, one.node, "it is submitted once more")
        self._tell_blocked(blocked)

    # What others submitted

    def _take_over(self) -> None:
        """Plan what submitters of adopted jobs had planned, now that it is up to this run."""
        while self._left:
            left, self._left = self._left, []
            self._tell_blocked(self._frontier.resolve(Reconciled(todo=tuple(left))))
            self._track(late=True)

    def _track(self, *, late: bool) -> None:
        """Take up the nodes that came to the run.

        Args:
            late: they are from below adopted jobs that are gone.
        """
        new = [
            TrackedNode(node, place_of(node.obj))
            for node in self._frontier.in_stage(*Stage)
            if node.hash not in self._nodes and node.status is not Status.DONE
        ]
        self._nodes.update((one.hash, one) for one in new)
        if late:
            self._journal.late_failures()
        for one in new if late else ():
            if one.node.failure is not None and self._stage(one) in _UNSUBMITTED:
                # What failed while others' jobs were waited for, they have tried often enough.
                self._fail(one, one.node.failure)
        for one in new:  # last, because it may raise
            if one.node.status is Status.IN_PROGRESS:
                self._adopt(one, one.node.info)

    def _adopt(self, one: TrackedNode, info: NodeInfo) -> None:
        """Wait for the job by which somebody else computes a node; or take it over if that is gone."""
        if info.state not in (NodeState.QUEUED, NodeState.RUNNING):
            self._left.append(one.node)
            return
        submission = submission_to_wait_for(one.node, info.holder)
        job = self._submitter.adopt(one.node, submission)
        if job is None:
            # It ended between the look at the store and this one.
            self._left.append(one.node)
        else:
            one.has(job)
            one.adopted = True

    # What follows

    def _is_lost(self, node_hash: str) -> bool:
        return self._frontier.stage(node_hash) in (Stage.FAILED, Stage.BLOCKED)

    def _is_orphan(self, one: TrackedNode, snapshot: Snapshot) -> bool:
        """Whether Slurm cancelled a job for the sake of one that it waited for."""
        if one.adopted:
            return True  # nobody here knows what it waited for
        for node_hash, job_id in one.waits_for.items():
            other = self._nodes[node_hash]
            if other.job is None or other.job.job_id != job_id:
                return True
            info = snapshot.job(job_id)
            if info is not None and info.state.ended and info.state is not JobState.COMPLETED:
                return True
        return False

    def _listen(self, one: TrackedNode, job: Job) -> JobRecord | None:
        """What a job says itself; told of it is that it began, and how often it tried its node again."""
        record = read_job_record(run_folder(job.name.run_id), one.hash)
        if record is not None:
            if record.token == job.name.token and not record.blocked_by:
                self._stands(one, running=True)  # perhaps it was quicker than two looks
            for why in record.retries[one.retries :]:
                self._journal.note(EventKind.NODE_RETRIED, one.node, why)
            one.retries = max(one.retries, len(record.retries))
        return record

    def _stands(self, one: TrackedNode, *, running: bool) -> None:
        if one.running == running:
            return
        one.running, one.since = running, time.monotonic()
        if running:
            self._journal.note(EventKind.NODE_STARTED, one.node, _job_of(one))
        elif one.adopted:
            self._tell_adopted(one)

    def _tell_adopted(self, one: TrackedNode) -> None:
        one.adopted = True
        said = f"{_job_of(one)} was submitted before"
        self._journal.note(EventKind.NODE_WAITING, one.node, said)

    def _done(self, one: TrackedNode) -> None:
        if one.job is not None:
            self._listen(one, one.job)
        one.since = time.monotonic()
        self._frontier.done(one.hash)
        self._journal.done(one.node, computed=one.job is not None, detail=_job_of(one))

    def _fail(self, one: TrackedNode, failure: Failure) -> None:
        one.since = time.monotonic()
        blocked = self._frontier.failed(one.hash)
        self._journal.failed(failure)
        if failure.kind is not FailureKind.CANCELLED:
            _log.error("%s", failure)
        self._tell_blocked(blocked)

    def _cancelled(self, one: TrackedNode, message: str) -> None:
        self._fail(one, self._failure(one, FailureKind.CANCELLED, message))

    def _tell_blocked(self, nodes: Iterable[PlanNode]) -> None:
        """Say because of which node each of these will never run, those that they need first."""
        for node in nodes:
            lost = next(filter(self._is_lost, node.dependencies), "")
            if node.hash not in self._because:
                self._because[node.hash] = self._because.get(lost) or self._frontier.node(lost).name
            said = f"because {self._because[node.hash]} failed"
            self._journal.note(EventKind.NODE_CANCELLED, node, said)

    def log_of(self, one: TrackedNode) -> Path | None:
        """The log of a node's job, where there is one."""
        if one.job is None or one.job.name.run_id != self._submitter.run_id:
            return None
        path = job_log(self._submitter.log_folder(one.node.spec_key), one.job.job_id)
        return path if path.exists() else None

    def _failure(self, one: TrackedNode, kind: FailureKind, message: str) -> Failure:
        return Failure(kind, "", message, one.node.name, one.hash, self.log_of(one))

    def _last_word(self, one: TrackedNode) -> str:
        """What a job that never came to its node said last."""
        log = self.log_of(one)
        return "" if log is None else last_word(log)


def _says_more(info: JobInfo | None, record: JobRecord | None) -> bool:
    """Whether a job wrote down more than is to be seen: an artifact, or why there is none."""
    if info is None:
        return record is not None and record.ended
    if info.state is JobState.COMPLETED:
        return True
    return info.exit_code in (ExitStatus.FAILED, ExitStatus.BLOCKED)


def _job_of(one: TrackedNode) -> str:
    return "" if one.job is None else f"job {one.job.job_id}"
