"""Pools on a real Slurm cluster that gives them little: of time, of jobs, of information."""

from __future__ import annotations

import os
import pwd
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pool_kit import JOBS_SECS, SLURM, SMALL, jobs_of, start_on_slurm
from pool_nodes import Works, made_steps

import furu_core
from furu_core.errors import FuruRunError
from furu_core.executors import EventKind
from furu_slurm import SlurmCluster, SlurmSpec
from furu_slurm.errors import FuruSubmitRefused
from furu_slurm_pool import SlurmPoolExecutor
from furu_slurm_pool._observer._stop import stop_run
from furu_testing import await_mark, let_go, read_marks, times, wait_until
from furu_testing.nodes import Leaf, Step

BRIEF = SlurmSpec(cpus=1, mem_gb=1, time_min=1)


# Walltime


@pytest.mark.slow
def test_p5_workers_and_a_detached_controller_leave_before_their_walltime_ends_and_the_next_go_on(
    store: Path, slurm: Any
) -> None:
    """No node is lost or computed twice; one that is longer goes on from its checkpoint."""
    long = Works(label="long", secs=1.0, steps=60)
    short = [Works(label=f"{n}", secs=4.0) for n in range(13)]
    with furu_core.use_settings(max_lost_retries=0):  # what there is of progress costs nothing
        executor = SlurmPoolExecutor(
            **SLURM | {"specs": {"default": BRIEF, "controller": SMALL}, "detach": True}
        )
        run = executor.submit([long, *short])
        await_mark(store, "long")
        (controller,) = [row["id"] for row in jobs_of(run.id, slurm) if "controller" in row["name"]]
        # So that it is told within half a minute; to a short walltime that might be too early.
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 80))
        slurm.run("scontrol", "update", f"jobid={controller}", f"endtime={end}")
        wait_until("it to go back", lambda: slurm.squeue(controller)[0]["restarts"] == "1")
        slurm.run("scontrol", "update", f"jobid={controller}", "timelimit=60")
        run.wait(JOBS_SECS)
    computed = times(store)
    starts = computed.pop("long")
    assert computed == {node.label: 1 for node in short}
    assert starts > 1
    assert 60 <= made_steps("long") <= 60 + starts
    retried = {event.hash for event in run.events() if event.kind is EventKind.NODE_RETRIED}
    assert retried == {long.furu_hash}
    slurm.wait_idle()
    rows = jobs_of(run.id, slurm)
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
    own_slurm: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = own_slurm(nodes=2, max_submit_jobs=2)
    submissions: list[int] = []
    submit = SlurmCluster.submit

    def counting(self: SlurmCluster, **fields: Any) -> list[str]:
        submissions.append(len(fields["payload"].jobs))
        return submit(self, **fields)

    monkeypatch.setattr(SlurmCluster, "submit", counting)
    run = start_on_slurm([Step(label=f"{n}", waits=True) for n in range(6)], max_workers_total=6)
    wait_until("two nodes to begin", lambda: len(read_marks(store)) == 2)
    wait_until("the limit to be said", lambda: "going on with 2 workers" in caplog.text)
    assert len(cluster.jobs()) == 2
    let_go(store)
    assert run.wait(JOBS_SECS).results() == [1] * 6
    assert len([one for one in caplog.messages if "takes no more jobs" in one]) == 1
    assert submissions[:3] == [6, 3, 1]
    assert len(submissions) < 12
    cluster.wait_idle()

    # While other jobs of the user are all that Slurm takes, a run waits for their end.
    monkeypatch.setattr("furu_slurm._submit_limit.LIMIT_PAUSE_SECS", 1.0)
    others = [cluster.sbatch("sleep 600", "--ntasks=1") for _ in range(2)]
    run = start_on_slurm(Leaf(x=7))
    wait_until("the limit to be said", lambda: "going on with 0 workers" in caplog.text)
    cluster.run("scancel", *others)
    assert run.wait(JOBS_SECS).results() == 7
    cluster.wait_idle()

    # A limit that nothing will lift is an error.
    limit = ("sacctmgr", "-i", "modify", "user", pwd.getpwuid(os.getuid()).pw_name, "set")
    cluster.run(*limit, "MaxSubmitJobs=0")
    monkeypatch.setattr("furu_slurm._submit_limit.ALONE_SECS", 1.5)
    run = start_on_slurm(Leaf(x=8))
    with pytest.raises(FuruRunError, match="no job at all") as caught:
        run.wait(JOBS_SECS)
    assert isinstance(caught.value.__cause__, FuruSubmitRefused)

    # Nor does a job ever start that asks for more than its user may have.
    monkeypatch.setattr("furu_slurm._health.UNSCHEDULABLE_SECS", 1.5)
    monkeypatch.setattr("furu_slurm_pool._observer._run._QUEUE_SECS", 1.0)
    cluster.run(*limit, "MaxSubmitJobs=2", "MaxWall=1")
    run = start_on_slurm(Leaf(x=9))
    with pytest.raises(FuruRunError, match="AssocMaxWallDurationPerJobLimit") as caught:
        run.wait(JOBS_SECS)
    assert isinstance(caught.value.__cause__, FuruSubmitRefused)
    assert "mend specs['default']" in str(caught.value.__cause__)
    cluster.wait_idle()
    detached = SlurmPoolExecutor(**SLURM | {"detach": True}).submit(Leaf(x=9))
    with pytest.raises(
        FuruRunError, match=r"its controller, job .*AssocMaxWallDurationPerJobLimit"
    ):
        detached.wait(JOBS_SECS)
    stop_run(detached.folder)
    cluster.wait_idle()
    cluster.run(*limit, "MaxWall=-1")


# Little information


def test_p7_without_accounting_and_with_a_short_memory_slurm_is_told_from_dead_workers(
    store: Path, own_slurm: Any
) -> None:
    """No sacct, and squeue forgets jobs seconds after their end."""
    own_slurm(nodes=2, min_job_age=2)
    with furu_core.use_settings(lease_secs=3600.0):  # so that nothing but Slurm's word tells
        run = start_on_slurm([Step(label=label, waits=True) for label in ("killed", "cancelled")])
        killed, cancelled = (await_mark(store, label) for label in ("killed", "cancelled"))
        os.kill(killed.parent, signal.SIGKILL)
        await_mark(store, "killed", 2)
        SlurmCluster().cancel([cancelled.facts["submission"][1]])
        await_mark(store, "cancelled", 2)
        let_go(store)
        assert run.wait(JOBS_SECS).results() == [1, 1]
    assert times(store) == {"killed": 2, "cancelled": 2}
