"""What Dask adds to what every executor does: workers and schedulers that die, resources, liveness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import DaskCluster
from furu_dask import DaskExecutor, run_dask
from held import Held

from furu_core import NodeState, use_settings
from furu_core.errors import FuruError, FuruExecutorError, FuruRunError
from furu_core.executors import (
    EventKind,
    FailureKind,
    Liveness,
    Run,
    StateReader,
    Submission,
    liveness,
)
from furu_testing import wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Held]:
    """A node to be held, in a store of its own."""
    folder = tmp_path / "held"
    folder.mkdir()
    with use_settings(path=tmp_path / "store", poll_interval_secs=0.1):
        yield Held(folder=folder)


def computed(node: Held, times: int = 1) -> int:
    """Wait until a node is computed for the n-th time; the process that does so."""
    wait_until(f"{node.label} to begin", lambda: len(node.pids()) >= times)
    return node.pids()[times - 1]


def dask_worker_of(pid: int) -> psutil.Process:
    """The Dask worker whose process computes a node."""
    worker = psutil.Process(pid).parent()
    assert worker is not None
    return worker


def kinds(run: Run) -> list[EventKind]:
    return [event.kind for event in run.events()]


def was_lost_once(run: Run, node: Held) -> None:
    """See that a dead worker has cost a node one try, which was counted and told (P5)."""
    node.let_go()
    assert run.wait().results() == 2
    assert kinds(run).count(EventKind.NODE_RETRIED) == 1
    (told,) = (event.detail for event in run.events() if event.kind is EventKind.NODE_RETRIED)
    assert "lost 1 of at most" in told
    assert "the Dask worker" in told


# Workers that die


def test_P5_a_killed_worker_of_an_own_cluster_costs_its_node_one_try(node: Held) -> None:
    run = DaskExecutor(max_workers=1, progress=False).submit(node)
    worker = dask_worker_of(computed(node))
    worker.kill()
    wait_until("the node's process to end", lambda: not psutil.pid_exists(node.pids()[0]))
    computed(node, 2)
    was_lost_once(run, node)


@pytest.mark.parametrize("nanny", [True, False])
def test_P5_a_killed_worker_of_a_cluster_that_repeats_tasks_costs_its_node_one_try(
    dask_cluster: DaskCluster, node: Held, nanny: bool
) -> None:
    for _ in range(2):
        dask_cluster.add_worker(nanny=nanny)
    run = DaskExecutor(address=dask_cluster.address, progress=False).submit(node)
    dask_worker_of(computed(node)).kill()
    computed(node, 2)
    was_lost_once(run, node)


def test_P5_a_node_that_takes_its_worker_along_each_time_is_tried_so_often_and_no_more(
    shared_cluster: DaskCluster, node: Held
) -> None:
    with use_settings(max_lost_retries=1):
        run = DaskExecutor(address=shared_cluster.address, progress=False).submit(node)
        for number in (1, 2):
            os.kill(computed(node, number), signal.SIGKILL)
        with pytest.raises(FuruRunError) as caught:
            run.wait()
    (failure,) = caught.value.failures
    assert failure.kind is FailureKind.LOST
    assert len(node.pids()) == 2


# Clients and schedulers that die


def start(node: Held, how: str, *address: str) -> subprocess.Popen[bytes]:
    """Run a node in a program of its own."""
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("held.py"), node.folder, how, *address],
        env={**os.environ, "FURU_PATH": str(node.folder.with_name("store"))},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_P7_killing_the_program_ends_its_own_cluster_and_the_nodes(node: Held) -> None:
    with start(node, "wait") as program:
        pid = computed(node)
        worker = dask_worker_of(pid)
        program.kill()
    wait_until("the node's process to end", lambda: not psutil.pid_exists(pid))
    wait_until("the worker to end", lambda: not worker.is_running())
    node.let_go()
    assert run_dask(node, max_workers=1, progress=False).results() == 2


def test_P7_killing_the_program_frees_the_workers_of_a_cluster_that_goes_on(
    shared_cluster: DaskCluster, node: Held
) -> None:
    with start(node, "wait", shared_cluster.address) as program:
        pid = computed(node)
        program.kill()
    wait_until("the node's process to end", lambda: not psutil.pid_exists(pid))
    node.let_go()
    assert run_dask(node, address=shared_cluster.address, progress=False).results() == 2


def test_Ctrl_C_ends_a_program_with_an_own_cluster_at_once_and_with_130(node: Held) -> None:
    with start(node, "wait") as program:
        pid = computed(node)
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does, so Dask's workers get it too
        assert program.wait(200) == 130
        assert program.stderr is not None
        assert b"Traceback" not in program.stderr.read()
    wait_until("the node's process to be gone", lambda: not psutil.pid_exists(pid))
    assert StateReader().state(node).state is NodeState.CANCELLED


def test_P6_a_program_that_ends_without_waiting_ends_its_run(node: Held) -> None:
    with start(node, "leave") as program:
        assert program.wait(200) == 0
        assert program.stderr is not None
        assert b"ended without waiting" in program.stderr.read()


def test_P6_without_a_scheduler_a_run_ends_with_its_address(
    node: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("furu_dask._backend._ANSWER_SECS", 2.0)
    address = "tcp://127.0.0.1:1"
    with pytest.raises(FuruExecutorError, match=f"{address} cannot be reached"):
        run_dask(node, address=address, progress=False)


def test_P6_a_scheduler_that_dies_ends_the_run(dask_cluster: DaskCluster, node: Held) -> None:
    dask_cluster.add_worker()
    run = DaskExecutor(address=dask_cluster.address, progress=False).submit(node)
    pid = computed(node)
    dask_cluster.scheduler.kill()
    with pytest.raises(FuruRunError, match="is gone"):
        run.wait()
    wait_until("the node's process to end", lambda: not psutil.pid_exists(pid))


def test_P6_a_scheduler_that_hangs_ends_the_run(
    dask_cluster: DaskCluster, node: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    dask_cluster.add_worker()
    run = DaskExecutor(address=dask_cluster.address, progress=False).submit(node)
    computed(node)
    monkeypatch.setattr("furu_dask._backend._ANSWER_SECS", 2.0)
    dask_cluster.scheduler.send_signal(signal.SIGSTOP)
    with pytest.raises(FuruRunError, match="does not answer"):
        run.wait()


# Resources


def test_nodes_go_to_workers_that_have_the_resources_of_their_spec_key(
    dask_cluster: DaskCluster, node: Held
) -> None:
    dask_cluster.add_worker()
    one = dask_cluster.add_worker("--resources", "GPU=1")
    nodes = [Held(folder=node.folder, label=f"gpu-{n}", key="gpu") for n in range(2)]
    executor = DaskExecutor(
        address=dask_cluster.address, resources={"gpu": {"GPU": 1}}, progress=False
    )
    run = executor.submit([node, *nodes])
    computed(node)
    wait_until("a gpu node to begin", lambda: nodes[0].pids() or nodes[1].pids())
    node.let_go()
    run.wait()
    assert {pid for held in nodes for pid in held.pids()}.isdisjoint(node.pids())
    started = [event.hash for event in run.events() if event.kind is EventKind.NODE_STARTED]
    assert started[:2].count(node.furu_hash) == 1  # the second gpu node waited for the first
    assert one.poll() is None


def test_P6_a_spec_key_whose_resources_no_worker_has_ends_the_run_and_names_both(
    shared_cluster: DaskCluster, tmp_path: Path, node: Held
) -> None:
    gpu = Held(folder=node.folder, key="gpu")
    with pytest.raises(FuruRunError, match=r"no worker with GPU=2, DISK=1, .* spec key 'gpu'"):
        run_dask(
            gpu,
            address=shared_cluster.address,
            resources={"gpu": {"GPU": 2, "DISK": 1}},
            worker_timeout=0.1,
            progress=False,
        )


def test_P6_without_any_worker_a_run_waits_for_one(dask_cluster: DaskCluster, node: Held) -> None:
    node.let_go()
    with pytest.raises(FuruRunError, match="has no worker at all"):
        run_dask(node, address=dask_cluster.address, worker_timeout=0.1, progress=False)
    run = DaskExecutor(address=dask_cluster.address, progress=False).submit(node)
    dask_cluster.add_worker()
    assert run.wait().results() == 1


@pytest.mark.parametrize(
    "options",
    [{"max_workers": "0"}, {"resources": "gpu=GPU:1"}, {"resources": "gpu"}, {"adress": "x"}],
)
def test_options_that_make_no_sense_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(FuruError, match=r"max_workers|resources|address"):
        DaskExecutor.from_options(options)


# Liveness


def test_liveness_tells_what_is_computed_from_what_has_ended_and_what_cannot_be_asked(
    dask_cluster: DaskCluster, node: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    dask_cluster.add_worker()
    with start(node, "wait", dask_cluster.address) as program:
        computed(node)
        holder = StateReader().state(node).holder
        assert holder is not None
        submission = holder.submission
        assert submission is not None
        elsewhere = Submission("dask", submission.id.replace("Scheduler-", "Scheduler-0"))
        assert liveness([submission, elsewhere]) == {
            submission: Liveness.ALIVE,
            elsewhere: Liveness.UNKNOWN,
        }
        program.kill()
    wait_until("the task to be gone", lambda: liveness([submission])[submission] is Liveness.GONE)
    dask_cluster.scheduler.kill()
    dask_cluster.scheduler.wait()
    monkeypatch.setattr("furu_dask._backend._ANSWER_SECS", 2.0)
    assert liveness([submission]) == {submission: Liveness.UNKNOWN}
