"""A controller that is itself a job: submitting it, and what it does."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from signal import Signals
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
from furu_slurm import (
    ANY_RESTART,
    Call,
    Cluster,
    JobEnvironment,
    SlurmSpec,
    at_home,
    new_token,
    same_job,
    this_job,
    worker_log_folder,
    write_job_environment,
)
from furu_slurm.errors import FuruSlurmError
from furu_slurm_pool._controller._queue_pool import unwritable
from furu_slurm_pool._controller._request import Request, read_request
from furu_slurm_pool._controller._run import SlurmPoolRun
from furu_slurm_pool._controller._start import (
    CONTROLLER_KEY,
    Controlled,
    begin_term,
    check,
    claim_term,
    cluster_of,
    control_run,
    given_up_on_error,
    margin_secs,
    refuse_if_alive,
    unfinished_run,
)
from furu_slurm_pool._controller._terms import Term, current_leader, take_over
from furu_slurm_pool._worker import EXECUTOR

_log = logging.getLogger("furu.pool")

CONTROL: Final = "furu_slurm_pool._controller._job:control_as_job"
_HAND_OVER_SECS: Final = 60  # for the process that submitted the job to be its predecessor
_PAUSE_SECS: Final = 0.2
_REQUEUES: Final = 5
_REQUEUE_PAUSE_SECS: Final = 2.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
FAILED: Final = 1


def submit_controller(request: Request, roots: Roots, *, where: Path | None) -> Path:
    """Have a job control a run: the newest unfinished one for these roots, or else a new one.

    Returns:
        The run's folder.

    Raises:
        FuruRunAlive: such a run is controlled by a process that lives.
        FuruSlurmError: the job cannot be submitted.
    """
    found = unfinished_run(roots, where)
    # Options that no job could go on with are not to replace those of before.
    check(request, roots, None if found is None else found[0])
    if found is None:
        _, folder = new_run_folder(EXECUTOR, roots, where=where)
        term = begin_term(folder, 0, request, roots)
    else:
        folder, before = found
        term = begin_term(folder, before.number, request, roots)
    submit_controller_of(folder, request, term)
    return folder


def submit_controller_of(folder: Path, request: Request, term: Term) -> None:
    """Have a job control the run in a folder, which this process controls until then."""
    spec = controller_spec(request)
    cluster = cluster_of(request)
    with given_up_on_error(term):
        write_job_environment(folder)
        (job_id,) = cluster.submit(
            spec=spec,
            token=new_token(),
            name=f"furu-pool-controller-{folder.name}",
            folder=worker_log_folder(request.submitit_root, CONTROLLER_KEY, folder.name),
            calls=[Call(CONTROL, [str(folder)])],
            requeue=request.cluster == "slurm",
            signal_before_secs=int(margin_secs(spec)),
        )
    submission = Submission(EXECUTOR, at_home(job_id, cluster.home()), ANY_RESTART)
    try:
        # None: the job has begun already, and is the controller.
        take_over(str(folder), term.number, submission, for_job=True)
    except OSError as error:
        raise unwritable(str(folder), error) from error


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
        before = current_leader(str(folder))
        if before is None:
            return 0
        if before.ended is RunState.DONE:
            return None
        told = before.submission
        if job is not None and told is not None and same_job(told.id, job.full_id):
            return before.number
        if time.monotonic() > deadline or not before.lives(furu_core.settings().lease_secs):
            refuse_if_alive(folder, before)
            return before.number
        time.sleep(_PAUSE_SECS)


def control_as_job(run_folder: str) -> int:
    """Control a run, as a job; the exit status.

    Out of walltime, preempted or requeued, the job hands the run over to its own next start: workers
    go on meanwhile. When somebody ended the job on purpose, the run is cancelled.
    """
    folder = Path(run_folder)
    with _signals_noted() as told:
        try:
            with importing_user_code(WorkerContext(EXECUTOR, folder.name, CONTROLLER_KEY)):
                request, roots = read_request(folder)
            request = attrs.evolve(request, progress=False)
            after = _predecessor(folder)
            if after is None:
                return 0
            controlled = control_run(request, roots, folder, claim_term(folder, after))
        except FuruError as error:
            print(f"furu: the controller cannot begin: {error}", file=sys.stderr, flush=True)
            return FAILED
        early = [told.get() for _ in range(told.qsize())]
        if signal.SIGUSR2 in early:
            # Handing over now might go on for ever.
            minutes = controller_spec(request).time_min
            print(
                f"furu: a walltime of {minutes:g} min ends before this controller has begun: give "
                f"specs[{CONTROLLER_KEY!r}] more, and start the run again",
                file=sys.stderr,
                flush=True,
            )
            return FAILED
        run = SlurmPoolRun(roots, request, controlled)
        run.start(within=run.concluded())
        for number in early:
            told.put(number)
        return _see_to(run, controlled, cluster_of(request), told)


@contextmanager
def _signals_noted() -> Iterator[SimpleQueue[Signals | None]]:
    """Note the signals that announce an end, from the first: none may kill what just begins."""
    told: SimpleQueue[Signals | None] = SimpleQueue()  # which handlers may put into at any moment

    def note(number: int, _frame: FrameType | None) -> None:
        told.put(Signals(number))

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _see_to(
    run: SlurmPoolRun, controlled: Controlled, cluster: Cluster, told: SimpleQueue[Signals | None]
) -> int:
    """Wait for the run's end, and heed the scheduler's signals meanwhile; the exit status."""
    job = this_job()
    again = False  # whether the scheduler will start this job again by itself
    # In another thread, where it handles no signals.
    with ThreadPoolExecutor(1, thread_name_prefix="furu-wait") as thread:
        ended = thread.submit(run.wait)
        ended.add_done_callback(lambda _: told.put(None))
        while (number := told.get()) is not None:
            again = again or (number is not signal.SIGUSR2 and _starts_again(cluster, job))
            if again or number is signal.SIGUSR2:
                controlled.pool.hand_over()
            else:
                run.cancel()
    try:
        ended.result()
    except FuruRunError as error:
        if controlled.pool.is_over and not controlled.term.is_over():
            return 0 if again else _back_into_the_queue(cluster, job)
        print(f"furu: {error}", file=sys.stderr, flush=True)
        return FAILED
    return 0


def _starts_again(cluster: Cluster, job: JobEnvironment | None) -> bool:
    """Whether a job that is being ended was preempted or requeued; False when somebody cancelled it."""
    if job is None:
        return False
    info = cluster.jobs([job.job_id], fresh=True).job(job.job_id)
    return info is not None and info.restarts > job.restarts


def _back_into_the_queue(cluster: Cluster, job: JobEnvironment | None) -> int:
    """Have this job, whose walltime ends, started again; the exit status."""
    _log.warning("the walltime of this controller ends; its job goes back to the queue")
    for _ in range(_REQUEUES if job is not None and job.cluster == "slurm" else 0):
        assert job is not None
        try:
            cluster.requeue(job.job_id)
        except FuruSlurmError as error:
            _log.warning("%s", error.message)
            time.sleep(_REQUEUE_PAUSE_SECS)
        else:
            return 0
    print("furu: nobody controls the run now: furu pool resume", file=sys.stderr, flush=True)
    return FAILED
