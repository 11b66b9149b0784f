"""Graphs of jobs on clusters that lose nodes, jobs and the memory of them, or take few at once."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dag_kit import SMALL, WAIT_SECS, retried, states, submit

import furu_core
from furu_core.errors import FuruRunError
from furu_core.executors import FailureKind, Liveness, RunState, liveness, submission_of
from furu_core.planning import NodeState
from furu_slurm import JobState, SlurmCluster
from furu_slurm.errors import FuruSlurmUnavailable
from furu_slurm_dag import _submit
from furu_testing import (
    await_mark,
    cached_view,
    let_go,
    needs_cached_views,
    needs_namespaces,
    times,
    wait_until,
)
from furu_testing.nodes import Dies, Fails, Saves, Step
from furu_testing.slurm import GHOSTLY, NodeOptions, SlurmTestCluster

OwnSlurm = Callable[..., SlurmTestCluster]

USER = [pwd.getpwuid(os.getuid()).pw_name]

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(own_slurm: OwnSlurm) -> SlurmTestCluster:
    """A cluster that forgets jobs seconds after their end, and knows no accounting."""
    return own_slurm(nodes=2, cpus=2, min_job_age=2, conf=GHOSTLY)


@pytest.fixture
def limited(own_slurm: OwnSlurm) -> SlurmTestCluster:
    """A cluster with small limits, whose accounting knows the jobs that it forgets."""
    return own_slurm(nodes=2, max_array_size=4, max_submit_jobs=3, min_job_age=2, accounting=True)


def node_of(cluster: SlurmTestCluster, job_id: str) -> str:
    (row,) = cluster.squeue(job_id)
    return row["nodes"]


def test_p5_a_preempted_job_goes_on_from_its_checkpoint(
    cluster: SlurmTestCluster, store: Path
) -> None:
    node = Saves(label="saves", steps=1)
    run = submit(node)
    await_mark(store, "saves")
    where = node_of(cluster, run.job_id_by_hash[node.furu_hash])
    cluster.sbatch("true", "--partition=urgent", f"--nodelist={where}", "--exclusive")
    assert run.wait(WAIT_SECS).results() == 1
    assert times(store) == {"saves": 2}
    (why,) = retried(run, node)
    assert "preempted" in why
    cluster.wait_idle()


def test_p7_a_node_that_goes_down_takes_no_run_with_it(
    cluster: SlurmTestCluster, store: Path
) -> None:
    step = Step(label="long", waits=True)
    run = submit(Step(label="root", needs=(step,)))
    await_mark(store, "long")
    where = node_of(cluster, run.job_id_by_hash[step.furu_hash])
    cluster.crash(where)
    cluster.down(where)
    await_mark(store, "long", 2)
    let_go(store)
    assert run.wait(WAIT_SECS).results() == 2
    assert times(store) == {"long": 2, "root": 1}
    cluster.start_slurmd(where)
    cluster.resume(where)
    cluster.wait_for_nodes()
    cluster.wait_idle()


def test_p6_while_the_controller_is_down_nothing_is_called_gone_and_submitting_is_an_error_in_time(
    cluster: SlurmTestCluster, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, other = Step(label="running", waits=True), Step(label="other")
    run = submit(running)
    await_mark(store, "running")
    submission = submission_of(running)
    assert submission is not None
    # What may be on its way to the queue is given a minute and a half, which no test has.
    monkeypatch.setattr("furu_slurm._health.UNCONFIRMED_SECS", 2.0)
    cluster.stop_controller()
    assert not SlurmCluster().jobs(fresh=True).known
    assert liveness([submission]) == {submission: Liveness.UNKNOWN}
    with monkeypatch.context() as patch:
        patch.setattr(
            "furu_slurm_dag._executor.SlurmCluster", lambda: SlurmCluster(patience_secs=2.0)
        )
        with pytest.raises(FuruSlurmUnavailable, match="does not answer"):
            submit(other)
    cluster.start_controller()
    let_go(store)
    assert run.wait(WAIT_SECS).results() == 1
    assert submit(other).wait(WAIT_SECS).results() == 1
    assert times(store) == {"running": 1, "other": 1}
    cluster.wait_idle()


def test_p6_jobs_whose_end_slurm_forgot_hold_up_nobody(
    cluster: SlurmTestCluster, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the wrong moment, Slurm believes in jobs that have ended, until their walltime."""
    monkeypatch.setattr("furu_slurm._health.GHOST_SECS", 3.0)
    monkeypatch.setattr("furu_slurm_dag._tracker._READ_SECS", 1.0)
    source, bad = Step(label="source", waits=True), Fails(label="bad", times=99, waits=True)
    root = Step(label="root", needs=(source,))
    with furu_core.use_settings(max_compute_retries=0):
        run = submit([root, bad])
    await_mark(store, "source")
    await_mark(store, "bad")
    before = run.job_id_by_hash

    def end() -> None:
        let_go(store, "bad")
        wait_until(
            "the end of the job that fails",
            lambda: cluster.state(before[bad.furu_hash]) not in ("RUNNING", "COMPLETING"),
            WAIT_SECS,
        )
        let_go(store, "source")

    cluster.make_ghost(before[source.furu_hash], end)
    assert cluster.state(before[bad.furu_hash]) == "RUNNING"
    with pytest.raises(FuruRunError, match="bad fails on purpose") as caught:
        run.wait(WAIT_SECS)
    assert [failure.hash for failure in caught.value.failures] == [bad.furu_hash]
    assert root.get() == 2
    assert run.job_id_by_hash[root.furu_hash] != before[root.furu_hash]
    assert times(store) == {"source": 1, "bad": 1, "root": 1}
    cluster.wait_idle()


def test_p7_jobs_that_slurm_has_purged_are_judged_by_the_store(
    cluster: SlurmTestCluster, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sacct, and squeue forgets jobs seconds after their end: while wiring, and later on."""
    good, bad = Step(label="good", waits=True), Fails(label="bad", times=99, waits=True)
    # Nor does it know of a job that is killed.
    killed = Dies(label="killed", how="parent", times=1)
    roots = [Step(label="root", needs=(good, killed)), Step(label="never", needs=(bad,))]
    with furu_core.use_settings(max_compute_retries=0):
        first = submit([good, bad])
    await_mark(store, "good")
    await_mark(store, "bad")
    adopt = _submit.Submitter.adopt

    def adopt_and_purge(self: Any, node: Any, submission: Any) -> Any:
        job = adopt(self, node, submission)
        let_go(store)
        wait_until(
            "the jobs to be purged",
            lambda: not any(map(SlurmCluster().jobs().job, first.job_id_by_hash.values())),
            WAIT_SECS,
        )
        return job

    monkeypatch.setattr(_submit.Submitter, "adopt", adopt_and_purge)
    run = submit(roots)
    with pytest.raises(FuruRunError, match="bad fails on purpose") as caught:
        run.wait(WAIT_SECS)
    assert [failure.kind for failure in caught.value.failures] == [FailureKind.COMPUTE]
    assert roots[0].get() == 4
    assert states(good, bad, killed) == [NodeState.DONE, NodeState.FAILED, NodeState.DONE]
    assert times(store) == {"good": 1, "bad": 1, "killed": 2, "root": 1}
    cluster.wait_idle()


def test_limits_of_the_cluster_are_found_out_and_the_wait_goes_on_in_waves(
    limited: SlurmTestCluster,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    calls: list[dict[str, Any]],
) -> None:
    monkeypatch.setattr("furu_slurm._submit_limit.LIMIT_PAUSE_SECS", 1.0)
    # They wait, or some would end before all is submitted.
    steps = tuple(Step(label=str(number), waits=True) for number in range(5))
    run = submit(Step(label="root", needs=steps))
    assert [len(call["payload"].jobs) for call in calls] == [4, 2, 2, 1, 1]
    assert "Slurm takes no more jobs now" in caplog.text
    assert run.status().unsubmitted == 3
    del calls[:]
    wait_until("three more waves", lambda: run.status() and len(calls) >= 3, WAIT_SECS)
    # What was found out is remembered, and nothing is left of what Slurm did not take.
    assert {len(call["payload"].jobs) for call in calls} == {1}
    refused = {call["token"] for call in calls}
    assert not [path for path in store.rglob("*") if path.name.partition(".")[0] in refused]
    let_go(store)
    # Who only asks how it stands has the rest submitted as well.
    wait_until("the end", lambda: run.status().state is not RunState.RUNNING, WAIT_SECS)
    assert run.wait(0.0).results() == 6
    assert times(store) == dict.fromkeys([*"01234", "root"], 1)
    limited.wait_idle()
    # What squeue has forgotten the accounting tells, a while after.
    jobs = list(run.job_id_by_hash.values())
    wait_until(
        "squeue to forget the jobs",
        lambda: not any(map(SlurmCluster().jobs().job, jobs)),
        WAIT_SECS,
    )

    def told() -> list[JobState | None]:
        snapshot = SlurmCluster().jobs(jobs)
        return [info and info.state for info in map(snapshot.job, jobs)]

    wait_until("the accounting", lambda: told() == [JobState.COMPLETED] * len(jobs), WAIT_SECS)

    # A job that asks for more than its user may have waits for ever, which ends the run that says so.
    limited.run("sacctmgr", "-i", "modify", "user", *USER, "set", "MaxWall=1")
    monkeypatch.setattr("furu_slurm._health.UNSCHEDULABLE_SECS", 2.0)
    monkeypatch.setattr("furu_plan.runs._display._FIRST_LINE_SECS", 0.5)
    caplog.set_level("INFO", "furu")
    run = submit(Step(label="long"))
    with pytest.raises(FuruRunError, match=r"AssocMaxWallDurationPerJobLimit; mend specs\['def"):
        run.wait(WAIT_SECS)
    assert "1 queued because of AssocMaxWallDurationPerJobLimit (1)" in caplog.text
    limited.wait_idle()


def test_behind_caches_and_on_hosts_of_their_own_jobs_find_what_others_computed(
    own_slurm: OwnSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_namespaces()
    needs_cached_views()
    (back := tmp_path / "back").mkdir()
    with cached_view(back, tmp_path / "view", seconds=10) as view:
        options = {
            name: NodeOptions(host=f"host-{name}", views={view: back}, view_secs=10)
            for name in ("n1", "n2", "n3")
        }
        cluster = own_slurm(nodes=3, cpus=1, node_options=options)
        monkeypatch.setenv("FURU_PATH", str(view))
        with furu_core.use_settings(path=view, lease_secs=20.0):
            base: tuple[Any, ...] = (
                Dies(label="dies", times=1),
                Step(label="moves", waits=True),
                Step(label="stays"),
            )
            roots = [Step(label=f"root-{number}", needs=base) for number in range(3)]
            run = submit(roots, specs={"default": SMALL})
            await_mark(view, "moves")
            # Mostly to another host.
            cluster.run("scontrol", "requeue", run.job_id_by_hash[base[1].furu_hash])
            await_mark(view, "moves", 2)
            let_go(view)
            assert run.wait(WAIT_SECS).results() == [5, 5, 5]
        assert times(view) == {"dies": 2, "moves": 2, "stays": 1} | {
            root.label: 1 for root in roots
        }
        cluster.end()
