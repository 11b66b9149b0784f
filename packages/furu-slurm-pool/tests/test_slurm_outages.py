"""Pools whose cluster has few nodes, and a controller that is away, or forgets what has happened."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pool_kit import JOBS_SECS, jobs_of, start_on_slurm

from furu_core.errors import FuruRunCancelled, FuruRunError
from furu_slurm import SlurmCluster, bare_id
from furu_slurm.errors import FuruSlurmUnavailable
from furu_slurm_pool._observer._stop import stop_run
from furu_slurm_pool._queue._run_folder import order_leave
from furu_testing import await_mark, let_go, read_marks, times, wait_until
from furu_testing.nodes import Leaf, Step
from furu_testing.slurm import GHOSTLY


@pytest.fixture
def cluster(own_slurm: Callable[..., Any]) -> Any:
    """A cluster with room for two jobs, which may be hurt."""
    return own_slurm(nodes=2, cpus=1, conf=GHOSTLY)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What a run that shows its progress says, once a second."""
    for name in ("_FIRST_LINE_SECS", "_LINE_SECS"):
        monkeypatch.setattr(f"furu_plan.runs._display.{name}", 1.0)
    caplog.set_level("INFO", "furu")


@pytest.mark.slow
def test_p7_p6_slurms_controller_may_be_away_while_a_run_goes_on_and_ends_but_not_when_one_begins(
    store: Path,
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lines: None,
) -> None:
    first = Step(label="first", waits=True)
    second = Step(label="second", needs=(first,), waits=True)
    third = Step(label="third", needs=(second,), waits=True)
    run = start_on_slurm(third, max_workers_total=1, progress=True)
    await_mark(store, "first")
    cluster.stop_controller()
    why = "there, 1 running, Slurm does not answer (squeue: "
    wait_until("the run to say why", lambda: why in caplog.text)
    let_go(store, "first")
    await_mark(store, "second")
    cluster.start_controller()
    let_go(store, "second")
    await_mark(store, "third")
    cluster.stop_controller(kill=True)
    with monkeypatch.context() as patch:
        patch.setattr("furu_slurm_pool._controller._ghost_jobs._ANSWER_SECS", JOBS_SECS)
        let_go(store, "third")
        wait_until("the run to wait", lambda: "Slurm is to say whether jobs" in caplog.text)
        cluster.start_controller()
        assert run.wait(JOBS_SECS).results() == 3
    assert set(times(store).values()) == {1}
    cluster.wait_idle()

    cluster.stop_controller()
    wait_until("Slurm not to answer", lambda: not _answers(cluster))  # it ends what it has begun
    impatient = partial(SlurmCluster, patience_secs=1.0)
    monkeypatch.setattr("furu_slurm_pool._controller._request.SlurmCluster", impatient)
    with pytest.raises(FuruRunError) as caught:
        start_on_slurm(Leaf(x=1)).wait(JOBS_SECS)
    assert isinstance(caught.value.__cause__, FuruSlurmUnavailable), caught.value
    cluster.start_controller()


def _answers(cluster: Any) -> bool:
    with suppress(AssertionError):
        return "UP" in cluster.run("scontrol", "ping")
    return False


@pytest.mark.slow
def test_p6_a_run_that_is_cancelled_while_slurm_is_away_says_what_it_waits_for(
    store: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who runs hears it from the run's folder; a job that waits can only be waited for, and not long."""
    monkeypatch.setattr("furu_slurm_pool._controller._ghost_jobs._ANSWER_SECS", 1.0)
    other = cluster.sbatch("sleep 600")
    run = start_on_slurm([Step(label=label, waits=True) for label in "ab"])
    wait_until("a node to begin", lambda: read_marks(store))
    wait_until("the other job to wait", lambda: len(jobs_of(run.id, cluster)) == 2)
    cluster.stop_controller()
    run.cancel()
    with pytest.raises(FuruRunCancelled):
        run.wait(JOBS_SECS)
    waits = r"waits for its workers .*w1-0002 \(job \d+_1\).* s at most"
    assert re.search(waits, caplog.text), caplog.text
    assert "which leave when they find that out" in caplog.text
    wait_until("the worker to end", lambda: not list((store / "runs").glob("*/heartbeats/*")))
    cluster.start_controller()
    cluster.run("scancel", other)
    cluster.wait_idle()
    assert len(read_marks(store)) == 1


def test_p6_pending_workers_are_counted_and_why_they_wait_is_said_and_cancelled_when_not_needed(
    store: Path, cluster: Any, caplog: pytest.LogCaptureFixture, lines: None
) -> None:
    other = cluster.sbatch("sleep 600")
    run = start_on_slurm([Step(label=label, waits=True) for label in "abc"], progress=True)
    wait_until("two jobs", lambda: len(jobs_of(run.id, cluster)) == 2)
    wait_until("a node to begin", lambda: read_marks(store))
    rows = jobs_of(run.id, cluster)
    assert sorted(row["state"] for row in rows) == ["PENDING", "RUNNING"]
    (waiting,) = [row["id"] for row in rows if row["state"] == "PENDING"]
    cluster.run("scontrol", "hold", waiting)  # or it might start when another has just left
    held = "1 running, queued workers: 1 because of JobHeld"
    wait_until("the reason to be said", lambda: held in caplog.text)
    let_go(store)
    assert run.wait(JOBS_SECS).results() == [1, 1, 1]
    cluster.run("scancel", other)
    cluster.wait_idle()
    rows = jobs_of(run.id, cluster)
    assert len(rows) == 2
    assert [row["state"] for row in rows if row["id"] == waiting] == ["CANCELLED"]


# Slurm forgets: killed at the wrong moment, it believes in a job that has ended, until its walltime


@pytest.mark.slow
def test_p6_a_job_whose_end_slurm_forgot_is_cancelled_and_its_worker_replaced(
    store: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Step(label="first", waits=True), Step(label="second")
    run = start_on_slurm([first, second], max_workers_total=1)
    await_mark(store, "first")
    (job,) = [row["id"] for row in jobs_of(run.id, cluster)]
    (worker,) = (path.stem for path in run.run_dir.glob("workers/*.json"))
    order_leave(str(run.run_dir), worker)  # when it has done what it has
    limits = ("furu_slurm_pool._controller._fleet._LEFT_SECS", "furu_slurm._health.GHOST_SECS")
    for limit in limits:  # until Slurm is back nobody is to give the job up
        monkeypatch.setattr(limit, math.inf)
    cluster.make_ghost(job, lambda: let_go(store))
    for limit in limits:
        monkeypatch.setattr(limit, 2.0)
    assert run.wait(JOBS_SECS).results() == [1, 1]
    jobs = {mark.label: bare_id(mark.facts["submission"][1]) for mark in read_marks(store)}
    assert jobs["first"] == job
    assert jobs["second"] != job
    assert times(store) == {"first": 1, "second": 1}
    cluster.wait_idle()


@pytest.mark.slow
def test_p6_a_job_whose_end_slurm_forgot_after_the_run_is_ended_by_furu_pool_stop(
    store: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if all jobs had ended when the run looked for the last time.
    monkeypatch.setattr("furu_slurm_pool._controller._fleet.ghost_jobs", lambda *_, **__: [])
    # Nor is a worker cancelled that takes long to leave.
    monkeypatch.setattr("furu_slurm_pool._controller._queue_pool._LEAVE_SECS", JOBS_SECS)
    run = start_on_slurm(Step(label="waits", waits=True), max_workers_total=1)
    await_mark(store, "waits")
    (job,) = [row["id"] for row in jobs_of(run.id, cluster)]
    cluster.make_ghost(job, lambda: let_go(store))
    assert run.wait(JOBS_SECS).results() == 1
    told = stop_run(run.run_dir)
    assert told == f"has ended already: done; of its jobs Slurm still had {job}: cancelled"
    cluster.wait_idle()
    assert stop_run(run.run_dir) == "has ended already: done"
    cluster.stop_controller()
    assert "left is not known: Slurm does not answer" in stop_run(run.run_dir)
    cluster.start_controller()
