"""One place counts failures and decides what follows (P5)."""

from __future__ import annotations

import pytest

from furu_core import Settings
from furu_core.executors import FailureKind
from furu_plan import NextStep, RetryLedger, Spent


def make(*, keep_going: bool = False, **changes: object) -> RetryLedger:
    return RetryLedger(Settings(path="/nowhere", **changes), keep_going=keep_going)


def next_steps(ledger: RetryLedger, kind: FailureKind, times: int) -> list[NextStep]:
    return [ledger.decide("a", kind).next_step for _ in range(times)]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_code_that_raises_is_tried_again_so_many_times_after_the_first(retries: int) -> None:
    ledger = make(max_compute_retries=retries)
    expected = [NextStep.RETRY] * retries + [NextStep.GIVE_UP]
    assert next_steps(ledger, FailureKind.COMPUTE, retries + 1) == expected


def test_code_that_raises_is_not_tried_again_while_retrying_is_off() -> None:
    ledger = make(retry_failed=False)
    assert next_steps(ledger, FailureKind.COMPUTE, 1) == [NextStep.GIVE_UP]


@pytest.mark.parametrize("retry_failed", [True, False])
def test_a_lost_worker_is_counted_apart_whether_or_not_failures_are_retried(
    retry_failed: bool,
) -> None:
    ledger = make(max_lost_retries=2, max_compute_retries=1, retry_failed=retry_failed)
    assert next_steps(ledger, FailureKind.LOST, 2) == [NextStep.RETRY] * 2
    expected = NextStep.RETRY if retry_failed else NextStep.GIVE_UP
    assert ledger.decide("a", FailureKind.COMPUTE).next_step is expected
    assert ledger.decide("a", FailureKind.LOST).next_step is NextStep.GIVE_UP


def test_a_lost_worker_that_made_progress_starts_the_row_anew() -> None:
    ledger = make(max_lost_retries=1)
    for _ in range(20):
        assert ledger.decide("a", FailureKind.LOST).next_step is NextStep.RETRY
        assert ledger.decide("a", FailureKind.LOST, progress=True).next_step is NextStep.RETRY
    assert next_steps(ledger, FailureKind.LOST, 2) == [NextStep.RETRY, NextStep.GIVE_UP]


def test_p5_a_node_that_is_lost_1000_times_in_one_run_fails_whatever_its_progress() -> None:
    first = make(max_lost_retries=1)
    for _ in range(998):
        first.decide("a", FailureKind.LOST, progress=True)
    settings = Settings(path="/nowhere", max_lost_retries=1)
    second = RetryLedger(settings, spent={"a": first.spent("a")})  # also where the run was resumed
    decisions = [second.decide("a", FailureKind.LOST, progress=True) for _ in range(2)]
    assert [decision.next_step for decision in decisions] == [NextStep.RETRY, NextStep.GIVE_UP]
    assert decisions[1].reason == "lost 1000 times in all, the most in one run"


def test_a_broken_rule_stops_the_run_and_is_never_tried_again() -> None:
    decision = make().decide("a", FailureKind.PROTOCOL)
    assert (decision.next_step, decision.ends_run) == (NextStep.STOP_RUN, True)
    decision = make(keep_going=True).decide("a", FailureKind.PROTOCOL)
    assert (decision.next_step, decision.ends_run) == (NextStep.GIVE_UP, False)


def test_a_node_that_fails_for_good_ends_the_run_unless_it_is_to_keep_going() -> None:
    assert make(max_compute_retries=0).decide("a", FailureKind.COMPUTE).ends_run
    assert not make(max_compute_retries=1).decide("a", FailureKind.COMPUTE).ends_run
    keep = make(keep_going=True, max_compute_retries=0)
    assert not keep.decide("a", FailureKind.COMPUTE).ends_run


def test_cancelling_costs_nothing() -> None:
    ledger = make(max_compute_retries=0)
    assert next_steps(ledger, FailureKind.CANCELLED, 50) == [NextStep.FREE] * 50
    assert ledger.spent("a") == Spent()


@pytest.mark.parametrize("kind", [FailureKind.COMPUTE, FailureKind.LOST])
def test_a_failure_counts_by_its_kind(kind: FailureKind) -> None:
    ledger = make()
    ledger.decide("a", kind)
    expected = Spent(compute=1) if kind is FailureKind.COMPUTE else Spent(lost=1, lost_in_all=1)
    assert ledger.spent("a") == expected


def test_a_resumed_run_goes_on_counting_where_it_was() -> None:
    first = make(max_compute_retries=1)
    first.decide("a", FailureKind.COMPUTE)
    settings = Settings(path="/nowhere", max_compute_retries=1)
    second = RetryLedger(settings, spent={"a": first.spent("a")})
    assert second.decide("a", FailureKind.COMPUTE).next_step is NextStep.GIVE_UP
    assert second.decide("b", FailureKind.COMPUTE).next_step is NextStep.RETRY


def test_budgets_are_counted_node_by_node() -> None:
    ledger = make(max_compute_retries=0, keep_going=True)
    assert ledger.decide("a", FailureKind.COMPUTE).next_step is NextStep.GIVE_UP
    assert ledger.spent("b") == Spent()
