"""The digits experiment is the same on a workstation, as Slurm jobs, and on a pool of workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from furu_testing import wait_until
from furu_testing.slurm import SlurmTestCluster
from slurm_demo import EXECUTORS, run_digits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_digits_finds_the_same_under_all_three_executors(
    own_slurm: Callable[..., SlurmTestCluster], tmp_path: Path
) -> None:
    slurm = own_slurm(cpus=4)
    outcomes = {
        executor: run_digits(executor, tmp_path / executor, slurm.environment)
        for executor in EXECUTORS
    }
    assert {outcome.computed for outcome in outcomes.values()} == {63}
    assert len({outcome.hash for outcome in outcomes.values()}) == 1
    assert len({outcome.report for outcome in outcomes.values()}) == 1
    check_jobs_of_nodes(slurm, tmp_path / "slurm-dag")
    check_workers(slurm, tmp_path / "slurm-pool")


def check_jobs_of_nodes(slurm: SlurmTestCluster, store: Path) -> None:
    logs = sorted((store / "submitit" / "nodes" / "default").glob("*/*_log.out"))
    assert len(logs) == 63, logs
    rows = {row["id"]: row for row in slurm.squeue()}
    of_nodes = [row for row in rows.values() if str(store) in row["stdout"]]
    assert len(of_nodes) == 63
    assert {row["state"] for row in of_nodes} == {"COMPLETED"}
    arrays = {row["id"].partition("_")[0] for row in of_nodes}
    wait_until(
        "accounting to know how all jobs ended",
        lambda: [row["state"] for row in slurm.sacct(*arrays)].count("COMPLETED") == 63,
    )


def check_workers(slurm: SlurmTestCluster, store: Path) -> None:
    logs = sorted((store / "submitit" / "workers" / "default").glob("*/*_log.out"))
    assert 1 <= len(logs) <= 3, logs
