"""The status of runs on a pool, read by any process from their folders."""

from __future__ import annotations

from pathlib import Path

import attrs

import furu_core
from furu_core.errors import FuruExecutorError, FuruStoreError
from furu_core.executors import (
    EventKind,
    Failure,
    FailureKind,
    Liveness,
    RunState,
    RunStatus,
    Submission,
    list_folder,
    read_events,
    runs_folder,
)
from furu_slurm import bare_id, liveness
from furu_slurm_pool._controller._request import pool_runs
from furu_slurm_pool._controller._terms import Leader, current_leader
from furu_slurm_pool._queue import _heartbeats, _tasks
from furu_slurm_pool._queue._run_folder import queues
from furu_slurm_pool._worker import EXECUTOR


@attrs.frozen
class PoolStatus:
    """The status of a run, its controller, its workers and its queues.

    Attributes:
        status: its state and numbers of nodes.
        controller: its current or last controller.
        lives: whether the controller can still do anything.
        workers: the workers that have begun and may live, with their jobs.
        queued: spec key's folder to the number of waiting tasks.
        claimed: the same for tasks that workers have.
    """

    status: RunStatus
    controller: Leader | None
    lives: bool
    workers: dict[str, str]
    queued: dict[str, int]
    claimed: dict[str, int]

    @property
    def word(self) -> str:
        """The state of the run, in a word."""
        if self.status.state is RunState.RUNNING and not self.lives:
            return "without a controller"
        return self.status.state.value


def pool_status(folder: Path, *, workers: bool = True) -> PoolStatus:
    """The status of a run now.

    Args:
        folder: the run's folder.
        workers: whether to ask which workers live; if not, the status lists none.
    """
    controller = current_leader(str(folder))
    lives = controller is not None and controller.lives(furu_core.settings().lease_secs)
    ended = None if controller is None else controller.concluded
    queued: dict[str, int] = {}
    claimed: dict[str, int] = {}
    for queue in queues(str(folder)):
        key = Path(queue.path).name
        queued[key] = len(_tasks.waiting(queue))
        claimed[key] = sum(map(len, _tasks.claimed_by(queue).values()))
    status = _status(folder, ended or RunState.RUNNING, sum(claimed.values()))
    living = _workers(folder) if workers else {}
    return PoolStatus(status, controller, lives, living, queued, claimed)


def _status(folder: Path, state: RunState, running: int) -> RunStatus:
    total = 0
    computed: set[str] = set()
    loaded: set[str] = set()
    failures: dict[str, Failure] = {}
    for event in read_events(folder):
        match event.kind:
            case EventKind.RUN_STARTED:
                total = max(total, int(event.detail.split()[0]))
                failures.clear()
            case EventKind.NODE_COMPUTED:
                computed.add(event.hash)
            case EventKind.NODE_LOADED:
                loaded.add(event.hash)
            case EventKind.NODE_FAILED:
                failures[event.hash] = Failure(
                    FailureKind.COMPUTE, "", event.detail, "", event.hash
                )
            case _:
                pass
    if state is RunState.DONE:
        loaded_count, waiting = total - len(computed), 0
    else:
        loaded_count = len(loaded - computed)
        waiting = total - len(computed) - loaded_count - running - len(failures)
    return RunStatus(
        state,
        total,
        len(computed),
        max(0, loaded_count),
        running,
        max(0, waiting),
        len(failures),
        tuple(failures.values()),
    )


def _workers(folder: Path) -> dict[str, str]:
    found = {}
    jobs: dict[str, Submission] = {}
    beats = _heartbeats.folder_of(str(folder))
    for entry in sorted(list_folder(beats)):
        try:
            about = _heartbeats.BEAT.read(f"{beats}/{entry}")
        except (FileNotFoundError, FuruStoreError):
            continue  # it renamed or removed its file at this moment
        name = entry.partition(".")[0]
        job = about.job
        found[name] = ", ".join([f"job {bare_id(job)}"] * bool(job) + [about.process])
        jobs[name] = Submission(EXECUTOR, job, about.restarts)
    # A worker that was killed could not remove its heartbeat.
    told = liveness(list(jobs.values()))
    return {name: text for name, text in found.items() if told[jobs[name]] is not Liveness.GONE}


def find_run(named: str) -> Path:
    """The folder of a run on a pool.

    Args:
        named: its id, the beginning or end of it, or the path of its folder.

    Raises:
        FuruExecutorError: there is none, or more than one.
    """
    if "/" in named:
        return Path(named).absolute()
    runs = [
        folder
        for folder in pool_runs(runs_folder())
        if folder.name.startswith(named) or folder.name.endswith(named)
    ]
    if len(runs) == 1:
        return runs[0]
    where = f"in {runs_folder()}"
    if not runs:
        raise FuruExecutorError(
            f"there is no run {named!r} on a pool {where}",
            hint="`furu pool status` lists those that there are; is FURU_PATH the right one?",
        )
    names = ", ".join(folder.name for folder in runs[:5])
    raise FuruExecutorError(
        f"{named!r} may be any of {len(runs)} runs {where}: {names}", hint="give more of the id"
    )
