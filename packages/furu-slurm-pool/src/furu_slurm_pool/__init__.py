"""Runs furu graphs on a pool of Slurm workers that compute many nodes each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from furu_slurm import SlurmSpec
    from furu_slurm_pool._observed import ObservedPoolRun
    from furu_slurm_pool._pool_run import SlurmPoolRun
    from furu_slurm_pool._run import SlurmPoolExecutor, run_slurm_pool

__all__ = ["ObservedPoolRun", "SlurmPoolExecutor", "SlurmPoolRun", "SlurmSpec", "run_slurm_pool"]


def __getattr__(name: str) -> Any:
    # A worker imports this package as well, and would wait for all that controls runs.
    if name in __all__:
        from furu_slurm_pool import _run

        return getattr(_run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
