"""Runs furu graphs on Slurm, one job per node."""

from __future__ import annotations

from furu_slurm_dag._run import SlurmDagExecutor

__all__ = ["SlurmDagExecutor"]
