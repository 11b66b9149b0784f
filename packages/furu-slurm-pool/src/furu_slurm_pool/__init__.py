"""Runs furu graphs on a pool of Slurm workers that compute many nodes each."""

from __future__ import annotations

from furu_slurm_pool._run import SlurmPoolExecutor

__all__ = ["SlurmPoolExecutor"]
