"""Stopping a run from any process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import furu_core
from furu_core.errors import FuruExecutorError
from furu_core.executors import RunState
from furu_slurm import Cluster, bare_id
from furu_slurm.errors import FuruSlurmUnavailable
from furu_slurm_pool._controller._ghost_jobs import live_jobs
from furu_slurm_pool._controller._request import read_options
from furu_slurm_pool._controller._start import claim_term
from furu_slurm_pool._controller._terms import Leader, ask_to_stop, current_leader
from furu_slurm_pool._controller._workers import noted
from furu_slurm_pool._queue._run_folder import order_stop

_STOP_SECS: Final = 60.0
_LOOK_SECS: Final = 0.1


def stop_run(folder: Path) -> str:
    """Cancel a run through its controller, or in place of a dead one; return the outcome in words.

    Raises:
        FuruExecutorError: it is no run on a pool, or its controller does not react.
    """
    controller = current_leader(str(folder))
    if controller is None:
        raise FuruExecutorError(
            f"{folder} is no run on a pool", hint="`furu pool status` lists those that there are"
        )
    cluster = read_options(folder).scheduler()
    if controller.concluded is not None:
        rest = _stop_ghost_jobs(folder, cluster, controller)
        return f"has ended already: {controller.concluded.value}{rest}"
    if not controller.lives(furu_core.settings().lease_secs):
        return f"had no controller; {_stop_workers(folder, cluster, controller)} were cancelled"
    deadline = time.monotonic() + _STOP_SECS
    asked = 0
    while time.monotonic() < deadline:
        now = current_leader(str(folder)) or controller
        if now.concluded is not None:
            return f"is over: {now.concluded.value}"
        if now.number > asked:
            asked = now.number
            ask_to_stop(str(folder), asked)
        job_id = None if now.submission is None else now.submission.id
        if job_id is not None and _waits(cluster, job_id):
            cluster.cancel([job_id])  # a job in the queue cannot react to the request
            workers = _stop_workers(folder, cluster, now)
            return (
                f"was to be controlled by job {bare_id(job_id)}, which was cancelled, and {workers} "
                "with it"
            )
        time.sleep(_LOOK_SECS)
    raise FuruExecutorError(
        f"run {folder.name} was asked to stop, and {_STOP_SECS:.0f} s later its controller, "
        f"{controller}, has not ended it",
        hint="see `furu pool status`; end that process, and stop the run again",
    )


def _waits(cluster: Cluster, job_id: str) -> bool:
    """Whether a job is in the queue, before its first start or a later one."""
    info = cluster.jobs([job_id]).job(job_id)
    return info is not None and info.state.waiting


def _stop_workers(folder: Path, cluster: Cluster, controller: Leader) -> str:
    """End the workers of a run whose controller is dead; return their number in words."""
    term = claim_term(folder, controller.number)
    with term.given_up_on_error():
        order_stop(str(folder))
        workers = noted(str(folder))
        jobs = {worker.name: worker.full_id for worker in workers if worker.full_id is not None}
        if len(jobs) < len(workers):
            # The controller died before it learned the job's id; the job is found by its token.
            snapshot = cluster.jobs(fresh=True)
            for worker in workers:
                info = worker.job.found_in(snapshot)
                if worker.full_id is None and info is not None:
                    jobs[worker.name] = info.job_id
        cluster.cancel(jobs.values())
    term.end(RunState.CANCELLED)
    rest = len(workers) - len(jobs)
    more = f" (and {rest} that may be on their way into the queue, which end as soon as they begin)"
    return f"{len(jobs)} workers{more if rest else ''}"


def _stop_ghost_jobs(folder: Path, cluster: Cluster, controller: Leader) -> str:
    """Cancel jobs of an ended run that Slurm still lists as live; return their number in words."""
    if cluster.name != "slurm":
        return ""
    try:
        jobs = live_jobs(cluster, folder.name, noted(str(folder)))
        now = current_leader(str(folder))
        if now is not None and now.number != controller.number:
            return ", and goes on under another controller"
        cluster.cancel(jobs)
    except FuruSlurmUnavailable as error:
        return f"; whether Slurm has jobs of it left is not known: {error.message}"
    return f"; of its jobs Slurm still had {', '.join(jobs)}: cancelled" if jobs else ""
