"""Whether jobs that were submitted, perhaps long ago and by others, can still compute anything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from furu_core import exec_context
from furu_core.executors import Liveness, Submission
from furu_slurm import Cluster, JobInfo, SlurmCluster, Snapshot, judge
from furu_slurm_dag._files import (
    ANY_RESTART,
    JobId,
    age_of_submission,
    home_of_submission,
    job_ids,
    parse_id,
    run_folder,
)

# A submitter gives sbatch up after a minute; what is not in the queue by then never will be.
SUBMITTING_SECS: Final = 90.0


def liveness(
    submissions: Sequence[Submission], cluster: Cluster | None = None
) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything.

    A job is asked for by its id, which its submitter wrote down, whatever it is called by now, on the
    cluster that took it. Gone is said only of one that Slurm knows as ended, or whose id it does not
    know; and of a submission that was given up before it had an id.

    Args:
        submissions: of attempts, which know how often their job had been restarted, or of notes.
        cluster: where they were submitted.
    """
    asked = SlurmCluster() if cluster is None else cluster
    own = exec_context().submission
    answers = dict.fromkeys(submissions, Liveness.UNKNOWN)
    jobs: dict[Submission, str] = {}
    nameless: dict[Submission, JobId] = {}
    for submission in submissions:
        wanted = parse_id(submission)
        if wanted is None:
            continue
        if own is not None and (own.executor, own.id) == (submission.executor, submission.id):
            # This very job asks; it need not ask Slurm, which may not answer on its host.
            same = submission.restarts in (ANY_RESTART, own.restarts)
            answers[submission] = Liveness.ALIVE if same else Liveness.GONE
            continue
        known = job_ids(run_folder(wanted.run_id), wanted.token)
        if wanted.index < len(known):
            jobs[submission] = known[wanted.index]
        else:
            nameless[submission] = wanted
    if jobs or nameless:
        snapshot = asked.jobs(jobs.values())
        for submission, job_id in jobs.items():
            answers[submission] = judge(job_id, submission.restarts, snapshot)
        for submission, wanted in nameless.items():
            answers[submission] = _unconfirmed(asked, submission, wanted, snapshot)
    return answers


def find_job(snapshot: Snapshot, wanted: JobId) -> JobInfo | None:
    """The job that a submitter named so; None when Slurm does not know it, or not any more."""
    infos = snapshot.by_token(wanted.token)
    # Mostly all of an array are there, in their order.
    likely = infos[wanted.index : wanted.index + 1]
    for info in (*likely, *infos):
        if int(info.job_id.partition("_")[2] or 0) == wanted.index:
            return info
    return None


def _unconfirmed(
    cluster: Cluster, submission: Submission, wanted: JobId, snapshot: Snapshot
) -> Liveness:
    """Whether a job lives of which sbatch's answer was not written down: its name tells.

    It is on its way into the queue, or in it, where its submitter was killed before it had the answer.
    """
    home = home_of_submission(run_folder(wanted.run_id), wanted.token)
    if home and home != cluster.home():
        return Liveness.UNKNOWN  # what is listed are jobs of this user on this cluster
    info = find_job(snapshot, wanted)
    if info is None and snapshot.known:
        age = age_of_submission(run_folder(wanted.run_id), wanted.token)
        if age is not None and age < SUBMITTING_SECS:
            return Liveness.ALIVE
        # A job that was queued by then may not be in what was seen before.
        if age is None or age - (time.monotonic() - snapshot.taken) < SUBMITTING_SECS:
            snapshot = cluster.jobs(fresh=True)
            info = find_job(snapshot, wanted)
        if info is None:
            return Liveness.GONE if snapshot.known else Liveness.UNKNOWN
    if info is None:
        return Liveness.UNKNOWN
    return judge(info.job_id, submission.restarts, snapshot)
