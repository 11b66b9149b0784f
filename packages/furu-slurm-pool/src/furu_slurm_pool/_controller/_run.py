"""A run on a pool that this process controls: its parts, put together."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from furu_core import use_settings
from furu_core.executors import EventLog, RunState, Waker
from furu_plan import DependencyPlan, Frontier, Spent, Status, build_plan
from furu_plan.runs import ControlledRun, Controller, Wish, choose_display
from furu_slurm import check_spec_keys
from furu_slurm_pool._controller._fleet import Fleet
from furu_slurm_pool._controller._queue_pool import QueuePool
from furu_slurm_pool._controller._recovery import Recovered, RecoveryReader, recover
from furu_slurm_pool._controller._retries import StoredLedger, spent_before
from furu_slurm_pool._controller._start import ClaimedRun, write_environment
from furu_slurm_pool._queue._run_folder import make_folders, withdraw_orders


class SlurmPoolRun(ControlledRun):
    """A run on a pool of workers, which this process controls.

    When the process dies, its workers do the queued tasks and leave; the same command resumes the run.

    Attributes:
        run_id: the run.
        run_dir: its folder.
        submitit_root: where workers have their logs.
        plan: the plan that was made when this process began to control it.
    """

    run_id: str
    run_dir: Path
    submitit_root: Path
    plan: DependencyPlan

    def __init__(
        self,
        claimed: ClaimedRun,
        plan: DependencyPlan,
        controller: Controller,
        pool: QueuePool,
        ledger: StoredLedger,
    ) -> None:
        folder = claimed.folder
        super().__init__(folder.name, folder, claimed.roots, controller, _how(claimed))
        self.run_id = folder.name
        self.run_dir = folder
        self.submitit_root = claimed.request.submitit_root
        self.plan = plan
        self._term = claimed.term
        self._pool = pool
        self._ledger = ledger

    def term_ended(self) -> AbstractContextManager[object]:
        """The context entered around the run, which notes how the run ended; for the executor."""
        around = ExitStack()
        around.callback(self._end_term)
        return around

    def hand_over(self) -> None:
        """End soon, and leave workers and queue to the next controller."""
        self._pool.hand_over()

    @property
    def is_handed_over(self) -> bool:
        """Whether it ended so that a next controller can go on, though there is none yet."""
        return self._pool.is_over and not self._term.is_over()

    def _end_term(self) -> None:
        """Note how the run ended under this controller, and remove files that are no longer needed."""
        self._ledger.close()
        if self._pool.is_over or self._term.is_over():
            return
        state = self._controller.state
        self._term.end(state)
        if state is RunState.DONE:
            _remove_traces(str(self.folder))


def control_run(claimed: ClaimedRun) -> SlurmPoolRun:
    """Control a claimed run from now on, in this process; `start` begins with it.

    Raises:
        FuruSpecError: a node needs workers that the request does not describe.
        FuruStoreError: the run's folder cannot be written.
    """
    with claimed.term.given_up_on_error():
        return _controlled(claimed)


def _controlled(claimed: ClaimedRun) -> SlurmPoolRun:
    request, term, folder = claimed.request, claimed.term, claimed.folder
    settings = request.settings()
    run_folder = str(folder)
    make_folders(run_folder)
    withdraw_orders(run_folder)
    with use_settings(retry_failed=settings.retry_failed):
        code = write_environment(folder)
    waker = Waker()
    fleet = Fleet(run_folder, term.number, request, settings.lease_secs, waker.wake)
    recovered, spent = Recovered(), dict[str, Spent]()
    plan = claimed.plan
    if plan is None:
        fleet.adopt()
        spent, counted = spent_before(run_folder)
        recovered = recover(run_folder, {worker.name for worker in fleet.workers()}, counted)
        plan = build_plan(claimed.roots, settings=settings, reader=RecoveryReader(recovered))
        check_spec_keys(request.specs, plan.with_status(Status.TODO))
    pool = QueuePool(
        *(term, fleet, request, settings),
        nodes=plan.with_status(Status.TODO),
        recovered=recovered,
        code=code,
        waker=waker,
    )
    ledger = StoredLedger(term, pool.task_of, settings, keep_going=request.keep_going, spent=spent)
    controller = Controller(
        run_id=folder.name,
        frontier=Frontier(plan, window=request.window_size),
        ledger=ledger,
        pool=pool,
        events=EventLog(folder),
        display=choose_display(wanted=request.progress, live=True),
        settings=settings,
        keep_going=request.keep_going,
        workers=fleet.obstacle,
    )
    pool.on_stop = lambda: controller.ask(Wish.CANCEL)
    return SlurmPoolRun(claimed, plan, controller, pool, ledger)


def _how(claimed: ClaimedRun) -> str | None:
    """How nodes are computed, in words; None where the user is told nothing."""
    request = claimed.request
    if request.progress is False:
        return None
    where = "of this machine" if request.cluster == "local" else "of Slurm"
    again = ", gone on with" if claimed.plan is None else ""
    return f"up to {request.max_workers_total} workers {where}{again}"


def _remove_traces(run_folder: str) -> None:
    """Remove the files that only an unfinished run needs."""
    for name in ("queue", "reports", "heartbeats", "orders", "graph"):
        shutil.rmtree(f"{run_folder}/{name}", ignore_errors=True)
