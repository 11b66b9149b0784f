"""Whether jobs that were submitted, perhaps long ago and by other users, can still compute anything."""

from __future__ import annotations

from collections.abc import Sequence

from furu_core import exec_context
from furu_core.executors import Liveness, Submission
from furu_slurm import ANY_RESTART, Cluster, SlurmCluster, SubmittedJob, liveness_of
from furu_slurm_dag._run_folder import (
    JobRef,
    age_of_submission,
    home_of_submission,
    job_ids,
    parse_ref,
    run_folder,
)


def liveness(
    submissions: Sequence[Submission], cluster: Cluster | None = None
) -> dict[Submission, Liveness]:
    """Whether jobs can still compute anything; see `furu_slurm.liveness_of`.

    A job is looked up by the id that its submitter wrote down, even if it has been renamed, on the
    cluster that accepted it.

    Args:
        submissions: those that attempts record, with the restarts of the job, or those noted for nodes.
        cluster: where they were submitted.
    """
    own = exec_context().submission
    answers = dict.fromkeys(submissions, Liveness.UNKNOWN)
    jobs: dict[Submission, SubmittedJob] = {}
    for submission in submissions:
        wanted = parse_ref(submission)
        if wanted is None:
            continue
        if own is not None and (own.executor, own.id) == (submission.executor, submission.id):
            # The caller is this very job: it need not ask Slurm, which may not answer on its host.
            same = submission.restarts in (ANY_RESTART, own.restarts)
            answers[submission] = Liveness.ALIVE if same else Liveness.GONE
        else:
            jobs[submission] = _submitted_job(wanted)
    return answers | liveness_of(jobs, SlurmCluster() if cluster is None else cluster)


def _submitted_job(name: JobRef) -> SubmittedJob:
    """The job with these names, as far as its submitter wrote it down."""
    folder = run_folder(name.run_id)
    known = job_ids(folder, name.token)
    if name.index < len(known):
        return SubmittedJob(known[name.index], name.token, name.index)
    home = home_of_submission(folder, name.token)
    age = age_of_submission(folder, name.token)
    return SubmittedJob(None, name.token, name.index, home, age)
