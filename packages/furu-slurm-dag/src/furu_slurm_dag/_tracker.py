"""The jobs of a run's nodes, as its submitter sees them: which are to be submitted, which ended."""

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
from furu_core.planning import NodeInfo, NodeRef, StateReader, ref_of
from furu_core.workers import made_progress
from furu_plan import Frontier, NextStep, PlanNode, Reconciled, RetryLedger, Stage, Status
from furu_plan.runs import RunJournal
from furu_slurm import Health, JobHealth, JobInfo, JobState, Snapshot, job_log, last_word
from furu_slurm_dag._job import ExitStatus
from furu_slurm_dag._run_folder import JobRecord, parse_ref, read_job_record, run_folder
from furu_slurm_dag._submit import Job, Submitter, submission_to_wait_for

_log = logging.getLogger("furu.slurm")

_VISIBLE_SECS: Final = 60.0
_READ_SECS: Final = 60.0  # how often the record of a running job is read
_NOT_THERE: Final = tuple(stage for stage in Stage if stage is not Stage.DONE)
_UNSUBMITTED: Final = (Stage.PENDING, Stage.READY)
_SUBMITTED: Final = (Stage.OUT, Stage.WAITING)


@attrs.define
class TrackedNode:
    """A node that was not done when the run began, or when it was added to the run.

    Attributes:
        node: as it was planned; the frontier knows its current dependencies.
        ref: where it is in the store.
        job: the job that computes it.
        running: whether that job has begun.
        waits_for: the jobs that it depends on, by the hashes of their nodes.
        adopted: whether another run submitted it.
        ended: since when the job is known to be over, while no result has been seen.
        health: the health of the job.
        since: when `running` or the job last changed, by `time.monotonic`.
        read: when the record of its running job was read last.
        retries: how many retries by its jobs have been reported.
    """

    node: PlanNode
    ref: NodeRef
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
        """Give the node to another job, or to none."""
        self.job = job
        self.running = self.adopted = False
        self.ended = None
        self.health = JobHealth()
        self.since = time.monotonic()


class Tracker:
    """Updates the frontier of a run from the states of its nodes' jobs.

    A node is OUT while a job of this run is to compute it, or a job that another run has submitted
    meanwhile; it is WAITING while a job is to compute it that another run had submitted before.

    Args:
        frontier: the nodes of the run.
        submitter: knows the folders of logs, and finds jobs that other runs submitted.
        settings: the limits of retries and waits.
        journal: records the events.

    Attributes:
        to_cancel: ids of jobs whose results are not needed.

    Raises:
        FuruExecutorError: a node is computed by a process that no job can depend on.
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
        self._because: dict[str, str] = {}  # failed nodes' short names, by what they block
        self._left: list[PlanNode] = []  # nodes whose adopted jobs are gone
        self.to_cancel: list[str] = []
        self._track(late=False)
        self._tell_blocked(frontier.in_stage(Stage.BLOCKED))
        self._take_over()

    # Nodes and their jobs

    def __getitem__(self, node_hash: str) -> TrackedNode:
        return self._nodes[node_hash]

    def jobs(self) -> dict[str, Job]:
        """The jobs that have not ended, by the hash of their node."""
        return {one.hash: one.job for one in self._submitted() if one.job is not None}

    def job_ids(self) -> dict[str, str]:
        """The ids of the nodes' latest jobs, by hash, ended ones included."""
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
        """The hashes of nodes that are not done."""
        return {node.hash for node in self._frontier.in_stage(*_NOT_THERE)}

    def blocked(self) -> tuple[tuple[str, str], ...]:
        """Short names of nodes that can never run, each with that of the node that failed."""
        return tuple(
            (node.name, self._because[node.hash]) for node in self._frontier.in_stage(Stage.BLOCKED)
        )

    def refresh(self) -> None:
        """Check in the store which nodes are done by now, before jobs are made to depend on them."""
        self._reader.refresh()
        for one in self._nodes.values():
            if self._stage(one) in (*_UNSUBMITTED, *_SUBMITTED) and self._is_there(one):
                self._done(one)

    def took(self, jobs: Mapping[str, Job], waits_for: Mapping[str, Job]) -> None:
        """Note the jobs that were submitted or adopted.

        Args:
            jobs: the jobs, by the hashes of their nodes.
            waits_for: the jobs that they depend on, by the hashes of their nodes.
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

    # Looking at the jobs

    def look(self, snapshot: Snapshot) -> None:
        """Update the stages of all nodes.

        Args:
            snapshot: the states of the jobs a moment ago; nodes whose jobs it does not show stay.
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
                    # The last look found no job to wait for, or was broken off before it did.
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
                # A listing without the job proves nothing. For another user's job the attempt tells more.
                if one.adopted and self._reader.state(one.node.obj).state is NodeState.LOST:
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
        """Check that the job of a node that is done has ended for Slurm, too."""
        if one.job is None or one.adopted:
            return
        if one.health.verdict in (Health.ENDED, Health.DENIED):
            return
        one.health.left = one.health.left or one.since
        if one.health.look(one.job.submitted, snapshot) is Health.GHOST:
            self.to_cancel.append(one.job.job_id)
            one.job = None

    def _unblocked_since(self, one: TrackedNode) -> float | None:
        """Since when all nodes that a node's job depends on have been done."""
        if not one.waits_for and not one.adopted:
            return None  # the job has a dependency from the user's spec
        below = [self._nodes[item] for item in self._below(one) if item in self._nodes]
        there = all(self._stage(other) is Stage.DONE for other in below)
        return max([one.since, *(other.since for other in below)]) if there else None

    def _left_since(self, one: TrackedNode, job: Job) -> float | None:
        """When a job that runs, according to Slurm, wrote its last report; checked now and then.

        A Slurm controller that was killed may forget that jobs ended, and list them as running until
        their walltime is over.
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
        """Decide what became of a node whose job is over and whose artifact is not visible."""
        record = self._listen(one, job)
        if record is not None and record.token != job.name.token:
            record = None  # the record is that of an earlier job of this run
        if record is not None and record.failure is not None:
            log = record.failure.log or self.log_of(one)
            self._fail(one, attrs.evolve(record.failure, log=log))
        elif record is not None and record.blocked_by:
            self._because[one.hash] = record.blocked_by
            self._tell_blocked(self._frontier.blocked(one.hash))
        elif one.node.rerun and info is None and record is not None and record.ended:
            self._done(one)
        elif waited < self._visible_secs and _says_more(info, record):
            return  # a network filesystem may show the artifact later
        elif record is None and any(map(self._is_lost, self._below(one))):
            self._again(one)  # the frontier then blocks it
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
        """Whether another process computes the node now; if so, wait for that instead."""
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
        """Treat a job that ended without a report: submit the node again, up to the limit."""
        how = f"its job {job.job_id} is gone" if info is None else f"its {info.words}"
        if not began and info is not None and info.state is JobState.FAILED:
            # The job never came to its node, and would not the next time either.
            said = self._last_word(one) or "without a word"
            failure = self._failure(one, FailureKind.PROTOCOL, f"{how}: {said}")
            self._fail(one, failure)
            return
        # Jobs that began count their losses themselves; but they may be unable to write them down.
        progress = made_progress(one.ref)
        decision = self._losses.decide(one.hash, FailureKind.LOST, progress=progress)
        if decision.next_step is not NextStep.RETRY:
            self._fail(one, self._failure(one, FailureKind.LOST, how))
            return
        self._again(one)

    def _again(self, one: TrackedNode) -> None:
        """Have a node submitted again, unless it can never run."""
        blocked: tuple[PlanNode, ...] = ()
        if self._stage(one) is Stage.WAITING:
            self._left.append(one.node)
        else:
            blocked = self._frontier.retry(one.hash)
        if self._stage(one) is not Stage.BLOCKED:
            one.has(None)
            self._journal.note(EventKind.NODE_RETRIED, one.node, "it is submitted once more")
        self._tell_blocked(blocked)

    # Jobs that other runs submitted

    def _take_over(self) -> None:
        """Plan the nodes of adopted jobs that are gone, because this run has to compute them now."""
        while self._left:
            left, self._left = self._left, []
            self._tell_blocked(self._frontier.resolve(Reconciled(todo=tuple(left))))
            self._track(late=True)

    def _track(self, *, late: bool) -> None:
        """Track the nodes that were added to the run.

        Args:
            late: they are from below adopted jobs that are gone.
        """
        new = [
            TrackedNode(node, ref_of(node.obj))
            for node in self._frontier.in_stage(*Stage)
            if node.hash not in self._nodes and node.status is not Status.DONE
        ]
        self._nodes.update((one.hash, one) for one in new)
        if late:
            self._journal.late_failures()
        for one in new if late else ():
            if one.node.failure is not None and self._stage(one) in _UNSUBMITTED:
                # If a node failed while its adopted job was waited for, that job has retried it enough.
                self._fail(one, one.node.failure)
        for one in new:  # last, because it may raise
            if one.node.status is Status.IN_PROGRESS:
                self._adopt(one, one.node.info)

    def _adopt(self, one: TrackedNode, info: NodeInfo) -> None:
        """Wait for the job with which another run computes a node; take the node over if it is gone."""
        if info.state not in (NodeState.QUEUED, NodeState.RUNNING):
            self._left.append(one.node)
            return
        submission = submission_to_wait_for(one.node, info.holder)
        job = self._submitter.adopt(one.node, submission)
        if job is None:
            # The job ended between the look at the store and this one.
            self._left.append(one.node)
        else:
            one.has(job)
            one.adopted = True

    # What follows

    def _is_lost(self, node_hash: str) -> bool:
        return self._frontier.stage(node_hash) in (Stage.FAILED, Stage.BLOCKED)

    def _is_orphan(self, one: TrackedNode, snapshot: Snapshot) -> bool:
        """Whether Slurm cancelled a job because one that it depended on failed."""
        if one.adopted:
            return True  # its dependencies are not known here
        for node_hash, job_id in one.waits_for.items():
            other = self._nodes[node_hash]
            if other.job is None or other.job.job_id != job_id:
                return True
            info = snapshot.job(job_id)
            if info is not None and info.state.ended and info.state is not JobState.COMPLETED:
                return True
        return False

    def _listen(self, one: TrackedNode, job: Job) -> JobRecord | None:
        """The job's own record; its begin and its new retries are put into the journal."""
        record = read_job_record(run_folder(job.name.run_id), one.hash)
        if record is not None:
            if record.token == job.name.token and not record.blocked_by:
                self._stands(one, running=True)  # it may have begun and ended between two looks
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
        """Log for each of these nodes which failed node blocks it, dependencies first."""
        for node in nodes:
            lost = next(filter(self._is_lost, node.dependencies), "")
            if node.hash not in self._because:
                self._because[node.hash] = self._because.get(lost) or self._frontier.node(lost).name
            said = f"because {self._because[node.hash]} failed"
            self._journal.note(EventKind.NODE_CANCELLED, node, said)

    def log_of(self, one: TrackedNode) -> Path | None:
        """The log of a node's job, if there is one."""
        if one.job is None or one.job.name.run_id != self._submitter.run_id:
            return None
        path = job_log(self._submitter.log_folder(one.node.spec_key), one.job.job_id)
        return path if path.exists() else None

    def _failure(self, one: TrackedNode, kind: FailureKind, message: str) -> Failure:
        return Failure(kind, "", message, one.node.name, one.hash, self.log_of(one))

    def _last_word(self, one: TrackedNode) -> str:
        """The last message in the log of a job that never came to its node."""
        log = self.log_of(one)
        return "" if log is None else last_word(log)


def _says_more(info: JobInfo | None, record: JobRecord | None) -> bool:
    """Whether a job's record tells of an artifact, or of a failure, that is not visible yet."""
    if info is None:
        return record is not None and record.ended
    if info.state is JobState.COMPLETED:
        return True
    return info.exit_code in (ExitStatus.FAILED, ExitStatus.BLOCKED)


def _job_of(one: TrackedNode) -> str:
    return "" if one.job is None else f"job {one.job.job_id}"
