"""P6: what is looked for when a run has ended, and how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from furu_slurm import JobInfo, JobState, LocalCluster, Snapshot
from furu_slurm.errors import FuruSlurmUnavailable
from furu_slurm_pool._controller import _ghost_jobs, _workers
from furu_slurm_pool._controller._ghost_jobs import ghost_jobs, live_jobs, worker_job_name
from furu_slurm_pool._controller._terms import current_leader, take_over
from furu_slurm_pool._controller._workers import Worker
from furu_slurm_pool._observer._stop import _stop_workers
from furu_slurm_pool._queue._run_folder import make_folders, orders_for

RUN = "20260101-000000-abcdef"
UNKNOWN = Snapshot(False, problem="squeue: timed out")


def snapshot(**states: JobState) -> Snapshot:
    """Jobs of the run's workers, by id without its first letter."""
    infos = [
        JobInfo(job_id=name[1:], name=f"{worker_job_name(RUN, 'gpu')}.tok", state=state)
        for name, state in states.items()
    ]
    return Snapshot(True, found={info.job_id: info for info in infos})


def worker(job_id: str | None, *, token: str = "", index: int = 0, home: str = "") -> Worker:
    return Worker(f"w-{job_id or token}-{index}", "gpu", token, index, "logs", job_id, home)


class Scripted(LocalCluster):
    """A scheduler that gives prepared answers, the last one again and again."""

    def __init__(self, *answers: Snapshot) -> None:
        super().__init__()
        self.answers = list(answers)
        self.cancelled: list[str] = []

    def cancel(self, job_ids: Iterable[str]) -> None:
        self.cancelled += job_ids

    def jobs(self, wanted: Iterable[str] = (), *, fresh: bool = False) -> Snapshot:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ghost_jobs, "_PAUSE_SECS", 0.001)


def test_only_live_jobs_of_the_runs_workers_are_left() -> None:
    jobs = snapshot(_1=JobState.RUNNING, _2=JobState.COMPLETED, _3=JobState.COMPLETING)
    other = JobInfo(job_id="9", name=f"furu-pool-controller-{RUN}.tok", state=JobState.RUNNING)
    renamed = JobInfo(job_id="7", name="mine", state=JobState.RUNNING)
    all_found = {**jobs.found, "9": other, "7": renamed}
    assert live_jobs(Scripted(Snapshot(True, found=all_found)), RUN, []) == ["1"]
    # Those whose ids are noted may be called anything; those of another cluster are left alone.
    noted = [worker("7"), worker("1"), worker("2"), worker("8"), worker("1", home="beta:0")]
    assert live_jobs(Scripted(Snapshot(True, found=all_found)), RUN, noted) == ["1", "7"]
    with pytest.raises(FuruSlurmUnavailable, match="timed out"):
        live_jobs(Scripted(UNKNOWN), RUN, [])


def test_p7_a_run_whose_controller_died_before_it_heard_of_its_jobs_is_stopped_with_them(
    tmp_path: Path,
) -> None:
    make_folders(str(tmp_path))
    for one in (worker(None, token="tok", index=1), worker(None, token="other"), worker("5")):
        _workers.note(str(tmp_path), one)
        if one.job_id is not None:
            _workers.note_job(str(tmp_path), one, one.job_id)
    take_over(str(tmp_path), 0, None)
    controller = current_leader(str(tmp_path))
    assert controller is not None
    cluster = Scripted(snapshot(_3_0=JobState.RUNNING, _3_1=JobState.PENDING))
    told = _stop_workers(tmp_path, cluster, controller)
    assert sorted(cluster.cancelled) == ["3_1", "5"]
    assert told.startswith("2 workers (and 1 that may be on their way into the queue")
    assert orders_for(str(tmp_path), "w-other")[0]  # which it finds when it begins


def found(
    cluster: Scripted, hurried: Callable[[float], bool] = lambda _: bool(time.sleep(0.001))
) -> list[str]:
    """What is found of a run that has ended, where Slurm answers so."""
    with ThreadPoolExecutor(1) as pool:
        ask = partial(pool.submit, live_jobs, cluster, RUN, [])
        return ghost_jobs(ask, RUN, hurried, hurry=False)


def test_jobs_have_a_moment_to_end_once_slurm_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    running, ended = snapshot(_1=JobState.RUNNING), snapshot(_1=JobState.COMPLETED)
    assert found(Scripted(UNKNOWN, running, ended)) == []
    monkeypatch.setattr(_ghost_jobs, "_EXIT_SECS", 0.05)
    assert found(Scripted(UNKNOWN, running)) == ["1"]


def test_p6_an_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_ghost_jobs, "_ANSWER_SECS", 0.05)
    assert found(Scripted(UNKNOWN)) == []
    assert f"furu pool stop {RUN}" in caplog.text


@pytest.mark.parametrize("answer", [UNKNOWN, snapshot(_1=JobState.RUNNING)])
def test_p6_somebody_in_a_hurry_waits_no_longer(
    answer: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    """What is known by then counts; else the way out is named."""
    jobs = found(Scripted(answer), hurried=lambda _: True)
    assert jobs == (["1"] if answer.known else [])
    assert (f"furu pool stop {RUN}" in caplog.text) is not answer.known
