"""How many workers there are to be: fair shares, what keys keep, and what the scheduler allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pool_kit import RUN_SECS, start

from furu_slurm import LocalCluster, SubmitLimit
from furu_slurm_pool._controller._scaling import RecentDemand, shares
from furu_testing import times
from furu_testing.nodes import Step


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_shares_are_fair_and_no_larger_than_what_is_needed() -> None:
    assert shares({"a": 100, "b": 2}, 8) == {"a": 6, "b": 2}
    assert shares({"a": 100, "b": 100}, 8) == {"a": 4, "b": 4}
    assert shares({"a": 1, "b": 1, "c": 1}, 2) == {"a": 1, "b": 1, "c": 0}
    assert shares({"a": 0}, 8) == {"a": 0}


def test_a_demand_counts_for_a_while_after_it_has_fallen() -> None:
    clock = Clock()
    recent = RecentDemand(60.0, clock)
    assert recent.with_current({"a": 8}) == {"a": 8}
    clock.now += 50
    assert recent.with_current({"b": 3}) == {"a": 8, "b": 3}
    clock.now += 20
    assert recent.with_current({"a": 2, "b": 3}) == {"a": 2, "b": 3}
    clock.now += 61
    assert recent.with_current({}) == {}


def test_how_many_jobs_are_allowed_is_found_out_by_halves() -> None:
    clock = Clock()
    limit = SubmitLimit(30.0, clock)
    assert limit.allows("a", 8) == 8
    assert limit.refused("a", 8)
    assert limit.allows("a", 8) == 4
    assert limit.refused("a", 4)
    limit.taken("a", 2)
    assert limit.allows("a", 8) == 2
    clock.now += 31
    limit.taken("a", 2)
    assert limit.allows("a", 8) == 4
    assert not limit.refused("a", 1)
    assert limit.allows("a", 8) == 0
    assert limit.allows("b", 8) == 8
    clock.now += 31
    assert limit.allows("a", 8) == 1


def test_layers_of_two_spec_keys_by_turns_do_not_swap_workers_at_each(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[int] = []
    submit = LocalCluster.submit

    def counting(self: LocalCluster, **fields: Any) -> list[str]:
        submitted.append(len(fields["payload"].jobs))
        return submit(self, **fields)

    monkeypatch.setattr(LocalCluster, "submit", counting)
    below: tuple[Step, ...] = ()
    for layer in range(8):
        key = ("default", "gpu")[layer % 2]
        below = tuple(Step(label=f"{layer}-{n}", key=key, needs=below) for n in range(2))
    run = start(below).wait(RUN_SECS)
    assert run.status().computed == 16
    assert set(times(store).values()) == {1}
    assert sum(submitted) <= 4  # two of the first key, one of which makes room for one of the other
