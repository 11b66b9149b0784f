"""A run on a pool that another process controls, seen through the files in its folder."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Self

import attrs

import furu_core
from furu_core.errors import FuruRunError
from furu_core.executors import (
    Liveness,
    Roots,
    Run,
    RunState,
    RunStatus,
    is_local_folder,
)
from furu_plan.runs import conclude
from furu_slurm import (
    Health,
    JobHealth,
    SubmittedJob,
    bare_id,
    job_log,
    last_word,
    worker_log_folder,
)
from furu_slurm_pool._controller._request import read_options
from furu_slurm_pool._controller._start import CONTROLLER_KEY
from furu_slurm_pool._controller._terms import Leader, ask_to_stop, current_leader
from furu_slurm_pool._observer._status import pool_status

_log = logging.getLogger("furu.pool")

_LOOK_SECS = 0.5
_HIDDEN_SECS = 60.0  # for so long a network filesystem may hide the conclusion of a run
_QUEUE_SECS = 60.0  # how often Slurm is asked why a controller's job has not begun


class ObservedPoolRun(Run):
    """A run on a pool that another process controls.

    Args:
        folder: its folder.
        roots: its roots.
        submitit_root: the folder below which workers have their logs.
    """

    def __init__(self, folder: Path, roots: Roots, submitit_root: Path) -> None:
        self.id = self.run_id = folder.name
        self.folder = self.run_dir = folder
        self.roots = roots
        self.submitit_root = submitit_root
        self._health: dict[str, JobHealth] = {}  # of controllers' jobs, by id

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the run has ended, and return it.

        Args:
            timeout: seconds; None waits as long as the run's controller lives.

        Raises:
            FuruRunError: it ended without the artifacts of all its roots; or its controller died.
            FuruRunCancelled: it was cancelled.
            TimeoutError: it has not ended yet.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.05
        next_look = 0.0
        gone: float | None = None
        # It may have concluded since the last look, and files of another host appear late.
        late = _LOOK_SECS if is_local_folder(self.folder) else _HIDDEN_SECS
        while True:
            controller = current_leader(str(self.folder))
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
                self._check_queue(controller)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"run {self.id} has not ended after {timeout} s")
            time.sleep(pause)
            pause = min(1.5 * pause, max(_LOOK_SECS, furu_core.settings().poll_interval_secs))

    def status(self) -> RunStatus:
        """The status of the run now."""
        return pool_status(self.folder, workers=False).status

    def cancel(self) -> None:
        """Ask the run's controller to cancel it; `wait` tells when that is done."""
        controller = current_leader(str(self.folder))
        if controller is not None and controller.ended is None:
            ask_to_stop(str(self.folder), controller.number)

    def _check_queue(self, controller: Leader) -> None:
        """Say why a controller that is a job has not begun; raise where it never will."""
        told = controller.submission
        if told is None or controller.process is not None:
            return
        snapshot = read_options(self.folder).scheduler().jobs([told.id])
        # The job was submitted before its id was written, so any snapshot taken now is newer than it.
        known = self._health.setdefault(told.id, JobHealth(submitted=0.0))
        health, info = known.look(SubmittedJob(told.id), snapshot), known.info
        if info is None or not info.reason:
            return
        if health is Health.UNSCHEDULABLE:
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

    def _why(self, controller: Leader | None) -> str:
        """Why a controller ended, as far as its job's log tells."""
        told = None if controller is None else controller.submission
        if told is None:
            return f"see {self.folder}"
        folder = worker_log_folder(self.submitit_root, CONTROLLER_KEY, self.id)
        log = job_log(folder, bare_id(told.id))
        word = last_word(log).removeprefix("furu: ")
        return f"{word} (log: {log})" if word else f"it said nothing (log: {log})"

    def _concluded(self, controller: Leader, state: RunState) -> Self:
        if state is RunState.DONE:
            return self
        status = pool_status(self.folder, workers=False).status
        conclude(
            self.id,
            attrs.evolve(status, state=state),
            retry_failed=furu_core.settings().retry_failed,
            cause=None if status.failures else self._why(controller),
        )
        return self
