"""Going on with a run from anywhere, with the options it was begun with."""

from __future__ import annotations

from pathlib import Path

from furu_core.errors import FuruExecutorError
from furu_core.executors import RunState
from furu_slurm import restore_job_environment
from furu_slurm_pool._controller._job import submit_controller_of
from furu_slurm_pool._controller._request import read_request
from furu_slurm_pool._controller._run import SlurmPoolRun
from furu_slurm_pool._controller._start import (
    check,
    claim_term,
    control_run,
    refuse_if_alive,
)
from furu_slurm_pool._controller._terms import current_leader
from furu_slurm_pool._observer._run import ObservedPoolRun


def resume_run(folder: Path, *, detach: bool = False) -> SlurmPoolRun | ObservedPoolRun:
    """Control a run that nobody controls any more, with the options it was begun with.

    Args:
        folder: the run's.
        detach: let a job control it.

    Raises:
        FuruRunAlive: its controller lives.
        FuruExecutorError: it is no run on a pool, or has come to its end.
    """
    before = current_leader(str(folder))
    if before is not None and before.ended is RunState.DONE:
        raise FuruExecutorError(f"run {folder.name} is done", hint="there is nothing to resume")
    if before is not None:
        refuse_if_alive(folder, before)
    # Import paths and working directory, so that the roots can be made again.
    restore_job_environment(folder)
    request, roots = read_request(folder)
    check(request, roots, folder)
    term = claim_term(folder, 0 if before is None else before.number)
    if detach:
        submit_controller_of(folder, request, term)
        return ObservedPoolRun(folder, roots, request.submitit_root)
    run = SlurmPoolRun(roots, request, control_run(request, roots, folder, term))
    run.start(within=run.concluded())
    return run
