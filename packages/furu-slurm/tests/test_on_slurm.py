"""Submitting and asking, on a real cluster."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from furu_core.executors import Liveness, Submission
from furu_slurm import (
    ANY_RESTART,
    JobEnvironment,
    JobInfo,
    JobPayload,
    JobState,
    SlurmCluster,
    SlurmSpec,
    job_log,
    liveness,
    new_token,
    node_log_folder,
    submitit_root,
    with_current_end,
    write_job_environment,
)
from furu_slurm.errors import FuruSlurmError, FuruSubmitRefused
from furu_testing import wait_until

if TYPE_CHECKING:
    from furu_testing.slurm import SlurmTestCluster

SMALL = SlurmSpec(cpus=1, mem_gb=0.1, time_min=60)
HELD = attrs.evolve(SMALL, extra={"additional_parameters": {"hold": True}})


@pytest.fixture
def run_folder(furu_store: Path) -> Path:
    folder = furu_store / "runs" / "r1"
    folder.mkdir(parents=True)
    write_job_environment(folder)
    return folder


@pytest.fixture
def folder(furu_store: Path) -> Path:
    return node_log_folder(submitit_root(), "default", "r1")


def submit(folder: Path, payload: JobPayload, **changes: Any) -> list[str]:
    arguments: dict[str, Any] = {"spec": SMALL, "token": new_token(), "name": "Node(3fa9c1)"}
    return SlurmCluster().submit(folder=folder, payload=payload, **(arguments | changes))


def ended(*job_ids: str) -> list[JobInfo]:
    cluster = SlurmCluster()
    infos: list[JobInfo] = []

    def over() -> bool:
        snapshot = cluster.jobs(job_ids, fresh=True)
        infos[:] = [info for job_id in job_ids if (info := snapshot.job(job_id)) is not None]
        return len(infos) == len(job_ids) and all(info.state.ended for info in infos)

    wait_until(f"the end of {job_ids}", over, seconds=400)
    return infos


def state(job_id: str) -> JobState | None:
    info = SlurmCluster().jobs(fresh=True).job(job_id)
    return None if info is None else info.state


def test_jobs_are_what_their_submitter_was_and_inside_a_job_what_their_own_spec_says(
    slurm: SlurmTestCluster,
    run_folder: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for name, value in {
        "SLURM_JOB_ID": "1",
        "SLURM_NTASKS": "4",
        "SLURM_CPUS_PER_TASK": "8",
        "SBATCH_JOB_NAME": "mine",
        "SBATCH_PARTITION": "gpu",
    }.items():
        monkeypatch.setenv(name, value)
    write_job_environment(run_folder)
    token = new_token()
    spec = SlurmSpec(gpus=1, cpus=2, mem_gb=0.5, time_min=30, setup=["export HELLO=1"])
    jobs = [[str(tmp_path / status), status] for status in ("0", "3")]
    payload = JobPayload("job_functions:report", run_folder, jobs)
    job_ids = submit(folder, payload, spec=spec, token=token)
    infos = ended(*job_ids)
    assert [(info.state, info.exit_code) for info in infos] == [
        (JobState.COMPLETED, 0),
        (JobState.FAILED, 3),
    ]
    assert [i.job_id for i in SlurmCluster().jobs(fresh=True).by_token(token)] == job_ids
    for status, job_id in zip(("0", "3"), job_ids, strict=True):
        found = json.loads((tmp_path / status).read_text())
        assert (found["job_id"], found["token"], found["restarts"]) == (job_id, token, 0)
        assert job_log(folder, job_id).read_text() == f"reported by {job_id}\n"
    assert found["cwd"] == str(elsewhere)
    assert found["path"] == str(run_folder.parent.parent)
    assert found["hello"] == "1"
    assert found["imported"] == []
    assert 0 < found["seconds_left"] <= 1800
    shown = slurm.run("scontrol", "show", "job", job_ids[0])
    assert "NumCPUs=2" in shown
    assert "Partition=gpu" in shown  # the spec names none
    one = attrs.evolve(payload, jobs=jobs[:1])
    (job_id,) = submit(folder, one, spec=attrs.evolve(HELD, partition="cpu"))
    assert "Partition=cpu" in slurm.run("scontrol", "show", "job", job_id)


def test_an_own_dependency_of_a_spec_is_waited_for_as_well(
    slurm: SlurmTestCluster, run_folder: Path, folder: Path, tmp_path: Path
) -> None:
    blocker = slurm.sbatch("sleep 600")
    spec = SlurmSpec(cpus=1, mem_gb=0.1, extra={"dependency": f"afterany:{blocker}"})
    first = slurm.sbatch("true")
    payload = JobPayload("job_functions:report", run_folder, [[str(tmp_path / "out"), "0"]])
    (job_id,) = submit(folder, payload, spec=spec, dependency=f"afterok:{first}")
    ended(first)
    assert state(job_id) is JobState.PENDING
    SlurmCluster().cancel([blocker])
    assert ended(job_id)[0].state is JobState.COMPLETED


@pytest.mark.parametrize("teardown", [False, True])
def test_the_signal_before_the_end_reaches_the_job_and_no_child_of_it(
    teardown: bool, slurm: SlurmTestCluster, run_folder: Path, folder: Path, tmp_path: Path
) -> None:
    extra = {"teardown": [f"touch '{tmp_path}/torn down'"]} if teardown else {}
    spec = SlurmSpec(cpus=1, mem_gb=0.1, extra=extra)
    payload = JobPayload(
        "job_functions:until_signalled", run_folder, [[str(tmp_path / "out"), "0"]]
    )
    (job_id,) = submit(folder, payload, spec=spec)
    wait_until("the job to start", (tmp_path / "out.ready").exists)
    # What --signal=B: does when the walltime is about to end.
    slurm.run("scancel", "--batch", "--signal=USR2", job_id)
    (info,) = ended(job_id)
    assert (tmp_path / "out").exists()
    assert info.exit_code == 7
    assert (tmp_path / "torn down").exists() == teardown


def was_put_back(job_id: str) -> bool:
    info = SlurmCluster().jobs(fresh=True).job(job_id)
    assert info is not None
    return info.restarts == 1 and info.state in (JobState.PENDING, JobState.RUNNING)


def test_a_start_of_a_job_is_gone_when_the_job_was_put_back_into_the_queue_P4(
    slurm: SlurmTestCluster, run_folder: Path, folder: Path, tmp_path: Path
) -> None:
    payload = JobPayload("job_functions:until_killed", run_folder, [[str(tmp_path / "out"), "0"]])
    (job_id,) = submit(folder, payload, requeue=True)
    wait_until("the job to start", (tmp_path / "out").exists)
    first = Submission("slurm-dag", job_id, 0)
    job = Submission("slurm-dag", job_id, ANY_RESTART)
    assert set(liveness([first, job]).values()) == {Liveness.ALIVE}
    end = SlurmCluster().end_of(job_id)
    assert end is not None
    assert 0 < end - time.time() <= 60 * SMALL.time_min
    slurm.run("scontrol", "update", f"jobid={job_id}", "timelimit=+7")
    assert with_current_end(JobEnvironment("slurm", job_id, end=end)).end == end + 420
    SlurmCluster().requeue(job_id)
    wait_until("the job to wait, or to start again", lambda: was_put_back(job_id))
    assert liveness([first, job]) == {first: Liveness.GONE, job: Liveness.ALIVE}
    SlurmCluster().cancel([job_id])
    ended(job_id)
    assert set(liveness([first, job]).values()) == {Liveness.GONE}


def test_a_job_that_is_not_to_be_requeued_cannot_be(
    slurm: SlurmTestCluster, run_folder: Path, folder: Path, tmp_path: Path
) -> None:
    payload = JobPayload("job_functions:until_killed", run_folder, [[str(tmp_path / "out"), "0"]])
    (job_id,) = submit(folder, payload, requeue=False)
    wait_until("the job to start", (tmp_path / "out").exists)
    with pytest.raises(FuruSlurmError, match="could not be put back"):
        SlurmCluster().requeue(job_id)


def test_what_slurm_refuses_is_an_error_in_its_words(
    slurm: SlurmTestCluster, run_folder: Path, folder: Path
) -> None:
    for spec, words in (
        (SlurmSpec(partition="nope"), "[Ii]nvalid partition"),
        (SlurmSpec(mem_gb=10_000_000), "node configuration is not available"),
        (SlurmSpec(extra={"gres": "gpu:99"}), "node configuration is not available"),
        (SlurmSpec(extra={"constraint": "nope"}), "Invalid feature"),
        (SlurmSpec(extra={"additional_parameters": {"frobnicate": 1}}), "unrecognized option"),
    ):
        with pytest.raises(FuruSubmitRefused, match=words):
            submit(
                folder, JobPayload("job_functions:report", run_folder, [["out", "0"]]), spec=spec
            )


def test_a_job_whose_machine_does_not_see_the_folder_of_logs_says_so_P8(
    slurm: SlurmTestCluster, run_folder: Path, folder: Path
) -> None:
    blocker = slurm.sbatch("sleep 600")
    payload = JobPayload("job_functions:report", run_folder, [["out", "0"]])
    (job_id,) = submit(folder, payload, dependency=f"afterany:{blocker}")
    folder.rename(folder.with_name("elsewhere"))
    SlurmCluster().cancel([blocker])
    (info,) = ended(job_id)
    assert info.state is JobState.FAILED
    assert "does it see that folder?" in info.words


def test_jobs_whose_confirmation_got_lost_are_found_and_submitted_once_P7(
    slurm: SlurmTestCluster,
    run_folder: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lossy = tmp_path / "bin"
    lossy.mkdir()
    (lossy / "sbatch").write_text(
        f'#!/bin/sh\necho x >> {tmp_path}/calls\nPATH=/usr/bin:/bin sbatch "$@" > /dev/null\n'
        "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1\n"
    )
    (lossy / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{lossy}{os.pathsep}{os.environ['PATH']}")
    token = new_token()
    jobs = [[str(tmp_path / f"out{n}"), "0"] for n in range(2)]
    payload = JobPayload("job_functions:report", run_folder, jobs)
    job_ids = submit(folder, payload, spec=HELD, token=token)
    assert (tmp_path / "calls").read_text() == "x\n"
    (array,) = {job_id.partition("_")[0] for job_id in job_ids}
    assert job_ids == [f"{array}_0", f"{array}_1"]
    infos = SlurmCluster().jobs(fresh=True).by_token(token)
    assert [(info.job_id, info.state) for info in infos] == [
        (job_id, JobState.PENDING) for job_id in job_ids
    ]


@pytest.fixture
def sbatch_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each call of sbatch."""
    program = shutil.which("sbatch")
    (shim := tmp_path / "bin" / "sbatch").parent.mkdir()
    shim.write_text(f"#!/bin/sh\necho called >> '{tmp_path}/calls'\nexec {program} \"$@\"\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent), prepend=os.pathsep)
    return tmp_path / "calls"


def test_two_thousand_jobs_take_two_calls_of_sbatch(
    slurm: SlurmTestCluster, run_folder: Path, folder: Path, sbatch_calls: Path
) -> None:
    cluster = SlurmCluster()
    size = min(1000, cluster.max_array_size())
    jobs = [[f"out{n}", "0"] for n in range(2000)]
    tokens = [new_token() for _ in range(0, 2000, size)]
    job_ids = [
        job_id
        for token, start in zip(tokens, range(0, 2000, size), strict=True)
        for job_id in submit(
            folder,
            JobPayload("job_functions:report", run_folder, jobs[start : start + size]),
            spec=HELD,
            token=token,
        )
    ]
    assert len(sbatch_calls.read_text().splitlines()) == 2
    snapshot = cluster.jobs(fresh=True)
    assert all(snapshot.job(job_id) is not None for job_id in job_ids)
    answers = liveness([Submission("slurm-dag", job_id) for job_id in job_ids[:size]])
    assert set(answers.values()) == {Liveness.ALIVE}
    cluster.cancel(job_ids)
    assert [info.state for info in ended(job_ids[0], job_ids[-1])] == [JobState.CANCELLED] * 2
