"""The test cluster itself: what the other tests rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from furu_testing import cached_view, needs_cached_views, needs_namespaces, wait_until
from furu_testing.slurm import (
    ClusterOptions,
    NodeOptions,
    SlurmTestCluster,
    _cluster,
    free_folder,
    missing_programs,
    start,
)
from furu_testing.slurm._cluster import WAIT_SECS
from furu_testing.slurm.fixtures import TIMEOUT_SECS, OwnSlurm

LONG = "exec sleep 600"


def read(path: Path) -> str:
    whole = lambda: path.exists() and path.read_text().endswith("\n")  # noqa: E731
    wait_until(f"{path.name} to have content", whole, WAIT_SECS)
    return path.read_text()


def row(slurm: SlurmTestCluster, job: str) -> dict[str, str]:
    (found,) = slurm.squeue(job)
    return found


def accounted(slurm: SlurmTestCluster) -> dict[str, str]:
    rows = slurm.sacct()
    return rows[0] if rows else {}


def test_a_job_runs_and_accounting_knows_it(slurm: SlurmTestCluster, tmp_path: Path) -> None:
    job = slurm.sbatch("echo done", f"--output={tmp_path / 'out'}", "--job-name=trivial")
    assert slurm.wait_for_state(job, "COMPLETED") == "COMPLETED"
    assert (tmp_path / "out").read_text() == "done\n"

    expected = {"jobname": "trivial", "state": "COMPLETED", "partition": "cpu", "exitcode": "0:0"}
    wait_until(
        "accounting to know all of it",
        lambda: expected.items() <= accounted(slurm).items(),
        WAIT_SECS,
    )


def test_the_gpu_partition_schedules_what_asks_for_gpus(
    slurm: SlurmTestCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = 'echo "$SLURM_JOB_PARTITION $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"'
    slurm.sbatch(script, "--partition=gpu", "--gpus-per-node=1", f"--output={out}")
    partition, node, devices = read(out).split()
    assert partition == "gpu"
    assert node in {"n3", "n4"}
    assert devices in {"0", "1"}


def test_four_nodes_of_eight_cpus_are_there_whatever_the_machine_has(
    slurm: SlurmTestCluster,
) -> None:
    rows = slurm.run("sinfo", "-h", "-N", "-p", "cpu", "-o", "%N %c %m").splitlines()
    assert rows == [f"n{number} 8 131072" for number in (1, 2, 3, 4)]


def test_array_elements_have_rows_of_their_own(slurm: SlurmTestCluster, tmp_path: Path) -> None:
    out = tmp_path / "%a"
    job = slurm.sbatch("echo $SLURM_ARRAY_TASK_ID", "--array=0-3", f"--output={out}")
    assert len(slurm.squeue(job)) == 4
    slurm.wait_idle()
    assert {read(tmp_path / str(number)) for number in range(4)} == {"0\n", "1\n", "2\n", "3\n"}
    assert {found["id"] for found in slurm.squeue(job)} == {f"{job}_{n}" for n in range(4)}


def test_dependents_of_a_failed_job_are_cancelled(slurm: SlurmTestCluster) -> None:
    failing = slurm.sbatch("exit 3", "--hold")
    dependent = slurm.sbatch("true", f"--dependency=afterok:{failing}", "--kill-on-invalid-dep=yes")
    assert "afterok" in row(slurm, dependent)["dependency"]
    slurm.run("scontrol", "release", failing)
    slurm.wait_for_state(failing, "FAILED")
    slurm.wait_for_state(dependent, "CANCELLED")


def test_a_requeued_job_starts_again_within_seconds(
    slurm: SlurmTestCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = f'echo "${{SLURM_RESTART_COUNT:-0}}" >> {out}; {LONG}'
    job = slurm.sbatch(script, "--requeue")
    assert read(out) == "0\n"
    slurm.run("scontrol", "requeue", job)
    wait_until("the second start", lambda: out.read_text() == "0\n1\n", WAIT_SECS)
    assert row(slurm, job)["restarts"] == "1"


def test_jobs_are_told_apart_from_those_of_other_tests(
    slurm: SlurmTestCluster, shared_slurm: SlurmTestCluster, tmp_path: Path
) -> None:
    inner = f"sbatch --parsable --output=/dev/null --wrap='{LONG}' > {tmp_path / 'inner'}"
    slurm.sbatch(inner)
    job = read(tmp_path / "inner").strip()
    mine = {found["id"] for found in slurm.squeue()}
    assert job in mine, "a job that a job submitted belongs to the same test"
    with pytest.raises(AssertionError, match="jobs are left"):
        slurm.nothing_left()
    slurm.cancel_all()
    slurm.nothing_left()
    assert len(mine) == 2


def test_the_environment_names_this_cluster_and_no_other(
    slurm: SlurmTestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert os.environ["SLURM_CONF"] == str(slurm.conf)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert "SLURM_JOB_ID" not in slurm.environment


def test_a_command_that_fails_says_why(slurm: SlurmTestCluster) -> None:
    with pytest.raises(AssertionError, match=r"sbatch.*invalid partition"):
        slurm.sbatch("true", "--partition=nowhere")


def test_nodes_and_the_controller_can_be_lost(own_slurm: OwnSlurm, tmp_path: Path) -> None:
    slurm = own_slurm(nodes=3, kill_wait=1)
    out = tmp_path / "out"
    script = f'echo "$SLURMD_NODENAME ${{SLURM_RESTART_COUNT:-0}}" >> {out}; {LONG}'
    job = slurm.sbatch(script, "--requeue")
    assert read(out) == "n1 0\n"

    # A job goes on without its slurmd and without slurmctld.
    slurm.kill_slurmd("n1")
    slurm.stop_controller()
    with pytest.raises(AssertionError, match="ended with"):
        slurm.run("scontrol", "ping")
    slurm.start_controller()
    slurm.start_slurmd("n1")
    slurm.wait_for_nodes("n1", state="mixed")
    assert row(slurm, job)["restarts"] == "0"

    # The power cut: job and slurmd are gone, and the job goes to another node.
    slurm.crash("n1")
    slurm.down("n1")
    wait_until(
        "the job to start elsewhere", lambda: len(out.read_text().splitlines()) == 2, WAIT_SECS
    )
    assert out.read_text().splitlines()[1] in {"n2 1", "n3 1"}
    slurm.start_slurmd("n1")
    slurm.resume("n1")
    slurm.wait_for_nodes("n1")

    # A job of the urgent partition sends it back.
    urgent = slurm.sbatch("true", "--partition=urgent", "--nodes=3", "--exclusive")
    slurm.wait_for_state(urgent, "COMPLETED")
    assert row(slurm, job)["restarts"] == "2"
    slurm.cancel_all()
    slurm.nothing_left()


def test_nodes_can_be_hosts_of_their_own_behind_caches(own_slurm: OwnSlurm, tmp_path: Path) -> None:
    needs_namespaces()
    needs_cached_views()
    (back := tmp_path / "back").mkdir()
    with cached_view(back, tmp_path / "view", seconds=600) as view:
        options = NodeOptions(host="elsewhere", views={view: back}, view_secs=600)
        slurm = own_slurm(nodes=2, node_options={"n2": options}, accounting=False)
        check_views(slurm, view, tmp_path / "log")
        slurm.end()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def check_views(slurm: SlurmTestCluster, folder: Path, log: Path) -> None:
    out, late = folder / "out", folder / "late"
    # A name that was looked up before it was there stays absent, though a listing shows it.
    script = f"""
        hostname > {out}.tmp; test -e {late} || echo absent >> {out}.tmp; mv {out}.tmp {out}
        while ! ls {folder} | grep -q late; do sleep 0.05; done
        test -e {late} || echo still absent
        test -e /proc/{os.getpid()}/cmdline || echo alone
    """
    job = slurm.sbatch(script, "--nodelist=n2", f"--output={log}")
    wait_until("the job to look", lambda: "out" in os.listdir(folder), WAIT_SECS)
    assert out.read_text() == "elsewhere\nabsent\n"
    late.touch()
    slurm.wait_for_state(job, "COMPLETED")
    assert log.read_text() == "still absent\nalone\n"
    slurm.kill_slurmd("n2")
    slurm.start_slurmd("n2")
    slurm.sbatch("hostname", "--nodelist=n2", f"--output={log}")
    wait_until("the next job", lambda: log.read_text() == "elsewhere\n", WAIT_SECS)


def test_limits_and_two_clusters_at_once(own_slurm: OwnSlurm, tmp_path: Path) -> None:
    limited = own_slurm(nodes=2, max_submit_jobs=2, max_array_size=5)
    other = own_slurm(nodes=2, accounting=False)
    for _ in range(2):
        limited.sbatch(LONG)
    with pytest.raises(AssertionError, match="AssocMaxSubmitJobLimit"):
        limited.sbatch(LONG)
    limited.cancel_all()
    with pytest.raises(AssertionError, match="Invalid job array"):
        limited.sbatch(LONG, "--array=0-5")
    assert len(other.squeue()) == 0
    with pytest.raises(AssertionError, match="sacct"):
        other.sacct()
    job = other.sbatch(LONG)
    pids = limited.processes()
    limited.end()
    assert not limited.folder.exists()
    assert not [pid for pid in pids if Path("/proc", str(pid), "cwd").exists()]
    other.wait_for_state(job, "RUNNING")


@pytest.mark.timeout(TIMEOUT_SECS)
def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path) -> None:
    if reason := missing_programs():
        pytest.skip(reason)
    script = """
import os, sys
from furu_testing.slurm import ClusterOptions, free_folder, start
slurm = start(ClusterOptions(str(free_folder()), watched=os.getpid(), accounting=False, nodes=1))
slurm.wait_for_state(slurm.sbatch("setsid sleep 600 & exec sleep 600"), "RUNNING")
print(slurm.folder, *slurm.processes(), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        folder, *pids = run.stdout.readline().split()
        assert len(pids) > 6
        run.send_signal(signal.SIGKILL)
        wait_until("the folder to go", lambda: not Path(folder).exists(), WAIT_SECS)
        left = [pid for pid in pids if Path("/proc", pid, "cwd").exists()]
        assert not left


@pytest.mark.timeout(TIMEOUT_SECS)
def test_a_cluster_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    if reason := missing_programs():
        pytest.skip(reason)
    folder = free_folder()
    options = ClusterOptions(
        str(folder), watched=os.getpid(), accounting=False, conf={"SelectType": "select/none"}
    )
    with pytest.raises(RuntimeError, match=r"slurmctld ended with 1(.|\n)*select/none"):
        start(options)
    assert not folder.exists()


def test_where_slurm_is_missing_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_cluster, "_SBIN", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    reason = missing_programs()
    assert "apt-get install slurmctld" in reason
    assert "\n" not in reason
