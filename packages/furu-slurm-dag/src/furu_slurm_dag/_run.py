"""A graph as Slurm jobs, one per node."""

from __future__ import annotations

from typing import Any, ClassVar

from furu_core.executors import Executor, Run


class SlurmDagExecutor(Executor):
    """Runs graphs on Slurm, one job per node."""

    name: ClassVar[str] = "slurm-dag"

    def submit(self, roots: Any) -> Run:
        raise NotImplementedError
