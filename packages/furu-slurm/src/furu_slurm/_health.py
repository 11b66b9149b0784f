"""Whether a job is healthy, and whether a submission can still compute anything: one judge for all.

Slurm says how a job stands (a `Snapshot`). The job itself shows, in files of its run, that it has begun,
that it is at work, and that it has said its last word. `JobHealth` puts both together, look after look,
by one set of time-outs. `liveness_of` says of many jobs at once whether they may still compute anything,
by Slurm's word alone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

import attrs

from furu_core.executors import Liveness, Submission
from furu_slurm._cluster import Cluster
from furu_slurm._job_names import ANY_RESTART, is_local
from furu_slurm._local import LocalCluster
from furu_slurm._slurm import SlurmCluster
from furu_slurm._states import JobInfo, JobState, Snapshot

# A submitter gives sbatch up after a minute; what is not in the queue by then never will be.
UNCONFIRMED_SECS: Final = 90.0
UNSCHEDULABLE_SECS: Final = (
    60.0  # for which a reason to wait may be a partition that is being changed
)
# What a user's teardown and Slurm's epilog may take after the job's last word.
GHOST_SECS: Final = 120.0
SILENT_LEASES: Final = 3.0  # without a sign of life, after which a job that runs does not work

_JOB_ID: Final = re.compile(r"\d+(_\d+)?(@[^@]+)?")


@attrs.frozen
class SubmittedJob:
    """Which job is meant, as far as its submitter knows it.

    Attributes:
        job_id: with its home; None while sbatch has not answered, or when its answer got lost.
        token: of its submission, by which a job without an id is found.
        index: its place in the array of that submission.
        home: where it is at home, see `at_home`; empty where nothing says so.
        age_secs: since its submission began; None where nothing says so.
    """

    job_id: str | None
    token: str = ""
    index: int = 0
    home: str = ""
    age_secs: float | None = None

    def found_in(self, snapshot: Snapshot) -> JobInfo | None:
        """How the job stands; None when the snapshot does not show it."""
        if self.job_id is not None:
            return snapshot.job(self.job_id)
        return snapshot.in_submission(self.token, self.index)


class Health(Enum):
    """How a job is; for each but the first two something is to be done."""

    HEALTHY = "healthy"  # it waits for what may come, or is at work
    UNKNOWN = "unknown"  # nobody says anything of it, which proves nothing
    ENDED = "ended"  # by Slurm's word
    DENIED = "denied"  # by Slurm's word there is no such job; or it never got into the queue
    RESTARTED = "restarted"  # though it is not to be: its first start is over
    DROPPED = "dropped"  # Slurm has set it aside, for want of luck in starting it
    UNSCHEDULABLE = "unschedulable"  # it is pending for a reason that does not pass by itself
    OUT_OF_SIGHT = "out of sight"  # it is not at home here, so nobody here will ever know of it
    STRANDED = "stranded"  # it waits for jobs that ended long ago, in which Slurm still believes
    GHOST = "ghost"  # Slurm still believes in it, though it said its last word long ago
    SILENT = "silent"  # Slurm says that it runs, and it gives no sign of life
    LOST = "lost"  # the same, though it was cancelled long ago


@attrs.define
class JobHealth:
    """What is known of a job's health, by all looks so far.

    Times are those of `time.monotonic`. Who watches a job sets what the job itself shows; nothing is
    concluded from what is not set.

    Attributes:
        submitted: when its submission was over, or the job was taken over; None while it is submitted.
        may_restart: whether Slurm may put it back into its queue.
        begun: whether it has given a sign of life.
        left: since when it has said its last word; None while it has not.
        unblocked: since when all that it waits for has been there; None where that is not known.
        cancelled: when it was cancelled.
        info: what Slurm said last.
        verdict: what the last look concluded.
    """

    submitted: float | None = attrs.field(factory=time.monotonic)
    may_restart: bool = True
    begun: bool = False
    left: float | None = None
    unblocked: float | None = None
    cancelled: float | None = None
    info: JobInfo | None = None
    verdict: Health = Health.UNKNOWN
    _unschedulable: float | None = None  # since when
    _halted: float | None = None  # when it was last seen to be

    def look(
        self,
        job: SubmittedJob,
        snapshot: Snapshot,
        *,
        silent_secs: float | None = None,
        lease_secs: float = math.inf,
    ) -> Health:
        """Judge a job once more.

        Args:
            job: which.
            snapshot: of `Cluster.jobs`, which was asked for it.
            silent_secs: since its last sign of life; None where there was none yet, or nobody looks.
            lease_secs: without a sign of life that mean nothing yet.
        """
        self.verdict = Health.UNKNOWN
        # What was asked before it was submitted says nothing of it.
        if snapshot.known and self.submitted is not None and self.submitted <= snapshot.taken:
            info = job.found_in(snapshot)
            if info is None:
                self.verdict = self._unseen(job, snapshot)
            else:
                self.info = info
                self.verdict = self._seen(job, info, snapshot)
            if self.verdict in (Health.HEALTHY, Health.UNKNOWN):
                # That a listing does not show it proves nothing, so it lives while its heart beats.
                seen = info is not None and not info.elsewhere
                self.verdict = self._by_signs(silent_secs, SILENT_LEASES * lease_secs, seen=seen)
        return self.verdict

    def has_left_for(self, secs: float) -> bool:
        """Whether it said its last word so long ago."""
        return self.left is not None and time.monotonic() - self.left > secs

    @property
    def halted(self) -> bool:
        """Whether what it runs stands still, by Slurm's last word."""
        return self.info is not None and self.info.state.halted

    def _seen(self, job: SubmittedJob, info: JobInfo, snapshot: Snapshot) -> Health:
        now = time.monotonic()
        if info.state.ended:
            return Health.ENDED
        if info.restarts and not self.may_restart:
            return Health.RESTARTED
        if info.dropped:
            return Health.DROPPED
        if info.elsewhere:
            return self._out_of_sight(job, snapshot)
        if not info.unschedulable:
            self._unschedulable = None
        else:
            self._unschedulable = now if self._unschedulable is None else self._unschedulable
            if now - self._unschedulable > UNSCHEDULABLE_SECS:
                return Health.UNSCHEDULABLE
        waits_for_jobs = info.state.waiting and info.reason == "Dependency"
        if waits_for_jobs and self.unblocked is not None and now - self.unblocked > GHOST_SECS:
            return Health.STRANDED
        return Health.HEALTHY

    def _unseen(self, job: SubmittedJob, snapshot: Snapshot) -> Health:
        if job.job_id is not None and snapshot.gone(job.job_id):
            return Health.DENIED
        if job.job_id is None and self._is_late():
            return Health.DENIED
        return self._out_of_sight(job, snapshot) if job.home else Health.UNKNOWN

    def _is_late(self) -> bool:
        """Whether it has not begun, long after it was submitted or taken over."""
        return not self.begun and time.monotonic() - (self.submitted or 0.0) > UNCONFIRMED_SECS

    def _out_of_sight(self, job: SubmittedJob, snapshot: Snapshot) -> Health:
        # Who could not be asked which cluster this is does not say that it is another one.
        here = job.home and (snapshot.home is None or str(snapshot.home) == job.home)
        return Health.OUT_OF_SIGHT if not here and self._is_late() else Health.UNKNOWN

    def _by_signs(self, silent_secs: float | None, limit: float, *, seen: bool) -> Health:
        """What a job that Slurm believes in, or says nothing of, shows itself."""
        now = time.monotonic()
        if self.halted:
            self._halted = now
        if silent_secs is not None and self._halted is not None:
            # Once it goes on it has a while to show itself.
            silent_secs = min(silent_secs, now - self._halted)
        silent = silent_secs is not None and silent_secs > limit
        if self.cancelled is not None:
            return Health.LOST if silent and now - self.cancelled > limit else self.verdict
        # One that waits starts again, and finds its work done; one that is held never does.
        waits = self.info is not None and self.info.state.waiting and not self.info.held
        # Of one that is not shown any more, Slurm may have forgotten that it ended as it should.
        if self.has_left_for(GHOST_SECS) and seen and not waits:
            return Health.GHOST
        return Health.SILENT if silent else self.verdict


def liveness(submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything, by submissions whose ids are those of jobs.

    The id of a submission is that of a job, with its home (see `at_home`). A submission whose `restarts`
    is not negative means one start of the job: that start is gone when the job has been put back into
    the queue since. -1 means the job, however often it was started.

    Gone is said only where the scheduler of its cluster has said of this id that it ended, or that there
    is no such job. That a listing does not show it proves nothing, nor that there is none for somebody
    else where users are not shown each other's jobs.

    Args:
        submissions: of any number of jobs.
    """
    answers = dict.fromkeys(submissions, Liveness.UNKNOWN)
    local = {one: SubmittedJob(one.id) for one in submissions if is_local(one.id)}
    slurm = {one: SubmittedJob(one.id) for one in submissions if _JOB_ID.fullmatch(one.id)}
    return answers | liveness_of(local, LocalCluster()) | liveness_of(slurm, SlurmCluster())


def liveness_of(
    jobs: Mapping[Submission, SubmittedJob], cluster: Cluster
) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything, as `liveness`, of jobs that need not have an id yet.

    One without lives while its submission may be on its way into the queue, and as long as a job of its
    token is there.

    Args:
        jobs: by submission, which says which start of the job is meant.
        cluster: where they were submitted.
    """
    if not jobs:
        return {}
    answers: dict[Submission, Liveness] = {}
    snapshot = cluster.jobs([job.job_id for job in jobs.values() if job.job_id is not None])
    nameless = {one: job for one, job in jobs.items() if job.job_id is None}
    for submission, job in jobs.items():
        if job.job_id is not None:
            answers[submission] = _liveness(job.job_id, submission.restarts, snapshot)
    for submission, job in nameless.items():
        if job.home and job.home != cluster.home():
            answers[submission] = Liveness.UNKNOWN  # what is listed are jobs of this user here
            continue
        info, age = job.found_in(snapshot), job.age_secs
        if info is None and snapshot.known and age is not None and age < UNCONFIRMED_SECS:
            answers[submission] = Liveness.ALIVE
            continue
        # A job that was queued by then may not be in what was seen before.
        old = age is None or age - (time.monotonic() - snapshot.taken) < UNCONFIRMED_SECS
        if info is None and snapshot.known and old:
            snapshot = cluster.jobs(fresh=True)
            info = job.found_in(snapshot)
        if info is not None:
            answers[submission] = _liveness(info.job_id, submission.restarts, snapshot)
        else:
            answers[submission] = Liveness.GONE if snapshot.known else Liveness.UNKNOWN
    return answers


def _liveness(job_id: str, restarts: int, snapshot: Snapshot) -> Liveness:
    """What one snapshot says of one job, or of one start of it."""
    if not snapshot.known:
        return Liveness.UNKNOWN
    if snapshot.gone(job_id):
        return Liveness.GONE
    info = snapshot.job(job_id)
    if info is None or info.state is JobState.UNKNOWN:
        return Liveness.UNKNOWN
    # A snapshot may be older than the job's last restart, but not the other way round.
    return Liveness.GONE if ANY_RESTART < restarts < info.restarts else Liveness.ALIVE
