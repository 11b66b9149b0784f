"""Runs on a pool of workers of a real Slurm cluster, beside what the conformance suite shows there."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pool_kit import JOBS_SECS, SMALL, jobs_of, start_on_slurm
from pool_nodes import Outsourced

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunError
from furu_core.executors import EventKind
from furu_slurm import SlurmCluster, SlurmSpec, bare_id
from furu_slurm.errors import FuruSubmitRefused
from furu_testing import await_mark, let_go, read_marks, times, wait_until
from furu_testing.nodes import Dies, Leaf, Step


def test_both_spec_keys_land_on_their_partitions(store: Path, slurm: Any) -> None:
    specs = {"default": SMALL, "gpu": SlurmSpec(partition="gpu", cpus=1, mem_gb=1, gpus=1)}
    root = Step(label="default", needs=(Step(label="gpu", key="gpu"),))
    run = start_on_slurm(root, specs=specs).wait(JOBS_SECS)
    partitions = {row["id"]: row["partition"] for row in jobs_of(run.id, slurm)}
    for mark in read_marks(store):
        job = bare_id(mark.facts["submission"][1])
        assert partitions[job] == {"default": "cpu", "gpu": "gpu"}[mark.label]
        log = store / "submitit" / "workers" / mark.label / run.run_id / f"{job}_0_log.out"
        # Its last sign of life may have gone a moment before.
        wait_until("the worker's last word", lambda log=log: "furu: worker" in log.read_text())
    slurm.wait_idle()


def test_p9_the_record_of_a_node_tells_when_its_workers_job_was_submitted_and_began(
    store: Path, slurm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, program = tmp_path / "asked", shutil.which("scontrol")
    fake = tmp_path / "scontrol"
    fake.write_text(f'#!/bin/sh\necho "$*" >> {asked}\nexec {program} "$@"\n')
    fake.chmod(0o755)
    nodes = [Step(label=label) for label in "abc"]
    before = time.time()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        run = start_on_slurm(nodes, max_workers_total=1)
        assert run.wait(JOBS_SECS).results() == [1, 1, 1]
    after = time.time()
    records = [node.provenance() for node in nodes]
    (job,) = {record["submission"]["id"] for record in records}
    for record in records:
        when = record["job_times"]
        assert when == records[0]["job_times"]
        assert before - 1 < when["submitted"] <= when["eligible"] <= when["started"]
        assert when["started"] <= record["started"] <= after
    # However many nodes it computes, a worker asks once.
    lines = asked.read_text().splitlines()
    assert lines.count(f"--oneliner show job {bare_id(job)}") == 1
    slurm.wait_idle()


def test_p7_a_killed_worker_is_noticed_by_slurms_word(store: Path, slurm: Any) -> None:
    """Its node is tried again at once, long before its lease ends."""
    with furu_core.use_settings(lease_secs=3600.0):
        run = start_on_slurm(Dies(label="dies", how="parent", times=1), max_workers_total=1)
        assert run.wait(JOBS_SECS).results() == 2
    (retried,) = [event for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    assert "is gone" in retried.detail
    slurm.wait_idle()


def test_p4_behind_a_cached_squeue_workers_that_it_does_not_show_go_on_and_are_not_replaced(
    store: Path, slurm: Any, cached_squeue: Callable[[], int]
) -> None:
    SlurmCluster().jobs()  # from now on nobody sees another job
    run = start_on_slurm([Step(label=label, waits=True) for label in "ab"])
    await_mark(store, "a")
    await_mark(store, "b")
    asked = cached_squeue()
    wait_until("two more answers of squeue", lambda: cached_squeue() >= asked + 2)
    assert len(jobs_of(run.id, slurm)) == 2
    let_go(store)
    assert run.wait(JOBS_SECS).results() == [1, 1]
    assert times(store) == {"a": 1, "b": 1}
    assert len(jobs_of(run.id, slurm)) == 2
    slurm.wait_idle()


def test_p5_a_cancelled_job_whose_child_processes_die_first_is_lost_and_no_failure_of_the_node(
    store: Path, slurm: Any
) -> None:
    with furu_core.use_settings(max_compute_retries=0):
        run = start_on_slurm(Outsourced(label="outsourced"), max_workers_total=1)
        await_mark(store, "outsourced")
        (job,) = [row["id"] for row in jobs_of(run.id, slurm)]
        slurm.run("scancel", job)
        assert run.wait(JOBS_SECS).results() == 2
    slurm.wait_idle()


@pytest.mark.slow
def test_p4_a_stopped_worker_is_cancelled_after_several_leases_and_a_living_one_never(
    store: Path, slurm: Any
) -> None:
    """Slurm says of two that they run, and the node of each takes longer than that; one is suspended."""
    with furu_core.use_settings(lease_secs=6.0):
        nodes = [Step(label=label, waits=True) for label in ("stopped", "long", "suspended")]
        run = start_on_slurm(nodes, max_workers_total=3)
        suspended = bare_id(await_mark(store, "suspended").facts["submission"][1])
        slurm.run("scontrol", "suspend", suspended)
        stopped = await_mark(store, "stopped")
        began = await_mark(store, "long").began
        for pid in (stopped.parent, stopped.pid):
            os.kill(pid, signal.SIGSTOP)
        await_mark(store, "stopped", 2)
        wait_until("several leases to pass", lambda: time.time() > began + 20)
        slurm.run("scontrol", "resume", suspended)
        let_go(store)
        assert run.wait(JOBS_SECS).results() == [1, 1, 1]
    assert times(store) == {"stopped": 2, "long": 1, "suspended": 1}
    slurm.wait_idle()


# What Slurm refuses


def test_p8_a_partition_that_does_not_exist_is_an_error(store: Path, slurm: Any) -> None:
    run = start_on_slurm(Leaf(x=1), specs={"default": SlurmSpec(partition="nowhere")})
    with pytest.raises(FuruRunError, match="nowhere") as caught:
        run.wait(JOBS_SECS)
    assert isinstance(caught.value.__cause__, FuruSubmitRefused)
    slurm.nothing_left()


def test_p6_a_spec_that_no_node_can_ever_satisfy_is_an_error(store: Path, slurm: Any) -> None:
    """Slurm takes the job, and lets it wait."""
    run = start_on_slurm(Leaf(x=1), specs={"default": SlurmSpec(cpus=1000)})
    with pytest.raises(FuruRunError, match="would wait for ever") as caught:
        run.wait(JOBS_SECS)
    assert isinstance(caught.value.__cause__, FuruSubmitRefused)
    slurm.wait_idle()


def test_p8_workers_whose_setup_fails_are_an_error_that_names_the_log(
    store: Path, slurm: Any
) -> None:
    spec = SlurmSpec(cpus=1, mem_gb=1, setup=("echo no such module >&2", "exit 3"))
    run = start_on_slurm(Leaf(x=1), specs={"default": spec})
    with pytest.raises(FuruRunError, match="ended as FAILED") as caught:
        run.wait(JOBS_SECS)
    cause = caught.value.__cause__
    assert isinstance(cause, FuruExecutorError)
    log = Path(str(cause).rpartition("read ")[2])
    assert "no such module" in log.read_text()
    slurm.wait_idle()
