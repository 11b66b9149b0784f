"""Whether jobs that were submitted, perhaps long ago and by others, can still compute anything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from furu_core import exec_context
from furu_core.executors import Liveness, Submission
from furu_slurm import Cluster, JobInfo, SlurmCluster, Snapshot
from furu_slurm_dag._files import (
    ANY_RESTART,
    JobId,
    age_of_submission,
    parse_id,
    run_folder,
    seconds_in_queue,
)

# A submitter gives sbatch up after a minute; what is not in the queue by then never will be.
SUBMITTING_SECS: Final = 90.0
_SLACK_SECS: Final = 1.0


def liveness(
    submissions: Sequence[Submission], cluster: Cluster | None = None
) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything.

    Gone is said only of a job that Slurm does not know, or knows as ended, at a time when it had been
    submitted.

    Args:
        submissions: of attempts, which know how often their job had been restarted, or of notes.
        cluster: where they were submitted.
    """
    asked = SlurmCluster() if cluster is None else cluster
    return {submission: _liveness(asked, submission) for submission in submissions}


def find_job(snapshot: Snapshot, wanted: JobId) -> JobInfo | None:
    """The job that a submitter named so; None when Slurm does not know it, or not any more."""
    infos = snapshot.by_token(wanted.token)
    # Mostly all of an array are there, in their order.
    likely = infos[wanted.index : wanted.index + 1]
    for info in (*likely, *infos):
        if int(info.job_id.partition("_")[2] or 0) == wanted.index:
            return info
    return None


def _liveness(cluster: Cluster, submission: Submission) -> Liveness:
    wanted = parse_id(submission)
    if wanted is None:
        return Liveness.UNKNOWN
    own = exec_context().submission
    if own is not None and (own.executor, own.id) == (submission.executor, submission.id):
        # This very job asks; it need not ask Slurm, which may not answer on its host.
        same = submission.restarts in (ANY_RESTART, own.restarts)
        return Liveness.ALIVE if same else Liveness.GONE
    snapshot = cluster.jobs()
    info = find_job(snapshot, wanted)
    if info is None and snapshot.known:
        waits, since = _submission(wanted)
        if waits:
            return Liveness.ALIVE
        if since is not None and snapshot.taken < since + _SLACK_SECS:
            snapshot = cluster.jobs(fresh=True)
            info = find_job(snapshot, wanted)
        if info is None and snapshot.known:
            return Liveness.GONE
    if info is None:
        return Liveness.UNKNOWN
    if info.state.ended:
        return Liveness.GONE
    # A snapshot may be older than the job's last restart, but not the other way round.
    restarted = submission.restarts != ANY_RESTART and info.restarts > submission.restarts
    return Liveness.GONE if restarted else Liveness.ALIVE


def _submission(wanted: JobId) -> tuple[bool, float | None]:
    """Whether a job may be on its way into the queue; else since when it is known to be there.

    The time is one by `time.monotonic`; None where nothing tells it.
    """
    folder = run_folder(wanted.run_id)
    now = time.monotonic()
    queued = seconds_in_queue(folder, wanted.token)
    if queued is not None:
        return False, now - queued
    age = age_of_submission(folder, wanted.token)
    if age is None:
        return False, None
    return age < SUBMITTING_SECS, now - age + SUBMITTING_SECS
