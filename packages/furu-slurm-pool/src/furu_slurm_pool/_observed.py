"""Runs on a pool as anyone sees them, by what stands in their folders."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Self

import attrs

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunCancelled, FuruRunError
from furu_core.executors import (
    EventKind,
    Failure,
    FailureKind,
    Liveness,
    Roots,
    Run,
    RunState,
    RunStatus,
    Submission,
    is_local_folder,
    read_events,
    runs_folder,
)
from furu_plan.runs import failure_text, next_step
from furu_slurm import ANY_RESTART, bare_id, job_log, last_word, liveness, worker_log_folder
from furu_slurm_pool import _heartbeats, _queue
from furu_slurm_pool._control import CONTROLLER_KEY, cluster_of
from furu_slurm_pool._controllers import Ruler, ask_to_stop, ruler
from furu_slurm_pool._folders import queues
from furu_slurm_pool._moves import listed
from furu_slurm_pool._request import pool_runs, read_options
from furu_slurm_pool._worker import EXECUTOR

_log = logging.getLogger("furu.pool")

_LOOK_SECS = 0.5
_HIDDEN_SECS = 60.0  # for which a network filesystem may hide how a run was concluded
_QUEUE_SECS = 60.0  # between two looks at why a controller's job has not begun


@attrs.frozen
class Sight:
    """How a run stands.

    Attributes:
        status: in numbers.
        controller: who controls it, or did last.
        lives: whether that one can still do anything.
        workers: those that have begun and may live, and the jobs that they are.
        queued: spec key's folder to the number of tasks that wait.
        claimed: the same for those that workers have.
    """

    status: RunStatus
    controller: Ruler | None
    lives: bool
    workers: dict[str, str]
    queued: dict[str, int]
    claimed: dict[str, int]

    @property
    def word(self) -> str:
        """How it stands, in a word."""
        if self.status.state is RunState.RUNNING and not self.lives:
            return "without a controller"
        return self.status.state.value


def look_at(folder: Path, *, workers: bool = True) -> Sight:
    """How a run stands now.

    Args:
        folder: the run's.
        workers: whether to ask which of them live; without, there are none.
    """
    controller = ruler(str(folder))
    lives = controller is not None and controller.lives(furu_core.settings().lease_secs)
    ended = None if controller is None else controller.concluded
    queued: dict[str, int] = {}
    claimed: dict[str, int] = {}
    for queue in queues(str(folder)):
        key = Path(queue.path).name
        queued[key] = len(_queue.waiting(queue))
        claimed[key] = sum(map(len, _queue.claimed_by(queue).values()))
    status = _status(folder, ended or RunState.RUNNING, sum(claimed.values()))
    living = _workers(folder) if workers else {}
    return Sight(status, controller, lives, living, queued, claimed)


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
    for entry in sorted(listed(beats)):
        try:
            about = json.loads(Path(beats, entry).read_bytes())
        except (OSError, ValueError):
            continue  # it has beaten, or ended, in this moment
        name = entry.partition(".")[0]
        job = about["job"] or ""
        found[name] = ", ".join([f"job {bare_id(job)}"] * bool(job) + [about["process"]])
        # An earlier furu did not write how often it was restarted.
        jobs[name] = Submission(EXECUTOR, job, about.get("restarts", ANY_RESTART))
    # One that was killed could not remove its sign of life.
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


class ObservedPoolRun(Run):
    """A run on a pool that another process controls.

    Args:
        folder: its folder.
        roots: what it is for.
        submitit_root: where workers have their logs.
    """

    def __init__(self, folder: Path, roots: Roots, submitit_root: Path) -> None:
        self.id = self.run_id = folder.name
        self.folder = self.run_dir = folder
        self.roots = roots
        self.submitit_root = submitit_root

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the run has ended, and return it.

        Args:
            timeout: seconds; None waits as long as the run's controller lives.

        Raises:
            FuruRunError: it ended, and its roots are not all there; or its controller died.
            FuruRunCancelled: it was cancelled.
            TimeoutError: it has not ended yet.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.05
        next_look = 0.0
        gone: float | None = None
        # It may have concluded since it was looked at, which another host's folder shows late.
        late = _LOOK_SECS if is_local_folder(self.folder) else _HIDDEN_SECS
        while True:
            controller = ruler(str(self.folder))
            told = Liveness.GONE
            if controller is not None:
                told = controller.liveness(furu_core.settings().lease_secs)
            if controller is not None and controller.concluded is not None:
                return self._concluded(controller, controller.concluded)
            if told is not Liveness.GONE:
                gone = None
            elif gone is None:
                gone = time.monotonic()
            elif (
                controller is None or controller.ended is not None or time.monotonic() - gone > late
            ):
                raise FuruRunError(
                    f"the controller of run {self.id}, {controller}, has ended: {self._why(controller)}",
                    run_id=self.id,
                    hint=f"mend that, and go on with the run by the same command, or by `furu pool "
                    f"resume {self.id}`",
                )
            if controller is not None and gone is None and time.monotonic() >= next_look:
                next_look = time.monotonic() + _QUEUE_SECS
                if told is Liveness.UNKNOWN:
                    _log.warning(
                        "run %s: nobody says how its controller, %s, stands, which has not begun",
                        *(self.id, controller),
                    )
                self._mind_queue(controller)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"run {self.id} has not ended after {timeout} s")
            time.sleep(pause)
            pause = min(1.5 * pause, max(_LOOK_SECS, furu_core.settings().poll_interval_secs))

    def status(self) -> RunStatus:
        """How the run stands now."""
        return look_at(self.folder, workers=False).status

    def cancel(self) -> None:
        """Have the run's controller cancel it; `wait` tells when that is done."""
        controller = ruler(str(self.folder))
        if controller is not None and controller.ended is None:
            ask_to_stop(str(self.folder), controller.number)

    def _mind_queue(self, controller: Ruler) -> None:
        """Say why a controller that is a job has not begun; raise where it never will."""
        told = controller.submission
        if told is None or controller.process is not None:
            return
        info = cluster_of(read_options(self.folder)).jobs([told.id]).job(told.id)
        if info is None or not info.reason:
            return
        if info.hopeless:
            raise FuruRunError(
                f"run {self.id} would wait for ever: its controller, job {info.job_id}, is pending for "
                f"a reason that does not pass by itself: {info.reason}",
                run_id=self.id,
                hint=f"furu pool stop {self.id}, mend specs['controller'] (without one, the job asks for "
                "a little of what specs['default'] does), and run the same command again",
            )
        if info.state.waiting:
            _log.info(
                "run %s: its controller, job %s, is queued because of %s",
                *(self.id, info.job_id, info.reason),
            )

    def _why(self, controller: Ruler | None) -> str:
        """Why a controller ended, as far as it said so in its job's log."""
        told = None if controller is None else controller.submission
        if told is None:
            return f"see {self.folder}"
        folder = worker_log_folder(self.submitit_root, CONTROLLER_KEY, self.id)
        log = job_log(folder, bare_id(told.id))
        word = last_word(log).removeprefix("furu: ")
        return f"{word} (log: {log})" if word else f"it said nothing (log: {log})"

    def _concluded(self, controller: Ruler, state: RunState) -> Self:
        if state is RunState.DONE:
            return self
        status = look_at(self.folder, workers=False).status
        text = failure_text(status.failures) if status.failures else self._why(controller)
        kind = FuruRunCancelled if state is RunState.CANCELLED else FuruRunError
        raise kind(
            f"run {self.id} {'was cancelled' if kind is FuruRunCancelled else 'failed'}: {text}",
            failures=status.failures,
            run_id=self.id,
            hint=next_step(status.failures, retry_failed=furu_core.settings().retry_failed),
        )
