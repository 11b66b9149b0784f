"""A run on a pool that this process controls."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from furu_core.executors import Roots
from furu_plan import DependencyPlan
from furu_plan.runs import ControlledRun
from furu_slurm_pool._controller._request import Request
from furu_slurm_pool._controller._start import Controlled, end_term


class SlurmPoolRun(ControlledRun):
    """A run on a pool of workers, which this process controls.

    When the process dies, its workers do what is queued and leave; the same command goes on with the
    run.

    Attributes:
        run_id: the run.
        run_dir: its folder.
        submitit_root: where workers have their logs.
        plan: what there was to do when this process began to control it.
    """

    run_id: str
    run_dir: Path
    submitit_root: Path
    plan: DependencyPlan

    def __init__(self, roots: Roots, request: Request, controlled: Controlled) -> None:
        super().__init__(
            controlled.run_id,
            controlled.folder,
            roots,
            controlled.controller,
            _how(request, controlled),
        )
        self._controlled = controlled
        self.run_id = controlled.run_id
        self.run_dir = controlled.folder
        self.submitit_root = request.submitit_root
        self.plan = controlled.plan

    def concluded(self) -> AbstractContextManager[None]:
        """What is entered around the run: it notes how the run ended; for the executor."""
        return _Concluded(self._controlled)


class _Concluded(AbstractContextManager[None]):
    def __init__(self, controlled: Controlled) -> None:
        self._controlled = controlled

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        end_term(self._controlled)


def _how(request: Request, controlled: Controlled) -> str | None:
    """How nodes are computed, in words; None where nothing is to be said."""
    if request.progress is False:
        return None
    where = "of this machine" if request.cluster == "local" else "of Slurm"
    again = ", gone on with" if controlled.resumed else ""
    return f"up to {request.max_workers_total} workers {where}{again}"
