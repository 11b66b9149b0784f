"""A process that computes nodes for a program that is not furu's own, and how its end is told."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import worker_nodes as nodes
from worker_nodes import Ends

import furu_core
from furu_core import NodeState, _node_process
from furu_core.executors import (
    Died,
    FailureKind,
    NodeProcess,
    NodeResult,
    Outcome,
    StateReader,
    WorkerContext,
    lost_result,
    node_order,
    origin_here,
)
from furu_testing import Host, wait_until

WORKER = WorkerContext(executor="test", run_id="run-1")


@pytest.fixture
def process(store: Path) -> Iterator[NodeProcess]:
    with NodeProcess(origin_here()) as process:
        yield process


def ends(how: str, folder: Path = Path()) -> Ends:
    return Ends(how=how, folder=folder)


def started(folder: Path) -> bool:
    return (folder / "started").exists()


def test_a_process_computes_one_node_after_the_other_with_the_settings_of_its_origin(
    process: NodeProcess,
) -> None:
    first = process.compute(node_order(ends("value"), WORKER))
    again = process.compute(node_order(ends("value"), WORKER))
    anew = process.compute(node_order(ends("value"), WORKER, rerun=True))
    assert [
        answer.outcome for answer in (first, again, anew) if isinstance(answer, NodeResult)
    ] == [
        Outcome.COMPUTED,
        Outcome.LOADED,
        Outcome.COMPUTED,
    ]
    assert ends("value").get() == "value"

    def stays() -> bool:
        before = process.pid
        process.compute(node_order(ends("value"), WORKER))
        return before is not None and process.pid == before

    # Not where this machine takes longer from one to the next than a process waits for work.
    wait_until("a process to compute one node after the other", stays)


def test_P5_what_a_node_raises_is_told_with_its_kind_and_the_process_goes_on(
    process: NodeProcess,
) -> None:
    answer = process.compute(node_order(ends("raise"), WORKER))
    assert isinstance(answer, NodeResult)
    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.message) == (FailureKind.COMPUTE, "bad value")

    def goes_on() -> bool:
        process.compute(node_order(ends("raise"), WORKER))
        return process.pid is not None

    wait_until("a process that has outlived an error", goes_on)  # it leaves for want of work


def test_P5_a_node_that_kills_its_process_is_told_as_lost_and_recorded_by_whoever_hears_of_it(
    process: NodeProcess,
) -> None:
    node = ends("kill")
    answer = process.compute(node_order(node, WORKER))
    assert isinstance(answer, Died)
    assert answer.kind is FailureKind.LOST
    assert "SIGKILL" in answer.message
    assert process.pid is None
    result = lost_result(node, "run-1", answer.kind, answer.message)
    assert (result.outcome, result.attempt) == (Outcome.FAILED, 1)
    info = StateReader().state(node)
    assert info.state is NodeState.STALE
    assert info.failure is not None
    assert "SIGKILL" in info.failure.message


def test_a_process_that_left_for_want_of_work_or_died_is_replaced(process: NodeProcess) -> None:
    process.compute(node_order(ends("kill"), WORKER))
    process.compute(node_order(ends("raise"), WORKER))
    assert process.pid is not None
    pid = process.pid
    os.kill(pid, signal.SIGKILL)  # between two nodes, so no node is lost
    gone = os.WEXITED | os.WNOHANG | os.WNOWAIT  # a zombie may have threads that are ending yet
    wait_until("the process to end", lambda: os.waitid(os.P_PID, pid, gone) is not None)
    answer = process.compute(node_order(ends("value"), WORKER))
    assert isinstance(answer, NodeResult)
    assert answer.outcome is Outcome.COMPUTED


def test_a_death_is_not_recorded_with_the_attempt_of_another_run(process: NodeProcess) -> None:
    node = ends("raise")
    process.compute(node_order(node, WORKER))
    for run_id in ("run-1", "run-2"):  # the one has ended, the other never began
        result = lost_result(node, run_id, FailureKind.LOST, "its job is gone")
        assert (result.outcome, result.attempt) == (Outcome.FAILED, None)
        assert result.failure is not None
        assert result.failure.message == "its job is gone"
    assert StateReader().state(node).state is NodeState.FAILED


def test_a_death_right_after_publishing_is_no_failure(process: NodeProcess) -> None:
    node = ends("value")
    process.compute(node_order(node, WORKER))
    result = lost_result(node, "run-1", FailureKind.LOST, "its job is gone")
    assert result.outcome is Outcome.COMPUTED


def test_a_node_that_is_not_wanted_any_more_is_interrupted(
    process: NodeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else it is killed where the disk takes long to write down what became of it.
    monkeypatch.setattr(_node_process, "_GRACE_SECS", 120.0)
    node = ends("wait", tmp_path)
    answer = process.compute(node_order(node, WORKER), unwanted=lambda: started(tmp_path))
    assert isinstance(answer, NodeResult)
    assert answer.outcome is Outcome.CANCELLED
    assert StateReader().state(node).state is NodeState.CANCELLED
    assert process.pid is None


def test_P6_a_process_that_does_not_let_itself_be_interrupted_is_killed(
    process: NodeProcess, tmp_path: Path
) -> None:
    def unwanted() -> bool:
        if started(tmp_path):
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
        return started(tmp_path)

    answer = process.compute(node_order(ends("wait", tmp_path), WORKER), unwanted=unwanted)
    assert isinstance(answer, Died)
    assert answer.kind is FailureKind.CANCELLED
    assert process.pid is None


def test_P5_a_node_that_cannot_be_imported_is_a_failure_of_protocol(
    process: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = node_order(ends("value"), WORKER)
    broken = order.packed.replace(b"worker_nodes", b"no_such_node")
    answer = process.compute(type(order)(broken, order.hash, order.worker))
    assert isinstance(answer, NodeResult)
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.PROTOCOL
    assert "no_such_node" in answer.failure.message


def wait_in_a_process(folder: str) -> None:
    """Have a node computed that does not end, in a process that a test kills."""
    with NodeProcess(origin_here()) as process:
        process.compute(node_order(ends("value"), WORKER))
        (Path(folder) / "pid").write_text(str(process.pid))
        process.compute(node_order(ends("wait", Path(folder)), WORKER))


def test_P7_the_process_ends_with_the_one_that_started_it(store: Path, tmp_path: Path) -> None:
    paths = [Path(nodes.__file__).parent, Path(__file__).parent]
    with Host(store, sys_path=paths) as host:
        child = host.start("test_node_process:wait_in_a_process", str(tmp_path))
        wait_until("the node to begin", lambda: started(tmp_path))
        pid = int((tmp_path / "pid").read_text())
        child.kill()
        wait_until("its process to end", lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_belongs_to_no_node_is_printed_to_the_log(store: Path, tmp_path: Path) -> None:
    with NodeProcess(origin_here(), log=tmp_path / "worker.log") as process:
        process.compute(node_order(ends("value"), WORKER))
    assert "Ends" in (tmp_path / "worker.log").read_text()


def test_processes_of_several_threads_do_not_disturb_each_other(store: Path) -> None:
    outcomes: list[Outcome] = []

    def compute(x: int) -> None:
        with NodeProcess(origin_here()) as process:
            node = Ends(how="value", counts=bool(x))
            answer = process.compute(node_order(node, WORKER))
            assert isinstance(answer, NodeResult)
            outcomes.append(answer.outcome)

    threads = [threading.Thread(target=compute, args=(x,)) for x in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [Outcome.COMPUTED] * 2


def test_the_folders_of_the_interpreter_stay_its_own(store: Path) -> None:
    origin = origin_here(furu_core.settings())
    assert not [root for root in origin.roots if root.startswith(sys.prefix)]
    assert str(Path(nodes.__file__).parent) in origin.roots
