"""P6: whether a job is healthy, by Slurm's word and by what the job shows itself, with one set of time-outs."""

from __future__ import annotations

import time
from typing import Any

import attrs
import pytest

from furu_slurm import (
    SILENT_LEASES,
    Health,
    JobHealth,
    JobInfo,
    JobState,
    Snapshot,
    SubmitLimit,
    SubmittedJob,
    _health,
)
from furu_slurm._job_names import Home
from furu_slurm.errors import FuruSubmitLimit, FuruSubmitRefused

JOB = SubmittedJob("7_1", "tok", 1)
LEASE_SECS = 10.0


class Clock:
    """Stands for the module `time` where only one of its clocks is read."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(_health, "time", clock := Clock())
    return clock


def seen(clock: Clock, state: JobState | None = None, **more: Any) -> Snapshot:
    """A listing that shows the job so, or not at all."""
    found = {} if state is None else {"7_1": JobInfo("7_1", "Train.tok", state, **more)}
    return Snapshot(True, taken=clock.now, found=found)


def made(clock: Clock, **more: Any) -> JobHealth:
    return JobHealth(submitted=clock.now, **more)


def test_a_job_that_waits_or_runs_is_healthy_and_one_that_ended_or_is_denied_is_not(
    clock: Clock,
) -> None:
    health = made(clock)
    assert health.look(JOB, seen(clock, JobState.PENDING, reason="Priority")) is Health.HEALTHY
    assert health.look(JOB, seen(clock, JobState.RUNNING)) is Health.HEALTHY
    assert health.look(JOB, Snapshot(False, taken=clock.now)) is Health.UNKNOWN
    assert health.look(JOB, seen(clock)) is Health.UNKNOWN
    assert health.look(JOB, seen(clock, JobState.TIMEOUT)) is Health.ENDED
    denied = Snapshot(True, taken=clock.now, denied=frozenset(["7_1"]))
    assert health.look(JOB, denied) is health.verdict is Health.DENIED


def test_what_slurm_said_before_a_job_was_submitted_says_nothing_of_it(clock: Clock) -> None:
    before = seen(clock, JobState.FAILED)
    clock.now += 1
    assert made(clock).look(JOB, before) is Health.UNKNOWN
    assert JobHealth(submitted=None).look(JOB, before) is Health.UNKNOWN


def test_a_reason_that_does_not_pass_counts_after_a_while_in_a_row(clock: Clock) -> None:
    health = made(clock)
    for reason, secs, expected in [
        ("PartitionConfig", 0, Health.HEALTHY),
        ("PartitionConfig", 50, Health.HEALTHY),
        ("Priority", 50, Health.HEALTHY),
        ("PartitionConfig", 50, Health.HEALTHY),
        ("PartitionConfig", 61, Health.UNSCHEDULABLE),
        # Slurm itself ends such a job.
        ("DependencyNeverSatisfied", 0, Health.HEALTHY),
        ("DependencyNeverSatisfied", 600, Health.HEALTHY),
    ]:
        clock.now += secs
        assert health.look(JOB, seen(clock, JobState.PENDING, reason=reason)) is expected


def test_a_job_that_slurm_has_set_aside_or_started_twice_is_told(clock: Clock) -> None:
    dropped = seen(clock, JobState.PENDING, reason="launch failed requeued held")
    assert made(clock).look(JOB, dropped) is Health.DROPPED
    again = seen(clock, JobState.RUNNING, restarts=1)
    assert made(clock).look(JOB, again) is Health.HEALTHY
    assert made(clock, may_restart=False).look(JOB, again) is Health.RESTARTED


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (JobState.RUNNING, "", Health.GHOST),
        (JobState.PENDING, "JobHeldUser", Health.GHOST),
        (JobState.PENDING, "Priority", Health.HEALTHY),  # it starts again, and finds its work done
        (JobState.FAILED, "", Health.ENDED),
    ],
)
def test_p6_slurm_may_believe_in_a_job_that_ended_long_ago(
    state: JobState, reason: str, expected: Health, clock: Clock
) -> None:
    health = made(clock, left=clock.now)
    clock.now += 100
    at_first = Health.ENDED if state.ended else Health.HEALTHY
    assert health.look(JOB, seen(clock, state, reason=reason)) is at_first
    clock.now += 30
    assert health.look(JOB, seen(clock, state, reason=reason)) is expected


def test_a_job_that_said_its_last_word_and_is_shown_no_more_is_no_ghost(clock: Clock) -> None:
    health = made(clock)
    assert health.look(JOB, seen(clock, JobState.RUNNING)) is Health.HEALTHY
    health.left = clock.now
    clock.now += 600  # Slurm forgets jobs a while after their end
    assert health.look(JOB, seen(clock)) is Health.UNKNOWN
    # Nobody was asked for a job with a home, so nothing is known of its cluster.
    away = attrs.evolve(JOB, job_id="7_1@there:1000", home="there:1000")
    assert health.look(away, seen(clock)) is Health.UNKNOWN
    assert health.look(JOB, seen(clock, JobState.RUNNING)) is Health.GHOST


def test_p6_a_job_may_wait_for_one_in_which_slurm_believes(clock: Clock) -> None:
    health = made(clock, unblocked=clock.now)
    assert health.look(JOB, seen(clock, JobState.PENDING, reason="Dependency")) is Health.HEALTHY
    clock.now += 130
    assert health.look(JOB, seen(clock, JobState.PENDING, reason="Priority")) is Health.HEALTHY
    assert health.look(JOB, seen(clock, JobState.PENDING, reason="Dependency")) is Health.STRANDED


def test_p6_a_silent_job_is_cancelled_and_lost_when_it_does_not_end(clock: Clock) -> None:
    health = made(clock, begun=True)

    def look(snapshot: Snapshot, silent_secs: float | None) -> Health:
        return health.look(JOB, snapshot, silent_secs=silent_secs, lease_secs=LEASE_SECS)

    limit = SILENT_LEASES * LEASE_SECS
    for snapshot in (seen(clock, JobState.RUNNING), seen(clock)):
        assert look(snapshot, None) is not Health.SILENT
        assert look(snapshot, limit - 1) is not Health.SILENT
        assert look(snapshot, limit + 1) is Health.SILENT
    assert look(Snapshot(False), limit + 1) is Health.UNKNOWN
    health.cancelled = clock.now
    assert look(seen(clock, JobState.RUNNING), limit + 1) is Health.HEALTHY
    clock.now += limit + 1
    assert look(seen(clock, JobState.RUNNING), limit + 1) is Health.LOST


def test_p5_a_suspended_job_has_a_while_to_show_itself_when_it_goes_on(clock: Clock) -> None:
    health = made(clock, begun=True)
    for state, secs, expected in [
        (JobState.SUSPENDED, 500, Health.HEALTHY),
        (JobState.RUNNING, 20, Health.HEALTHY),
        (JobState.RUNNING, 20, Health.SILENT),
    ]:
        clock.now += secs
        shown = seen(clock, state)
        assert health.look(JOB, shown, silent_secs=1000.0, lease_secs=LEASE_SECS) is expected


def test_a_job_whose_id_got_lost_is_found_by_its_token_or_given_up_in_the_end(clock: Clock) -> None:
    job, health = SubmittedJob(None, "tok", 1), made(clock)
    assert health.look(job, seen(clock, JobState.RUNNING)) is Health.HEALTHY
    assert health.info is not None
    assert health.info.job_id == "7_1"
    clock.now += 80
    assert health.look(job, seen(clock)) is Health.UNKNOWN
    clock.now += 20
    assert health.look(job, seen(clock)) is Health.DENIED
    health.begun = True
    assert health.look(job, seen(clock)) is Health.UNKNOWN


@pytest.mark.parametrize(
    ("home", "expected"), [("alpha:7", Health.UNKNOWN), ("beta:7", Health.OUT_OF_SIGHT)]
)
def test_p6_a_job_that_is_not_at_home_here_and_has_not_begun_is_out_of_sight(
    home: str, expected: Health, clock: Clock
) -> None:
    snapshot = Snapshot(True, taken=clock.now, home=Home("alpha", 7))
    health, job = made(clock), SubmittedJob(f"9@{home}", home=home)
    assert health.look(job, snapshot) is Health.UNKNOWN
    clock.now += 100
    assert health.look(job, snapshot) is expected
    health.begun = True
    assert health.look(job, snapshot) is Health.UNKNOWN


def test_p6_a_limit_is_waited_for_as_long_as_there_is_a_job_that_may_end() -> None:
    now = [0.0]
    limit = SubmitLimit(clock=lambda: now[0])
    own = FuruSubmitLimit("too many", said="AssocMaxSubmitJobLimit")
    group = FuruSubmitLimit("too many", said="AssocGrpSubmitJobsLimit")
    # It says so when the cluster has as many jobs as it takes (MaxJobCount), whosoever they are.
    full = FuruSubmitLimit(
        "too many", said="Slurm temporarily unable to accept job, sleeping and retrying."
    )
    none = Snapshot(True)
    there = Snapshot(True, found={"7": JobInfo("7", "x.tok", JobState.PENDING)})
    for secs, error, snapshot in [
        (0, own, none),
        (80, own, Snapshot(False)),
        (80, own, none),
        (80, own, there),
        (80, own, none),
        (80, group, none),
        (80, own, none),
        (80, full, none),
        (80, full, none),
        (80, full, none),
        (80, own, none),
        (80, own, none),
    ]:
        now[0] += secs
        limit.check(error, snapshot)
    now[0] += 20
    with pytest.raises(FuruSubmitRefused, match="no job at all"):
        limit.check(own, none)


def test_while_slurm_does_not_answer_nothing_is_submitted() -> None:
    now = [0.0]
    limit = SubmitLimit(30.0, clock=lambda: now[0])
    assert limit.allows("gpu", 8) == 8
    limit.pause()
    assert limit.allows("gpu", 8) == 0
    now[0] += 31
    assert limit.allows("gpu", 8) == 8
