"""Runs on a pool of local workers: spec keys, deaths, limits, and what an error says.

What every executor promises, the conformance suite shows for the same workers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pool_kit import LOCAL, RUN_SECS, start

import furu_core
import furu_slurm_pool
from furu_core.errors import FuruRunError, FuruUsageError
from furu_slurm import LocalCluster, SlurmSpec
from furu_slurm.errors import FuruSpecError
from furu_slurm_pool import SlurmPoolExecutor
from furu_testing import read_marks, times, wait_until
from furu_testing.nodes import Asks, Dies, Fails, Leaf, Step


def test_each_spec_key_has_workers_and_logs_of_its_own_and_runs_may_stand_elsewhere(
    store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    nodes = [Step(label=f"{key}-{n}", key=key) for n in range(2) for key in ("default", "gpu")]
    where = {"run_root": tmp_path / "elsewhere", "submitit_root": tmp_path / "logs"}
    run = start(nodes, **where).wait(RUN_SECS)
    assert len(run.plan) == 4
    assert run.run_dir == tmp_path / "elsewhere" / run.run_id
    assert run.submitit_root == tmp_path / "logs"
    assert not (store / "runs").exists()
    workers: dict[str, set[str]] = {"default": set(), "gpu": set()}
    for mark in read_marks(store):
        workers[mark.label.partition("-")[0]].add(mark.facts["submission"][1])
    assert not workers["default"] & workers["gpu"]
    for key, jobs in workers.items():
        folder = run.submitit_root / "workers" / key / run.run_id
        assert {f"{job}_0_log.out" for job in jobs} <= set(os.listdir(folder))
    nothing_left()
    # Of what only a run that goes on needs nothing is left, nor open.
    opened = [str(fd.resolve()) for fd in Path("/proc/self/fd").iterdir()]
    assert not [path for path in opened if str(run.run_dir) in path]
    folders = {path.name for path in run.run_dir.iterdir() if path.is_dir()}
    assert folders <= {"controllers", "jobs", "workers"}


def test_specs_may_stand_in_the_projects_settings(store: Path) -> None:
    with pytest.raises(FuruSpecError):
        start([], specs=None)
    extra = {"FURU_SLURM": json.dumps({"specs": {"default": {"cpus": 1}}})}
    with furu_core.use_settings(extra=extra):
        assert start([], specs=None).wait(RUN_SECS).results() == []


def test_a_key_without_a_spec_is_refused_before_anything_starts(store: Path) -> None:
    with pytest.raises(FuruSpecError, match=r"'tpu' \(needed by Step"):
        start(Step(label="a", key="tpu"))
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
def test_options_that_make_no_sense_are_refused(option: str, value: Any) -> None:
    with pytest.raises(FuruUsageError, match=option):
        SlurmPoolExecutor(**(LOCAL | {option: value}))


def test_p6_one_worker_after_the_other_serves_two_spec_keys(store: Path) -> None:
    """With room for one worker only, nobody waits for ever for a worker of its kind."""
    chain = Step(label="0")
    for n in (1, 2):
        chain = Step(label=f"{n}", key=("default", "gpu")[n % 2], needs=(chain,))
    assert start(chain, max_workers_total=1).wait(RUN_SECS).results() == 3


def test_p6_a_dependent_starts_soon_after_its_dependency(store: Path) -> None:
    """However long the longest pause between two looks may be."""
    chain = Step(label="0")
    for n in range(1, 5):
        chain = Step(label=f"{n}", needs=(chain,))
    with furu_core.use_settings(
        lease_secs=6.0
    ):  # or a worker would look late for its orders to leave
        run = start(chain, max_workers_total=1, poll_interval_sec=3600.0)
        assert run.wait(RUN_SECS).results() == 5


# Failures


def test_specs_are_to_be_had_where_the_run_is() -> None:
    assert furu_slurm_pool.SlurmSpec is SlurmSpec


def test_p5_with_the_option_against_retries_a_node_that_failed_before_is_an_error_at_once(
    store: Path,
) -> None:
    node = Fails(label="bad", times=100)
    for _ in range(2):
        with pytest.raises(FuruRunError, match="on purpose"):
            start(node, retry_failed=False).wait(RUN_SECS)
    assert times(store) == {"bad": 1}


def test_p5_a_node_that_kills_its_process_costs_a_retry_and_no_worker(store: Path) -> None:
    run = start(Dies(label="dies", times=1), max_workers_total=1).wait(RUN_SECS)
    assert run.results() == 2
    first, second = read_marks(store)
    assert first.pid != second.pid
    assert first.parent == second.parent


def test_p6_a_worker_that_died_before_it_began_is_replaced_soon(
    store: Path, tmp_path: Path
) -> None:
    """Nothing else happens, so nothing else wakes the loop, and its lease would last for an hour."""
    once = f"mkdir {tmp_path / 'died'} 2>{os.devnull} && kill -9 $$"
    with furu_core.use_settings(lease_secs=3600.0):
        run = start(Leaf(x=1), specs={"default": SlurmSpec(setup=[once])})
        assert run.wait(RUN_SECS).results() == 1
    assert (tmp_path / "died").exists()


def test_p8_an_undeclared_dependency_stops_the_run_and_all_there_is_to_know_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: Callable[[], None]
) -> None:
    """Also when its worker tells of it before the submitter knows what the worker's job is called."""
    submit = LocalCluster.submit

    def submit_slowly(self: LocalCluster, **fields: Any) -> list[str]:
        found = submit(self, **fields)
        wait_until("a report", lambda: any(store.glob("runs/*/reports/*")))
        time.sleep(1.0)  # for the controller to hear of it, which nothing shows
        return found

    monkeypatch.setattr(LocalCluster, "submit", submit_slowly)
    node = Asks(label="asks")
    with pytest.raises(FuruRunError) as caught:
        start([node, Step(label="other", waits=True)]).wait(RUN_SECS)
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
