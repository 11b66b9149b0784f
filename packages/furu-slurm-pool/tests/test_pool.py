"""Runs on a pool of local workers: results, keys, failures, deaths, limits."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pool_nodes import (
    Above,
    Checkpoints,
    Dies,
    Flaky,
    Keyed,
    Leaf,
    Link,
    Spoils,
    StartsRun,
    Sum,
    Timed,
    Together,
    Undeclared,
    Unsure,
    count,
    counted,
)

import furu_core
from furu_core import grid
from furu_core.errors import FuruRunError, FuruUsageError
from furu_core.executors import EventKind, RunState
from furu_slurm import LocalCluster, SlurmSpec
from furu_slurm.errors import FuruSpecError
from furu_slurm_pool import SlurmPoolExecutor, SlurmPoolRun, run_slurm_pool
from furu_testing import wait_until

SPECS = {"default": SlurmSpec(), "gpu": SlurmSpec(gpus=1)}


def run_pool(roots: Any, **options: Any) -> SlurmPoolRun:
    settings: dict[str, Any] = {
        "specs": SPECS,
        "cluster": "local",
        "max_workers_total": 2,
        "poll_interval_sec": 0.3,
        "progress": False,
    }
    return run_slurm_pool(roots, **(settings | options))


def test_a_diamond_is_computed_and_nothing_is_left(
    store: Path, nothing_left: Callable[[], None]
) -> None:
    leaf = Leaf(x=1)
    left, right = Above(below=leaf, n=1), Above(below=leaf, n=2)
    run = run_pool(Sum(parts=(left, right)))
    assert run.results() == 5
    status = run.status()
    assert (status.state, status.total, status.computed) == (RunState.DONE, 4, 4)
    assert run.run_dir == store / "runs" / run.run_id
    assert run.submitit_root == store / "submitit"
    assert len(run.plan) == 4
    nothing_left()
    logs = list((store / "submitit" / "workers" / "default" / run.run_id).glob("*_log.out"))
    assert logs
    # What only a run that goes on needs is gone.
    assert {path.name for path in run.run_dir.iterdir() if path.is_dir()} <= {
        "controllers",
        "workers",
    }


def test_results_come_in_the_shape_of_the_roots(store: Path) -> None:
    assert run_pool({"a": Leaf(x=1), "b": Leaf(x=2)}).results() == {"a": 1, "b": 2}
    assert run_pool([Leaf(x=2), Leaf(x=1)]).results() == [2, 1]
    again = run_pool([Leaf(x=2), Leaf(x=1)])
    assert again.status().computed == 0


def test_any_executor_is_reached_by_its_name(store: Path) -> None:
    run = furu_core.run(
        Leaf(x=1),
        executor="slurm-pool",
        specs=SPECS,
        cluster="local",
        max_workers_total="1",
        poll_interval_sec="0.3",
        progress="0",
    )
    assert run.results() == 1


def test_specs_may_stand_in_the_projects_settings(store: Path) -> None:
    extra = {"FURU_SLURM": json.dumps({"specs": {"default": {"cpus": 1}}})}
    with furu_core.use_settings(extra=extra):
        assert run_pool(Leaf(x=1), specs=None).results() == 1


def test_a_key_without_a_spec_is_refused_before_anything_starts(store: Path) -> None:
    with pytest.raises(FuruSpecError, match=r"'tpu' \(needed by Keyed"):
        run_pool(Keyed(n=1, key="tpu"))
    assert not (store / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_workers_total", 0),
        ("max_workers_total", True),
        ("window_size", "all"),
        ("idle_timeout_sec", 0),
        ("poll_interval_sec", -1),
        ("cluster", "cloud"),
    ],
)
def test_options_that_make_no_sense_are_refused(store: Path, option: str, value: Any) -> None:
    with pytest.raises(FuruUsageError, match=option):
        SlurmPoolExecutor(specs=SPECS, **{option: value})


def test_nodes_run_with_workers_of_their_own_spec_key(store: Path, tmp_path: Path) -> None:
    nodes = [Keyed(n=n, key=key, folder=tmp_path) for n in range(6) for key in ("default", "gpu")]
    run = run_pool(nodes)
    workers: dict[str, set[str]] = {}
    for node, (executor, key, job) in zip(
        nodes, (text.split() for text in run.results()), strict=True
    ):
        assert (executor, key) == ("slurm-pool", node.key)
        workers.setdefault(key, set()).add(job)
        assert counted(tmp_path, f"keyed-{key}-{node.n}") == 1
    assert not workers["default"] & workers["gpu"]
    assert (store / "submitit" / "workers" / "gpu" / run.run_id).is_dir()


def test_one_worker_after_the_other_serves_two_spec_keys(store: Path) -> None:
    """With room for one worker only, nobody waits for ever for a worker of its kind."""
    chain = Keyed(n=0)
    for n in range(1, 5):
        chain = Keyed(n=n, key=("default", "gpu")[n % 2], below=(chain,))
    assert run_pool(chain, max_workers_total=1).results().split()[1] == "default"


def test_as_many_workers_as_allowed_compute_at_once(store: Path, tmp_path: Path) -> None:
    nodes = [Together(n=n, of=3, folder=tmp_path) for n in range(3)]
    run = run_pool(nodes, max_workers_total=3)
    assert run.results() == [0, 1, 2]


def test_p2_a_deep_chain_needs_no_recursion(store: Path) -> None:
    chain: Link | None = None
    for n in range(100):
        chain = Link(below=chain, n=n)
    run = run_pool(chain, max_workers_total=1, poll_interval_sec=0.1)
    assert run.results() == 100


@pytest.mark.parametrize("window", ["dfs", "bfs", 2])
def test_windows_of_roots(store: Path, window: Any) -> None:
    roots = [Above(below=Leaf(x=x)) for x in range(4)]
    assert run_pool(roots, window_size=window).results() == [0, 1, 2, 3]


# Failures


def test_p5_a_failing_node_is_tried_again(store: Path, tmp_path: Path) -> None:
    run = run_pool(Above(below=Flaky(times=2, folder=tmp_path), n=1))
    assert run.results() == 4
    assert counted(tmp_path, "flaky-2-") == 3
    kinds = [event.kind for event in run.events()]
    assert kinds.count(EventKind.NODE_RETRIED) == 2


def test_p5_retries_of_a_failing_node_are_bounded(store: Path, tmp_path: Path) -> None:
    flaky = Flaky(times=100, folder=tmp_path)
    with pytest.raises(FuruRunError, match="ValueError: on purpose") as caught:
        run_pool(Above(below=flaky))
    assert counted(tmp_path, "flaky-100-") == 4
    (failure,) = caught.value.failures
    assert failure.hash == flaky.furu_hash
    assert "attempt 4 fails" in failure.log.read_text()


def test_with_keep_going_a_failure_ends_only_what_depends_on_it(
    store: Path, tmp_path: Path
) -> None:
    good = Above(below=Leaf(x=1))
    bad = Above(below=Flaky(times=100, folder=tmp_path))
    with pytest.raises(FuruRunError):
        run_pool([bad, good], keep_going=True, window_size="dfs")
    assert good.get() == 1


def test_without_retries_a_node_that_failed_before_is_an_error_at_once(
    store: Path, tmp_path: Path
) -> None:
    node = Flaky(times=100, folder=tmp_path)
    for _ in range(2):
        with pytest.raises(FuruRunError, match="on purpose"):
            run_pool(node, retry_failed=False)
    assert counted(tmp_path, "flaky-100-") == 1


@pytest.mark.parametrize("how", ["kill", "segfault"])
def test_p5_a_node_that_kills_its_process_costs_a_retry_and_no_worker(
    store: Path, tmp_path: Path, how: str
) -> None:
    run = run_pool(Dies(how=how, times=2, folder=tmp_path), max_workers_total=1)
    assert run.results() == 3
    assert len(os.listdir(run.run_dir / "workers")) <= 2  # one worker's note, and its job's


def test_p5_a_killed_worker_costs_its_node_one_retry(store: Path, tmp_path: Path) -> None:
    others = [Leaf(x=x) for x in range(20)]
    run = run_pool([Dies(how="worker", times=2, folder=tmp_path), *others])
    assert run.results()[0] == 3
    retried = [event for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    assert len(retried) == 2
    assert all("is gone" in event.detail for event in retried)


def test_p6_a_worker_that_died_before_it_began_is_replaced_soon(
    store: Path, tmp_path: Path
) -> None:
    once = f"mkdir {tmp_path / 'died'} 2>{os.devnull} && kill -9 $$"
    began = time.monotonic()
    with furu_core.use_settings(lease_secs=3600.0):
        run = run_pool(Leaf(x=1), specs={"default": SlurmSpec(setup=[once])})
    assert run.results() == 1
    assert (tmp_path / "died").exists()
    assert time.monotonic() - began < 150  # nothing else happens, so nothing else wakes the loop


def test_p5_deaths_of_workers_are_bounded(store: Path, tmp_path: Path) -> None:
    with furu_core.use_settings(max_lost_retries=1), pytest.raises(FuruRunError, match="is gone"):
        run_pool(Dies(how="worker", folder=tmp_path))
    assert counted(tmp_path, "dies-worker") == 2


@pytest.mark.parametrize("worker", [False, True])
def test_p5_progress_in_a_checkpoint_starts_the_row_of_losses_anew(
    store: Path, worker: bool
) -> None:
    with furu_core.use_settings(max_lost_retries=0):
        assert run_pool(Checkpoints(steps=3, worker=worker)).results() == 3


def test_p3_an_undeclared_dependency_stops_the_run_and_says_all_there_is_to_know(
    store: Path, nothing_left: Callable[[], None]
) -> None:
    node = Undeclared()
    with pytest.raises(FuruRunError) as caught:
        run_pool([node, *(Leaf(x=x) for x in range(5))])
    (failure,) = caught.value.failures
    message = str(caught.value)
    for part in (
        "/queue/default/claimed/w1-000",
        f"hash {node.furu_hash}",
        "spec key 'default'",
        "worker w1-000",
        "(job local-",
        "attempt 1 of this run",
        "FuruMissingArtifact",
        str(failure.log),
    ):
        assert part in message, part
    task = Path(message.partition("(task ")[2].partition(",")[0])
    assert json.loads(task.read_text())["hash"] == node.furu_hash
    assert failure.log is not None
    assert failure.log.exists()
    nothing_left()


def test_p8_a_worker_that_fails_before_its_submitter_knows_its_job_is_named_with_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = LocalCluster.submit

    def submit_slowly(self: LocalCluster, **fields: Any) -> list[str]:
        found = submit(self, **fields)
        wait_until("a verdict", lambda: any(store.glob("runs/*/verdicts/*")))
        until = time.monotonic() + 1
        wait_until("a moment to pass", lambda: time.monotonic() > until)
        return found

    monkeypatch.setattr(LocalCluster, "submit", submit_slowly)
    with pytest.raises(FuruRunError, match=r"worker w1-0001 \(job local-"):
        run_pool(Undeclared(), max_workers_total=1)


def test_a_run_inside_of_a_node_is_refused(store: Path) -> None:
    with pytest.raises(FuruRunError, match="FuruNestedRun"):
        run_pool(StartsRun())


def test_an_invalid_dependency_is_computed_again(store: Path, tmp_path: Path) -> None:
    unsure = Unsure(folder=tmp_path)
    run = run_pool([Spoils(what=unsure, folder=tmp_path)], max_workers_total=1)
    assert run.results() == [2]
    assert EventKind.NODE_REOPENED in [event.kind for event in run.events()]


def test_nodes_that_are_named_for_a_rerun_are_computed_again(store: Path, tmp_path: Path) -> None:
    node = Flaky(times=0, folder=tmp_path)
    assert run_pool(node).results() == 1
    with furu_core.use_settings(always_rerun=["Flaky"]):
        assert run_pool(node).status().computed == 1
    assert counted(tmp_path, "flaky-0-") == 2


# Brief nodes, long chains


def test_brief_nodes_are_computed_once_each(store: Path, tmp_path: Path) -> None:
    count(tmp_path, "nothing")
    nodes = [Keyed(n=n, folder=tmp_path) for n in range(300)]
    run = run_pool(nodes, max_workers_total=4)
    assert run.status().computed == 300
    assert all(counted(tmp_path, f"keyed-default-{n}") == 1 for n in range(300))


def test_a_dependent_starts_soon_after_its_dependency(store: Path) -> None:
    poll = 6.0  # so long that a busy machine cannot be mistaken for one that waits
    chain: Timed | None = None
    links = []
    for n in range(12):
        chain = Timed(below=chain, n=n, secs=0.05)
        links.append(chain)
    run_pool(chain, max_workers_total=2, poll_interval_sec=poll)
    times = [link.get() for link in links]
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(times)]
    assert statistics.median(gaps) < 1.5 * poll


def test_grids_run_as_well(store: Path) -> None:
    roots = grid(Leaf, x=range(3))
    assert run_pool(roots).results() == [0, 1, 2]
