"""What the scheduler says of workers, and what becomes of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from furu_slurm import JobInfo, JobPayload, JobState, LocalCluster, SlurmSpec, Snapshot
from furu_slurm_pool import SlurmPoolExecutor
from furu_slurm_pool._controller import _workers
from furu_slurm_pool._controller._fleet import Fleet
from furu_slurm_pool._controller._workers import Worker
from furu_slurm_pool._observer._status import pool_status
from furu_slurm_pool._queue import _heartbeats
from furu_slurm_pool._queue._heartbeats import BEAT, BeatRecord, Heartbeat
from furu_slurm_pool._queue._run_folder import make_folders
from furu_testing import wait_until

LEASE_SECS = 0.02


class Quiet(LocalCluster):
    """A cluster that notes what is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: list[str] = []

    def cancel(self, job_ids: Iterable[str]) -> None:
        self.cancelled += job_ids


@pytest.fixture
def cluster() -> Quiet:
    return Quiet()


@pytest.fixture
def fleet(tmp_path: Path, cluster: Quiet) -> Fleet:
    """One worker of a controller before this one, which is job 7."""
    make_folders(str(tmp_path))
    worker = Worker("w1", "gpu", "tok", 0, str(tmp_path))
    _workers.note(str(tmp_path), worker)
    _workers.note_job(str(tmp_path), worker, "7")
    request = SlurmPoolExecutor(
        specs={"default": SlurmSpec(), "gpu": SlurmSpec()}, max_workers_total=1, cluster="local"
    )._request()
    fleet = Fleet(str(tmp_path), 2, request, LEASE_SECS, lambda: None)
    fleet._scheduler.cluster = cluster
    fleet.adopt()
    return fleet


def says(state: JobState, **more: int) -> Snapshot:
    return Snapshot(True, found={"7": JobInfo("7", "x.tok", state, **more)})


def test_a_worker_whose_job_is_suspended_is_not_taken_for_silent(
    fleet: Fleet, cluster: Quiet, tmp_path: Path
) -> None:
    Heartbeat(str(tmp_path), "w1", b"")
    fleet._watch.look()
    time.sleep(4 * LEASE_SECS)
    assert fleet._judge(says(JobState.SUSPENDED)) == []
    assert fleet._judge(says(JobState.RUNNING)) == []  # it has a while to show itself again
    assert fleet.workers()[0].health.cancelled is None
    time.sleep(4 * LEASE_SECS)
    assert fleet._judge(says(JobState.RUNNING)) == []
    assert fleet.workers()[0].health.cancelled is not None
    fleet.abandon()
    assert cluster.cancelled in ([], ["7"])


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING])
def test_p5_a_worker_whose_job_was_put_back_into_the_queue_is_gone_with_what_it_had(
    state: JobState, fleet: Fleet
) -> None:
    """Its second start would claim and tell under the first one's name."""
    (gone,) = fleet._judge(says(state, restarts=1))
    assert (gone.worker.name, gone.worker.health.cancelled is None) == ("w1", False)
    assert "put back into the queue" in gone.why
    assert fleet.workers() == []


class Where(str):
    """A user on a cluster, by the words that say so."""

    __slots__ = ()

    @property
    def cluster(self) -> str:
        return self.partition(":")[0]


@pytest.mark.parametrize(
    ("home", "lives"),
    [(None, True), ("alpha:7", True), ("alpha:8", False), ("beta:7", False)],
)
def test_p6_a_worker_that_waits_in_a_queue_is_given_up_where_nobody_can_know_of_it(
    home: str | None, lives: bool, fleet: Fleet
) -> None:
    """Else it took the place of others for ever, in a run that another user goes on with."""
    (worker,) = fleet.workers()
    worker.home, worker.health.submitted = "alpha:7", time.monotonic() - 1000
    where: Any = None if home is None else Where(home)
    gone = fleet._judge(Snapshot(True, home=where))
    assert [one.worker for one in gone] == ([] if lives else [worker])


def test_p6_a_scheduler_that_does_not_say_where_jobs_are_at_home_delays_nobody(
    fleet: Fleet, cluster: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, given = threading.Event(), list[str]()

    def home() -> str:
        answers.wait(30)
        return "alpha:1000"

    def submit(*, token: str, **_: object) -> list[str]:
        given.append(token)
        return ["8"]

    monkeypatch.setattr(cluster, "home", home)
    monkeypatch.setattr(cluster, "submit", submit)
    fleet._most = 2
    began = time.monotonic()
    for _ in range(3):
        fleet.scale({"gpu": 2})
    assert time.monotonic() - began < 10
    assert not given
    answers.set()

    def submitted() -> bool:
        fleet.scale({"gpu": 2})
        return bool(given)

    wait_until("it to submit", submitted)
    assert [worker.home for worker in fleet.workers()] == ["", "alpha:1000"]
    fleet.abandon()


def test_p6_what_slurm_said_before_a_run_began_is_no_answer_to_it(fleet: Fleet) -> None:
    """Else one that begins when Slurm has just stopped to answer would wait for it to come back."""
    for taken, up in ((-1.0, False), (1.0, True)):
        scheduler = fleet._scheduler
        scheduler._asked = Future()
        scheduler._asked.set_result(Snapshot(True, taken=scheduler._began + taken))
        fleet._collect_snapshot()
        assert scheduler.was_up is up


def test_p8_of_a_worker_that_ended_well_before_it_began_the_last_word_is_told(
    fleet: Fleet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (worker,) = fleet.workers()
    worker.adopted = False
    worker.log.write_text("module loaded\nfuru: worker w1 ends: its walltime ends in 3 s\n")
    fleet._judge(says(JobState.COMPLETED))
    assert "ended before it began: its job has ended as COMPLETED, and its last word" in caplog.text
    assert "its walltime ends in 3 s" in caplog.text


def test_p8_workers_that_were_killed_are_not_shown_as_living(tmp_path: Path) -> None:
    make_folders(str(tmp_path))
    run = str(tmp_path)
    here = LocalCluster().submit(
        spec=SlurmSpec(setup=("exit 3",)),
        token="tok",
        name="x",
        folder=tmp_path,
        payload=JobPayload("never:called", tmp_path, [None]),
    )[0]
    jobs = {"w1": "local-999-1-00000000", "w2": "7_1@elsewhere:1000", "w3": here}
    for name, job in jobs.items():
        Heartbeat(run, name, BEAT.to_bytes(BeatRecord(job, 0, "process 5 on far")))
    Heartbeat(run, "w4", BEAT.to_bytes(BeatRecord("", 0, "process 6 on far")))
    Heartbeat(run, "w5", b"as an earlier furu wrote it")
    wait_until("the job to end", lambda: LocalCluster().jobs([here]).gone(here))
    assert pool_status(tmp_path).workers == {
        "w1": "job local-999-1-00000000, process 5 on far",  # of which nobody here knows
        "w2": "job 7_1, process 5 on far",
        "w4": "process 6 on far",
    }
    assert pool_status(tmp_path, workers=False).workers == {}
    _heartbeats.remove(run, "w1")
    assert _heartbeats.counts(run) == {"w2": 0, "w3": 0, "w4": 0, "w5": 0}


def test_p7_workers_that_an_earlier_furu_noted_are_taken_over(tmp_path: Path) -> None:
    make_folders(str(tmp_path))
    worker = Worker("w1", "gpu", "tok", 0, str(tmp_path), "7")
    _workers.note(str(tmp_path), worker)
    path = tmp_path / "workers" / "w1.json"
    record = json.loads(path.read_text())
    del record["home"]
    path.write_text(json.dumps(record))
    assert [one.name for one in _workers.noted(str(tmp_path))] == ["w1"]
