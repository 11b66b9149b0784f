"""Whether submitted jobs can still compute anything, for many at once."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Final

from furu_core.executors import Liveness, Submission
from furu_slurm._local import LocalCluster
from furu_slurm._local_ids import is_local
from furu_slurm._slurm import SlurmCluster
from furu_slurm._states import JobInfo, JobState, Snapshot

ANY_RESTART: Final = -1
_JOB_ID: Final = re.compile(r"\d+(_\d+)?")


def liveness(submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything, as far as the scheduler says.

    The id of a submission is that of a job, or ends in a token: ``"<token>"``, or
    ``"<token>:<place in the array>"``, with anything and a slash before it. A submission whose
    `restarts` is not negative means one start of the job: that start is gone when the job has been
    put back into the queue since. -1 means the job, however often it was started.

    Gone is said only by an answer of Slurm that was asked for after this call began.

    Args:
        submissions: of either Slurm backend, any number.
    """
    return {
        **_of_local([one for one in submissions if is_local(one.id)]),
        **_of_slurm([one for one in submissions if not is_local(one.id)]),
    }


def _of_local(submissions: list[Submission]) -> dict[Submission, Liveness]:
    if not submissions:
        return {}
    snapshot = LocalCluster().jobs([submission.id for submission in submissions])
    return {one: judge(one, snapshot) for one in submissions}


def _of_slurm(submissions: list[Submission]) -> dict[Submission, Liveness]:
    if not submissions:
        return {}
    began = time.monotonic()
    cluster = SlurmCluster()
    snapshot = cluster.jobs()
    answers = {one: judge(one, snapshot) for one in submissions}
    gone = [one for one, answer in answers.items() if answer is Liveness.GONE]
    if not gone or snapshot.taken >= began:
        return answers
    # What was submitted since that snapshot is not in it.
    snapshot = cluster.jobs(fresh=True)
    return answers | {one: judge(one, snapshot) for one in gone}


def judge(submission: Submission, snapshot: Snapshot) -> Liveness:
    """What one snapshot says of one submission."""
    if not snapshot.known:
        return Liveness.UNKNOWN
    info = find(submission.id, snapshot)
    if info is None or info.state.ended:
        return Liveness.GONE
    if info.state is JobState.UNKNOWN:
        return Liveness.UNKNOWN
    if 0 <= submission.restarts < info.restarts:
        return Liveness.GONE
    return Liveness.ALIVE


def find(submission_id: str, snapshot: Snapshot) -> JobInfo | None:
    """The job of a submission's id in a snapshot; of several with one token the one that lives."""
    if is_local(submission_id) or _JOB_ID.fullmatch(submission_id):
        return snapshot.job(submission_id)
    token, _, place = submission_id.rpartition("/")[2].partition(":")
    infos = snapshot.by_token(token)
    if place:
        # One node alone makes no array.
        infos = [i for i in infos if i.job_id.partition("_")[2] in {place, ""}]
    return next((info for info in infos if info.state.live), infos[0] if infos else None)
