"""Runs furu graphs on Slurm, one job per node.

Whoever submits a graph may go away: Slurm orders the jobs by their dependencies, and each job tries its
node again by itself. `wait` and `status` of the run submit what Slurm had no room for, or lost.

Glossary:
    submitter: the process that submits the jobs of a run, and perhaps waits for them
    tracker: what keeps a run's frontier by what becomes of the jobs of its nodes
    array: jobs of one submission, of nodes of one class and spec key that wait for the same nodes
    assignment: the node that a job is to compute
    job record: how the job of a node stands, as it writes it down itself
    adopted job: one that another run submitted, and that this one waits for
    orphan job: one that Slurm cancelled for the sake of a job that it waited for
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from furu_slurm import SlurmSpec
    from furu_slurm_dag._executor import SlurmDagExecutor, submit_slurm_dag
    from furu_slurm_dag._run import SlurmDagStatus, SlurmDagSubmission, WaitInterrupted

__all__ = [
    "SlurmDagExecutor",
    "SlurmDagStatus",
    "SlurmDagSubmission",
    "SlurmSpec",
    "WaitInterrupted",
    "submit_slurm_dag",
]


def __getattr__(name: str) -> Any:
    # A job imports this package as well, and would wait for all that submits jobs.
    if name in __all__:
        import furu_slurm
        from furu_slurm_dag import _executor, _run

        return next(
            getattr(one, name) for one in (_run, _executor, furu_slurm) if hasattr(one, name)
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
