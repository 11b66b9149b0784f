"""Whether a job is healthy, and whether a submission can still compute anything, for all backends.

Slurm tells the state of a job (a `Snapshot`). The job itself shows, in files of its run, that it has
begun, that it is at work, and that it has written its last report. `JobHealth` combines both, look after
look, by one set of time-outs. `liveness_of` tells for many jobs at once whether they may still compute
anything, from Slurm's answers alone.
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

# A submitter gives up on sbatch after a minute; a job not in the queue by then never will be.
UNCONFIRMED_SECS: Final = 90.0
# For so long a reason to wait may come from a partition that is being changed.
UNSCHEDULABLE_SECS: Final = 60.0
# How long a user's teardown and Slurm's epilog may take after the job's last report.
GHOST_SECS: Final = 120.0
# How many leases without a sign of life mean that a running job is not at work.
SILENT_LEASES: Final = 3.0

_JOB_ID: Final = re.compile(r"\d+(_\d+)?(@[^@]+)?")


@attrs.frozen
class SubmittedJob:
    """A job as its submitter knows it.

    Attributes:
        job_id: with its home; None while sbatch has not answered, or when its answer got lost.
        token: of its submission, by which a job without an id is found.
        index: its place in the array of that submission.
        home: its home, see `at_home`; empty where it is not known.
        age_secs: seconds since its submission began; None where that is not known.
    """

    job_id: str | None
    token: str = ""
    index: int = 0
    home: str = ""
    age_secs: float | None = None

    def found_in(self, snapshot: Snapshot) -> JobInfo | None:
        """The job in a snapshot; None when the snapshot does not show it."""
        if self.job_id is not None:
            return snapshot.job(self.job_id)
        return snapshot.in_submission(self.token, self.index)


class Health(Enum):
    """The health of a job; for each value but the first two the caller has to do something."""

    HEALTHY = "healthy"  # it is at work, or waits for something that may come
    UNKNOWN = "unknown"  # nothing is known of it, which proves nothing
    ENDED = "ended"  # Slurm says that it has ended
    DENIED = "denied"  # Slurm says that there is no such job; or it never got into the queue
    RESTARTED = "restarted"  # Slurm has restarted it, though it must not: its first start is over
    DROPPED = "dropped"  # Slurm has held it, because it failed to start it
    UNSCHEDULABLE = "unschedulable"  # it is pending for a reason that does not pass by itself
    OUT_OF_SIGHT = "out of sight"  # its home is elsewhere, so its state can never be known here
    STRANDED = "stranded"  # it waits for jobs that ended long ago, which Slurm still lists as live
    GHOST = "ghost"  # Slurm still lists it as live, long after its last report
    SILENT = "silent"  # Slurm says that it runs, but it gives no sign of life
    LOST = "lost"  # the same, though it was cancelled long ago


@attrs.define
class JobHealth:
    """The health of a job, from all looks so far.

    Times are those of `time.monotonic`. The caller sets the attributes that the job itself shows;
    nothing is concluded from attributes that are not set.

    Attributes:
        submitted: when its submission was over, or the job was taken over; None while sbatch runs.
        may_restart: whether Slurm may put it back into its queue.
        begun: whether it has given a sign of life.
        left: when it wrote its last report; None while it has not.
        unblocked: when the last of its dependencies was done; None where that is not known.
        cancelled: when it was cancelled.
        info: Slurm's last answer about it.
        verdict: the conclusion of the last look.
    """

    submitted: float | None = attrs.field(factory=time.monotonic)
    may_restart: bool = True
    begun: bool = False
    left: float | None = None
    unblocked: float | None = None
    cancelled: float | None = None
    info: JobInfo | None = None
    verdict: Health = Health.UNKNOWN
    _unschedulable: float | None = (
        None  # since when it has been pending for a reason that does not pass its reason to wait has been a lasting one
    )
    _halted: float | None = None  # when it was last seen halted

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
            job: the job.
            snapshot: of `Cluster.jobs`, called with the id of the job.
            silent_secs: seconds since its last sign of life; None where there was none, or the
                caller does not look for any.
            lease_secs: how many seconds without a sign of life prove nothing yet.
        """
        self.verdict = Health.UNKNOWN
        # A snapshot from before the submission says nothing about the job.
        if snapshot.known and self.submitted is not None and self.submitted <= snapshot.taken:
            info = job.found_in(snapshot)
            if info is None:
                self.verdict = self._unseen(job, snapshot)
            else:
                self.info = info
                self.verdict = self._seen(job, info, snapshot)
            if self.verdict in (Health.HEALTHY, Health.UNKNOWN):
                # A listing without it proves nothing, so it lives while it gives signs of life.
                seen = info is not None and not info.elsewhere
                self.verdict = self._by_signs(silent_secs, SILENT_LEASES * lease_secs, seen=seen)
        return self.verdict

    def has_left_for(self, secs: float) -> bool:
        """Whether it wrote its last report at least so long ago."""
        return self.left is not None and time.monotonic() - self.left > secs

    @property
    def halted(self) -> bool:
        """Whether its processes are stopped, by Slurm's last answer."""
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
        # A Slurm that did not answer which cluster this is has not said that it is another one.
        here = job.home and (snapshot.home is None or str(snapshot.home) == job.home)
        return Health.OUT_OF_SIGHT if not here and self._is_late() else Health.UNKNOWN

    def _by_signs(self, silent_secs: float | None, limit: float, *, seen: bool) -> Health:
        """The health by its own signs, of a job that Slurm lists as live or does not show."""
        now = time.monotonic()
        if self.halted:
            self._halted = now
        if silent_secs is not None and self._halted is not None:
            # A job that was halted has a full time-out to give a sign of life once it goes on.
            silent_secs = min(silent_secs, now - self._halted)
        silent = silent_secs is not None and silent_secs > limit
        if self.cancelled is not None:
            return Health.LOST if silent and now - self.cancelled > limit else self.verdict
        # A job that waits will start, find its work done and end; a held one never starts.
        waits = self.info is not None and self.info.state.waiting and not self.info.held
        # When a listing no longer shows the job, Slurm may have forgotten that it ended properly.
        if self.has_left_for(GHOST_SECS) and seen and not waits:
            return Health.GHOST
        return Health.SILENT if silent else self.verdict


def liveness(submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything, for submissions whose ids are job ids.

    The id of a submission is a job id with its home (see `at_home`). A submission whose `restarts` is
    not negative means one start of the job: that start is gone once the job has been put back into the
    queue. -1 means the job, however often it was started.

    A job is reported as gone only where the scheduler of its cluster has said that this id has ended or
    does not exist. A listing without it proves nothing; nor does the answer that it does not exist, to
    another user, on a cluster that hides users' jobs from each other.

    Args:
        submissions: the submissions to look up.
    """
    answers = dict.fromkeys(submissions, Liveness.UNKNOWN)
    local = {one: SubmittedJob(one.id) for one in submissions if is_local(one.id)}
    slurm = {one: SubmittedJob(one.id) for one in submissions if _JOB_ID.fullmatch(one.id)}
    return answers | liveness_of(local, LocalCluster()) | liveness_of(slurm, SlurmCluster())


def liveness_of(
    jobs: Mapping[Submission, SubmittedJob], cluster: Cluster
) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything, as `liveness`, for jobs that may have no id yet.

    A job without an id lives while its submission may be on its way into the queue, and as long as a
    job with its token is live.

    Args:
        jobs: by submission, which tells which start of the job is meant.
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
            # The listing has only jobs of this user and cluster.
            answers[submission] = Liveness.UNKNOWN
            continue
        info, age = job.found_in(snapshot), job.age_secs
        if info is None and snapshot.known and age is not None and age < UNCONFIRMED_SECS:
            answers[submission] = Liveness.ALIVE
            continue
        # The snapshot may be older than the moment by which the job must have been queued.
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
    """The liveness of one job, or of one start of it, by one snapshot."""
    if not snapshot.known:
        return Liveness.UNKNOWN
    if snapshot.gone(job_id):
        return Liveness.GONE
    info = snapshot.job(job_id)
    if info is None or info.state is JobState.UNKNOWN:
        return Liveness.UNKNOWN
    # A snapshot may be older than the job's last restart, but not the other way round.
    return Liveness.GONE if ANY_RESTART < restarts < info.restarts else Liveness.ALIVE
