"""Whether submitted jobs can still compute anything, for many at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from furu_core.executors import Liveness, Submission
from furu_slurm._job_ids import is_local
from furu_slurm._local import LocalCluster
from furu_slurm._slurm import SlurmCluster
from furu_slurm._states import JobState, Snapshot

ANY_RESTART: Final = -1
_JOB_ID: Final = re.compile(r"\d+(_\d+)?(@[^@]+)?")


def liveness(submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything, as far as the scheduler says.

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
    local = [one for one in submissions if is_local(one.id)]
    slurm = [one for one in submissions if _JOB_ID.fullmatch(one.id)]
    if local:
        snapshot = LocalCluster().jobs([one.id for one in local])
        answers |= {one: judge(one.id, one.restarts, snapshot) for one in local}
    if slurm:
        snapshot = SlurmCluster().jobs([one.id for one in slurm])
        answers |= {one: judge(one.id, one.restarts, snapshot) for one in slurm}
    return answers


def judge(job_id: str, restarts: int, snapshot: Snapshot) -> Liveness:
    """What one snapshot says of one job, or of one start of it.

    Args:
        job_id: with its home, or of a job of this user on this cluster.
        restarts: how often the job had been restarted; `ANY_RESTART` for all of its starts.
        snapshot: of `Cluster.jobs`, which was asked for this job.
    """
    if not snapshot.known:
        return Liveness.UNKNOWN
    if snapshot.gone(job_id):
        return Liveness.GONE
    info = snapshot.job(job_id)
    if info is None or info.state is JobState.UNKNOWN:
        return Liveness.UNKNOWN
    # A snapshot may be older than the job's last restart, but not the other way round.
    return Liveness.GONE if ANY_RESTART < restarts < info.restarts else Liveness.ALIVE
