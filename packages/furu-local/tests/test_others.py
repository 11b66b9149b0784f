"""Runs beside other runs: nodes that somebody else computes are waited for, never computed twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from local_nodes import Above, Flaky, Leaf, Sum, Waiting, counted

import furu_core
from furu_core.errors import FuruRunError
from furu_core.executors import EventKind, read_events
from furu_local import LocalExecutor, run_local
from furu_testing import Scripts, wait_until

OVERLAP = """
    import sys
    from pathlib import Path
    from local_nodes import *
    from furu_local import run_local

    if __name__ == "__main__":
        folder, first = Path(sys.argv[1]), int(sys.argv[2])
        leaves = [Flaky(times=0, tag=str(n), folder=folder) for n in range(first, first + 40)]
        roots = [Sum(parts=tuple(leaves[n:n + 5])) for n in range(0, 40, 5)]
        print(run_local(roots, max_workers=2).status().computed)
"""


def test_two_runs_of_overlapping_graphs_compute_each_node_once(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    """P4: 40 nodes each, 20 of them the same."""
    programs = [program(OVERLAP, str(tmp_path), str(first)) for first in (0, 20)]
    ends = [started.finish(250) for started in programs]
    assert [status for status, _, _ in ends] == [0, 0], ends
    assert all(counted(tmp_path, f"flaky-0-{n}") == 1 for n in range(60))
    nothing_left()


WAITS = """
    import sys
    from pathlib import Path
    from local_nodes import *
    Waiting(folder=Path(sys.argv[1])).get()
"""


def test_a_node_that_somebody_computes_is_waited_for_and_holds_no_worker(
    program: Scripts, store: Path, tmp_path: Path, worker: str
) -> None:
    """P6: it is announced, and the only worker computes other nodes meanwhile."""
    started = program(WAITS, str(tmp_path))
    began = tmp_path / "began-0"
    wait_until("the other program to begin", lambda: began.exists() and began.read_text() != "")
    pid = began.read_text()
    others = [Leaf(x=n) for n in range(3)]
    run = None
    if (
        worker == "inline"
    ):  # it computes before `submit` returns, so somebody else has to let it end
        (tmp_path / "go").touch()
    run = LocalExecutor(max_workers=1, worker=worker).submit(  # type: ignore[arg-type]
        [Above(below=Waiting(folder=tmp_path), n=1), *others]
    )
    wait_until("the others", lambda: all(other.exists() for other in others))
    (tmp_path / "go").touch()
    assert run.results() == [1, 0, 1, 2]
    assert began.read_text() == pid
    assert run.status().computed in (4, 5)
    assert started.finish()[0] == 0


def test_a_node_whose_holder_dies_is_taken_over(
    program: Scripts, store: Path, tmp_path: Path
) -> None:
    """P6 and P7: long before its lease runs out."""
    started = program(WAITS, str(tmp_path))
    began = tmp_path / "began-0"
    wait_until("the other program to begin", lambda: began.exists() and began.read_text() != "")
    run = LocalExecutor(max_workers=1).submit(Waiting(folder=tmp_path))
    began.write_text("")
    (tmp_path / "go").touch()
    started.signal(signal.SIGKILL)
    assert run.wait(200).results() == 0
    started.finish()


def test_a_wait_that_is_too_long_ends_with_the_name_of_the_holder(
    program: Scripts, store: Path, tmp_path: Path
) -> None:
    """P6: FURU_MAX_WAIT_SECS."""
    started = program(WAITS, str(tmp_path))
    wait_until("the other program to begin", lambda: (tmp_path / "began-0").exists())
    with (
        furu_core.use_settings(max_wait_secs=0.3),
        pytest.raises(FuruRunError, match=f"process {started.pid}") as caught,
    ):
        run_local(Waiting(folder=tmp_path), max_workers=1)
    assert caught.value.failures[0].error_type == "FuruWaitTimeout"
    (tmp_path / "go").touch()
    assert started.finish()[0] == 0


def test_nodes_whose_holders_died_cost_no_lease_each(store: Path, tmp_path: Path) -> None:
    """P7: the folder of a run that was killed is taken over at once."""
    nodes = [Waiting(n=n, folder=tmp_path) for n in range(2)]
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            with furu_core.use_settings(lease_secs=3600):
                LocalExecutor(max_workers=2, progress=False).submit(nodes).wait()
        finally:
            os._exit(0)
    wait_until("both to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    (tmp_path / "go").touch()
    # The leases last longer than this test may take.
    assert run_local(nodes, max_workers=2).results() == [0, 1]


def test_a_node_that_is_computed_meanwhile_is_loaded(store: Path, worker: str) -> None:
    plan_time = [Leaf(x=n) for n in range(3)]
    executor = LocalExecutor(max_workers=1, worker=worker)  # type: ignore[arg-type]
    plan_time[1].get()
    run = executor.submit(Sum(parts=tuple(plan_time)))
    assert run.results() == 3
    kinds = [event.kind for event in read_events(run.folder)]
    assert kinds.count(EventKind.NODE_COMPUTED) == 3


def test_a_flaky_node_that_two_runs_need_keeps_each_run_within_its_own_bound(
    store: Path, tmp_path: Path
) -> None:
    """P5: budgets count within one run."""
    node = Flaky(times=3, folder=tmp_path)
    with furu_core.use_settings(max_compute_retries=1):
        with pytest.raises(FuruRunError):
            run_local(node, worker="inline")
        assert run_local(node, worker="inline").results() == 4
