"""When a job's walltime ends, as Slurm says now: it may have been given more, or less, since it began."""

from __future__ import annotations

import attrs

from furu_slurm._environment import JobEnvironment
from furu_slurm._slurm import SlurmCluster
from furu_slurm.errors import FuruSlurmUnavailable

_ANSWER_SECS = 5.0  # of what is left


def with_current_end(job: JobEnvironment) -> JobEnvironment:
    """A job with the end that its walltime has now; as it is where Slurm does not answer.

    Example:
        >>> from furu_slurm import JobEnvironment, with_current_end
        >>> with_current_end(JobEnvironment("local", "local-1")).end is None
        True
    """
    if job.cluster != SlurmCluster.name or job.end is None:
        return job
    try:
        end = SlurmCluster().end_of(job.job_id, timeout=_ANSWER_SECS)
    except FuruSlurmUnavailable:
        return job
    return attrs.evolve(job, end=end)
