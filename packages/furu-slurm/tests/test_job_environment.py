"""Jobs find the submitter's imports, folder and settings, or say clearly why they cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import furu_core
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruStoreError, FuruUsageError
from furu_core.executors import JobTimes, Liveness, Submission
from furu_slurm import (
    JobEnvironment,
    JobPayload,
    LocalCluster,
    SlurmSpec,
    _job_main,
    job_log,
    job_times,
    liveness,
    new_token,
    restore_job_environment,
    write_job_environment,
)
from furu_slurm._environment import job_environment
from furu_slurm._job_payload import job_command, payload_file, read_payload, write_payload
from furu_slurm.errors import FuruSlurmError
from furu_testing import wait_until


@pytest.fixture
def run_folder(furu_store: Path) -> Path:
    folder = furu_store / "runs" / "r1"
    folder.mkdir(parents=True)
    write_job_environment(folder)
    return folder


def change(folder: Path, **changes: Any) -> None:
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def submit(payload: JobPayload, **changes: Any) -> tuple[list[str], Path]:
    folder = payload.run_folder.parent.parent / "submitit"
    arguments: dict[str, Any] = {"spec": SlurmSpec(), "token": new_token(), "name": "x", **changes}
    return LocalCluster().submit(folder=folder, payload=payload, **arguments), folder


def wait_for_end(job_id: str) -> None:
    def over() -> bool:
        info = LocalCluster().jobs(fresh=True).job(job_id)
        return info is None or info.state.ended

    wait_until(f"the end of {job_id}", over)


def test_a_job_is_what_its_submitter_was_and_its_status_what_its_function_returns_P8(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("FURU_EXEC_NODE", "of an outer run")
    with furu_core.use_settings(lease_secs=77.0):
        write_job_environment(run_folder)
    spec = SlurmSpec(setup=["export HELLO='a b'"])
    jobs = [[str(tmp_path / status), status] for status in ("0", "2")]
    job_ids, folder = submit(JobPayload("job_functions:report", run_folder, jobs), spec=spec)
    job_ids += submit(JobPayload("job_functions:nothing", run_folder, [None]), spec=spec)[0]
    for job_id in job_ids:
        wait_for_end(job_id)
    snapshot = LocalCluster().jobs()
    infos = [info for job_id in job_ids if (info := snapshot.job(job_id)) is not None]
    assert [info.exit_code for info in infos] == [0, 2, 1]
    assert [info.state.name for info in infos] == ["COMPLETED", "FAILED", "FAILED"]
    log = job_log(folder, job_ids[0]).read_text()
    assert log == f"reported by {job_ids[0]}\n", log
    found = json.loads((tmp_path / "0").read_text())
    assert found["cluster"] == "local"
    assert found["job_id"] == job_ids[0]
    assert found["cwd"] == str(elsewhere)
    assert found["path"] == str(run_folder.parent.parent)
    assert found["lease_secs"] == 77.0
    assert found["hello"] == "a b"
    assert found["imported"] == []  # the job's parent stays small
    assert found["handlers"] == [str(signal.SIG_DFL)] * 2
    assert not [name for name in found["furu"] if name.startswith("FURU_EXEC_")]
    assert found["sys_path"][: len(sys.path)] == [os.path.abspath(entry) for entry in sys.path]
    assert found["command"] == list(sys.orig_argv)


def test_processes_are_jobs_that_any_program_finds_and_live_until_they_are_cancelled_P7(
    run_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from furu_slurm import *; "
        "run, out = sys.argv[1:]; "
        "payload = JobPayload('job_functions:until_killed', Path(run), [[out, '']]); "
        "print(*LocalCluster().submit(spec=SlurmSpec(), token='tok1', name='x', "
        "folder=Path(run).parents[1] / 'submitit', payload=payload))"
    )
    out = tmp_path / "out"
    job_id = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(run_folder), str(out)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    submission = Submission("slurm-pool", job_id)
    wait_until("the job to start", out.exists)
    assert liveness([submission]) == {submission: Liveness.ALIVE}
    wait_until("the job to fork", out.read_text)
    assert [info.job_id for info in LocalCluster().jobs().by_token("tok1")] == [job_id]
    payload = JobPayload("job_functions:until_killed", run_folder, [[str(out), ""]])
    assert submit(payload, token="tok1")[0] == [job_id]  # and not a second one
    LocalCluster().cancel([job_id, "local-1-1-00000000"])
    wait_for_end(job_id)
    assert liveness([submission]) == {submission: Liveness.GONE}


def test_processes_wait_for_nothing_and_have_no_queue(run_folder: Path) -> None:
    with pytest.raises(FuruSlurmError, match="cannot wait for afterok:5"):
        submit(JobPayload("a:b", run_folder, [None]), dependency="afterok:5")
    with pytest.raises(FuruSlurmError, match="no queue"):
        LocalCluster().requeue("local-1-1-00000000")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"store": "/not/there"}, FuruStoreError, "does not see the store /not/there"),
        ({"cwd": "/not/there"}, FuruUsageError, "cannot enter the working directory /not/there"),
        ({"version": 99}, FuruFormatError, "format version 99"),
        ({"version": "x"}, FuruDamagedRecord, "damaged"),
    ],
)
def test_what_a_machine_does_not_see_is_named_P8(
    changes: dict[str, Any], error: type[Exception], words: str, run_folder: Path
) -> None:
    change(run_folder, **changes)
    with pytest.raises(error, match=words):
        restore_job_environment(run_folder)


def test_a_run_folder_that_a_machine_does_not_see_is_an_error_in_bounded_time_P6(
    tmp_path: Path,
) -> None:
    with pytest.raises(FuruStoreError, match="all nodes of the cluster see"):
        restore_job_environment(tmp_path / "not there", patience_secs=0.2)


def test_a_job_that_cannot_start_says_why_on_its_log_and_ends_with_an_error_P8(
    run_folder: Path,
) -> None:
    change(run_folder, cwd="/not/there")
    (job_id,), folder = submit(JobPayload("job_functions:report", run_folder, [["out", "0"]]))
    wait_for_end(job_id)
    info = LocalCluster().jobs().job(job_id)
    assert info is not None
    assert info.exit_code == 1
    text = job_log(folder, job_id).read_text()
    assert text.startswith(f"furu: job {job_id}: FuruUsageError: ")
    assert "cannot enter the working directory /not/there" in text
    assert "Traceback" not in text


def test_a_payload_is_read_as_it_was_written(tmp_path: Path) -> None:
    payload = JobPayload("a:b", tmp_path, (1, ["x"]), {"key": "gpu"}, token="tok", time_min=30.0)
    write_payload(payload)
    path = payload_file(tmp_path, "tok")
    assert read_payload(path) == payload
    assert path.stat().st_size < 200 + len(str(tmp_path))
    path.write_text("{}")
    with pytest.raises(FuruDamagedRecord, match=r"damaged.*Run the same command again"):
        read_payload(path)
    path.write_text('{"version": 3}')
    with pytest.raises(FuruFormatError, match="format version 3"):
        read_payload(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("given", ["jobs/tok.json", "environment.json"])
@pytest.mark.parametrize("trust", ["own", "54321", "all"])
def test_p8_a_job_runs_what_only_trusted_users_wrote(
    given: str, trust: str, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    payload = JobPayload("job_functions:report", run_folder, [[str(out), "0"]], token="tok")
    # The jobs learn it from no file that others could have replaced.
    with furu_core.use_settings(trust_pickles=trust):
        write_job_environment(run_folder)
        write_payload(payload)
        command = job_command(payload.path, "0")
    for path in (run_folder / "jobs/tok.json", run_folder / "environment.json"):
        assert path.stat().st_mode & 0o022 == 0
    os.chown(run_folder / given, 54321, -1)
    environ = {name: value for name, value in os.environ.items() if "FURU_" not in name}
    environ["SUBMITIT_EXECUTOR"] = "local"
    done = subprocess.run(
        ["bash", "-c", command], env=environ, capture_output=True, text=True, check=False
    )
    if trust != "own":
        assert done.returncode == 0, done.stderr
        assert out.exists()
        return
    assert done.returncode == 1, done.stderr
    assert not out.exists()
    assert f"FuruUntrustedFile: {run_folder / given} " in done.stderr
    assert "belongs to 54321" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "FURU_PATH must be a folder that all nodes"), ("[]", "is damaged: ")],
)
def test_p6_a_job_that_cannot_read_what_it_is_to_do_names_the_file(
    text: str | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_job_main, "VISIBLE_SECS", 0.0)
    path = payload_file(tmp_path, "tok")
    if text is not None:
        path.parent.mkdir()
        path.write_text(text)
    before = {one: signal.getsignal(one) for one in signal.valid_signals()}
    try:
        assert _job_main.main([str(path)]) == _job_main.FAILED
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
    said = capsys.readouterr().err
    assert said.startswith("furu: job: ")
    assert str(path) in said
    assert words in said


def test_a_job_knows_its_id_as_listings_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SUBMITIT_")):
            monkeypatch.delenv(name)
    assert job_environment() is None
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NAME", "Train(3fa9c1).tok")
    before = time.time()
    job = job_environment(time_min=10)
    assert job is not None
    assert (job.job_id, job.token, job.restarts) == ("17", "tok", 0)
    assert job.end is not None
    assert before + 600 <= job.end <= time.time() + 600
    for name, value in {
        "SLURM_ARRAY_JOB_ID": "16",
        "SLURM_ARRAY_TASK_ID": "4",
        "SLURM_RESTART_COUNT": "2",
        "SLURM_JOB_END_TIME": "1000",
        "SLURM_CLUSTER_NAME": "alpha",
    }.items():
        monkeypatch.setenv(name, value)
    job = job_environment(time_min=10)
    assert job is not None
    assert (job.job_id, job.restarts, job.end) == ("16_4", 2, 1000.0)
    assert job.full_id == f"16_4@alpha:{os.getuid()}"


SHOWN = (
    "JobId=19 ArrayJobId=16 ArrayTaskId=4 JobName=Train.tok UserId=ann(1) JobState=RUNNING "
    "Reason=None Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 ExitCode=0:0 RunTime=00:00:01 "
    "SubmitTime=1970-01-02T00:00:00 EligibleTime=1970-01-02T00:01:00 AccrueTime=1970-01-02T00:00:00 "
    "StartTime=1970-01-02T00:02:00 EndTime=1971-01-02T00:02:00 Comment= StartTime=2000-01-01T00:00:00"
)
DAY = 86400.0


@pytest.mark.parametrize(
    ("script", "env_start", "told"),
    [
        (f"echo '{SHOWN}'", "", JobTimes(DAY, DAY + 60, DAY + 120)),
        # Older versions of Slurm have no such time.
        (
            "echo '" + SHOWN.replace("AccrueTime=1970-01-02T00:00:00 ", "") + "'",
            "",
            JobTimes(DAY, DAY + 60, DAY + 120),
        ),
        (
            "echo '"
            + SHOWN.replace("EligibleTime=1970-01-02T00:01:00", "EligibleTime=Unknown")
            + "'",
            "",
            JobTimes(DAY, None, DAY + 120),
        ),
        # The job that Slurm shows is another start of this one, or another job.
        (f"echo '{SHOWN.replace('Restarts=0', 'Restarts=1')}'", "", None),
        (f"echo '{SHOWN.replace('RUNNING', 'PENDING')}'", "", None),
        ("echo down >&2; exit 1", "", None),
        ("echo down >&2; exit 1", "86520", JobTimes(started=DAY + 120)),
        ("echo down >&2; exit 1", "later", None),
    ],
)
def test_p9_a_job_knows_when_it_was_queued_and_began_as_far_as_slurm_says_so(
    script: str,
    env_start: str,
    told: JobTimes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = tmp_path / "scontrol"
    asked = tmp_path / "asked"
    fake.write_text(f'#!/bin/sh\necho "$TZ $*" >> {asked}\n{script}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setenv("SLURM_JOB_START_TIME", env_start)
    assert job_times(JobEnvironment("slurm", "16_4")) == told
    assert asked.read_text() == "UTC0 --oneliner show job 16_4\n"


def test_p9_a_process_of_this_machine_was_in_no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("furu_slurm._commands.call", None)  # nobody is asked
    assert job_times(JobEnvironment("local", "local-1")) is None
