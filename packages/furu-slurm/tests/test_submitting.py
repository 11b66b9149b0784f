"""Submitting, with commands of Slurm that fail as they rarely do: nothing is submitted twice."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import QUEUED, FakeSlurm

from furu_core.errors import FuruStoreError
from furu_slurm import JobPayload, SlurmCluster, SlurmSpec, new_token
from furu_slurm.errors import (
    FuruSlurmUnavailable,
    FuruSpecError,
    FuruSubmitLimit,
    FuruSubmitRefused,
)

SUBMITTED = "echo 'Submitted batch job 17'"
LATER = f"{SUBMITTED}; printf '{QUEUED.format(job=17, name='%s')}\\n' \"$NAME\" > $FAKE/queue"


def submit(folder: Path, *, patience: float = 20.0, count: int = 1, **changes: Any) -> list[str]:
    arguments: dict[str, Any] = {
        "spec": SlurmSpec(),
        "token": new_token(),
        "name": "Train(3fa9c1)",
        "folder": folder / "logs",
        "payload": JobPayload("module:function", folder / "run", ["argument"] * count),
        **changes,
    }
    return SlurmCluster(patience_secs=patience).submit(**arguments)


def option(fake: FakeSlurm, name: str) -> str | None:
    words = fake.calls("sbatch")[-1].split()
    found = [word.partition("=")[2] for word in words if word.partition("=")[0] == f"--{name}"]
    return found[-1] if found else None


def test_several_calls_make_one_array_and_no_number_of_them_may_run_at_once(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", SUBMITTED)
    assert submit(tmp_path) == ["17"]
    assert option(fake, "array") is None
    assert submit(tmp_path, count=3) == ["17_0", "17_1", "17_2"]
    assert option(fake, "array") == "0-2%3"
    assert submit(tmp_path, count=0) == []
    assert len(fake.calls("sbatch")) == 2


def test_a_spec_becomes_options_of_sbatch(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.command("sbatch", SUBMITTED)
    extra = {"qos": "long", "slurm_additional_parameters": {"reservation": "mine"}}
    spec = SlurmSpec(partition="gpu", gpus=2, cpus=8, mem_gb=0.5, time_min=1.5, extra=extra)
    submit(tmp_path, spec=spec, token="tok", dependency="afterok:3", requeue=True)
    for name, value in {
        "partition": "gpu",
        "gpus-per-node": "2",
        "cpus-per-task": "8",
        "mem": "512MB",
        "time": "1:30",
        "qos": "long",
        "reservation": "mine",
        "job-name": "Train(3fa9c1).tok",
        "dependency": "afterok:3",
        "kill-on-invalid-dep": "yes",
        "requeue": "",
        "signal": "B:USR2@60",
        "open-mode": "append",
    }.items():
        assert option(fake, name) == value, name
    assert option(fake, "no-requeue") is None
    submit(tmp_path, signal_before_secs=90)
    assert option(fake, "no-requeue") == ""
    assert option(fake, "signal") == "B:USR2@90"


@pytest.mark.parametrize("where", ["extra", "additional_parameters"])
def test_a_dependency_of_the_spec_holds_beside_that_of_the_job(
    where: str, fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", SUBMITTED)
    own = {"dependency": "afterany:5"}
    spec = SlurmSpec(extra=own if where == "extra" else {"additional_parameters": own})
    submit(tmp_path, spec=spec, dependency="afterok:3:4")
    assert option(fake, "dependency") == "afterok:3:4,afterany:5"
    submit(tmp_path, spec=spec)
    assert option(fake, "dependency") == "afterany:5"


def test_a_choice_of_dependencies_cannot_be_combined(fake: FakeSlurm, tmp_path: Path) -> None:
    spec = SlurmSpec(extra={"dependency": "afterok:5?afterok:6"})
    with pytest.raises(FuruSpecError, match="separate its conditions with commas"):
        submit(tmp_path, spec=spec, dependency="afterok:3")
    assert fake.calls("sbatch") == []


def test_other_ways_to_say_memory_and_processors_replace_the_fields(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", SUBMITTED)
    submit(tmp_path, spec=SlurmSpec(extra={"mem_per_cpu": "2GB"}))
    assert (option(fake, "mem"), option(fake, "mem-per-cpu")) == (None, "2GB")
    extra = {"cpus_per_gpu": 4, "gpus_per_task": 1}
    submit(tmp_path, spec=SlurmSpec(mem_gb=0.0004))
    assert option(fake, "mem") == "1MB"  # 0 would be all that there is
    submit(tmp_path, spec=SlurmSpec(mem_gb=0))
    assert option(fake, "mem") in ("0", "0GB")
    submit(tmp_path, spec=SlurmSpec(mem_gb=None, extra=extra))
    assert (option(fake, "mem"), option(fake, "cpus-per-task")) == (None, None)
    assert option(fake, "cpus-per-gpu") == "4"


def test_what_submitit_advises_is_a_warning_or_where_warnings_are_errors_one_of_the_spec(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", SUBMITTED)
    spec = SlurmSpec(extra={"cpus_per_gpu": 4})
    with pytest.warns(UserWarning, match="gpus_per_task"):
        submit(tmp_path, spec=spec)
    with pytest.raises(FuruSpecError, match="gpus_per_task"):
        submit(tmp_path, spec=spec)


def test_the_users_sbatch_settings_stay_and_never_rename_a_job(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command("sbatch", SUBMITTED)
    for name, value in {
        "SBATCH_ACCOUNT": "physics",
        "SBATCH_JOB_NAME": "mine",
        "SBATCH_WAIT": "1",
        "SBATCH_ARRAY_INX": "0-9",
    }.items():
        monkeypatch.setenv(name, value)
    submit(tmp_path, token="tok")
    seen = fake.environment("sbatch")
    assert seen["SBATCH_ACCOUNT"] == "physics"
    # Options outweigh SBATCH_*, which outweigh what stands in the script.
    assert option(fake, "job-name") == "Train(3fa9c1).tok"
    assert "SBATCH_WAIT" not in seen
    assert "SBATCH_ARRAY_INX" not in seen


def test_nothing_of_an_outer_job_reaches_the_inner_one(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command("sbatch", SUBMITTED)
    outer = {
        "SLURM_JOB_ID": "3",
        "SLURM_MEM_PER_NODE": "100",
        "SLURM_JOB_GPUS": "0",
        "SLURMD_NODENAME": "n1",
        "CUDA_VISIBLE_DEVICES": "0",
        "SUBMITIT_EXECUTOR": "slurm",
        "FURU_EXEC_NODE": "x",
    }
    kept = {"SLURM_CONF": __file__, "SLURM_CLUSTERS": "big", "SBATCH_QOS": "long"}
    for name, value in {**outer, **kept, "HOME": "/home/user"}.items():
        monkeypatch.setenv(name, value)
    submit(tmp_path)
    seen = fake.environment("sbatch")
    assert not outer.keys() & seen.keys()
    assert kept.items() <= seen.items()
    assert seen["HOME"] == "/home/user"


def test_the_users_own_settings_of_slurm_stay_outside_of_jobs(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command("sbatch", SUBMITTED)
    monkeypatch.setenv("SLURM_MPI_TYPE", "pmix")
    submit(tmp_path)
    assert fake.environment("sbatch")["SLURM_MPI_TYPE"] == "pmix"


def test_more_dependencies_than_sbatch_can_be_told_are_an_error_that_says_so(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    dependency = "afterok:" + ":".join(map(str, range(100_000, 120_000)))
    with pytest.raises(FuruSubmitRefused, match="wait for 20000 others"):
        submit(tmp_path, dependency=dependency)
    assert fake.calls("sbatch") == []


def test_devices_that_a_user_chose_outside_of_jobs_stay(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command("sbatch", SUBMITTED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    submit(tmp_path)
    assert fake.environment("sbatch")["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_job_whose_confirmation_got_lost_is_found_by_its_name_P7(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    # Killed only when it has long been submitted, however slowly its shell starts.
    fake.command("sbatch", f"({LATER}) > /dev/null; exec sleep 600")
    assert submit(tmp_path, patience=6.0) == ["17"]
    assert len(fake.calls("sbatch")) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Socket timed out on send/recv operation",
        "Zero Bytes were transmitted or received",
        "Unexpected message received",
    ],
)
def test_an_array_of_which_nobody_knows_is_looked_up_before_it_is_tried_again_P7(
    words: str, fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", f"({LATER}) > /dev/null; echo 'sbatch: error: {words}' >&2; exit 1")
    assert submit(tmp_path, count=2) == ["17_0", "17_1"]
    assert len(fake.calls("sbatch")) == 1


def test_a_job_that_squeue_has_forgotten_is_found_in_the_accounting_P7(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", "echo $NAME > $FAKE/name; echo 'error: Socket timed out' >&2; exit 1")
    fake.command(
        "sacct", 'echo "9_0|COMPLETED|0:0|other"; echo "17|COMPLETED|0:0|$(cat $FAKE/name)"'
    )
    assert submit(tmp_path) == ["17"]
    assert len(fake.calls("sbatch")) == 1


def test_whoever_submits_after_a_killed_submitter_gets_its_jobs_P7(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", LATER)
    assert submit(tmp_path, token="tok", count=2) == ["17_0", "17_1"]
    assert submit(tmp_path, token="tok", count=2) == ["17_0", "17_1"]
    assert len(fake.calls("sbatch")) == 1
    # Accounting that fails does not say that there was none, and squeue forgets.
    fake.command("squeue", "exit 0")
    fake.command("sacct", "echo 'sacct: error: slurm_persist_conn_open: Refused' >&2; exit 1")
    with pytest.raises(FuruSlurmUnavailable, match="not known"):
        submit(tmp_path, token="tok", count=2, patience=1.0)
    fake.command("squeue", "exit 1")
    with pytest.raises(FuruSlurmUnavailable, match="not known"):
        submit(tmp_path, token="tok", count=2, patience=1.0)
    assert len(fake.calls("sbatch")) == 1


def test_what_certainly_did_not_happen_is_tried_again(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.command(
        "sbatch", f"[ $COUNT = 1 ] && {{ echo 'Socket timed out' >&2; exit 1; }}; {SUBMITTED}"
    )
    assert submit(tmp_path) == ["17"]
    assert len(fake.calls("sbatch")) == 2
    assert len(fake.calls("squeue")) >= 2  # a busy controller may show the job a little later


def test_nothing_is_tried_again_while_nobody_can_tell_P7(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.command("sbatch", "echo 'sbatch: error: Socket timed out on send/recv' >&2; exit 1")
    fake.command(
        "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    )
    with pytest.raises(FuruSlurmUnavailable) as caught:
        submit(tmp_path, patience=6.0, token="tok")
    assert caught.value.maybe_submitted
    assert caught.value.token == "tok"
    assert "Socket timed out" in str(caught.value)
    assert len(fake.calls("sbatch")) == 1


def test_of_two_jobs_with_one_name_one_is_cancelled(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.command("sbatch", "echo 'Socket timed out' >&2; exit 1")
    name = "Train(3fa9c1).tok"
    fake.queue(QUEUED.format(job=21, name=name), QUEUED.format(job=19, name=name))
    assert submit(tmp_path, token="tok") == ["19"]
    assert fake.calls("scancel") == ["--quiet 21"]


def test_a_controller_that_is_away_for_a_moment_is_waited_for(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    away = "Unable to contact slurm controller (connect failure)"
    fail = f"{{ echo 'error: {away}' >&2; exit 1; }}"
    fake.command("sbatch", f"[ $COUNT -lt 3 ] && {fail}; {SUBMITTED}")
    assert submit(tmp_path) == ["17"]
    assert fake.calls("squeue") == []  # which would not be answered either


def test_a_controller_that_stays_away_is_an_error_in_bounded_time_P6(
    fake: FakeSlurm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for command in ("sbatch", "squeue"):
        fake.command(command, "echo 'error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(FuruSlurmUnavailable, match="does not answer") as caught:
        submit(tmp_path, patience=1.0)
    assert not caught.value.maybe_submitted  # it never got the request
    assert list((tmp_path / "logs").iterdir()) == []
    assert "does not answer (Unable to contact slurm controller); trying for 1 s" in caplog.text
    # It got it, and the answer was lost.
    lost = "Unable to contact slurm controller (receive failure)"
    fake.command("sbatch", f"echo 'error: {lost}' >&2; exit 1")
    with pytest.raises(FuruSlurmUnavailable, match="not known") as caught:
        submit(tmp_path, patience=1.0)
    assert caught.value.maybe_submitted


NOWHERE = """cat >&2 <<.
sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
sbatch: error: fetch_config: DNS SRV lookup failed
sbatch: error: _establish_config_source: failed to fetch config
sbatch: fatal: Could not establish a configuration source
.
exit 1"""


def test_p8_where_sbatch_knows_of_no_cluster_that_is_said_at_once(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command("sbatch", NOWHERE)
    with pytest.raises(FuruSlurmUnavailable, match="does not know of any cluster") as caught:
        submit(tmp_path)
    assert "SLURM_CONF" in caught.value.hint
    assert not caught.value.maybe_submitted
    # Commands look for a file that is not there for a minute.
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(FuruSlurmUnavailable, match=f"{tmp_path}/slurm.conf is not there, which"):
        submit(tmp_path)
    snapshot = SlurmCluster().jobs(fresh=True)
    assert not snapshot.known
    assert "which SLURM_CONF names" in snapshot.problem
    with pytest.raises(FuruSlurmUnavailable, match="could not be cancelled"):
        SlurmCluster().cancel(["7"])
    assert len(fake.calls("sbatch")) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Batch job submission failed: Invalid partition name specified",
        "Batch job submission failed: Requested node configuration is not available",
        "QOSMaxCpuPerJobLimit",
        "Batch job submission failed: Invalid account or account/partition combination specified",
    ],
)
def test_what_slurm_refuses_is_an_error_at_once_in_its_own_words(
    words: str, fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command("sbatch", f"echo 'sbatch: error: {words}' >&2; exit 1")
    monkeypatch.setenv("SBATCH_PARTITION", "nowhere")
    with pytest.raises(FuruSubmitRefused) as caught:
        submit(tmp_path)
    assert words in str(caught.value)
    assert "correct the SlurmSpec, or SBATCH_PARTITION in the environment" in caught.value.hint
    assert caught.value.said == words
    assert len(fake.calls("sbatch")) == 1


@pytest.mark.parametrize(
    "words",
    [
        "AssocMaxSubmitJobLimit",
        "QOSMaxSubmitJobPerUserLimit",
        "Batch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    ],
)
def test_a_limit_on_the_number_of_jobs_is_an_error_of_its_own(
    words: str, fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", f'echo "sbatch: error: {words}" >&2; exit 1')
    with pytest.raises(FuruSubmitLimit, match="takes no more jobs now"):
        submit(tmp_path)


def test_a_limit_that_sbatch_waits_for_is_an_error_in_bounded_time_P6(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    words = "Slurm temporarily unable to accept job, sleeping and retrying."
    fake.command("sbatch", f"echo 'sbatch: error: {words}' >&2; exec sleep 600")
    with pytest.raises(FuruSubmitLimit, match="temporarily unable"):
        submit(tmp_path, patience=6.0)


def test_a_machine_without_slurm_is_named(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.remove("sbatch")
    with pytest.raises(FuruSlurmUnavailable, match="no sbatch here"):
        submit(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error_before_anything_is_submitted(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(FuruStoreError, match="cannot be written"):
        submit(tmp_path)
    assert fake.calls("sbatch") == []


def test_a_script_runs_this_python_with_its_flags(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command("sbatch", SUBMITTED)
    monkeypatch.setattr(sys, "warnoptions", ["error::UserWarning"])
    spec = SlurmSpec(setup=["module load cuda", "export A='b c'"])
    submit(tmp_path / "with space", spec=spec, token="tok")
    script = (tmp_path / "with space" / "logs" / "tok.sh").read_text()
    assert "\nmodule load cuda\nexport A='b c'\n" in script
    assert f"exec env FURU_TRUST_PICKLES=local {shlex.quote(sys.executable)} " in script
    assert " -Werror::UserWarning " in script
    assert f"-m furu_slurm._job_main '{tmp_path}/with space/run/jobs/tok.json'" in script


def test_a_script_with_a_teardown_heeds_signals_before_it_begins_anything(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    fake.command("sbatch", SUBMITTED)
    submit(tmp_path, spec=SlurmSpec(extra={"teardown": ["echo over"]}), token="tok")
    script = (tmp_path / "logs" / "tok.sh").read_text()
    assert script.index("\ntrap : TERM") < script.index(" -m furu_slurm._job_main ")


def test_ids_of_one_array_are_cancelled_together(fake: FakeSlurm) -> None:
    SlurmCluster().cancel(["5", "7_0", "7_1", "7_2", "7_9", "8_4"])
    assert fake.calls("scancel") == ["--quiet 5 7_[0-2,9] 8_4"]


def test_jobs_that_have_ended_may_be_cancelled(fake: FakeSlurm) -> None:
    fake.command("scancel", "echo 'scancel: error: Invalid job id 5' >&2; exit 1")
    SlurmCluster().cancel(["5"])
    fake.command("scancel", "echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(FuruSlurmUnavailable, match="scancel 5"):
        SlurmCluster().cancel(["5"])
    fake.remove("scancel")
    with pytest.raises(FuruSlurmUnavailable, match="scancel cannot be started"):
        SlurmCluster().cancel(["5"])


def test_p8_that_another_users_job_was_not_cancelled_is_said(
    fake: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    fake.command("scancel", "echo 'scancel: error: Access/permission denied' >&2; exit 1")
    SlurmCluster().cancel(["5"])
    assert "Access/permission denied" in caplog.text


def test_the_size_of_arrays_is_asked_once(fake: FakeSlurm) -> None:
    fake.command("scontrol", "echo 'MaxArraySize            = 11'")
    assert [SlurmCluster().max_array_size() for _ in range(3)] == [11, 11, 11]
    assert len(fake.calls("scontrol")) == 1


def test_without_an_answer_arrays_are_as_large_as_by_default(fake: FakeSlurm) -> None:
    assert SlurmCluster().max_array_size() == 1001


def test_a_ctrl_c_at_the_terminal_does_not_reach_sbatch(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.command("sbatch", f"ps -o sid= -p $$ > {tmp_path}/sid; {SUBMITTED}")
    submit(tmp_path)
    assert int((tmp_path / "sid").read_text()) != os.getsid(0)
