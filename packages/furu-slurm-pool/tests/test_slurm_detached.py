"""Controllers that are jobs of a real Slurm cluster, and what it does to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pool_nodes import Above, Waiting, counted

from furu_core.errors import FuruRunCancelled
from furu_core.executors import RunState
from furu_slurm import SlurmSpec
from furu_slurm_pool import SlurmPoolExecutor
from furu_slurm_pool._controllers import Ruler, ruler
from furu_slurm_pool.errors import FuruRunAlive
from furu_testing import wait_until

WAIT_SECS = 400.0  # jobs may wait for those of other tests, and the machine may be busy
SMALL = SlurmSpec(cpus=1, mem_gb=1, time_min=60)


class Detached:
    """A run of two nodes, one after the other, whose controller and worker are at work."""

    def __init__(self, tmp_path: Path, slurm: Any) -> None:
        self.folder = tmp_path
        self.slurm = slurm
        self.node = Above(below=Waiting(folder=tmp_path))
        self.executor = SlurmPoolExecutor(
            specs={"default": SMALL},
            max_workers_total=1,
            poll_interval_sec=0.5,
            detach=True,
        )
        self.run = self.executor.submit(self.node)
        wait_until("the node to begin", lambda: (tmp_path / "began-0").exists())
        self.first = self.controller.number

    @property
    def controller(self) -> Ruler:
        found = ruler(str(self.run.folder))
        assert found is not None
        return found

    @property
    def controller_job(self) -> str:
        (row,) = [row for row in self.jobs() if "controller" in row["name"]]
        return row["id"]

    def jobs(self) -> list[dict[str, str]]:
        return [row for row in self.slurm.squeue() if self.run.id in row["name"]]

    def await_next_controller(self, seconds: float = WAIT_SECS) -> None:
        wait_until("the next controller", lambda: self.controller.number > self.first, seconds)

    def finish(self) -> None:
        """Let the node end; it has been computed once, by one worker."""
        (self.folder / "go").touch()
        assert self.run.wait(WAIT_SECS).results() == 0
        assert counted(self.folder, "attempts-0") == 1
        assert len([row for row in self.jobs() if "controller" not in row["name"]]) == 1
        self.slurm.wait_idle()


def furu(*arguments: str) -> str:
    """What the command `furu` prints."""
    done = subprocess.run(
        [Path(sys.executable).with_name("furu"), *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def detached(store: Path, tmp_path: Path, slurm: Any) -> Callable[[], Detached]:
    return lambda: Detached(tmp_path, slurm)


@pytest.mark.slow
def test_p7_a_requeued_controller_goes_on_with_the_run_when_it_starts_again(
    detached: Callable[[], Detached],
) -> None:
    """As after a preemption: meanwhile the run has a controller, and nobody else becomes it."""
    pool = detached()
    job = pool.controller_job
    pool.slurm.run("scontrol", "requeuehold", job)
    pool.slurm.wait_for_state(job, "PENDING")
    assert "controller does not live" not in furu("pool", "status", pool.run.id)
    assert f"job {job} (lives)" in furu("pool", "status", pool.run.id)
    with pytest.raises(FuruRunAlive, match=f"job {job}"):
        pool.executor.submit(pool.node)
    assert pool.run.status().state is RunState.RUNNING
    pool.slurm.run("scontrol", "release", job)
    pool.await_next_controller()
    pool.finish()


def test_a_run_is_stopped_while_its_controller_waits_to_start_again(
    detached: Callable[[], Detached],
) -> None:
    pool = detached()
    job = pool.controller_job
    pool.slurm.run("scontrol", "requeuehold", job)
    pool.slurm.wait_for_state(job, "PENDING")
    told = furu("pool", "stop", pool.run.id)
    assert f"was to be controlled by job {job}, which was cancelled, and 1 workers with it" in told
    pool.slurm.wait_idle()
    with pytest.raises(FuruRunCancelled):
        pool.run.wait(WAIT_SECS)


@pytest.mark.slow
def test_p7_a_cancelled_controller_cancels_its_workers_and_the_run_is_resumed(
    detached: Callable[[], Detached],
) -> None:
    pool = detached()
    pool.slurm.run("scancel", pool.controller_job)
    with pytest.raises(FuruRunCancelled):
        pool.run.wait(WAIT_SECS)
    pool.slurm.wait_idle()
    (pool.folder / "go").touch()
    assert "is controlled by a job" in furu("pool", "resume", pool.run.id, "--detach")
    assert pool.run.wait(WAIT_SECS).results() == 0
    assert counted(pool.folder, "attempts-0") == 2
    pool.slurm.wait_idle()
