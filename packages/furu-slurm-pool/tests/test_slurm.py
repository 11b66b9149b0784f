"""Runs on a pool of workers of a real Slurm cluster."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pool_nodes import Above, Dies, Keyed, Leaf, Outsourced, Sum, Undeclared, Waiting, counted

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunError
from furu_core.executors import EventKind
from furu_slurm import SlurmSpec
from furu_slurm.errors import FuruSlurmUnavailable, FuruSubmitRefused
from furu_slurm_pool import SlurmPoolExecutor, SlurmPoolRun
from furu_testing import Scripts, wait_until

WAIT_SECS = 400.0  # jobs may wait for those of other tests, and the machine may be busy
SMALL = SlurmSpec(cpus=1, mem_gb=1, time_min=60)
SPECS = {"default": SMALL, "gpu": SlurmSpec(partition="gpu", cpus=1, mem_gb=1, gpus=1, time_min=60)}


def start(roots: Any, **options: Any) -> SlurmPoolRun:
    settings: dict[str, Any] = {
        "specs": SPECS,
        "max_workers_total": 2,
        "poll_interval_sec": 0.5,
        "progress": False,
    }
    run = SlurmPoolExecutor(**(settings | options)).submit(roots)
    assert isinstance(run, SlurmPoolRun)
    return run


def jobs_of(run: SlurmPoolRun, slurm: Any) -> list[dict[str, str]]:
    return [row for row in slurm.squeue() if run.run_id in row["name"]]


def test_both_spec_keys_land_on_their_partitions(store: Path, slurm: Any) -> None:
    gpu = tuple(Keyed(n=n, key="gpu") for n in range(2))
    run = start(Keyed(n=9, below=gpu)).wait()
    partitions = {row["id"]: row["partition"] for row in jobs_of(run, slurm)}
    for node in (*gpu, Keyed(n=9, below=gpu)):
        executor, key, job = node.get().split()
        assert (executor, key) == ("slurm-pool", node.key)
        assert partitions[job] == ("gpu" if key == "gpu" else "cpu")
        log = store / "submitit" / "workers" / key / run.run_id / f"{job}_0_log.out"
        # Its last sign of life may have gone a moment before.
        wait_until("the worker's last word", lambda log=log: "furu: worker" in log.read_text())
    slurm.wait_idle()


def test_p7_a_killed_worker_is_noticed_by_slurms_word(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    """Its node is tried again at once, long before its lease ends."""
    with furu_core.use_settings(lease_secs=600.0):
        run = start(Dies(how="worker", times=1, folder=tmp_path), max_workers_total=1)
        assert run.wait(WAIT_SECS).results() == 2
    retried = [event for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    assert len(retried) == 1
    assert "is gone" in retried[0].detail
    slurm.wait_idle()


def test_p7_a_cancelled_job_costs_its_node_one_retry(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    node = Waiting(folder=tmp_path)
    run = start(node, max_workers_total=1)
    wait_until("the node to begin", lambda: (tmp_path / "began-0").exists())
    (job,) = [row["id"] for row in jobs_of(run, slurm) if row["state"] == "RUNNING"]
    (tmp_path / "began-0").unlink()
    slurm.run("scancel", job)
    wait_until("the node to begin again", lambda: (tmp_path / "began-0").exists())
    (tmp_path / "go").touch()
    assert run.wait(WAIT_SECS).results() == 0
    assert counted(tmp_path, "attempts-0") == 2
    slurm.wait_idle()


def test_p5_a_cancelled_job_whose_child_processes_die_first_is_lost_and_no_failure_of_the_node(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    node = Outsourced(folder=tmp_path)
    with furu_core.use_settings(max_compute_retries=0):
        run = start(node, max_workers_total=1)
        wait_until("the node to begin", lambda: counted(tmp_path, "outsourced") == 1)
        (job,) = [row["id"] for row in jobs_of(run, slurm)]
        slurm.run("scancel", job)
        wait_until("the node to begin again", lambda: counted(tmp_path, "outsourced") == 2)
        (tmp_path / "go").touch()
        assert run.wait(WAIT_SECS).results() == 1
    slurm.wait_idle()


def test_p7_a_killed_controller_is_succeeded_and_adopts_its_jobs(
    store: Path, tmp_path: Path, slurm: Any, program: Scripts
) -> None:
    code = f"""
        from pathlib import Path
        from pool_nodes import Sum, Waiting
        from furu_slurm_pool import run_slurm_pool

        folder = Path({str(tmp_path)!r})
        if __name__ == "__main__":
            run = run_slurm_pool(
                Sum(parts=tuple(Waiting(n=n, folder=folder) for n in range(4))),
                specs={{"default": {{"cpus": 1, "mem_gb": 1, "time_min": 60}}}},
                max_workers_total=2, poll_interval_sec=0.5, progress=False,
            )
            print("result", run.results())
    """
    first = program(code)
    wait_until("two nodes to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    (folder,) = (store / "runs").iterdir()
    wait_until(
        "both workers' jobs to be noted",
        lambda: sum(path.suffix != ".json" for path in (folder / "workers").iterdir()) == 2,
    )
    first.kill()
    second = program("")
    wait_until("somebody to take over", lambda: (folder / "controllers" / "2").exists())
    (tmp_path / "go").touch()
    said = second.finish()
    status, output = said.status, said.text
    assert status == 0, output
    assert "result 6" in output
    assert all(counted(tmp_path, f"attempts-{n}") == 1 for n in range(4))
    jobs = {row["id"] for row in slurm.squeue() if folder.name in row["name"]}
    assert len(jobs) == 2
    slurm.wait_idle()


def test_cancelling_a_run_cancels_its_jobs(store: Path, tmp_path: Path, slurm: Any) -> None:
    run = start([Waiting(n=n, folder=tmp_path) for n in range(3)])
    wait_until("two nodes to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    run.cancel()
    with pytest.raises(FuruRunError, match="was cancelled"):
        run.wait(WAIT_SECS)
    slurm.wait_idle()


def test_a_protocol_failure_cancels_the_workers(store: Path, tmp_path: Path, slurm: Any) -> None:
    others = [Waiting(n=n, folder=tmp_path) for n in range(2)]
    run = start([*others, Undeclared()], max_workers_total=3)
    with pytest.raises(FuruRunError, match=r"FuruMissingArtifact: .* \(task /.*spec key 'default'"):
        run.wait(WAIT_SECS)
    slurm.wait_idle()


# What Slurm refuses


def test_p8_a_partition_that_does_not_exist_is_an_error(store: Path, slurm: Any) -> None:
    run = start(Leaf(x=1), specs={"default": SlurmSpec(partition="nowhere")})
    with pytest.raises(FuruRunError, match="nowhere") as caught:
        run.wait(WAIT_SECS)
    assert isinstance(caught.value.__cause__, FuruSubmitRefused)
    slurm.nothing_left()


def test_p8_a_spec_that_no_node_can_satisfy_is_an_error(store: Path, slurm: Any) -> None:
    run = start(Leaf(x=1), specs={"default": SlurmSpec(cpus=1000)})
    with pytest.raises(FuruRunError) as caught:
        run.wait(WAIT_SECS)
    assert isinstance(caught.value.__cause__, FuruSubmitRefused), caught.value
    slurm.wait_idle()


def test_p8_workers_whose_setup_fails_are_an_error_that_names_the_log(
    store: Path, slurm: Any
) -> None:
    spec = SlurmSpec(cpus=1, mem_gb=1, setup=("echo no such module >&2", "exit 3"))
    run = start(Leaf(x=1), specs={"default": spec})
    with pytest.raises(FuruRunError, match="ended as FAILED") as caught:
        run.wait(WAIT_SECS)
    cause = caught.value.__cause__
    assert isinstance(cause, FuruExecutorError)
    log = Path(str(cause).rpartition("read ")[2])
    assert "no such module" in log.read_text()
    slurm.wait_idle()


def test_p6_without_slurms_controller_a_run_ends_in_an_error(store: Path, own_slurm: Any) -> None:
    cluster = own_slurm(nodes=2)
    cluster.stop_controller()
    run = start(Leaf(x=1))
    with pytest.raises(FuruRunError) as caught:
        run.wait(WAIT_SECS)
    assert isinstance(caught.value.__cause__, FuruSlurmUnavailable), caught.value


def test_p7_slurms_controller_may_be_away_for_a_while(
    store: Path, tmp_path: Path, own_slurm: Any
) -> None:
    cluster = own_slurm(nodes=2)
    nodes = [Waiting(n=n, folder=tmp_path) for n in range(2)]
    run = start([*nodes, Above(below=nodes[0])])
    wait_until("both nodes to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    cluster.stop_controller()
    (tmp_path / "go").touch()
    wait_until("the dependent to be computed", lambda: Above(below=nodes[0]).exists())
    cluster.start_controller()
    assert run.wait(WAIT_SECS).results() == [0, 1, 0]
    assert all(counted(tmp_path, f"attempts-{n}") == 1 for n in range(2))
    cluster.wait_idle()


@pytest.mark.slow
def test_p6_a_controller_that_is_told_to_end_while_slurm_is_away_says_what_it_waits_for(
    store: Path, tmp_path: Path, own_slurm: Any, program: Scripts
) -> None:
    """Who runs hears it from the run's folder; a job that waits can only be waited for, and not long."""
    code = f"""
        from pathlib import Path
        from pool_nodes import Waiting
        from furu_slurm_pool import run_slurm_pool

        if __name__ == "__main__":
            run_slurm_pool(
                [Waiting(n=n, folder=Path({str(tmp_path)!r})) for n in range(2)],
                specs={{"default": {{"cpus": 1, "mem_gb": 1, "time_min": 60}}}},
                max_workers_total=2, poll_interval_sec=0.5, progress=False,
            )
    """
    cluster = own_slurm(nodes=1, cpus=1)
    run = program(code)
    wait_until("a node to begin", lambda: len(list(tmp_path.glob("began-*"))) == 1)
    wait_until("the other job to wait", lambda: len(cluster.jobs()) == 2)
    cluster.stop_controller()
    run.signal(signal.SIGTERM)
    said = run.finish()
    status, output = said.status, said.text
    assert status == 130, output
    assert re.search(r"waits for its workers .*w1-0002 \(job 1_1\).* s at most", output), output
    assert "which leave when they find that out" in output
    wait_until("the worker to end", lambda: not list((store / "runs").glob("*/heartbeats/*")))
    cluster.start_controller()
    cluster.wait_idle()


def test_pending_workers_are_counted_and_cancelled_when_they_are_not_needed(
    store: Path, tmp_path: Path, own_slurm: Any
) -> None:
    cluster = own_slurm(nodes=2, cpus=1)
    nodes = [Waiting(n=n, folder=tmp_path) for n in range(4)]
    run = start(nodes, max_workers_total=3, idle_timeout_sec=60.0)
    wait_until("three jobs", lambda: len(jobs_of(run, cluster)) == 3)
    wait_until("two nodes to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    states = sorted(row["state"] for row in jobs_of(run, cluster))
    assert states == ["PENDING", "RUNNING", "RUNNING"]
    (waiting,) = [row["id"] for row in jobs_of(run, cluster) if row["state"] == "PENDING"]
    cluster.run("scontrol", "hold", waiting)  # or it might start when another has just left
    (tmp_path / "go").touch()
    assert run.wait(WAIT_SECS).results() == [0, 1, 2, 3]
    rows = jobs_of(run, cluster)
    assert len(rows) == 3
    assert [row["state"] for row in rows].count("CANCELLED") >= 1
    cluster.wait_idle()


@pytest.mark.slow
def test_p4_a_stopped_worker_is_cancelled_after_several_leases(
    store: Path, tmp_path: Path, own_slurm: Any
) -> None:
    """Slurm says that it runs, but it gives no sign of life."""
    cluster = own_slurm(nodes=2)
    with furu_core.use_settings(lease_secs=6.0):
        run = start(Waiting(folder=tmp_path), max_workers_total=1)
        wait_until("the node to begin", lambda: (tmp_path / "began-0").exists())
        node, worker = map(int, (tmp_path / "began-0").read_text().split())
        (tmp_path / "began-0").unlink()
        for pid in (worker, node):
            os.kill(pid, signal.SIGSTOP)
        wait_until("the node to begin again", lambda: (tmp_path / "began-0").exists())
        (tmp_path / "go").touch()
        assert run.wait(WAIT_SECS).results() == 0
    assert counted(tmp_path, "attempts-0") == 2
    cluster.wait_idle()


@pytest.mark.slow
def test_a_long_node_with_a_living_worker_is_never_tried_again(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    with furu_core.use_settings(lease_secs=6.0):
        run = start([Waiting(folder=tmp_path), *(Keyed(n=n, secs=0.3) for n in range(20))])
        wait_until("the node to begin", lambda: (tmp_path / "began-0").exists())
        several_leases = time.monotonic() + 20
        wait_until("others to end", lambda: all(Keyed(n=n, secs=0.3).exists() for n in range(20)))
        wait_until("several leases to pass", lambda: time.monotonic() > several_leases)
        (tmp_path / "go").touch()
        run.wait(WAIT_SECS)
    assert counted(tmp_path, "attempts-0") == 1
    slurm.wait_idle()


def test_a_detached_controller_is_a_job_that_needs_nobody(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    run = SlurmPoolExecutor(
        specs=SPECS, max_workers_total=2, poll_interval_sec=0.5, detach=True
    ).submit(Sum(parts=(Leaf(x=1), Leaf(x=2))))
    assert run.wait(WAIT_SECS).results() == 3
    names = [row["name"] for row in slurm.squeue() if run.id in row["name"]]
    assert sum("controller" in name for name in names) == 1
    slurm.wait_idle()
