"""A controller that runs as a job, from its start to its end or requeue. `_start` submits it."""

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
from furu_core.executors import RunState
from furu_core.workers import WorkerContext, importing_user_code
from furu_slurm import (
    Cluster,
    JobEnvironment,
    JobPayload,
    same_job,
    this_job,
)
from furu_slurm.errors import FuruSlurmError
from furu_slurm_pool._controller._request import read_request
from furu_slurm_pool._controller._run import SlurmPoolRun, control_run
from furu_slurm_pool._controller._start import (
    CONTROLLER_KEY,
    ClaimedRun,
    claim_term,
    controller_spec,
    refuse_if_alive,
)
from furu_slurm_pool._controller._terms import current_leader
from furu_slurm_pool._worker import EXECUTOR

_log = logging.getLogger("furu.pool")

_HAND_OVER_SECS: Final = 60  # how long the job waits for its submitter to become its predecessor
_PAUSE_SECS: Final = 0.2
_REQUEUES: Final = 5
_REQUEUE_PAUSE_SECS: Final = 2.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
FAILED: Final = 1


def _predecessor(folder: Path) -> int | None:
    """The number of the controller before this job; None when the run needs no controller any more.

    Raises:
        FuruRunAlive: that controller lives, and is not the process that submitted this job.
    """
    job = this_job()
    deadline = time.monotonic() + _HAND_OVER_SECS
    while True:
        before = current_leader(str(folder))
        if before is None:
            return 0
        if before.ended is RunState.DONE:
            return None
        submission = before.submission
        if job is not None and submission is not None and same_job(submission.id, job.full_id):
            return before.number
        if time.monotonic() > deadline or not before.lives(furu_core.settings().lease_secs):
            refuse_if_alive(folder, before)
            return before.number
        time.sleep(_PAUSE_SECS)


def control_as_job(payload: JobPayload, _place: int) -> int:
    """Control a run as a job, and return the exit status.

    When its walltime ends, or when it is preempted or requeued, the job hands the run over to its own
    next start, and workers go on meanwhile. When the job was cancelled, the run is cancelled.
    """
    folder = payload.run_folder
    with _signals_queued() as received:
        try:
            with importing_user_code(WorkerContext(EXECUTOR, folder.name, CONTROLLER_KEY)):
                request, roots = read_request(folder)
            request = attrs.evolve(request, progress=False)
            after = _predecessor(folder)
            if after is None:
                return 0
            run = control_run(ClaimedRun(folder, request, roots, claim_term(folder, after)))
        except FuruError as error:
            return _fail(f"the controller cannot begin: {error}")
        early = [received.get() for _ in range(received.qsize())]
        if signal.SIGUSR2 in early:
            # The walltime is too short to do anything: handing over would go on for ever.
            minutes = controller_spec(request).time_min
            return _fail(
                f"a walltime of {minutes:g} min ends before this controller has begun: give "
                f"specs[{CONTROLLER_KEY!r}] more, and start the run again"
            )
        run.start(within=run.term_ended())
        for number in early:
            received.put(number)
        return _wait_for_end(run, request.scheduler(), received)


@contextmanager
def _signals_queued() -> Iterator[SimpleQueue[Signals | None]]:
    """Queue the signals that announce an end, from the very start: none may kill the controller."""
    received: SimpleQueue[Signals | None] = (
        SimpleQueue()
    )  # which handlers may put into at any moment

    def note(number: int, _frame: FrameType | None) -> None:
        received.put(Signals(number))

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_end(
    run: SlurmPoolRun, cluster: Cluster, received: SimpleQueue[Signals | None]
) -> int:
    """Wait for the run's end, and handle the scheduler's signals; return the exit status."""
    job = this_job()
    again = False  # whether the scheduler will start this job again by itself
    # In another thread, so that `wait` does not install its signal handlers.
    with ThreadPoolExecutor(1, thread_name_prefix="furu-wait") as thread:
        ended = thread.submit(run.wait)
        ended.add_done_callback(lambda _: received.put(None))
        while (number := received.get()) is not None:
            again = again or (number is not signal.SIGUSR2 and _starts_again(cluster, job))
            if again or number is signal.SIGUSR2:
                run.hand_over()
            else:
                run.cancel()
    try:
        ended.result()
    except FuruRunError as error:
        if run.is_handed_over:
            return 0 if again else _back_into_the_queue(cluster, job)
        return _fail(str(error))
    return 0


def _starts_again(cluster: Cluster, job: JobEnvironment | None) -> bool:
    """Whether a job that is being ended was preempted or requeued; False when it was cancelled."""
    if job is None:
        return False
    info = cluster.jobs([job.job_id], fresh=True).job(job.job_id)
    return info is not None and info.restarts > job.restarts


def _back_into_the_queue(cluster: Cluster, job: JobEnvironment | None) -> int:
    """Requeue this job, whose walltime ends; return the exit status."""
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
    return _fail("nobody controls the run now: furu pool resume")


def _fail(why: str) -> int:
    """Write to the job's log why it does not control the run, for `last_word`; return the status."""
    print(f"furu: {why}", file=sys.stderr, flush=True)
    return FAILED
