"""How the nodes of a run stand, as its submitter sees them: what is to be submitted, and what ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from furu_core import NodeState, Settings
from furu_core.executors import (
    Failure,
    FailureKind,
    StateReader,
    made_progress,
    place_of,
)
from furu_plan import DependencyPlan, NextStep, PlanNode, RetryLedger, Status
from furu_slurm import Health, JobHealth, JobInfo, JobState, Snapshot, job_log, last_word
from furu_slurm_dag._entries import Entry, Stage
from furu_slurm_dag._files import JobRecord, parse_id, read_job_record, run_folder
from furu_slurm_dag._job import ExitStatus
from furu_slurm_dag._submit import Job, Submitter, refuse_elsewhere

_VISIBLE_SECS: Final = 60.0
_READ_SECS: Final = 60.0  # between two looks at what a job that runs says itself


Told = Callable[[Entry], None]
Retried = Callable[[Entry, str], None]


class Tracker:
    """The nodes of a run.

    Args:
        plan: what is to be computed.
        submitter: knows where logs are, and finds jobs that others submitted.
        settings: for budgets and waits.
        told: called for each node that comes to stand otherwise.
        retried: called for each time that a job tried its node again, with the reason.
    """

    def __init__(
        self,
        plan: DependencyPlan,
        submitter: Submitter,
        settings: Settings,
        told: Told,
        retried: Retried,
    ) -> None:
        self._plan = plan
        self._submitter = submitter
        self._losses = RetryLedger(settings, keep_going=True)
        self._told = told
        self._retried = retried
        self._reader = StateReader()
        self._visible_secs = max(settings.lease_secs, _VISIBLE_SECS)
        self.entries: dict[str, Entry] = {}
        self.order: list[Entry] = []  # dependencies first
        self.to_cancel: list[str] = []  # jobs to be cancelled
        self._left: list[Entry] = []  # whose adopted jobs are gone
        self.there_before = 0
        self._add(plan.nodes)

    # What there is

    def __getitem__(self, node_hash: str) -> Entry:
        return self.entries[node_hash]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def at(self, stage: Stage) -> list[Entry]:
        """The nodes that stand so."""
        return [entry for entry in self if entry.stage is stage]

    def jobs(self) -> dict[str, Job]:
        """The jobs of nodes that are not over, by hash."""
        return {
            node_hash: entry.job
            for node_hash, entry in self.entries.items()
            if entry.job is not None and not entry.stage.over
        }

    def refresh(self) -> None:
        """See in the store what is there by now, before jobs are made to wait for it."""
        self._reader.refresh()
        for entry in self.order:
            if not entry.stage.over and not entry.node.rerun and self._reader.done(entry.node.obj):
                self._is_done(entry)

    def done(self, node_hash: str) -> bool:
        """Whether a node is there."""
        entry = self.entries.get(node_hash)
        return entry is None or entry.stage is Stage.DONE

    def submittable(self) -> list[PlanNode]:
        """Nodes without a job all of whose dependencies are there or have one, dependencies first."""
        ready: set[str] = set()
        found = []
        for entry in self.order:
            if entry.stage in (Stage.QUEUED, Stage.RUNNING):
                ready.add(entry.node.hash)
            elif entry.stage is Stage.WAITING and all(
                one in ready or self.done(one) for one in entry.node.dependencies
            ):
                ready.add(entry.node.hash)
                found.append(entry.node)
        return found

    def pending(self) -> set[str]:
        """The nodes that are not there."""
        return {
            node_hash for node_hash, entry in self.entries.items() if entry.stage is not Stage.DONE
        }

    def took(self, jobs: Mapping[str, Job], wired: Mapping[str, Job]) -> None:
        """Note the jobs that were submitted or adopted.

        Args:
            jobs: of nodes, by hash.
            wired: those that they wait for, by the hashes of their nodes.
        """
        names = {one: job.job_id for one, job in wired.items()}
        for node_hash, job in jobs.items():
            entry = self.entries[node_hash]
            entry.job = job
            entry.wired = names
            entry.adopted = job.name.run_id != self._submitter.run_id
            entry.ended = None
            entry.health = JobHealth()
            self._set(entry, Stage.QUEUED)

    # Looking

    def look(self, snapshot: Snapshot) -> None:
        """See how all nodes stand now.

        Args:
            snapshot: how the jobs stood a moment ago; what it does not know is left as it is.
        """
        self._reader.refresh()
        for entry in list(self.order):
            if entry.stage.over:
                self._look_back(entry, snapshot)
            elif entry.job is None:
                self._look_elsewhere(entry)
            elif self._reader.done(entry.node.obj) and not entry.node.rerun:
                self._is_done(entry)
            elif snapshot.known:
                self._look_at_job(entry, entry.job, snapshot)
        self._look_below()
        self._block()

    def _look_elsewhere(self, entry: Entry) -> None:
        """A node without a job: to be submitted, or computed by somebody else."""
        if self._reader.done(entry.node.obj) and not entry.node.rerun:
            self._is_done(entry)

    def _look_at_job(self, entry: Entry, job: Job, snapshot: Snapshot) -> None:
        running = entry.stage is Stage.RUNNING
        entry.health.left = self._left_since(entry, job) if running else None
        entry.health.unblocked = None if running else self._unblocked_since(entry)
        health = entry.health.look(job.submitted, snapshot)
        info = entry.health.info
        match health:
            case Health.HEALTHY:
                assert info is not None
                entry.ended = None
                self._set(entry, Stage.QUEUED if info.state.waiting else Stage.RUNNING)
            case Health.DROPPED:
                self.to_cancel.append(job.job_id)
                self._lost(entry, job, info, began=False)
            case Health.UNSCHEDULABLE:
                assert info is not None
                text = (
                    f"job {job.job_id} is pending for a reason that does not pass by itself: "
                    f"{info.reason}; mend specs[{entry.node.spec_key!r}]"
                )
                self.to_cancel.append(job.job_id)
                self._fail(entry, self._failure(entry, FailureKind.PROTOCOL, text))
            case Health.STRANDED:
                self.to_cancel.append(job.job_id)
                self._again(entry)
            case Health.GHOST:
                self.to_cancel.append(job.job_id)
                self._judge(entry, job, None, snapshot, waited=math.inf)
            case Health.ENDED:
                assert info is not None
                if entry.node.rerun and info.state is JobState.COMPLETED:
                    self._is_done(entry)
                else:
                    self._has_ended(entry, job, info, snapshot)
            case Health.DENIED:
                self._has_ended(entry, job, None, snapshot)
            case Health.UNKNOWN | Health.OUT_OF_SIGHT | Health.SILENT | Health.LOST:
                # That a listing does not show it proves nothing. Of another user's its attempt says more.
                if entry.adopted and self._reader.state(entry.node.obj).state is NodeState.STALE:
                    self._has_ended(entry, job, None, snapshot)
            case Health.RESTARTED:
                raise AssertionError("jobs of nodes may be restarted")

    def _has_ended(self, entry: Entry, job: Job, info: JobInfo | None, snapshot: Snapshot) -> None:
        now = time.monotonic()
        entry.ended = now if entry.ended is None else entry.ended
        self._judge(entry, job, info, snapshot, waited=now - entry.ended)

    def _look_back(self, entry: Entry, snapshot: Snapshot) -> None:
        """See that the job of a node that is there has ended, in Slurm's eyes as well."""
        if entry.stage is not Stage.DONE or entry.job is None or entry.adopted:
            return
        if entry.health.verdict in (Health.ENDED, Health.DENIED):
            return
        entry.health.left = entry.health.left or entry.since
        if entry.health.look(entry.job.submitted, snapshot) is Health.GHOST:
            self.to_cancel.append(entry.job.job_id)
            entry.job = None

    def _unblocked_since(self, entry: Entry) -> float | None:
        """Since when all that a node's job waits for has been there."""
        if not entry.wired and not entry.adopted:
            return None  # a dependency of the user's own
        below = [self.entries[one] for one in entry.node.dependencies if one in self.entries]
        there = all(one.stage is Stage.DONE for one in below)
        return max([entry.since, *(one.since for one in below)]) if there else None

    def _left_since(self, entry: Entry, job: Job) -> float | None:
        """Since when a job that runs, as Slurm says, has said its last word; looked at now and then.

        A controller of Slurm that was killed may forget ends of jobs, and believe in them until their
        walltime.
        """
        now, left = time.monotonic(), entry.health.left
        if left is None and now - max(entry.since, entry.read) <= _READ_SECS:
            return None
        entry.read = now
        record = self._listen(entry, job)
        if record is None or not record.ended or record.token != job.name.token:
            return None
        return now if left is None else left

    def _judge(
        self, entry: Entry, job: Job, info: JobInfo | None, snapshot: Snapshot, *, waited: float
    ) -> None:
        """What became of a node whose job is over and whose artifact is not to be seen."""
        record = self._listen(entry, job)
        if record is not None and record.token != job.name.token:
            record = None  # of an earlier job of this run
        if record is not None and record.failure is not None:
            log = record.failure.log or self.log_of(entry)
            self._fail(entry, attrs.evolve(record.failure, log=log))
        elif record is not None and record.blocked_by:
            self._never_ran(entry, record.blocked_by)
        elif entry.node.rerun and info is None and record is not None and record.ended:
            self._is_done(entry)
        elif waited < self._visible_secs and _says_more(info, record):
            return  # a network filesystem shows it later
        elif record is None and (cause := self._bad_dependency(entry)):
            self._never_ran(entry, cause)
        elif self._follow(entry, job):
            return
        elif record is None and self._is_orphan(entry, snapshot):
            self._again(entry)
        elif info is not None and info.state is JobState.CANCELLED:
            self._cancelled(entry, f"its job {job.job_id} was cancelled")
        elif info is None and record is not None and record.terminated:
            self._cancelled(entry, f"its job {job.job_id} was ended by Slurm")
        else:
            self._lost(entry, job, info, began=record is not None)

    def _follow(self, entry: Entry, job: Job) -> bool:
        """Whether somebody else computes the node now, whom to wait for instead."""
        state = self._reader.state(entry.node.obj)
        if state.state is NodeState.RUNNING:
            return True
        holder = state.holder
        if state.state is not NodeState.QUEUED or holder is None or holder.submission is None:
            return False
        other = parse_id(holder.submission)
        if other is None or other == job.name:
            return other is not None
        entry.job = self._submitter.adopt(entry.node, holder.submission)
        entry.health = JobHealth()
        entry.adopted = True
        self._set(entry, Stage.QUEUED if entry.job is not None else Stage.WAITING)
        return True

    def _lost(self, entry: Entry, job: Job, info: JobInfo | None, *, began: bool) -> None:
        """A job that ended without a word: submit the node again, so many times in a row."""
        how = f"its job {job.job_id} is gone" if info is None else f"its {info.words}"
        if not began and info is not None and info.state is JobState.FAILED:
            # It never came to its node, and would not the next time.
            said = self._last_word(entry) or "without a word"
            failure = self._failure(entry, FailureKind.PROTOCOL, f"{how}: {said}")
            self._fail(entry, failure)
            return
        # Jobs that began count their losses by themselves; but perhaps they cannot write it down.
        progress = made_progress(entry.place)
        decision = self._losses.decide(entry.node.hash, FailureKind.LOST, progress=progress)
        if decision.next_step is not NextStep.RETRY:
            self._fail(entry, self._failure(entry, FailureKind.LOST, how))
            return
        self._again(entry)

    def _again(self, entry: Entry) -> None:
        """Have a node submitted once more."""
        entry.job = None
        entry.ended = None
        self._set(entry, Stage.WAITING)
        if entry.adopted:
            entry.adopted = False
            self._left.append(entry)

    def _look_below(self) -> None:
        """Plan what submitters of adopted jobs had planned, now that it is up to this run."""
        left, self._left = self._left, []
        if not left:
            return
        before = set(self.entries)
        todo = {entry.node.hash for entry in left}
        planned = self._plan.extend(
            [entry.node.obj for entry in left], known=before - todo, todo=todo, refresh=True
        )
        for entry in left:
            entry.node = planned.get(entry.node.hash, entry.node)
        self._add(planned)
        for one in set(self.entries) - before:
            found = self.entries[one]
            # What failed while others' jobs were waited for, they have tried often enough.
            if found.node.failure is not None and found.stage is Stage.WAITING:
                self._fail(found, found.node.failure)

    def _add(self, nodes: Mapping[str, PlanNode]) -> None:
        for node in nodes.values():
            if node.hash in self.entries:
                continue
            if node.status is Status.DONE:
                self.there_before += 1
                continue
            entry = self.entries[node.hash] = Entry(node, place_of(node.obj))
            match node.status:
                case Status.FAILED:
                    entry.failure = node.failure or self._failure(
                        entry,
                        FailureKind.COMPUTE,
                        "it failed before, and FURU_RETRY_FAILED is off",
                    )
                    entry.stage = Stage.FAILED
                case Status.IN_PROGRESS:
                    self._adopt(entry)
                case _:
                    pass
        self.order = list(self._in_order())
        self._look_below()
        self._block()

    def _adopt(self, entry: Entry) -> None:
        refuse_elsewhere(entry.node)
        holder = entry.node.holder
        assert holder is not None
        submission = holder.submission
        assert submission is not None
        entry.job = self._submitter.adopt(entry.node, submission)
        if entry.job is None:
            # It ended between the look at the store and this one.
            self._left.append(entry)
            return
        entry.adopted = True
        entry.stage = Stage.QUEUED

    # What follows

    def _block(self) -> None:
        """Nodes that wait for what failed will never run."""
        for entry in self.order:
            if entry.stage is Stage.WAITING and (cause := self._bad_dependency(entry)):
                self._never_ran(entry, cause)

    def _bad_dependency(self, entry: Entry) -> str:
        """Short name of the failed node because of which a node cannot run; empty for none."""
        for one in entry.node.dependencies:
            other = self.entries.get(one)
            if other is not None and other.stage.bad:
                return other.because if other.stage is Stage.NEVER_RAN else other.node.name
        return ""

    def _is_orphan(self, entry: Entry, snapshot: Snapshot) -> bool:
        """Whether Slurm cancelled a job for the sake of one that it waited for."""
        if entry.adopted:
            return True  # nobody here knows what it waited for
        for one, job_id in entry.wired.items():
            other = self.entries[one]
            if other.job is None or other.job.job_id != job_id:
                return True
            info = snapshot.job(job_id)
            if info is not None and info.state.ended and info.state is not JobState.COMPLETED:
                return True
        return False

    def _in_order(self) -> Iterator[Entry]:
        placed: set[str] = set()
        stack: list[str] = []
        for start in list(self.entries):
            stack.append(start)
            while stack:
                node_hash = stack[-1]
                if node_hash in placed:
                    stack.pop()
                    continue
                entry = self.entries[node_hash]
                below = [
                    one
                    for one in entry.node.dependencies
                    if one in self.entries and one not in placed
                ]
                if below:
                    stack.extend(reversed(below))
                    continue
                stack.pop()
                placed.add(node_hash)
                yield entry

    def _listen(self, entry: Entry, job: Job) -> JobRecord | None:
        """What a job says itself; told of it is that it began, and how often it tried its node again."""
        record = read_job_record(run_folder(job.name.run_id), entry.node.hash)
        if record is not None:
            began = record.token == job.name.token and not record.blocked_by
            if began and entry.stage is Stage.QUEUED:
                self._set(entry, Stage.RUNNING)  # it was quicker than two looks
            for why in record.retries[entry.retries :]:
                self._retried(entry, why)
            entry.retries = max(entry.retries, len(record.retries))
        return record

    def _is_done(self, entry: Entry) -> None:
        if entry.job is not None:
            self._listen(entry, entry.job)
        entry.computed = entry.job is not None
        self._set(entry, Stage.DONE)

    def _fail(self, entry: Entry, failure: Failure) -> None:
        entry.failure = failure
        self._set(entry, Stage.FAILED)

    def _cancelled(self, entry: Entry, message: str) -> None:
        entry.failure = self._failure(entry, FailureKind.CANCELLED, message)
        self._set(entry, Stage.CANCELLED)

    def _never_ran(self, entry: Entry, because: str) -> None:
        entry.because = because
        self._set(entry, Stage.NEVER_RAN)

    def _set(self, entry: Entry, stage: Stage) -> None:
        if entry.stage is not stage:
            entry.stage = stage
            entry.since = time.monotonic()
            self._told(entry)

    def log_of(self, entry: Entry) -> Path | None:
        """The log of a node's job, where there is one."""
        if entry.job is None or entry.job.name.run_id != self._submitter.run_id:
            return None
        path = job_log(self._submitter.log_folder(entry.node.spec_key), entry.job.job_id)
        return path if path.exists() else None

    def _failure(self, entry: Entry, kind: FailureKind, message: str) -> Failure:
        return Failure(kind, "", message, entry.node.name, entry.node.hash, self.log_of(entry))

    def _last_word(self, entry: Entry) -> str:
        """What a job that never came to its node said last."""
        log = self.log_of(entry)
        return "" if log is None else last_word(log)


def _says_more(info: JobInfo | None, record: JobRecord | None) -> bool:
    """Whether a job wrote down more than is to be seen: an artifact, or why there is none."""
    if info is None:
        return record is not None and record.ended
    if info.state is JobState.COMPLETED:
        return True
    return info.exit_code in (ExitStatus.FAILED, ExitStatus.BLOCKED)
