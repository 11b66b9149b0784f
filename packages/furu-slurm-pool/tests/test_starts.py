"""Workers that end before they can do anything: which of them say that none ever will."""

from __future__ import annotations

from pathlib import Path

import pytest

from furu_slurm import Health, JobHealth, JobInfo, JobState
from furu_slurm_pool._controller._workers import FailedStarts, Worker


def worker(number: int, state: JobState | None, *, denied: bool = False) -> Worker:
    info = None if state is None else JobInfo(str(number), "furu", state)
    health = JobHealth(info=info, verdict=Health.DENIED if denied else Health.ENDED)
    folder = str(Path("logs"))
    return Worker(f"w{number}", "gpu", "token", 0, folder, str(number), health=health)


def failures_borne(made: list[Worker]) -> int:
    """How many of these may fail to start, one after the other, before that is an error."""
    starts = FailedStarts()
    for number, one in enumerate(made):
        if starts.failed(one) is not None:
            return number
    return len(made)


def test_p6_three_workers_that_fail_at_once_are_an_error() -> None:
    assert failures_borne([worker(n, JobState.FAILED) for n in range(9)]) == 2


@pytest.mark.parametrize("state", [None, JobState.PENDING])
def test_p7_workers_whose_jobs_the_scheduler_forgot_in_the_queue_are_submitted_again(
    state: JobState | None,
) -> None:
    assert failures_borne([worker(n, state, denied=True) for n in range(9)]) == 9
    # Nor for ever, should it forget whatever it is told.
    assert failures_borne([worker(n, state, denied=True) for n in range(99)]) < 99


def test_workers_that_ran_and_are_forgotten_have_failed() -> None:
    assert failures_borne([worker(n, JobState.RUNNING, denied=True) for n in range(9)]) == 2


def test_one_that_begins_puts_an_end_to_the_row() -> None:
    starts = FailedStarts()
    for number in range(9):
        starts.failed(worker(number, JobState.FAILED))
        starts.begun("gpu")
