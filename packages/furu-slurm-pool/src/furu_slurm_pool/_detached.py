"""A controller that is itself a job: submitting it, and what it does."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

import attrs

import furu_core
from furu_core.errors import FuruError, FuruRunError
from furu_core.executors import (
    Roots,
    RunState,
    Submission,
    WorkerContext,
    importing_user_code,
    new_run_folder,
)
from furu_plan import Status, build_plan
from furu_slurm import (
    Call,
    SlurmSpec,
    check_spec_keys,
    new_token,
    this_job,
    worker_log_folder,
    write_job_environment,
)
from furu_slurm_pool._control import (
    claim,
    cluster_of,
    control,
    prepare,
    refuse_if_alive,
    unfinished,
)
from furu_slurm_pool._controllers import ruler, take_over
from furu_slurm_pool._observed import ObservedPoolRun
from furu_slurm_pool._pool import unwritable
from furu_slurm_pool._pool_run import SlurmPoolRun
from furu_slurm_pool._request import Request, read_request
from furu_slurm_pool._worker import EXECUTOR

_log = logging.getLogger("furu.pool")

CONTROL: Final = "furu_slurm_pool._detached:control_as_job"
CONTROLLER_KEY: Final = "controller"
_HAND_OVER_SECS: Final = 60  # before its walltime ends
_PAUSE_SECS: Final = 0.2
FAILED: Final = 1


def submit_controller(request: Request, roots: Roots, *, where: Path | None) -> ObservedPoolRun:
    """Have a job control a run: the newest unfinished one for these roots, or else a new one.

    Raises:
        FuruRunAlive: such a run is controlled by a process that lives.
        FuruSlurmError: the job cannot be submitted.
    """
    found = unfinished(roots, where)
    if found is not None:
        folder, before = found
        return submit_controller_of(folder, request, roots, after=before.number)
    plan = build_plan(roots)
    check_spec_keys(request.specs, plan.with_status(Status.TODO))
    _, folder = new_run_folder(EXECUTOR, roots, where=where)
    prepare(folder, request, roots)
    return submit_controller_of(folder, request, roots, after=0)


def submit_controller_of(
    folder: Path, request: Request, roots: Roots, *, after: int
) -> ObservedPoolRun:
    """Have a job control the run in a folder, whose controllers so far are dead."""
    write_job_environment(folder)
    reign = claim(folder, after)
    (job_id,) = cluster_of(request).submit(
        spec=controller_spec(request),
        token=new_token(),
        name=f"furu-pool-controller-{folder.name}",
        folder=worker_log_folder(request.submitit_root, CONTROLLER_KEY, folder.name),
        calls=[Call(CONTROL, [str(folder)])],
        requeue=request.cluster == "slurm",
        signal_before_secs=_HAND_OVER_SECS,
    )
    submission = Submission(EXECUTOR, job_id, -1)
    try:
        # None: the job has begun already, and is the controller.
        take_over(str(folder), reign.number, submission, for_job=True)
    except OSError as error:
        raise unwritable(str(folder), error) from error
    return ObservedPoolRun(folder, roots, request.submitit_root)


def controller_spec(request: Request) -> SlurmSpec:
    """What a controller's job asks for: ``specs["controller"]``, else little of the default's."""
    given = request.specs.get(CONTROLLER_KEY)
    if given is not None:
        return given
    default = request.specs["default"]
    return attrs.evolve(default, gpus=0, cpus=1, mem_gb=min(4, default.mem_gb or 4))


def _predecessor(folder: Path) -> int | None:
    """The number of the controller before this job; None when there is nothing left to control.

    Raises:
        FuruRunAlive: it lives, and it is not the one that submitted this job.
    """
    job = this_job()
    deadline = time.monotonic() + _HAND_OVER_SECS
    while True:
        before = ruler(str(folder))
        if before is None:
            return 0
        if before.ended is RunState.DONE:
            return None
        told = before.submission
        if job is not None and told is not None and told.id == job.job_id:
            return before.number
        if time.monotonic() > deadline or not before.lives(furu_core.settings().lease_secs):
            refuse_if_alive(folder, before)
            return before.number
        time.sleep(_PAUSE_SECS)


def control_as_job(run_folder: str) -> int:
    """Control a run, as a job; the exit status."""
    folder = Path(run_folder)
    try:
        with importing_user_code(WorkerContext(EXECUTOR, folder.name, CONTROLLER_KEY)):
            request, roots = read_request(folder)
        request = attrs.evolve(request, progress=False)
        after = _predecessor(folder)
        if after is None:
            return 0
        controlled = control(request, roots, folder, claim(folder, after))
    except FuruError as error:
        print(f"furu: the controller cannot begin: {error}", file=sys.stderr, flush=True)
        return FAILED
    job = this_job()
    run = SlurmPoolRun(roots, request, controlled)

    def hand_over(_number: int, _frame: FrameType | None) -> None:
        controlled.pool.hand_over()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR2, hand_over)
    run.start(within=run.concluded())
    try:
        run.wait()
    except FuruRunError as error:
        if controlled.pool.is_over and not controlled.reign.is_over():
            _log.warning("the walltime of this controller ends; its job goes back to the queue")
            if job is not None and job.cluster == "slurm":
                cluster_of(request).requeue(job.job_id)
            return 0
        print(f"furu: {error}", file=sys.stderr, flush=True)
        return FAILED
    return 0
