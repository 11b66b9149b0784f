"""Graphs as jobs of a real cluster, one per node."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dag_kit import SMALL, WAIT_SECS, log_of, states, submit
from dag_programs import Speaks

import furu_core
from furu_core.errors import FuruExecutorError, FuruRunError
from furu_core.executors import EventKind, FailureKind, RunState
from furu_core.planning import NodeState, short_name
from furu_slurm import JobInfo, SlurmCluster, SlurmSpec, reasons_text
from furu_slurm_dag import WaitInterrupted
from furu_testing import Host, await_mark, let_go, read_marks, times, wait_until
from furu_testing.nodes import Fails, Step


def ended(job_ids: list[str]) -> list[JobInfo]:
    """How jobs ended."""
    infos: list[JobInfo | None] = []

    def over() -> bool:
        snapshot = SlurmCluster().jobs(fresh=True)
        infos[:] = [snapshot.job(job_id) for job_id in job_ids]
        return all(info is not None and info.state.ended for info in infos)

    wait_until(f"the end of {job_ids}", over, WAIT_SECS)
    return [info for info in infos if info is not None]


def test_a_diamond_is_one_job_per_node_each_after_its_dependencies_and_of_its_spec(
    slurm: Any, store: Path, calls: list[dict[str, Any]]
) -> None:
    source = Speaks(text="this is the source")
    left, right = (Step(label=label, needs=(source,)) for label in ("left", "right"))
    root = Step(label="root", needs=(left, right), key="gpu")
    gpu = SlurmSpec(partition="gpu", gpus=1, cpus=1, mem_gb=0.5, time_min=60)
    specs = {"default": SMALL, "gpu": gpu}
    run = submit({"root": root}, specs=specs)
    jobs = run.job_id_by_hash
    assert len(set(jobs.values())) == 4
    assert run.root_job_ids == {root.furu_hash: jobs[root.furu_hash]}
    assert run.submitit_root == store / "submitit"
    assert run.run_dir == store / "runs" / run.run_id
    assert len(run.plan) == 4
    # Left and right wait for the same node, so they share an array; the root waits for all of it.
    array, _, _ = jobs[left.furu_hash].partition("_")
    assert {jobs[left.furu_hash], jobs[right.furu_hash]} == {f"{array}_0", f"{array}_1"}
    assert [len(call["payload"].jobs) for call in calls] == [1, 2, 1]
    assert calls[-1]["dependency"] == f"afterok:{array}"
    assert run.wait(WAIT_SECS).results() == {"root": 5}
    assert times(store) == {"left": 1, "right": 1, "root": 1}
    status = run.status()
    assert (status.state, status.total, status.computed) == (RunState.DONE, 4, 4)
    for node, key, partition in (
        (source, "default", "cpu"),
        (left, "default", "cpu"),
        (root, "gpu", "gpu"),
    ):
        (row,) = slurm.squeue(jobs[node.furu_hash])
        assert row["partition"] == partition
        # The root is there a moment before its job says so.
        wait_until(
            "a job to say how it ended",
            lambda node=node, key=key: "is there: computed" in log_of(run, node, key),
        )
    assert "this is the source" in log_of(run, source)

    again = submit(root, specs=specs)
    assert again.job_id_by_hash == {}
    assert again.wait(1.0).status().loaded == 1


def test_p8_a_failure_in_the_middle_ends_its_dependents_and_the_exit_codes_tell(
    slurm: Any, store: Path
) -> None:
    bad, good = Fails(label="bad", times=2), Step(label="good")
    middle = Step(label="middle", needs=(bad, good))
    root = Step(label="root", needs=(middle,))
    with furu_core.use_settings(max_compute_retries=1):
        run = submit(root)
    with pytest.raises(FuruRunError, match="attempt 2 of bad fails on purpose") as caught:
        run.wait(WAIT_SECS)
    (failure,) = caught.value.failures
    assert (failure.kind, failure.hash) == (FailureKind.COMPUTE, bad.furu_hash)
    status = run.status()
    assert (status.state, status.failed, status.cancelled) == (RunState.FAILED, 1, ())
    assert dict(status.never_ran) == {
        short_name(middle): short_name(bad),
        short_name(root): short_name(bad),
    }
    assert times(store) == {"bad": 2, "good": 1}  # the retry was in the job
    assert "attempt 1 of bad fails on purpose" in log_of(run, bad)
    assert "it is tried again" in log_of(run, bad)
    assert states(bad, good, middle, root) == [
        NodeState.FAILED,
        NodeState.DONE,
        NodeState.LOST,
        NodeState.LOST,
    ]
    infos = ended([run.job_id_by_hash[node.furu_hash] for node in (bad, good, middle, root)])
    assert [info.state.name for info in infos] == ["FAILED", "COMPLETED", "CANCELLED", "CANCELLED"]
    assert [info.exit_code for info in infos[:2]] == [10, 0]

    again = submit(middle)
    assert set(again.job_id_by_hash) == {bad.furu_hash, middle.furu_hash}
    assert again.wait(WAIT_SECS).results() == 5
    assert times(store) == {"bad": 3, "good": 1, "middle": 1}


def test_p6_who_asks_for_the_status_again_and_again_sees_a_failed_run_end_without_any_wait(
    slurm: Any, store: Path
) -> None:
    bad = Fails(label="bad", times=99)
    with furu_core.use_settings(max_compute_retries=0):
        run = submit(Step(label="root", needs=(bad,)))
    wait_until("the end", lambda: run.status().state is not RunState.RUNNING, WAIT_SECS)
    status = run.status()
    assert (status.state, status.failed, len(status.never_ran)) == (RunState.FAILED, 1, 1)
    assert [failure.hash for failure in status.failures] == [bad.furu_hash]
    assert [event.kind for event in run.events()][-1] is EventKind.RUN_ENDED


def test_p7_a_second_submission_adopts_the_jobs_that_live_and_fails_with_those_that_fail(
    slurm: Any, store: Path
) -> None:
    source = Step(label="source", waits=True)
    bad, other = Fails(label="bad", times=99, needs=(source,)), Step(label="other", needs=(source,))
    with furu_core.use_settings(max_compute_retries=0):
        first = submit(bad)
        await_mark(store, "source")
        second = submit([bad, other])
        jobs = second.job_id_by_hash
        assert first.job_id_by_hash == {one: jobs[one] for one in (source.furu_hash, bad.furu_hash)}
        assert jobs[other.furu_hash] not in first.job_id_by_hash.values()
        let_go(store)
        for run in (second, first):
            with pytest.raises(FuruRunError, match="bad fails on purpose") as caught:
                run.wait(WAIT_SECS)
            assert [failure.hash for failure in caught.value.failures] == [bad.furu_hash]
    assert other.exists()
    assert times(store) == {"source": 1, "bad": 1, "other": 1}


def test_p4_a_job_that_was_renamed_is_found_by_its_id_and_its_node_computed_once(
    slurm: Any, store: Path
) -> None:
    held = Step(label="held", waits=True)
    first = submit(held)
    job_id = first.job_id_by_hash[held.furu_hash]
    await_mark(store, "held")
    slurm.run("scontrol", "update", f"jobid={job_id}", "jobname=mine")
    second = submit(Step(label="root", needs=(held,)))
    assert second.job_id_by_hash[held.furu_hash] == job_id
    let_go(store)
    assert second.wait(WAIT_SECS).results() == 2
    assert first.wait(WAIT_SECS).results() == 1
    assert times(store) == {"held": 1, "root": 1}


def test_p4_behind_a_cached_squeue_jobs_that_it_does_not_show_are_adopted_and_not_given_up(
    slurm: Any, cached_squeue: Callable[[], int], store: Path
) -> None:
    SlurmCluster().jobs()  # from now on nobody sees another job
    held = Step(label="held", waits=True)
    first = submit(held)
    jobs = first.job_id_by_hash
    await_mark(store, "held")
    assert states(held) == [NodeState.RUNNING]
    second = submit(held)
    asked = cached_squeue()

    def looked() -> bool:
        assert [run.status().running for run in (first, second)] == [1, 1]
        return cached_squeue() >= asked + 2

    wait_until("two more answers of squeue", looked)
    assert (first.job_id_by_hash, second.job_id_by_hash) == (jobs, jobs)
    let_go(store)
    assert [run.wait(WAIT_SECS).results() for run in (first, second)] == [1, 1]
    assert times(store) == {"held": 1}


def test_p4_a_node_that_somebody_else_computes_is_waited_for_by_its_own_job_only(
    slurm: Any, store: Path
) -> None:
    held = Step(label="held", waits=True)
    run = submit(held)
    job_id = run.job_id_by_hash[held.furu_hash]
    await_mark(store, "held")
    slurm.run("scontrol", "requeuehold", job_id)
    slurm.wait_for_state(job_id, "PENDING")
    wait_until(
        "the reason", lambda: "held" in reasons_text(run.status().reasons).lower(), WAIT_SECS
    )
    with Host(store) as host:
        # A node that only waits in a queue is computed by whoever asks for it.
        child = host.start("furu_testing.nodes:hold", "held")
        await_mark(store, "held", 2)
        root = Step(label="root", needs=(held,))
        with pytest.raises(FuruExecutorError, match="no job can wait for it") as caught:
            submit(root)
        assert "slurm-pool" in str(caught.value)
        slurm.run("scontrol", "release", job_id)
        wait_until("the job to wait", lambda: "computes Step(" in log_of(run, held), WAIT_SECS)
        let_go(store)
        assert child.result() == 1
    assert run.wait(WAIT_SECS).results() == 1
    wait_until(
        "the job to say what it found", lambda: "computed by somebody else" in log_of(run, held)
    )
    assert submit(root).wait(WAIT_SECS).results() == 2
    assert times(store) == {"held": 2, "root": 1}


def test_a_job_that_somebody_cancels_ends_the_run_and_is_named(slurm: Any, store: Path) -> None:
    source = Step(label="source", waits=True)
    run = submit(Step(label="root", needs=(source,)))
    await_mark(store, "source")
    slurm.run("scancel", run.job_id_by_hash[source.furu_hash])
    with pytest.raises(FuruRunError, match="was cancelled") as caught:
        run.wait(WAIT_SECS)
    assert caught.value.failures[0].kind is FailureKind.CANCELLED
    assert run.status().cancelled == (short_name(source),)
    assert len(run.status().never_ran) == 1


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


# Where Ctrl-C comes in the moment in which squeue is started, Python forgets that process and says so.
@pytest.mark.filterwarnings("ignore:subprocess [0-9]+ is still running:ResourceWarning")
def test_p6_a_wait_that_takes_too_long_or_is_interrupted_says_so_and_the_jobs_go_on(
    slurm: Any, store: Path, interruptible: None
) -> None:
    step = Step(label="long", waits=True)
    run = submit(step)
    await_mark(store, "long")
    with pytest.raises(TimeoutError, match=run.id):
        run.wait(0.1)
    threading.Thread(target=interrupt_what_heeds_it).start()
    with pytest.raises(WaitInterrupted, match="go on") as caught:
        run.wait(WAIT_SECS)
    assert f"scancel {run.job_id_by_hash[step.furu_hash]}" in str(caught.value)
    let_go(store)
    assert run.wait(WAIT_SECS).results() == 1
    assert times(store) == {"long": 1}


def test_p9_the_record_of_a_node_tells_when_its_job_was_submitted_eligible_and_started(
    slurm: Any, store: Path
) -> None:
    source = Step(label="source", waits=True)
    root = Step(label="root", needs=(source,))
    before = time.time()
    run = submit(root)
    submitted = time.time()
    await_mark(store, "source")
    # Slurm tells whole seconds, and in another one it is to be seen what each time means.
    wait_until("another second", lambda: time.time() > submitted + 2)
    let_go_at = time.time()
    let_go(store)
    assert run.wait(WAIT_SECS).results() == 2
    after = time.time()
    found = {mark.label: mark for mark in read_marks(store)}
    for node, label in ((source, "source"), (root, "root")):
        record = node.provenance()
        times = record["job_times"]
        assert before - 1 < times["submitted"] <= submitted
        assert times["submitted"] <= times["eligible"] <= times["started"] <= record["started"]
        assert record["started"] <= found[label].began <= after
    # The root was in the queue only when its dependency was there.
    assert let_go_at - 1 < times["eligible"]
    assert source.provenance()["job_times"]["eligible"] <= found["source"].began < let_go_at


def test_p9_a_slurm_that_does_not_say_when_a_job_began_costs_the_node_nothing_else(
    slurm: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which("scontrol")
    asked = tmp_path / "asked"
    fake = tmp_path / "scontrol"
    fake.write_text(
        f'#!/bin/sh\necho "$*" >> {asked}\n'
        f'case "$*" in "--oneliner show job "*) exit 1;; *) exec {program} "$@";; esac\n'
    )
    fake.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        run = submit(Step(label="node"))
        assert run.wait(WAIT_SECS).results() == 1
    # Slurm's later versions tell the job's start in its environment.
    assert Step(label="node").provenance().get("job_times", {}).keys() <= {"started"}
    lines = asked.read_text().splitlines()
    assert sum(line.startswith("--oneliner show job ") for line in lines) == 1


def test_a_job_loads_what_is_in_a_store_that_is_only_read(
    slurm: Any, store: Path, tmp_path: Path
) -> None:
    there, root = Step(label="there"), Step(label="here", needs=(Step(label="there"),))
    with furu_core.use_settings(path=tmp_path / "theirs"):
        there.get()
    with furu_core.use_settings(also=(tmp_path / "theirs",)):
        run = submit(root)
        assert set(run.job_id_by_hash) == {root.furu_hash}
        assert run.wait(WAIT_SECS).results() == 2
        assert root.furu_dir.is_relative_to(store)
    assert not (store / "data" / "furu_testing" / "nodes" / "Step" / there.furu_hash).exists()
