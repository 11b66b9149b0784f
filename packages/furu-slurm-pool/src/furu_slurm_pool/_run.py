"""A graph on a pool of Slurm workers."""

from __future__ import annotations

from typing import Any, ClassVar

from furu_core.executors import Executor, Run


class SlurmPoolExecutor(Executor):
    """Runs graphs on a pool of Slurm workers."""

    name: ClassVar[str] = "slurm-pool"

    def submit(self, roots: Any) -> Run:
        raise NotImplementedError
