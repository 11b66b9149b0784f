"""Pools on a real Slurm cluster that gives them little: of time, of jobs, of information."""

from __future__ import annotations

import math
import os
import pwd
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pool_nodes import Above, Keyed, Leaf, Saves, Waiting, counted

import furu_core
from furu_core.errors import FuruRunError
from furu_core.executors import EventKind, Run
from furu_slurm import SlurmCluster, SlurmSpec
from furu_slurm.errors import FuruSubmitRefused
from furu_slurm_pool import SlurmPoolExecutor, SlurmPoolRun
from furu_slurm_pool._folders import order_leave
from furu_slurm_pool._resume import stop_run
from furu_testing import wait_until
from furu_testing.slurm import GHOSTLY

WAIT_SECS = 600.0  # jobs may wait for those of other tests, and the machine may be busy
SMALL = SlurmSpec(cpus=1, mem_gb=1, time_min=60)
BRIEF = SlurmSpec(cpus=1, mem_gb=1, time_min=1)


def start(roots: Any, **options: Any) -> SlurmPoolRun:
    settings: dict[str, Any] = {
        "specs": {"default": SMALL},
        "max_workers_total": 2,
        "poll_interval_sec": 0.5,
        "progress": False,
    }
    run = SlurmPoolExecutor(**(settings | options)).submit(roots)
    assert isinstance(run, SlurmPoolRun)
    return run


def jobs_of(run: Run, slurm: Any) -> list[dict[str, str]]:
    return [row for row in slurm.squeue() if run.id in row["name"]]


# Walltime


@pytest.mark.slow
def test_p5_workers_and_a_detached_controller_leave_before_their_walltime_ends_and_the_next_go_on(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    """No node is lost or computed twice; one that is longer goes on from its checkpoint."""
    long = Saves(steps=240, folder=tmp_path)
    short = [Keyed(n=n, secs=2.0, folder=tmp_path) for n in range(25)]
    with furu_core.use_settings(max_lost_retries=0):  # what there is of progress costs nothing
        run = SlurmPoolExecutor(
            specs={"default": BRIEF, "controller": SMALL},
            max_workers_total=2,
            poll_interval_sec=0.5,
            detach=True,
        ).submit([long, *short])
        wait_until("a node to begin", lambda: counted(tmp_path, "saves"))
        (controller,) = [row["id"] for row in jobs_of(run, slurm) if "controller" in row["name"]]
        # So that it is told within half a minute; to a short walltime that might be too early.
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 80))
        slurm.run("scontrol", "update", f"jobid={controller}", f"endtime={end}")
        wait_until("it to go back", lambda: slurm.squeue(controller)[0]["restarts"] == "1")
        slurm.run("scontrol", "update", f"jobid={controller}", "timelimit=60")
        run.wait(WAIT_SECS)
    assert [counted(tmp_path, f"keyed-default-{n}") for n in range(25)] == [1] * 25
    starts = counted(tmp_path, "saves")
    assert starts > 1
    assert 240 <= counted(tmp_path, "saved") <= 240 + starts
    retried = {event.hash for event in run.events() if event.kind is EventKind.NODE_RETRIED}
    assert retried == {long.furu_hash}
    slurm.wait_idle()
    rows = jobs_of(run, slurm)
    (last,) = [row for row in rows if "controller" in row["name"]]
    assert last["id"] == controller
    assert int(last["restarts"]) > 0
    assert len(rows) > 3
    # Those that the run still had at its end may be cancelled then; none is killed before.
    states = [row["state"] for row in rows]
    assert {*states} <= {"COMPLETED", "CANCELLED"}, rows
    assert states.count("CANCELLED") <= 2, rows
    logs = "".join(path.read_text() for path in (store / "submitit").rglob("*_log.out"))
    assert "its walltime ends" in logs
    assert "the walltime of this controller ends" in logs


# Few jobs


@pytest.mark.slow
def test_p6_a_submit_limit_means_fewer_workers_and_is_said_once(
    store: Path,
    tmp_path: Path,
    own_slurm: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = own_slurm(nodes=2, max_submit_jobs=2)
    submissions: list[int] = []
    submit = SlurmCluster.submit

    def counting(self: SlurmCluster, **fields: Any) -> list[str]:
        submissions.append(len(fields["calls"]))
        return submit(self, **fields)

    monkeypatch.setattr(SlurmCluster, "submit", counting)
    nodes = [Waiting(n=n, folder=tmp_path) for n in range(6)]
    run = start(nodes, max_workers_total=6)
    wait_until("two nodes to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    wait_until("the limit to be said", lambda: "going on with 2 workers" in caplog.text)
    assert len(cluster.jobs()) == 2
    (tmp_path / "go").touch()
    assert run.wait(WAIT_SECS).results() == list(range(6))
    assert len([one for one in caplog.messages if "takes no more jobs" in one]) == 1
    assert submissions[:3] == [6, 3, 1]
    assert len(submissions) < 12
    cluster.wait_idle()

    # While other jobs of the user are all that Slurm takes, a run waits for their end.
    monkeypatch.setattr("furu_slurm_pool._scaling._PAUSE_SECS", 1.0)
    others = [cluster.sbatch("sleep 600", "--ntasks=1") for _ in range(2)]
    run = start(Leaf(x=7))
    wait_until("the limit to be said", lambda: "going on with 0 workers" in caplog.text)
    cluster.run("scancel", *others)
    assert run.wait(WAIT_SECS).results() == 7
    cluster.wait_idle()

    # A limit that nothing will lift is an error.
    user = pwd.getpwuid(os.getuid()).pw_name
    cluster.run("sacctmgr", "-i", "modify", "user", user, "set", "MaxSubmitJobs=0")
    run = start(Leaf(x=8))
    with pytest.raises(FuruRunError, match="no job at all") as caught:
        run.wait(WAIT_SECS)
    assert isinstance(caught.value.__cause__, FuruSubmitRefused)


# Little information


@pytest.mark.slow
def test_p7_without_accounting_and_with_a_short_memory_slurm_is_told_from_dead_workers(
    store: Path, tmp_path: Path, own_slurm: Any
) -> None:
    """No sacct, and squeue forgets jobs seconds after their end."""
    cluster = own_slurm(nodes=2, accounting=False, min_job_age=2)
    nodes = [Waiting(n=n, folder=tmp_path) for n in range(3)]
    with furu_core.use_settings(lease_secs=600.0):  # so that nothing but Slurm's word tells
        run = start([*nodes, Above(below=nodes[0])], max_workers_total=3)
        wait_until("all to begin", lambda: len(list(tmp_path.glob("began-*"))) == 3)
        pids = (tmp_path / "began-0").read_text().split()
        (tmp_path / "began-0").unlink()
        os.kill(int(pids[1]), signal.SIGKILL)
        wait_until("the first to begin again", lambda: (tmp_path / "began-0").exists())
        (job, *_) = sorted(row["id"] for row in jobs_of(run, cluster) if row["state"] == "RUNNING")
        for n in (1, 2):
            (tmp_path / f"began-{n}").unlink()
        cluster.run("scancel", job)
        wait_until(
            "another to begin again",
            lambda: any((tmp_path / f"began-{n}").exists() for n in (1, 2)),
        )
        (tmp_path / "go").touch()
        assert run.wait(WAIT_SECS).results() == [0, 1, 2, 0]
    assert sum(counted(tmp_path, f"attempts-{n}") for n in range(3)) == 5
    cluster.wait_idle()


@pytest.mark.slow
def test_p6_a_job_whose_end_slurm_forgot_is_cancelled_and_its_worker_replaced(
    store: Path, tmp_path: Path, own_slurm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the wrong moment, Slurm believes in a job that has ended, until its walltime."""
    cluster = own_slurm(nodes=2, conf=GHOSTLY)
    nodes = [Waiting(folder=tmp_path), Keyed(n=1), Keyed(n=2)]
    run = start(nodes, max_workers_total=1)
    wait_until("the node to begin", lambda: (tmp_path / "began-0").exists())
    (job,) = [row["id"] for row in jobs_of(run, cluster)]

    (worker,) = (path.stem for path in run.run_dir.glob("workers/*.json"))
    order_leave(str(run.run_dir), worker)  # when it has done what it has
    for name in ("_LEFT_SECS", "_GHOST_SECS"):  # until Slurm is back nobody is to give the job up
        monkeypatch.setattr(f"furu_slurm_pool._fleet.{name}", math.inf)
    cluster.make_ghost(job, (tmp_path / "go").touch)
    for name in ("_LEFT_SECS", "_GHOST_SECS"):
        monkeypatch.setattr(f"furu_slurm_pool._fleet.{name}", 2.0)
    _, first, second = run.wait(WAIT_SECS).results()
    assert job not in (first.split()[2], second.split()[2])
    assert counted(tmp_path, "attempts-0") == 1
    cluster.wait_idle(120)


@pytest.mark.slow
def test_p6_a_run_that_ends_while_slurm_is_down_leaves_no_jobs(
    store: Path,
    tmp_path: Path,
    own_slurm: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("furu_slurm_pool._leftovers._ANSWER_SECS", WAIT_SECS)
    cluster = own_slurm(nodes=2)
    run = start(Waiting(folder=tmp_path))
    wait_until("the node to begin", lambda: (tmp_path / "began-0").exists())
    cluster.stop_controller(kill=True)
    (tmp_path / "go").touch()
    wait_until("the run to wait", lambda: "Slurm is to say whether jobs" in caplog.text)
    cluster.start_controller()
    assert run.wait(WAIT_SECS).results() == 0
    cluster.wait_idle(120)


@pytest.mark.slow
def test_p6_a_job_whose_end_slurm_forgot_after_the_run_is_ended_by_furu_pool_stop(
    store: Path, tmp_path: Path, own_slurm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if all jobs had ended when the run looked for the last time.
    monkeypatch.setattr("furu_slurm_pool._fleet.left_over", lambda *_: [])
    # Nor is a worker cancelled that takes long to leave.
    monkeypatch.setattr("furu_slurm_pool._control._LEAVE_SECS", WAIT_SECS)
    cluster = own_slurm(nodes=2, conf=GHOSTLY)
    run = start(Waiting(folder=tmp_path), max_workers_total=1)
    wait_until("the node to begin", lambda: (tmp_path / "began-0").exists())
    (job,) = [row["id"] for row in jobs_of(run, cluster)]
    cluster.make_ghost(job, (tmp_path / "go").touch)
    assert run.wait(WAIT_SECS).results() == 0
    assert (
        stop_run(run.run_dir)
        == f"has ended already: done; of its jobs Slurm still had {job}: cancelled"
    )
    cluster.wait_idle(120)
    assert stop_run(run.run_dir) == "has ended already: done"
    cluster.stop_controller()
    assert "left is not known: Slurm does not answer" in stop_run(run.run_dir)
