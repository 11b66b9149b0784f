"""Controllers that are jobs of a real Slurm cluster, and what it does to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from pool_kit import JOBS_SECS, SLURM, SMALL, furu, furu_pool, jobs_of

from furu_core.errors import FuruRunCancelled, FuruRunError
from furu_core.executors import RunState
from furu_slurm_pool import SlurmPoolExecutor
from furu_slurm_pool._controller._terms import current_leader
from furu_slurm_pool.errors import FuruRunAlive
from furu_testing import await_mark, let_go, read_marks, times, wait_until
from furu_testing.nodes import Step


class Detached:
    """A run of two nodes, one after the other, whose controller and worker are at work."""

    def __init__(self, store: Path, slurm: Any) -> None:
        self.slurm = slurm
        self.root = Step(label="second", needs=(Step(label="first", waits=True),), waits=True)
        self.executor = SlurmPoolExecutor(**SLURM | {"max_workers_total": 1, "detach": True})
        self.run = self.executor.submit(self.root)
        await_mark(store, "first")

    @property
    def controllers(self) -> int:
        found = current_leader(str(self.run.folder))
        assert found is not None
        return found.number

    @property
    def controller_job(self) -> str:
        rows = jobs_of(self.run.id, self.slurm)
        (job,) = [row["id"] for row in rows if "controller" in row["name"]]
        return job

    def hold_controller(self) -> str:
        """Have its job wait to start again, as after a preemption; the job."""
        job = self.controller_job
        self.slurm.run("scontrol", "requeuehold", job)
        self.slurm.wait_for_state(job, "PENDING")
        return job


@pytest.fixture
def detached(store: Path, slurm: Any) -> Detached:
    return Detached(store, slurm)


@pytest.mark.slow
def test_p7_a_requeued_controller_goes_on_when_it_starts_again_or_is_stopped_while_it_waits(
    store: Path, detached: Detached
) -> None:
    """Meanwhile the run has a controller, and nobody else becomes it."""
    run, slurm = detached.run, detached.slurm
    before = detached.controllers
    job = detached.hold_controller()
    assert f"job {job} (lives)" in furu_pool("status", run.id)
    with pytest.raises(FuruRunAlive, match=f"job {job}"):
        detached.executor.submit(detached.root)
    assert run.status().state is RunState.RUNNING
    slurm.run("scontrol", "release", job)
    wait_until("the next controller", lambda: detached.controllers > before, JOBS_SECS)
    let_go(store, "first")
    await_mark(store, "second")
    assert times(store) == {"first": 1, "second": 1}
    assert len({mark.facts["submission"][1] for mark in read_marks(store)}) == 1

    detached.hold_controller()
    told = furu_pool("stop", run.id)
    assert f"was to be controlled by job {job}, which was cancelled, and 1 workers with it" in told
    slurm.wait_idle()
    with pytest.raises(FuruRunCancelled):
        run.wait(JOBS_SECS)


@pytest.mark.slow
def test_p7_a_cancelled_controller_cancels_its_workers_and_the_run_is_resumed(
    store: Path, detached: Detached
) -> None:
    run, slurm = detached.run, detached.slurm
    slurm.run("scancel", detached.controller_job)
    with pytest.raises(FuruRunCancelled):
        run.wait(JOBS_SECS)
    slurm.wait_idle()
    let_go(store)
    assert "is controlled by a job" in furu("pool", "resume", run.id, "--detach")
    assert run.wait(JOBS_SECS).results() == 2
    assert times(store) == {"first": 2, "second": 1}
    slurm.wait_idle()
    assert len(jobs_of(run.id, slurm)) == 4


def test_p8_a_detached_run_whose_workers_slurm_refuses_tells_why_and_where_its_log_is(
    store: Path, slurm: Any
) -> None:
    nowhere = attrs.evolve(SMALL, partition="nowhere")
    specs = {"default": nowhere, "controller": SMALL}
    run = SlurmPoolExecutor(**SLURM | {"specs": specs, "detach": True}).submit(Step(label="step"))
    with pytest.raises(FuruRunError, match="nvalid partition") as caught:
        run.wait(JOBS_SECS)
    (log,) = (store / "submitit" / "workers" / "controller" / run.id).glob("*.out")
    assert f"(log: {log})" in str(caught.value)
