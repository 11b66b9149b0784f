"""How a process becomes the controller of a run, or has a job become it.

All callers go the same way. `claim_run` (for a command with roots) or `claim_again` (for a named run)
begins a term. Then `control_run` of `_run` controls the run in this process, or `submit_controller`
submits a job that does, whose code is in `_job`.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

import furu_core
from furu_core.errors import FuruExecutorError, FuruStoreError
from furu_core.executors import (
    Roots,
    RunState,
    Submission,
    excluding,
    new_run_folder,
    runs_folder,
)
from furu_plan import DependencyPlan, Status, build_plan
from furu_slurm import (
    ANY_RESTART,
    JobPayload,
    SlurmSpec,
    at_home,
    check_spec_keys,
    code_of_run,
    new_token,
    restore_job_environment,
    this_job,
    worker_log_folder,
    write_job_environment,
)
from furu_slurm_pool._controller._recovery import RecoveryReader, tasks_left_in
from furu_slurm_pool._controller._request import (
    Request,
    is_trusted,
    lock_of,
    read_request,
    same_runs,
    write_request,
)
from furu_slurm_pool._controller._terms import Leader, Term, current_leader, take_over
from furu_slurm_pool._queue._run_folder import make_folders, unwritable
from furu_slurm_pool._worker import EXECUTOR
from furu_slurm_pool.errors import FuruRunAlive

_log = logging.getLogger("furu.pool")

CONTROL: Final = "furu_slurm_pool._controller._job:control_as_job"
CONTROLLER_KEY: Final = "controller"


@attrs.frozen
class ClaimedRun:
    """A run whose newest term belongs to this process, until the term ends or a job takes over.

    Attributes:
        folder: the run's folder.
        request: its options.
        roots: its roots.
        term: the term of this process.
        plan: the plan of a new run; None for an unfinished run, whose plan depends on what the
            controllers before have left.
    """

    folder: Path
    request: Request
    roots: Roots
    term: Term
    plan: DependencyPlan | None = None


def claim_run(
    request: Request, roots: Roots, *, where: Path | None, validate: bool = True
) -> ClaimedRun:
    """Claim the newest unfinished run for these roots, or else a new one.

    Args:
        request: the options of the run.
        roots: its roots.
        where: the folder of runs; None for `runs` in the store.
        validate: have the plan of a new run validate artifacts; False where another process plans again.

    Raises:
        FuruRunAlive: such a run is controlled by a process that lives.
        FuruSpecError: a node needs workers that the request does not describe.
        FuruStoreError: the run's folder cannot be written, or its lock is not released in time.
    """
    found = unfinished_run(roots, where)
    if found is None:
        plan = _checked_plan(request, roots, None, validate=validate)
        lock = lock_of(where or runs_folder(), roots)
        with excluding(lock, what="beginning a run on a pool"):
            # The same command, started at the same moment, may have begun one while this one planned.
            found = unfinished_run(roots, where)
            if found is None:
                _, folder = new_run_folder(
                    EXECUTOR,
                    roots,
                    where=where,
                    tags=request.tags,
                    note=request.note,
                    planned=plan.nodes,
                )
                term = begin_term(folder, 0, request, roots)
                return ClaimedRun(folder, request, roots, term, plan)
    # Of several that go on with one, `take_over` lets one have the next term.
    folder, before = found
    # Options with which the run cannot go on must not replace the earlier ones.
    _checked_plan(request, roots, folder, validate=False)
    return ClaimedRun(folder, request, roots, begin_term(folder, before.number, request, roots))


def claim_again(folder: Path) -> ClaimedRun:
    """Claim a run that has no live controller, with the options that it was begun with.

    Raises:
        FuruRunAlive: its controller lives.
        FuruExecutorError: it is no run on a pool, or has come to its end.
    """
    before = current_leader(str(folder))
    if before is not None and before.ended is RunState.DONE:
        raise FuruExecutorError(f"run {folder.name} is done", hint="there is nothing to resume")
    if before is not None:
        refuse_if_alive(folder, before)
    # This restores import paths and working directory, so that the roots can be made again.
    restore_job_environment(folder)
    request, roots = read_request(folder)
    _checked_plan(request, roots, folder, validate=False)
    after = 0 if before is None else before.number
    return ClaimedRun(folder, request, roots, claim_term(folder, after))


def _checked_plan(
    request: Request, roots: Roots, folder: Path | None, *, validate: bool
) -> DependencyPlan:
    """Plan a run before it is claimed, and check that there are specs for all nodes to be computed.

    Raises:
        FuruSpecError: a node needs workers that the request does not describe.
    """
    # Nodes in the queue count as to be computed; the scheduler, which may be slow, is not asked of them.
    reader = None if folder is None else RecoveryReader(tasks_left_in(str(folder)))
    plan = build_plan(roots, settings=request.settings(), reader=reader, validate=validate)
    check_spec_keys(request.specs, plan.with_status(Status.TODO))
    return plan


def unfinished_run(roots: Roots, where: Path | None) -> tuple[Path, Leader] | None:
    """The newest run for these roots that has not come to its end, and its dead controller.

    Raises:
        FuruRunAlive: its controller lives.
    """
    for folder in same_runs(where or runs_folder(), roots):
        before = current_leader(str(folder))
        if before is None or before.ended in (RunState.DONE, RunState.FAILED):
            continue
        if not is_trusted(folder):
            continue
        refuse_if_alive(folder, before)
        return folder, before
    return None


def refuse_if_alive(folder: Path, leader: Leader) -> None:
    """Raise `FuruRunAlive` if the controller of a run can still do anything."""
    if leader.lives(furu_core.settings().lease_secs):
        raise _still_controlled(folder, leader)


def _still_controlled(folder: Path, leader: Leader | None) -> FuruRunAlive:
    silent_secs = 0.0 if leader is None else leader.silent_secs
    return FuruRunAlive(
        f"run {folder.name} is for the same roots and controlled by {leader}, which gave a sign "
        f"of life {silent_secs:.0f} s ago",
        run_id=folder.name,
        controller=str(leader),
        hint=f"wait for it, or end it with `furu pool stop {folder.name}`",
    )


def claim_term(folder: Path, after: int) -> Term:
    """Become the controller of a run whose last controller is dead.

    Raises:
        FuruRunAlive: another process was faster.
        FuruStoreError: the run's folder cannot be written.
    """
    job = this_job()
    # The submission means the job, however often it is started: while it waits to start again, the run
    # has a controller.
    submission = None if job is None else Submission(EXECUTOR, job.full_id, ANY_RESTART)
    try:
        term = take_over(str(folder), after, submission)
    except OSError as error:
        raise unwritable(str(folder), error) from error
    if term is None:
        raise _still_controlled(folder, current_leader(str(folder)))
    return term


def begin_term(folder: Path, after: int, request: Request, roots: Roots) -> Term:
    """Become the controller of a new run, or of one whose controller is dead, and write its request.

    A run that is resumed goes on with these options: a job that is to control it, and `furu pool`, read
    them from the request.

    Raises:
        FuruRunAlive: another process was faster.
        FuruStoreError: the run's folder cannot be written.
    """
    term = claim_term(folder, after)
    try:
        with term.given_up_on_error():
            make_folders(str(folder))
            write_request(folder, request, roots)
    except OSError as error:
        raise unwritable(str(folder), error) from error
    return term


def submit_controller(claimed: ClaimedRun) -> None:
    """Submit a job that is to control a run; until it begins, this process is the controller.

    Raises:
        FuruSlurmError: the job cannot be submitted.
        FuruStoreError: the run's folder cannot be written.
    """
    request, folder = claimed.request, claimed.folder
    spec = controller_spec(request)
    cluster = request.scheduler()
    with claimed.term.given_up_on_error():
        write_environment(folder)
        (job_id,) = cluster.submit(
            spec=spec,
            token=new_token(),
            name=f"furu-pool-controller-{folder.name}",
            folder=worker_log_folder(request.submitit_root, CONTROLLER_KEY, folder.name),
            payload=JobPayload(CONTROL, folder, [None]),
            requeue=request.cluster == "slurm",
            signal_before_secs=int(request.margin_secs(spec)),
        )
    submission = Submission(EXECUTOR, at_home(job_id, cluster.home()), ANY_RESTART)
    try:
        # If this returns None, the job has begun already, and is the controller.
        take_over(str(folder), claimed.term.number, submission, for_job=True)
    except OSError as error:
        raise unwritable(str(folder), error) from error


def write_environment(folder: Path) -> str:
    """Write down what the workers of a run need of this process, for those that start from now on.

    Of a run that is gone on with, earlier workers have the code that was there when they began: they end what
    they have, and take no more.

    Returns:
        The digest of the snapshot that they import from; empty where they import the project as it is.

    Raises:
        FuruStoreError, FuruUsageError: as `write_job_environment`.
    """
    before: str | None = None
    with suppress(
        FileNotFoundError, FuruStoreError
    ):  # it is a new run, or what it had is of no use
        before = _digest_of_code(folder)
    write_job_environment(folder)
    now = _digest_of_code(folder)
    if before is not None and now != before:
        _log.warning(
            "run %s goes on with the code that is there now (%s); workers that began with earlier code (%s) end "
            "after what they have",
            *(folder.name, now[:12] or "live", before[:12] or "live"),
        )
    return now


def _digest_of_code(folder: Path) -> str:
    snapshot = code_of_run(folder)
    return "" if snapshot is None else snapshot.digest


def controller_spec(request: Request) -> SlurmSpec:
    """The spec of a controller's job: ``specs["controller"]``, or a small one made from the default."""
    given = request.specs.get(CONTROLLER_KEY)
    if given is not None:
        return given
    default = request.specs["default"]
    return attrs.evolve(default, gpus=0, cpus=1, mem_gb=min(4, default.mem_gb or 4))
