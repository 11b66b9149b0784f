"""A process that computes nodes for a program that is not furu's own, and how its end is told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from exiting_nodes import SaysGoodbye

import furu_core
from furu_core import NodeState, use_settings
from furu_core._processes import _node_process
from furu_core.errors import FuruPlatformError
from furu_core.executors import FailureKind
from furu_core.planning import StateReader, short_name
from furu_core.workers import (
    Died,
    NodeProcess,
    NodeReport,
    NodeResult,
    Outcome,
    WorkerContext,
    import_roots,
    lost_result,
    node_order,
    origin_here,
    run_node,
)
from furu_testing import Host, await_mark, is_running, let_go, times, wait_until
from furu_testing.nodes import Dies, Fails, Step, Value

WORKER = WorkerContext(executor="test", run_id="run-1")


@pytest.fixture
def process(store: Path) -> Iterator[NodeProcess]:
    with NodeProcess(origin_here()) as process:
        yield process


VALUE = Value(x="value")
FAILS = Fails(label="bad", times=99)
WAITS = Step(label="waits", waits=True)


def test_a_process_computes_one_node_after_the_other_with_the_settings_of_its_origin(
    process: NodeProcess,
) -> None:
    first = process.compute(node_order(VALUE, WORKER))
    again = process.compute(node_order(VALUE, WORKER))
    anew = process.compute(node_order(VALUE, WORKER, rerun=True))
    assert [
        answer.outcome for answer in (first, again, anew) if isinstance(answer, NodeResult)
    ] == [
        Outcome.COMPUTED,
        Outcome.LOADED,
        Outcome.COMPUTED,
    ]
    assert VALUE.get() == "value"

    def stays() -> bool:
        before = process.pid
        process.compute(node_order(VALUE, WORKER))
        return before is not None and process.pid == before

    # Not where this machine takes longer from one to the next than a process waits for work.
    wait_until("a process to compute one node after the other", stays)


def test_P5_what_a_node_raises_is_told_with_its_kind_and_the_process_goes_on(
    process: NodeProcess,
) -> None:
    answer = process.compute(node_order(FAILS, WORKER))
    assert isinstance(answer, NodeResult)
    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.message) == (
        FailureKind.COMPUTE,
        "attempt 1 of bad fails on purpose",
    )

    def goes_on() -> bool:
        process.compute(node_order(FAILS, WORKER))
        return process.pid is not None

    wait_until("a process that has outlived an error", goes_on)  # it leaves for want of work


def test_P5_a_node_that_kills_its_process_is_told_as_lost_and_recorded_by_whoever_hears_of_it(
    process: NodeProcess,
) -> None:
    node = Dies(label="dies")
    answer = process.compute(node_order(node, WORKER))
    assert isinstance(answer, Died)
    assert answer.kind is FailureKind.LOST
    assert "SIGKILL" in answer.message
    assert process.pid is None
    result = lost_result(node, "run-1", answer.kind, answer.message)
    assert (result.outcome, result.attempt) == (Outcome.FAILED, 1)
    info = StateReader().state(node)
    assert info.state is NodeState.LOST
    assert info.failure is not None
    assert "SIGKILL" in info.failure.message
    _is_replaced(process)


def _is_replaced(process: NodeProcess) -> None:
    """A process that left for want of work or died is."""
    process.compute(node_order(FAILS, WORKER))
    assert process.pid is not None
    pid = process.pid
    os.kill(pid, signal.SIGKILL)  # between two nodes, so no node is lost
    gone = os.WEXITED | os.WNOHANG | os.WNOWAIT  # a zombie may have threads that are ending yet
    wait_until("the process to end", lambda: os.waitid(os.P_PID, pid, gone) is not None)
    answer = process.compute(node_order(VALUE, WORKER))
    assert isinstance(answer, NodeResult)
    assert answer.outcome is Outcome.COMPUTED


def test_a_death_is_not_recorded_with_the_attempt_of_another_run(store: Path, session: Any) -> None:
    node = FAILS
    with session():
        run_node(node)
    for run_id in ("run-1", "run-2"):  # the one has ended, the other never began
        result = lost_result(node, run_id, FailureKind.LOST, "its job is gone")
        assert (result.outcome, result.attempt) == (Outcome.FAILED, None)
        assert result.failure is not None
        assert result.failure.message == "its job is gone"
    assert StateReader().state(node).state is NodeState.FAILED


def test_a_death_right_after_publishing_is_no_failure(store: Path, session: Any) -> None:
    node = VALUE
    with session():
        run_node(node)
    result = lost_result(node, "run-1", FailureKind.LOST, "its job is gone")
    assert result.outcome is Outcome.COMPUTED


def test_a_node_that_is_not_wanted_any_more_is_interrupted(
    process: NodeProcess, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else it is killed where the disk takes long to write down what became of it.
    monkeypatch.setattr(_node_process, "_GRACE_SECS", 120.0)
    node = WAITS
    answer = process.compute(node_order(node, WORKER), unwanted=lambda: "waits" in times(store))
    assert isinstance(answer, NodeResult)
    assert answer.outcome is Outcome.CANCELLED
    assert StateReader().state(node).state is NodeState.CANCELLED
    assert process.pid is None


def test_P6_a_process_that_does_not_let_itself_be_interrupted_is_killed(
    process: NodeProcess, store: Path
) -> None:
    def unwanted() -> bool:
        begun = "waits" in times(store)
        if begun:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
        return begun

    answer = process.compute(node_order(WAITS, WORKER), unwanted=unwanted)
    assert isinstance(answer, Died)
    assert answer.kind is FailureKind.CANCELLED
    assert process.pid is None


def test_P5_a_node_that_cannot_be_imported_is_a_failure_of_protocol(
    process: NodeProcess,
) -> None:
    order = node_order(VALUE, WORKER)
    broken = order.packed.replace(b"furu_testing.nodes", b"no_such_module_at_")
    answer = process.compute(type(order)(broken, order.hash, order.worker))
    assert isinstance(answer, NodeResult)
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.PROTOCOL
    assert "no_such_module_at_" in answer.failure.message


def test_orders_behind_a_node_come_back_when_they_are_recalled_or_it_is_interrupted(
    store: Path,
) -> None:
    with NodeProcess(origin_here(), idle_secs=None) as process:
        waits, *behind = [process.assign(node, WORKER) for node in (WAITS, VALUE, Value(x=2))]
        process.flush()
        await_mark(store, "waits")
        process.recall()
        assert process.poll(120) == [NodeReport(number, None) for number in behind]
        behind = [process.assign(VALUE, WORKER)]
        process.flush()
        process.interrupt("enough of that")
        reports = []
        while process.busy:
            reports += process.poll(120)
        results = {report.number: report.result for report in reports}
        assert set(results) == {waits, *behind}
        assert results[behind[0]] is None
        result = results[waits]
        assert result is not None
        assert result.failure is not None
        assert (result.outcome, result.failure.message) == (Outcome.CANCELLED, "enough of that")
        before = process.pid
        process.assign(VALUE, WORKER)
        (report,) = process.poll(120)
        assert report.result is not None
        assert report.result.outcome is Outcome.COMPUTED
        assert process.pid == before


def wait_in_a_process() -> None:
    """Have a node computed that does not end, in a process that a test kills."""
    with NodeProcess(origin_here()) as process:
        process.compute(node_order(WAITS, WORKER))


def test_P7_the_process_ends_with_the_one_that_started_it(store: Path) -> None:
    with Host(store, sys_path=[Path(__file__).parent]) as host:
        child = host.start("test_node_process:wait_in_a_process")
        pid = await_mark(store, "waits").pid
        assert pid != child.pid
        child.kill()
        wait_until("its process to end", lambda: not is_running(pid))


def test_processes_of_several_threads_print_what_belongs_to_no_node_each_to_its_log(
    store: Path, tmp_path: Path
) -> None:
    def compute(x: int) -> Outcome:
        with NodeProcess(origin_here(), log=tmp_path / f"{x}.log") as process:
            answer = process.compute(node_order(Value(x=x), WORKER))
            assert isinstance(answer, NodeResult)
            return answer.outcome

    with use_settings(log_level="DEBUG"), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(compute, range(2))) == [Outcome.COMPUTED] * 2
    for x in range(2):
        assert short_name(Value(x=x)) in (tmp_path / f"{x}.log").read_text()


def test_what_exit_handlers_print_goes_to_the_log_of_the_process_also_right_after_a_node(
    store: Path, tmp_path: Path
) -> None:
    node = SaysGoodbye()
    with NodeProcess(origin_here(), log=tmp_path / "process.log") as process:
        process.assign(node, WORKER)
        process.dismiss()  # so the end is there already when the node has ended
        wait_until("the process to end", lambda: bool(process.poll(0.1)) or process.has_ended())
        wait_until("the process to end", process.has_ended)
    assert "goodbye" in (tmp_path / "process.log").read_text()
    assert (node.furu_dir / ".furu.log").read_text() == "hello\n"


@pytest.mark.parametrize("for_here", [True, False])
def test_a_project_below_the_prefix_of_the_interpreter_is_imported_from(
    store: Path, monkeypatch: pytest.MonkeyPatch, for_here: bool
) -> None:
    """As one in ``/usr/src`` is, or one that is its own virtual environment."""
    monkeypatch.setattr(sys, "prefix", str(Path(__file__).parent))
    origin = origin_here(for_here=for_here)
    assert str(Path(__file__).parent / "nodes") in origin.roots
    if for_here:
        assert list(origin.roots) == import_roots()


def test_p8_where_nobody_knows_the_interpreter_an_error_says_so_and_what_to_do(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with (
        NodeProcess(origin_here()) as process,
        pytest.raises(FuruPlatformError, match=r"sys\.executable.*threads"),
    ):
        process.compute(node_order(VALUE, WORKER))


def test_a_process_that_is_dismissed_before_its_first_order_ends_without_complaint(
    store: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with NodeProcess(origin_here(), log=log) as process:
        process.start()
        process.dismiss()
        wait_until("its process to end", process.has_ended)
    assert log.read_text() == ""


def test_p8_whoever_is_interrupted_while_it_waits_gets_no_answer_of_that_node_for_the_next(
    store: Path, process: NodeProcess
) -> None:
    def interrupted() -> bool:
        await_mark(store, WAITS.label)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.compute(node_order(WAITS, WORKER), unwanted=interrupted)
    let_go(store)
    answer = process.compute(node_order(VALUE, WORKER))
    assert isinstance(answer, NodeResult)
    assert answer.hash == VALUE.furu_hash
    assert not WAITS.exists()


def test_a_process_that_was_closed_may_be_closed_again(store: Path) -> None:
    with NodeProcess(origin_here()) as process:
        process.start()
        process.close()
        again = os.pipe()  # one of which has the number that the pipe to the watchdog had
    for fd in again:
        os.close(fd)


def test_the_folders_of_the_interpreter_stay_its_own(store: Path) -> None:
    origin = origin_here(furu_core.settings())
    assert not [root for root in origin.roots if root.startswith(sys.prefix)]
    assert str(Path(__file__).parent / "nodes") in origin.roots
