"""Runs beside other runs: nodes that somebody else computes are waited for, never computed twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import furu_core
from furu_core.errors import FuruRunError
from furu_local import LocalExecutor, run_local
from furu_testing import Host, await_mark, let_go, times, wait_until
from furu_testing.nodes import Leaf, Step


def test_P4_two_runs_that_need_the_same_nodes_at_the_same_time_compute_each_once(
    store: Path,
) -> None:
    shared = tuple(Step(label=f"shared-{n}") for n in range(15))
    runs = [LocalExecutor(max_workers=1).submit(Step(label=label, needs=shared)) for label in "ab"]
    assert [run.results() for run in runs] == [16, 16]
    assert times(store) == {node.label: 1 for node in shared} | {"a": 1, "b": 1}


def test_P6_a_node_that_somebody_computes_is_waited_for_meanwhile_others_are_computed(
    store: Path, inside: str
) -> None:
    """It holds no worker, though there is only one; and a wait that is too long names the holder."""
    held = Step(label="held", waits=True)
    others = [Leaf(x=n) for n in range(3)]
    with Host(store) as host, ThreadPoolExecutor() as threads:
        holder = host.start("furu_testing.nodes:hold", "held")
        await_mark(store, "held")
        with (
            furu_core.use_settings(max_wait_secs=0.2),
            pytest.raises(FuruRunError, match=f"process {holder.pid}") as caught,
        ):
            run_local(held, worker=inside)
        assert caught.value.failures[0].error_type == "FuruWaitTimeout"
        roots = [Step(label="top", needs=(held,)), *others]
        run = threads.submit(run_local, roots, worker=inside, max_workers=1)  # type: ignore[arg-type]
        try:
            wait_until("the others", lambda: all(other.exists() for other in others))
        finally:
            let_go(store)
        assert run.result().results() == [2, 0, 1, 2]
        assert holder.result() == 1
    assert times(store) == {"held": 1, "top": 1}
