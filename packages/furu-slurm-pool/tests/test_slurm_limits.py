"""Pools on a real Slurm cluster that gives them little: of time, of jobs, of information."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pool_nodes import Keyed, Saves, counted

import furu_core
from furu_core.executors import EventKind
from furu_slurm import SlurmSpec
from furu_slurm_pool import SlurmPoolExecutor, SlurmPoolRun

SMALL = SlurmSpec(cpus=1, mem_gb=1, time_min=10)
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


def jobs_of(run: SlurmPoolRun, slurm: Any) -> list[dict[str, str]]:
    return [row for row in slurm.squeue() if run.run_id in row["name"]]


# Walltime


@pytest.mark.slow
def test_p5_workers_leave_before_their_walltime_ends_and_the_next_ones_go_on(
    store: Path, tmp_path: Path, slurm: Any
) -> None:
    """No node is lost or computed twice; one that is longer goes on from its checkpoint."""
    long = Saves(secs=60, folder=tmp_path)
    short = [Keyed(n=n, secs=2.0, folder=tmp_path) for n in range(25)]
    with furu_core.use_settings(max_lost_retries=0):  # what there is of progress costs nothing
        run = start([long, *short], specs={"default": BRIEF}).wait(250)
    assert [counted(tmp_path, f"keyed-default-{n}") for n in range(25)] == [1] * 25
    assert counted(tmp_path, "saves") == 2
    assert 60 <= counted(tmp_path, "saved") <= 61
    retried = [event for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    assert [event.hash for event in retried] == [long.furu_hash]
    slurm.wait_idle()
    rows = jobs_of(run, slurm)
    assert len(rows) > 2
    assert {row["state"] for row in rows} == {"COMPLETED"}, rows
    logs = "".join(path.read_text() for path in (store / "submitit").rglob("*_log.out"))
    assert "its walltime ends" in logs
