"""Ghost jobs: Slurm still lists them as live though their run has ended.

If Slurm's controller is killed before it saves its state, it does not know that a job has ended, and
shows it as running until its walltime is over.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from furu_slurm import Cluster, JobState
from furu_slurm.errors import FuruSlurmUnavailable
from furu_slurm_pool._controller._workers import Worker

_log = logging.getLogger("furu.pool")

_ANSWER_SECS: Final = 30.0  # how long Slurm may take to answer
_EXIT_SECS: Final = 3.0  # how long the jobs of workers that have left may take to end
_PAUSE_SECS: Final = 0.2
_WARNING_SECS: Final = 6.0  # longer than jobs take to end when Slurm answers
_LAST_SECS: Final = 3.0  # how long to wait for an answer when the end is wanted at once


def worker_job_name(run_id: str, spec_key: str) -> str:
    """The readable part of the names of a run's worker jobs, before the token."""
    return f"{_prefix(run_id)}{spec_key}"  # the run comes first, because long names are cut


def live_jobs(cluster: Cluster, run_id: str, workers: Collection[Worker]) -> list[str]:
    """The jobs of a run's workers that the scheduler lists as live.

    Args:
        cluster: where they ran.
        run_id: the run.
        workers: those with a note on disk. Jobs of others are found by their names.

    Raises:
        FuruSlurmUnavailable: the scheduler does not answer.
    """
    known = [worker.full_id for worker in workers if worker.full_id is not None]
    snapshot = cluster.jobs(known, fresh=True)
    if not snapshot.known:
        raise FuruSlurmUnavailable(
            f"Slurm does not answer ({snapshot.problem})", hint="try again when `sinfo` answers"
        )
    infos = [info for info in snapshot.found.values() if info.name.startswith(_prefix(run_id))]
    infos += [info for job_id in known if (info := snapshot.job(job_id)) is not None]
    live = [
        info.job_id
        for info in infos
        if info.state.live and info.state is not JobState.COMPLETING and not info.elsewhere
    ]
    return list(dict.fromkeys(live))


def ghost_jobs(
    ask: Callable[[], Future[list[str]]],
    run_id: str,
    hurried: Callable[[float], bool],
    *,
    hurry: bool,
) -> list[str]:
    """The jobs of a run whose workers have left, but that do not end.

    Args:
        ask: calls `live_jobs`, in another thread because the scheduler may be slow to answer.
        run_id: the run.
        hurried: waits for so many seconds or less; tells whether the end is wanted at once.
        hurry: whether the end is wanted at once already.

    Returns:
        Their ids; none, and a warning, when the scheduler does not answer for long.
    """
    warn_at = time.monotonic() + _WARNING_SECS
    limit = time.monotonic() + _ANSWER_SECS
    jobs: list[str] | None = None
    answered = False
    asked = ask()
    while not hurry:
        hurry = hurried(_PAUSE_SECS)
        now = time.monotonic()
        if now > warn_at:
            warn_at = math.inf
            _log.warning("run %s has ended; Slurm is to say whether jobs of it are left", run_id)
        if not asked.done():
            continue
        jobs = _answer(asked)
        if jobs is not None and not answered:
            answered, limit = True, now + _EXIT_SECS
        if jobs == [] or now > limit:
            break
        asked = ask()
    else:
        with suppress(TimeoutError):
            jobs = _answer(asked, _LAST_SECS)
    if jobs is None:
        _log.warning(
            "run %s has ended, and Slurm does not answer; should `squeue` show jobs of it later, this "
            "ends them: furu pool stop %s",
            *(run_id, run_id),
        )
    return jobs or []


def _answer(asked: Future[list[str]], timeout: float = 0.0) -> list[str] | None:
    """The scheduler's answer; None if it failed, which no longer matters to a run that has ended."""
    error = asked.exception(timeout)
    return asked.result() if error is None else None


def _prefix(run_id: str) -> str:
    return f"furu-pool-{run_id}-"
