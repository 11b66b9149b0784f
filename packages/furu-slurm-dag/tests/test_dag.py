"""Graphs as jobs of a real cluster, one per node."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dag_nodes as nodes
import pytest
from dag_kit import SMALL, WAIT_SECS, Box, states, submit

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunCancelled, FuruRunError
from furu_core.executors import EventKind, FailureKind, NodeState, RunState
from furu_slurm import SlurmSpec
from furu_slurm_dag import WaitInterrupted
from furu_testing import Host, wait_until


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Where nodes are told what to do."""
    return Box(tmp_path / "box")


def diamond(box: Box) -> tuple[nodes.Step, nodes.Step, nodes.Step, nodes.Step]:
    source = box.step("source")
    left, right = box.step("left", source), box.step("right", source)
    return source, left, right, box.step("root", left, right)


def exit_codes(slurm: Any, jobs: list[str]) -> list[str]:
    """How jobs ended, by the accounting, once it knows of all."""
    ended: dict[str, str] = {}

    def known() -> bool:
        for row in slurm.sacct(*jobs):
            state = row["state"].split()[0]
            if state not in ("PENDING", "RUNNING", "COMPLETING"):
                ended[row["jobid"]] = f"{state} {row['exitcode']}"
        return all(job in ended for job in jobs)

    wait_until("the accounting", known)
    return [ended[job] for job in jobs]


def test_a_diamond_is_one_job_per_node_each_after_its_dependencies(
    slurm: Any, store: Path, box: Box
) -> None:
    source, left, right, root = diamond(box)
    run = submit({"root": root})
    jobs = run.job_id_by_hash
    assert len(set(jobs.values())) == 4
    assert run.root_job_ids == (jobs[root.furu_hash],)
    assert run.run_dir == store / "runs" / run.run_id
    assert len(run.plan) == 4
    assert run.wait(WAIT_SECS).results() == {"root": 5}
    assert [box.starts(name) for name in ("source", "left", "right", "root")] == [1, 1, 1, 1]
    status = run.status()
    assert (status.state, status.total, status.computed) == (RunState.DONE, 4, 4)
    # Left and right wait for the same node, so they share an array; the root waits for all of it.
    array, _, _ = jobs[left.furu_hash].partition("_")
    assert {jobs[left.furu_hash], jobs[right.furu_hash]} == {f"{array}_0", f"{array}_1"}
    logs = store / "submitit" / "nodes" / "default" / run.run_id
    for job_id in jobs.values():
        log = logs / f"{job_id}_0_log.out"
        # The root is there a moment before its job says so.
        wait_until("a job to say how it ended", lambda log=log: "is there: computed" in text(log))
    assert "this is source" in (logs / f"{jobs[source.furu_hash]}_0_log.out").read_text()


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _await_partition(slurm: Any, job_id: str, partition: str) -> None:
    def found() -> list[str]:
        return [row["partition"] for row in slurm.sacct(job_id) if row["partition"]]

    wait_until("the accounting", found)
    assert found() == [partition]


def test_what_is_there_needs_no_job(slurm: Any, store: Path, box: Box) -> None:
    source, _, _, root = diamond(box)
    submit(source).wait(WAIT_SECS)
    run = submit(root)
    assert source.furu_hash not in run.job_id_by_hash
    assert run.wait(WAIT_SECS).results() == 5
    again = submit(root)
    assert again.job_id_by_hash == {}
    assert again.wait(1.0).status().loaded == 1


def test_nodes_that_are_there_are_computed_anew_where_the_settings_say_so(
    slurm: Any, store: Path, box: Box
) -> None:
    first = box.step("first")
    second = box.step("second", first)
    submit(second).wait(WAIT_SECS)
    with furu_core.use_settings(always_rerun=["Step"]):
        run = submit(second)
        assert len(run.job_id_by_hash) == 2
        assert run.wait(WAIT_SECS).status().computed == 2
    assert [box.starts("first"), box.starts("second")] == [2, 2]
    assert second.get() == 2


def test_nodes_of_two_spec_keys_land_on_their_partitions(slurm: Any, store: Path, box: Box) -> None:
    first = box.step("first")
    second = nodes.GpuStep(name="second", box=box.folder, after=(first,))
    gpu = SlurmSpec(partition="gpu", gpus=1, cpus=1, mem_gb=0.5, time_min=60)
    run = submit(second, specs={"default": SMALL, "gpu": gpu})
    assert run.wait(WAIT_SECS).results() == 2
    for key, node in (("default", first), ("gpu", second)):
        job_id = run.job_id_by_hash[node.furu_hash]
        assert (store / "submitit" / "nodes" / key / run.id / f"{job_id}_0_log.out").exists()
        _await_partition(slurm, job_id, "gpu" if key == "gpu" else "cpu")
    with pytest.raises(FuruExecutorError, match="'gpu'") as caught:
        submit(nodes.GpuStep(name="third", box=box.folder))
    assert "GpuStep(" in str(caught.value)


def test_p8_a_failure_in_the_middle_ends_its_dependents_and_the_exit_codes_tell(
    slurm: Any, store: Path, box: Box
) -> None:
    source, left, right, root = diamond(box)
    fail = box.tell("left", "fail")
    with furu_core.use_settings(max_compute_retries=1):
        run = submit(root)
    with pytest.raises(FuruRunError) as caught:
        run.wait(WAIT_SECS)
    message = str(caught.value)
    assert "ValueError: left was told to fail" in message
    assert f"Step({left.furu_hash[:6]})" in message
    assert "furu.log" in message
    (failure,) = caught.value.failures
    assert (failure.kind, failure.hash) == (FailureKind.COMPUTE, left.furu_hash)
    status = run.status()
    assert (status.state, status.failed, status.cancelled) == (RunState.FAILED, 1, ())
    names = [f"Step({node.furu_hash[:6]})" for node in (root, left)]
    assert status.never_ran == ((names[0], names[1]),)
    assert box.starts("left") == 2  # the retry was in the job
    assert states(source, left, right, root) == [
        NodeState.DONE,
        NodeState.FAILED,
        NodeState.DONE,
        NodeState.STALE,
    ]
    jobs = [run.job_id_by_hash[node.furu_hash] for node in (source, left, root)]
    codes = exit_codes(slurm, jobs)
    assert (codes[0], codes[1]) == ("COMPLETED 0:0", "FAILED 10:0")
    assert codes[2].startswith("CANCELLED")

    fail.unlink()
    again = submit(root)
    assert set(again.job_id_by_hash) == {left.furu_hash, root.furu_hash}
    assert again.wait(WAIT_SECS).results() == 5
    assert [box.starts(name) for name in ("source", "left", "right", "root")] == [1, 3, 1, 1]


def test_p5_a_node_that_kills_its_process_is_tried_again_in_its_job(
    slurm: Any, store: Path, box: Box
) -> None:
    step = box.step("killed")
    box.tell("killed", "kill", "2")
    run = submit(step)
    assert run.wait(WAIT_SECS).results() == 1
    assert box.starts("killed") == 3
    (log,) = (store / "submitit").rglob("*_log.out")
    assert "SIGKILL, perhaps because memory ran out" in log.read_text()


def test_p5_a_node_that_always_kills_its_process_fails_after_its_budget(
    slurm: Any, store: Path, box: Box
) -> None:
    step = box.step("killed")
    box.tell("killed", "kill", "100")
    with furu_core.use_settings(max_lost_retries=1):
        run = submit(step)
    with pytest.raises(FuruRunError, match="SIGKILL") as caught:
        run.wait(WAIT_SECS)
    assert caught.value.failures[0].kind is FailureKind.LOST
    assert box.starts("killed") == 2


def test_p7_a_job_that_is_requeued_in_the_middle_goes_on_from_its_checkpoint(
    slurm: Any, store: Path, box: Box
) -> None:
    step, root = box.step("long"), box.step("root", box.step("long"))
    hold = box.tell("long", "hold")
    box.tell("long", "steps", "2")
    run = submit(root)
    box.await_start("long")
    slurm.run("scontrol", "requeue", run.job_id_by_hash[step.furu_hash])
    box.await_start("long", 2)
    hold.unlink()
    assert run.wait(WAIT_SECS).results() == 2
    assert [box.starts("long"), box.starts("root")] == [2, 1]
    assert "lost its node (lost 1 of" in "".join(
        path.read_text() for path in (store / "submitit").rglob("*_log.out")
    )


def test_p7_a_second_submission_adopts_the_jobs_that_live(
    slurm: Any, store: Path, box: Box
) -> None:
    source, _left, _right, root = diamond(box)
    hold = box.tell("source", "hold")
    first = submit(root)
    box.await_start("source")
    other = box.step("other", source)
    second = submit([root, other])
    assert second.job_id_by_hash[root.furu_hash] == first.job_id_by_hash[root.furu_hash]
    assert second.job_id_by_hash[source.furu_hash] == first.job_id_by_hash[source.furu_hash]
    assert second.job_id_by_hash[other.furu_hash] not in first.job_id_by_hash.values()
    hold.unlink()
    assert second.wait(WAIT_SECS).results() == [5, 2]
    assert first.wait(WAIT_SECS).results() == 5
    assert [box.starts(name) for name in ("source", "left", "right", "root", "other")] == [1] * 5


def test_p7_an_adopted_job_that_fails_fails_the_run_that_waits_for_it(
    slurm: Any, store: Path, box: Box
) -> None:
    _source, left, _right, root = diamond(box)
    hold = box.tell("source", "hold")
    box.tell("left", "fail")
    with furu_core.use_settings(max_compute_retries=0):
        submit(root)
        box.await_start("source")
        second = submit(root)
        hold.unlink()
        with pytest.raises(FuruRunError, match="left was told to fail") as caught:
            second.wait(WAIT_SECS)
    assert [failure.hash for failure in caught.value.failures] == [left.furu_hash]
    assert box.starts("left") == 1


def test_a_node_that_somebody_else_computes_is_an_error_that_says_what_to_do(
    slurm: Any, store: Path, box: Box
) -> None:
    _source, _left, _right, root = diamond(box)
    hold = box.tell("source", "hold")
    folder = Path(nodes.__file__).parent
    with Host(store, modules=["dag_nodes", "dag_programs"], sys_path=[folder]) as host:
        child = host.start("dag_programs:get", "source", str(box.folder))
        box.await_start("source")
        with pytest.raises(FuruExecutorError, match="no job can wait for it") as caught:
            submit(root)
        assert "slurm-pool" in str(caught.value)
        hold.unlink()
        child.result()
    assert submit(root).wait(WAIT_SECS).results() == 5


def test_a_job_that_somebody_cancels_ends_the_run_and_is_named(
    slurm: Any, store: Path, box: Box
) -> None:
    source, _left, _right, root = diamond(box)
    box.tell("source", "hold")
    run = submit(root)
    box.await_start("source")
    slurm.run("scancel", run.job_id_by_hash[source.furu_hash])
    with pytest.raises(FuruRunError, match="was cancelled") as caught:
        run.wait(WAIT_SECS)
    assert caught.value.failures[0].kind is FailureKind.CANCELLED
    assert run.status().cancelled == (f"Step({source.furu_hash[:6]})",)
    assert len(run.status().never_ran) == 3


def test_cancel_ends_the_jobs_and_the_same_command_starts_them_again(
    slurm: Any, store: Path, box: Box
) -> None:
    *_, root = diamond(box)
    hold = box.tell("source", "hold")
    run = submit(root)
    box.await_start("source")
    run.cancel()
    with pytest.raises(FuruRunCancelled):
        run.wait(WAIT_SECS)
    slurm.wait_idle()
    hold.unlink()
    assert submit(root).wait(WAIT_SECS).results() == 5


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts this process, even if a shell began it in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_what_heeds_it() -> None:
    """Interrupt this process, once it waits: before that it would be the test that is interrupted."""
    wait_until(
        "Ctrl-C to be heeded",
        lambda: signal.getsignal(signal.SIGINT) is not signal.default_int_handler,
    )
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_wait_leaves_the_jobs_running(
    slurm: Any, store: Path, box: Box, interruptible: None
) -> None:
    step = box.step("long")
    hold = box.tell("long", "hold")
    run = submit(step)
    box.await_start("long")
    threading.Thread(target=interrupt_what_heeds_it).start()
    with pytest.raises(WaitInterrupted, match="go on") as caught:
        run.wait(WAIT_SECS)
    assert f"scancel {run.job_id_by_hash[step.furu_hash]}" in str(caught.value)
    hold.unlink()
    assert run.wait(WAIT_SECS).results() == 1
    assert box.starts("long") == 1
    kinds = [event.kind for event in run.events()]
    assert kinds[0] is EventKind.RUN_STARTED
    assert kinds[-1] is EventKind.RUN_ENDED
    assert EventKind.NODE_COMPUTED in kinds


def test_p6_a_wait_that_takes_too_long_says_so(slurm: Any, store: Path, box: Box) -> None:
    box.tell("long", "hold")
    run = submit(box.step("long"))
    with pytest.raises(TimeoutError, match=run.id):
        run.wait(0.5)
    run.cancel()
