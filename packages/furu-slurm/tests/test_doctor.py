"""What `furu doctor --slurm` says of clusters and nodes that are not as they should be."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import attrs
import pytest
from fake_slurm import FakeSlurm

import furu_core
from furu_core.checks import CheckLevel, CheckResult
from furu_core.executors import replace_file
from furu_slurm import _doctor, _doctor_commands, _doctor_node
from furu_slurm._doctor_node import Surroundings

HERE = Surroundings("login", "3.11.7", "/opt/bin/python", {"furu-core": "0.1.0"}, 0.01)
OK, NOTE, WARNING, PROBLEM = CheckLevel
CONFIG = (
    'case "$*" in ping) echo up; exit 0;; "show config") echo "ClusterName = alpha"; exit 0;; esac'
)
ANSWERS = 'case "$1" in --version) echo slurm 22.05;; *) {};; esac'


@pytest.fixture
def fake(fake: FakeSlurm) -> FakeSlurm:
    """A cluster that answers, and starts nothing."""
    fake.command("scontrol", f"{CONFIG}\n{FakeSlurm.NO_JOB}")
    fake.command("sbatch", ANSWERS.format("echo Submitted batch job 7"))
    return fake


def told(wait_secs: float = 60.0) -> dict[str, CheckResult]:
    """What is not as it should be, by check."""
    results = list(_doctor.checks(wait_secs))
    assert all(bool(one.next_step) == (one.level is not OK) for one in results), results
    return {one.check: one for one in results if one.level is not OK}


def test_p8_where_there_is_no_slurm_or_it_does_not_answer_that_is_all_that_is_said(
    fake: FakeSlurm, furu_store: Path
) -> None:
    fake.command(
        "scontrol",
        "echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1",
    )
    (only,) = told().values()
    assert (only.level, "Unable to contact slurm controller" in only.what) == (PROBLEM, True)
    fake.remove("sbatch")
    (only,) = told().values()
    assert (only.what, only.next_step) == ("there is no sbatch here", _doctor._LOGIN)
    assert not list(furu_store.iterdir())


def test_a_cluster_without_accounting_or_with_a_partition_that_is_down_is_told(
    fake: FakeSlurm,
) -> None:
    (note,) = _doctor_commands.accounting()
    assert (note.level, "accounting storage is disabled" in note.what) == (NOTE, True)
    fake.command("sacct", "echo 'sacct: error: slurmdbd: Connection refused' >&2; exit 1")
    (warning,) = _doctor_commands.accounting()
    assert (warning.level, "Connection refused" in warning.what) == (WARNING, True)
    fake.command("sacct", "exit 0")
    assert [one.level for one in _doctor_commands.accounting()] == [OK]
    fake.command("sinfo", "echo 'cpu*|up|3|drained'; echo 'cpu*|up|1|down'; echo 'gpu|up|2|mixed'")
    (nodes,) = _doctor_commands.partitions(None)
    assert nodes.what == (
        "no node of the partition cpu is up: cpu (default): 3 drained, 1 down; gpu: 2 mixed"
    )
    assert [one.level for one in _doctor_commands.partitions("gpu")] == [OK]


def test_p8_a_job_that_slurm_refuses_is_a_problem_in_its_words(
    fake: FakeSlurm, furu_store: Path
) -> None:
    fake.command("sbatch", ANSWERS.format("echo 'sbatch: error: Invalid account' >&2; exit 1"))
    found = told()["job"]
    assert (found.level, "Invalid account" in found.what) == (PROBLEM, True)
    assert "SlurmSpec" in found.next_step
    assert not list(furu_store.iterdir())


def test_p8_the_wait_for_a_job_ends_says_what_it_waited_for_and_cancels_it(
    fake: FakeSlurm, furu_store: Path
) -> None:
    fake.command("squeue", 'echo "7|PENDING|0|0|Priority|x.y|"')
    found = told(wait_secs=0.1)["job"]
    assert found.what == (
        "waited 100 ms for an answer, and job 7 is PENDING (Priority); it was cancelled"
    )
    assert fake.calls("scancel") == ["--quiet 7"]
    assert not list(furu_store.iterdir())
    fake.command("squeue", 'echo "7|PENDING|0|0|PartitionTimeLimit|x.y|"')
    assert "does not pass by itself" in told()["job"].what


def test_the_job_has_its_log_where_all_jobs_have_theirs_and_nothing_of_it_is_left(
    fake: FakeSlurm, furu_store: Path, tmp_path: Path
) -> None:
    fake.command("squeue", 'echo "7|PENDING|0|0|Priority|x.y|"')
    logs = tmp_path / "logs"
    (logs / ".furu-doctor-killed").mkdir(parents=True)
    (logs / "nodes").mkdir()
    with furu_core.use_settings(extra={"FURU_SUBMITIT_PATH": str(logs)}):
        told(wait_secs=0.1)
    assert f"--output={logs}/.furu-doctor-" in fake.calls("sbatch")[-1]
    assert list(logs.iterdir()) == [logs / "nodes"]
    assert not list(furu_store.iterdir())


def test_p7_an_interrupted_doctor_cancels_its_job_and_leaves_nothing(
    fake: FakeSlurm, furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_doctor, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(_doctor.checks(60.0))
    assert fake.calls("scancel") == ["--quiet 7"]
    assert not list(furu_store.iterdir())


def test_p7_jobs_of_doctors_that_were_killed_are_cancelled_and_those_of_living_ones_are_not(
    fake: FakeSlurm, furu_store: Path
) -> None:
    name = _doctor._name()
    fake.queue(
        f"3|PENDING|0|0|Priority|{name}.gone|",
        f"4|PENDING|0|0|Priority|{name}.lives|",
        "5|PENDING|0|0|Priority|furu-doctor-00000000.other|",
        "6|PENDING|0|0|JobHeldUser|Train.tok|",
    )
    jobs = furu_store / ".furu-doctor-0-1-2-3-4" / "jobs"
    jobs.mkdir(parents=True)
    (jobs / "lives.json").touch()
    cancelled, own = _doctor._own_jobs(_doctor.SlurmCluster())
    assert (cancelled.level, "cancelled 3," in cancelled.what) == (OK, True)
    assert fake.calls("scancel") == ["--quiet 3"]
    assert own.level is WARNING
    assert own.what.startswith("you have 3 jobs: 0 running, 3 pending, Slurm says Priority (2)")
    assert own.next_step == "scontrol show job 6"


def test_a_node_that_differs_is_told_by_what_differs() -> None:
    assert {one.level for one in _doctor._compared(HERE, attrs.evolve(HERE, host="n1"))} == {OK}
    other = Surroundings(
        "n1", "3.12.1", "/opt/bin/python", {"furu-core": "0.2.0", "furu-mine": "1.0"}, 60.01
    )
    found = list(_doctor._compared(HERE, other))
    assert {one.host for one in found} == {"n1"}
    assert [(one.level, one.what.partition(":")[0]) for one in found] == [
        (PROBLEM, "Python 3.12.1 at /opt/bin/python, here 3.11.7 at /opt/bin/python"),
        (PROBLEM, "furu-core 0.2.0, here 0.1.0"),
        (PROBLEM, "furu-mine 1.0, here it is not"),
        (WARNING, "its clock is 60 s behind that of login"),
    ]


def test_files_that_are_seen_late_or_never_and_locks_that_hold_on_one_host_alone_are_told(
    tmp_path: Path, furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_doctor, "VISIBLE_SECS", 0.05)
    there = attrs.evolve(HERE, host="n1")
    (never,) = _doctor._exchange(tmp_path, HERE, there)
    assert (never.level, "nothing came back" in never.what) == (PROBLEM, True)
    monkeypatch.setattr(_doctor, "VISIBLE_SECS", 30.0)

    def answer() -> None:
        while not (tmp_path / _doctor_node.HERE).exists():
            time.sleep(0.001)
        seen = time.time() + 100
        replace_file(
            tmp_path / _doctor_node.THERE,
            f'{{"seen": {seen}, "locked_out": false}}'.encode(),
        )

    os.unlink(tmp_path / _doctor_node.HERE)
    node = threading.Thread(target=answer)
    node.start()
    late, locks = _doctor._exchange(tmp_path, HERE, there)
    node.join()
    assert (late.level, locks.level) == (WARNING, WARNING)
    assert "is seen there after 100 s" in late.what
    assert late.next_step == "export FURU_LEASE_SECS=400"
