"""What becomes of graphs of jobs: killed submitters and jobs, walltimes, files that cannot be read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from dag_kit import WAIT_SECS, log_of, retried, states, submit
from dag_programs import chain

import furu_core
from furu_core.errors import FuruRunError, FuruStoreError
from furu_core.executors import FailureKind
from furu_core.planning import NodeState, short_name
from furu_slurm import JobPayload, SlurmSpec
from furu_slurm._job_payload import write_payload
from furu_slurm.errors import FuruSubmitRefused
from furu_slurm_dag import _submit
from furu_testing import Host, await_mark, let_go, read_marks, times, wait_until
from furu_testing.nodes import Dies, Fails, Saves, Step

NODES = Path(__file__).parent / "nodes"


# Submitters


def test_p7_after_a_submitter_was_killed_the_same_command_submits_the_rest(
    slurm: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What may be on its way to the queue is given a minute and a half, which no test has.
    monkeypatch.setattr("furu_slurm._health.UNCONFIRMED_SECS", 2.0)
    with Host(store, modules=["dag_programs"], sys_path=[NODES]) as host:
        killed = [
            host.start("dag_programs:submit_and_die", when, 3, 2, when)
            for when in ("before", "after")
        ]
        assert all(child.wait().killed for child in killed)
    await_mark(store, "before-0")
    await_mark(store, "after-0")
    wait_until(
        "what was not submitted to be given up",
        lambda: states(chain("before", 2)) == [NodeState.LOST],
    )
    runs = {when: submit(chain(when, 3)) for when in ("before", "after")}
    own = {when: len(list((run.folder / "jobs").glob("*.ids"))) for when, run in runs.items()}
    assert own == {"before": 2, "after": 1}
    let_go(store)
    assert [run.wait(WAIT_SECS).results() for run in runs.values()] == [3, 3]
    assert times(store) == {f"{when}-{number}": 1 for when in runs for number in range(3)}


def test_p4_two_submitters_at_once_compute_each_node_once(slurm: Any, store: Path) -> None:
    with Host(store, modules=["dag_programs"], sys_path=[NODES]) as host:
        both = [host.start("dag_programs:run_diamond", 3) for _ in range(2)]
        assert [child.result(WAIT_SECS) for child in both] == [7, 7]
    assert times(store) == dict.fromkeys(["base", "side-0", "side-1", "side-2", "top"], 1)


def test_what_is_too_long_a_list_to_wait_for_is_submitted_when_less_is_left(
    slurm: Any,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "furu")
    sources = [Step(label=label, waits=True) for label in ("left", "right")]
    left, right = (submit(source).job_id_by_hash[source.furu_hash] for source in sources)
    monkeypatch.setattr(_submit, "LONGEST", len(f"afterok:{left}:{right}") - 1)
    root = Step(label="root", needs=tuple(sources))
    run = submit(root)
    assert root.furu_hash not in run.job_id_by_hash
    run.status()
    assert caplog.text.count("the rest is submitted later") == 1  # not with each look
    let_go(store)
    assert run.wait(WAIT_SECS).results() == 3
    assert times(store) == {"left": 1, "right": 1, "root": 1}


# Time, and jobs that are killed


@pytest.mark.slow
def test_p5_out_of_walltime_a_job_goes_on_from_its_checkpoint_and_one_without_progress_fails(
    slurm: Any, store: Path
) -> None:
    saves, stuck = Saves(label="saves", steps=1), Step(label="stuck", waits=True)
    with furu_core.use_settings(max_lost_retries=0):  # in a row without progress
        run = submit([saves, stuck], signal_before_secs=50)
    jobs = [run.job_id_by_hash[node.furu_hash] for node in (saves, stuck)]
    await_mark(store, "saves")
    await_mark(store, "stuck")
    for job_id in jobs:
        let_walltime_end_soon(slurm, job_id)

    def went_back() -> bool:
        with contextlib.suppress(TimeoutError):
            run.wait(1.0)
        return bool(slurm.squeue(jobs[0])[0]["restarts"] == "1")

    wait_until("the job that saves to go back into the queue", went_back, WAIT_SECS)
    slurm.run("scontrol", "update", f"jobid={jobs[0]}", "timelimit=60")
    with pytest.raises(FuruRunError, match="walltime") as caught:
        run.wait(WAIT_SECS)
    assert [(failure.kind, failure.hash) for failure in caught.value.failures] == [
        (FailureKind.LOST, stuck.furu_hash)
    ]
    assert saves.get() == 1
    assert times(store) == {"saves": 2, "stuck": 1}
    assert "out of walltime (lost after progress in its checkpoint)" in log_of(run, saves)


def let_walltime_end_soon(slurm: Any, job_id: str) -> None:
    """Have Slurm tell a job that its walltime ends, within half a minute.

    To a short walltime it would do that at any moment, perhaps before the job has begun its node.
    """
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 70))
    slurm.run("scontrol", "update", f"jobid={job_id}", f"endtime={end}")


def test_p5_a_job_whose_own_process_is_killed_is_submitted_once_more(
    slurm: Any, store: Path
) -> None:
    node = Dies(label="one", how="parent", times=1)
    run = submit(Step(label="root", needs=(node,)))
    before = run.job_id_by_hash
    assert run.wait(WAIT_SECS).results() == 3
    # The root's first job was cancelled along with it, and that is no failure either.
    after = run.job_id_by_hash
    assert all(before[node_hash] != after[node_hash] for node_hash in before)
    assert times(store) == {"one": 2, "root": 1}
    assert retried(run, node) == ["it is submitted once more"]


def test_p6_a_job_that_slurm_has_set_aside_is_submitted_anew_and_one_that_a_user_holds_is_not(
    slurm: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Step(label="source", waits=True)
    first, second = (Step(label=label, needs=(source,)) for label in ("first", "second"))
    run = submit([first, second])
    await_mark(store, "source")
    before = run.job_id_by_hash
    dropped, held = before[first.furu_hash], before[second.furu_hash]
    slurm.run("scontrol", "hold", dropped, held)
    # Slurm drops jobs that it could not start, which cannot be brought about at will.
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    drop = f"s/^{dropped}|\\(.*\\)JobHeld[A-Z][a-z]*/{dropped}|\\1launch failed requeued held/"
    squeue.write_text(f"#!/bin/sh\n{shutil.which('squeue')} \"$@\" | sed '{drop}'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=os.pathsep)

    def is_submitted_anew() -> bool:
        with contextlib.suppress(TimeoutError):
            run.wait(0.3)
        return run.job_id_by_hash.get(first.furu_hash, dropped) != dropped

    wait_until("the job that was set aside to be submitted anew", is_submitted_anew, WAIT_SECS)
    let_go(store)
    wait_until("the source to be there", source.exists, WAIT_SECS)
    assert run.job_id_by_hash[second.furu_hash] == held
    slurm.run("scontrol", "release", held)
    assert run.wait(WAIT_SECS).results() == [2, 2]
    assert times(store) == {"source": 1, "first": 1, "second": 1}
    slurm.wait_idle()


# Dependencies


def test_a_job_whose_dependency_failed_long_ago_ends_and_says_why(
    slurm: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Slurm has forgotten a job that failed, and lets those that waited for it run."""
    monkeypatch.setattr(_submit, "afterok", lambda _jobs, _sizes: "")
    source = Fails(label="source", times=99, waits=True)
    root = Step(label="root", needs=(source,))
    with furu_core.use_settings(max_compute_retries=0):
        run = submit(root)
    await_mark(store, "source")
    wait_until("the root's job to wait", lambda: "waiting for Fails(" in log_of(run, root))
    let_go(store)
    with pytest.raises(FuruRunError, match="source fails on purpose"):
        run.wait(WAIT_SECS)
    assert [name for name, _ in run.status().never_ran] == [short_name(root)]
    said = f"its dependency {short_name(source)} is not there, it failed"
    wait_until("the root's job to say why it ends", lambda: said in log_of(run, root))


def test_a_dependency_that_ends_between_plan_and_submission_is_judged_by_the_store(
    slurm: Any, store: Path, monkeypatch: pytest.MonkeyPatch, calls: list[dict[str, Any]]
) -> None:
    source = Step(label="source", waits=True)
    first = submit(source)
    await_mark(store, "source")
    adopt = _submit.Submitter.adopt

    def adopt_and_end(self: Any, node: Any, submission: Any) -> Any:
        job = adopt(self, node, submission)
        let_go(store)
        first.wait(WAIT_SECS)
        return job

    monkeypatch.setattr(_submit.Submitter, "adopt", adopt_and_end)
    run = submit(Step(label="root", needs=(source,)))
    assert calls[-1]["dependency"] == ""
    assert run.wait(WAIT_SECS).results() == 2


# What is wrong from the start


def test_p6_a_partition_that_does_not_exist_is_refused_and_leaves_nothing(
    slurm: Any, store: Path
) -> None:
    step = Step(label="one")
    with pytest.raises(FuruSubmitRefused, match="partition"):
        submit(step, specs={"default": SlurmSpec(partition="nowhere", cpus=1, mem_gb=1)})
    assert states(step) == [NodeState.ABSENT]
    assert submit(step).wait(WAIT_SECS).results() == 1


def test_p6_a_job_that_no_node_will_ever_start_is_given_up(
    slurm: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("furu_slurm._health.UNSCHEDULABLE_SECS", 1.0)
    run = submit(Step(label="one"), specs={"default": SlurmSpec(partition="cpu", cpus=500)})
    with pytest.raises(FuruRunError, match="PartitionConfig"):
        run.wait(WAIT_SECS)
    slurm.wait_idle()


@pytest.mark.parametrize(
    ("name", "words"),
    [("payload", "is damaged"), ("store", "FURU_PATH must be a folder that all nodes")],
)
def test_p6_a_job_that_cannot_read_what_it_is_to_do_fails_and_names_it(
    slurm: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    def write_otherwise(payload: JobPayload) -> None:
        write_payload(payload)
        if name == "payload":
            payload.path.write_text("{")
        else:  # as on a machine that has another folder there
            path = payload.run_folder / "environment.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "store": "/not/there"}))

    monkeypatch.setattr("furu_slurm._slurm.write_payload", write_otherwise)
    run = submit(Step(label="one"), submitit_root=tmp_path / "logs")
    with pytest.raises(FuruRunError, match=words) as caught:
        run.wait(WAIT_SECS)
    (failure,) = caught.value.failures
    assert failure.kind is FailureKind.PROTOCOL
    assert failure.log is not None
    assert failure.log.is_relative_to(tmp_path / "logs")
    assert read_marks(store) == []


def test_p6_a_full_disk_in_the_run_folder_is_an_error_and_nothing_is_lost(
    slurm: Any, store: Path
) -> None:
    (runs := store / "runs").mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", runs],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs: run as root")
    try:
        step = Step(label="one")
        with contextlib.suppress(OSError), (runs / "rest").open("wb") as rest:
            while True:
                rest.write(bytes(4096))
                rest.flush()
        with pytest.raises(FuruStoreError, match="space"):
            submit(step)
        assert states(step) == [NodeState.ABSENT]
        (runs / "rest").unlink()
        assert submit(step).wait(WAIT_SECS).results() == 1
    finally:
        subprocess.run(["umount", "-l", str(runs)], check=True, capture_output=True)
