"""Runs furu graphs on Slurm, one job per node."""

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
