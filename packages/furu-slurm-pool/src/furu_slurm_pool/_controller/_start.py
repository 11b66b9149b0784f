"""Controlling a run on a pool: beginning one, or going on where a controller before ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import attrs

import furu_core
from furu_core import Settings, use_settings
from furu_core.executors import (
    EventLog,
    Roots,
    RunState,
    Submission,
    is_local_folder,
    new_run_folder,
    runs_folder,
)
from furu_plan import DependencyPlan, Frontier, Spent, Status, build_plan
from furu_plan.runs import Controller, Wish, choose_display
from furu_slurm import (
    ANY_RESTART,
    Cluster,
    LocalCluster,
    SlurmCluster,
    SlurmSpec,
    check_spec_keys,
    this_job,
    worker_log_folder,
    write_job_environment,
)
from furu_slurm_pool._controller._fleet import Fleet
from furu_slurm_pool._controller._queue_pool import QueuePool, remove_traces, unwritable
from furu_slurm_pool._controller._recovery import Recovered, RecoveryReader, recover, tasks_left_in
from furu_slurm_pool._controller._request import Request, same_runs, write_request
from furu_slurm_pool._controller._terms import (
    Leader,
    StoredLedger,
    Term,
    current_leader,
    spent_before,
    take_over,
)
from furu_slurm_pool._queue._run_folder import make_folders, withdraw_orders
from furu_slurm_pool._worker import EXECUTOR, WorkerSetup
from furu_slurm_pool.errors import FuruRunAlive

CONTROLLER_KEY: Final = "controller"
_LEAVE_SECS: Final = 2.0  # for workers that have heard that the run is over
_TASKS_A_WORKER: Final = 20  # that wait in the queue, so that no worker runs dry
_TASKS: Final = 2_000


@attrs.frozen
class Controlled:
    """A run that this process controls.

    Attributes:
        run_id: the run.
        folder: its folder.
        plan: what there is to do, as this controller found it.
        controller: the loop.
        pool: the workers.
        term: this process's.
        resumed: whether another controller had begun it.
        ledger: what nodes have used up.
    """

    run_id: str
    folder: Path
    plan: DependencyPlan
    controller: Controller
    pool: QueuePool
    term: Term
    resumed: bool
    ledger: StoredLedger


def begin(request: Request, roots: Roots, *, where: Path | None) -> Controlled:
    """Control a run: the newest unfinished one for these roots, or else a new one.

    Args:
        request: how.
        roots: what for.
        where: the folder of runs; None for `runs` in the store.

    Raises:
        FuruRunAlive: such a run is controlled by a process that lives.
        FuruSpecError: a node needs workers that the request does not describe.
        FuruStoreError: the run's folder cannot be written.
    """
    found = unfinished_run(roots, where)
    if found is not None:
        folder, before = found
        check(request, roots, folder)
        return control_run(
            request, roots, folder, begin_term(folder, before.number, request, roots)
        )
    settings = _settings(request)
    plan = build_plan(roots, settings=settings)
    check_spec_keys(request.specs, plan.with_status(Status.TODO))
    _, folder = new_run_folder(EXECUTOR, roots, where=where)
    return control_run(request, roots, folder, begin_term(folder, 0, request, roots), plan)


def check(request: Request, roots: Roots, folder: Path | None) -> None:
    """See that a run can be controlled as it is asked for, before anybody claims it.

    Args:
        request: how.
        roots: what for.
        folder: of the run; None for one that is new.

    Raises:
        FuruSpecError: a node needs workers that the request does not describe.
    """
    # What stands in the queue is computed whoever has it; the scheduler, which may be slow, is not asked.
    reader = None if folder is None else RecoveryReader(tasks_left_in(str(folder)))
    plan = build_plan(roots, settings=_settings(request), reader=reader, validate=False)
    check_spec_keys(request.specs, plan.with_status(Status.TODO))


@contextmanager
def given_up_on_error(term: Term) -> Iterator[None]:
    """Give a claim up if what follows it fails, so that nobody waits for this process to control the run."""
    try:
        yield
    except BaseException:
        term.end(RunState.RUNNING)
        raise


def unfinished_run(roots: Roots, where: Path | None) -> tuple[Path, Leader] | None:
    """The newest run for these roots that has not come to its end, and its dead controller.

    Raises:
        FuruRunAlive: its controller lives.
    """
    for folder in same_runs(where or runs_folder(), roots):
        before = current_leader(str(folder))
        if before is None or before.ended in (RunState.DONE, RunState.FAILED):
            continue
        refuse_if_alive(folder, before)
        return folder, before
    return None


def refuse_if_alive(folder: Path, found: Leader) -> None:
    """Raise `FuruRunAlive` if the controller of a run can still do anything."""
    if found.lives(furu_core.settings().lease_secs):
        raise still_controlled(folder, str(found), found.silent_secs)


def claim_term(folder: Path, after: int) -> Term:
    """Become the controller of a run after one that is dead.

    Raises:
        FuruRunAlive: somebody else was faster.
        FuruStoreError: the run's folder cannot be written.
    """
    try:
        term = take_over(str(folder), after, submission_of_this_job())
    except OSError as error:
        raise unwritable(str(folder), error) from error
    if term is None:
        raise still_controlled(folder, str(current_leader(str(folder))), 0.0)
    return term


def begin_term(folder: Path, after: int, request: Request, roots: Roots) -> Term:
    """Become the controller of a run, new or after one that is dead, and write down what it is to do.

    A run that goes on, goes on with these options: a job that is to control it, and `furu pool`, know
    them from there.

    Raises:
        FuruRunAlive: somebody else was faster.
        FuruStoreError: the run's folder cannot be written.
    """
    term = claim_term(folder, after)
    try:
        make_folders(str(folder))
        write_request(folder, request, roots)
    except OSError as error:
        term.end(RunState.RUNNING)
        raise unwritable(str(folder), error) from error
    return term


def still_controlled(folder: Path, controller: str, silent_secs: float) -> FuruRunAlive:
    """The error about a run that somebody else controls."""
    return FuruRunAlive(
        f"run {folder.name} is for the same roots and controlled by {controller}, which gave a sign "
        f"of life {silent_secs:.0f} s ago",
        run_id=folder.name,
        controller=controller,
        hint=f"wait for it, or end it with `furu pool stop {folder.name}`",
    )


def control_run(
    request: Request,
    roots: Roots,
    folder: Path,
    term: Term,
    plan: DependencyPlan | None = None,
) -> Controlled:
    """Control a run from now on.

    Args:
        request: how.
        roots: what for.
        folder: of the run.
        term: this process's.
        plan: what there is to do, for a run that is new.

    Raises:
        FuruSpecError: a node needs workers that the request does not describe.
        FuruStoreError: the run's folder cannot be written.
    """
    with given_up_on_error(term):
        return _control(request, roots, folder, term, plan)


def _control(
    request: Request, roots: Roots, folder: Path, term: Term, plan: DependencyPlan | None
) -> Controlled:
    settings = _settings(request)
    run_folder = str(folder)
    make_folders(run_folder)
    withdraw_orders(run_folder)
    with _use(request):
        write_job_environment(folder)
    wake_pipe = os.pipe()
    for fd in wake_pipe:
        os.set_blocking(fd, False)
    fleet = _fleet(request, settings, folder, term, wake_pipe[1])
    recovered, spent = Recovered(), dict[str, Spent]()
    resumed = plan is None
    if plan is None:
        fleet.adopt()
        spent, counted = spent_before(run_folder)
        recovered = recover(run_folder, {worker.name for worker in fleet.workers()}, counted)
        plan = build_plan(roots, settings=settings, reader=RecoveryReader(recovered))
        check_spec_keys(request.specs, plan.with_status(Status.TODO))
    pool = QueuePool(
        run_folder=run_folder,
        term=term,
        fleet=fleet,
        graph=plan.with_status(Status.TODO),
        depth=_TASKS + _TASKS_A_WORKER * request.max_workers_total,
        poll_secs=request.poll_interval_sec,
        patience_secs=request.poll_interval_sec + _LEAVE_SECS,
        local_store=is_local_store(request),
        lease_secs=settings.lease_secs,
        recovered=recovered,
        wake_pipe=wake_pipe,
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
        workers=fleet.word,
    )
    pool.on_stop = lambda: controller.ask(Wish.CANCEL)
    return Controlled(folder.name, folder, plan, controller, pool, term, resumed, ledger)


def end_term(controlled: Controlled) -> None:
    """Note how a run ended under this controller, and remove what nobody needs any more."""
    controlled.ledger.close()
    if controlled.pool.is_over or controlled.term.is_over():
        return
    state = controlled.controller.state
    controlled.term.end(state)
    if state is RunState.DONE:
        remove_traces(str(controlled.folder))


def cluster_of(request: Request) -> Cluster:
    """What runs the workers."""
    return LocalCluster() if request.cluster == "local" else SlurmCluster()


def is_local_store(request: Request) -> bool:
    """Whether everything that workers write is seen here, and by each other, at once."""
    return request.cluster == "local" or is_local_folder(furu_core.settings().path)


def submission_of_this_job() -> Submission | None:
    """The job that this process is, as the executor calls it; None outside of jobs."""
    job = this_job()
    # The job, however often it is started: while it waits to start again, the run has a controller.
    return None if job is None else Submission(EXECUTOR, job.full_id, ANY_RESTART)


def margin_secs(spec: SlurmSpec) -> float:
    """Seconds before the end of its walltime at which a worker has to be done."""
    return min(60.0, max(5.0, 0.05 * 60 * spec.time_min))


def _fleet(request: Request, settings: Settings, folder: Path, term: Term, woken: int) -> Fleet:
    run_folder = str(folder)
    local_store = is_local_store(request)

    def arguments(worker: str, key: str) -> tuple[str, ...]:
        return WorkerSetup(
            run_folder=run_folder,
            run_id=folder.name,
            spec_key=key,
            worker=worker,
            idle_timeout_secs=request.idle_timeout_sec,
            poll_interval_secs=request.poll_interval_sec,
            margin_secs=margin_secs(request.specs[key]),
            local_store=local_store,
        ).arguments()

    def wake() -> None:
        try:
            os.write(woken, b"!")
        except OSError:
            pass  # nobody listens any more, or enough has been said

    return Fleet(
        run_folder=run_folder,
        run_id=folder.name,
        term=term.number,
        cluster=cluster_of(request),
        specs=request.specs,
        most=request.max_workers_total,
        log_folder=lambda key: worker_log_folder(request.submitit_root, key, folder.name),
        arguments=arguments,
        margin_secs=lambda key: margin_secs(request.specs[key]),
        idle_secs=request.idle_timeout_sec,
        lease_secs=settings.lease_secs,
        poll_secs=min(request.poll_interval_sec, 2.0),
        wake=wake,
    )


def _settings(request: Request) -> Settings:
    settings = furu_core.settings()
    if request.retry_failed is not None:
        settings = attrs.evolve(settings, retry_failed=request.retry_failed)
    return settings


def _use(request: Request) -> AbstractContextManager[Any]:
    if request.retry_failed is None:
        return nullcontext()
    return use_settings(retry_failed=request.retry_failed)
