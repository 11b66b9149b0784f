"""P9: what runs say of stale results, and that a rerun takes along what depends on it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from local_nodes import Drawn, Sum

import furu_core
from furu_core import Furu
from furu_core.planning import StaleNodes, short_name, stale_results
from furu_local import LocalExecutor, run_local
from furu_testing import times


def stale(*roots: Furu[int]) -> StaleNodes:
    return stale_results(roots)


def test_p9_a_rerun_leaves_nothing_stale_in_its_graph_and_says_what_is_elsewhere(
    store: Path, worker: str, caplog: pytest.LogCaptureFixture
) -> None:
    drawn = Drawn(label="drawn")
    middle = Sum(below=(drawn,), n=1)
    top, aside = Sum(below=(middle,), n=2), Sum(below=(drawn,), n=3)
    assert run_local([top, aside], worker=worker).results() == [4, 4]  # type: ignore[arg-type]
    with furu_core.use_settings(always_rerun=["Drawn"]):
        assert run_local(top, worker=worker).results() == 5  # type: ignore[arg-type]
    assert not stale(top).sentence
    assert {node.hash for node in stale(aside).stale} == {aside.furu_hash}
    with caplog.at_level(logging.INFO, logger="furu"):
        run_local([top, aside], worker=worker)  # type: ignore[arg-type]
    assert f"1 result is stale (1 used another {short_name(drawn)})" in caplog.text
    assert times(store)["drawn"] == 2


def test_p9_a_rerun_with_an_equal_result_makes_nobody_stale(store: Path) -> None:
    drawn = Drawn(label="drawn", range=1)
    inside, outside = Sum(below=(drawn,), n=1), Sum(below=(drawn,), n=2)
    run_local([inside, outside], worker="thread")
    with furu_core.use_settings(always_rerun=["Drawn"]):
        run_local(inside, worker="thread")
    assert times(store)["drawn"] == 2
    assert not stale(inside, outside).sentence


def test_p9_after_two_reruns_at_once_the_records_tell_which_result_each_used(store: Path) -> None:
    shared = [Drawn(label=f"shared-{n}") for n in range(6)]
    roots = [
        [Sum(below=(one,), n=10 * run) for one in shared] + [Sum(below=tuple(shared), n=run)]
        for run in (1, 2)
    ]
    run_local([*roots[0], *roots[1]], max_workers=2)
    with furu_core.use_settings(always_rerun=["Drawn"]):
        runs = [LocalExecutor(max_workers=2).submit(several) for several in roots]
        for run in runs:
            run.wait()
    expected = set()
    for node in (*roots[0], *roots[1]):
        now = node.load_existing()
        if now != sum(one.load_existing() for one in node.below) + node.n:
            expected.add(node.furu_hash)
        claim, end = (node.furu_dir / ".furu.json").read_bytes().splitlines()
        story = json.loads(end.partition(b"\t")[2])
        assert set(story["dependencies"]["used"]) == {one.furu_hash for one in node.below}
        assert json.loads(claim)["hash"] == node.furu_hash
    found = stale(*roots[0], *roots[1])
    assert {node.hash for node in found.stale} == expected
    assert not found.resting
