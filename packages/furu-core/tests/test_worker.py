"""P5: what an executor learns from each attempt at a node, and what it records of a death it saw."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import worker_nodes as nodes
from records import attempts_of, told
from worker_nodes import Cancels, Debugs, SavesTheSame

import furu_core
from furu_core import Furu, NodeState
from furu_core.errors import FuruComputeError, FuruImportNameError
from furu_core.executors import FailureKind
from furu_core.planning import StateReader
from furu_core.workers import Outcome, Packer, Unpacker, made_progress, record_death, run_node
from furu_testing import Child, Host, await_mark, let_go, wait_until
from furu_testing.nodes import Dies, Fails, Saves, Step, Value


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Starts processes that may be killed."""
    folder = tmp_path_factory.mktemp("host")
    with Host(folder, modules=["worker_nodes"], sys_path=[Path(nodes.__file__).parent]) as host:
        yield host


def attempt(host: Host, store: Path, node: Furu[Any]) -> Child:
    """Begin an attempt in another process, with the store of the test."""
    return host.start("worker_nodes:attempt", node.to_dict(), path=str(store))


def test_an_attempt_that_computes_says_so_and_a_second_one_loads(store: Path, session: Any) -> None:
    with session():
        first = run_node(Value(x="value"))
        second = run_node(Value(x="value"))
        third = run_node(Value(x="value"), rerun=True)
    assert (first.outcome, first.attempt) == (Outcome.COMPUTED, 1)
    assert first.hash == Value(x="value").furu_hash
    assert first.seconds > 0
    assert first.failure is None
    assert (second.outcome, second.attempt) == (Outcome.LOADED, None)
    assert third.outcome is Outcome.COMPUTED
    assert Value(x="value").get() == "value"


def test_an_attempt_that_fails_tells_the_kind_the_error_and_the_log(
    store: Path, session: Any
) -> None:
    node = Fails(label="bad", times=2)
    with session():
        results = [run_node(node) for _ in range(2)]
    assert [result.attempt for result in results] == [1, 2]
    for number, result in enumerate(results, start=1):
        assert result.outcome is Outcome.FAILED
        failure = result.failure
        assert failure is not None
        assert (failure.kind, failure.error_type) == (FailureKind.COMPUTE, "ValueError")
        assert failure.message == f"attempt {number} of bad fails on purpose"
        assert failure.hash == node.furu_hash
        assert failure.log is not None
        assert f"ValueError: {failure.message}" in failure.log.read_text()
        assert str(failure.log) in str(failure)
        assert re.search(r"fails on purpose at .+/nodes\.py:\d+ \(log: ", str(failure))
    info = StateReader().state(node)
    assert (info.state, info.attempt) == (NodeState.FAILED, 2)
    assert info.failure is not None
    assert info.failure.message == "attempt 2 of bad fails on purpose"
    assert info.holder is not None
    assert (info.holder.executor, info.holder.run_id) == ("test", "run-1")


def test_an_attempt_that_is_cancelled_costs_nothing(store: Path, session: Any) -> None:
    node = Cancels()
    with session():
        result = run_node(node)
    assert result.outcome is Outcome.CANCELLED
    assert result.failure.kind is FailureKind.CANCELLED
    assert node.status() is NodeState.CANCELLED
    with furu_core.use_settings(retry_failed=False), session():
        assert run_node(node).outcome is Outcome.CANCELLED, "it has not failed, so it is tried"


@pytest.mark.parametrize("left", [False, True])
def test_P8_a_node_that_stops_in_a_debugger_without_a_terminal_fails_for_good_and_says_where_one_is(
    store: Path, session: Any, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    monkeypatch.setattr(sys, "breakpointhook", sys.__breakpointhook__)  # pytest has its own
    with session():
        failure = run_node(Debugs(left=left)).failure
    assert failure is not None
    assert failure.kind is FailureKind.PROTOCOL
    name = f"Debugs({Debugs(left=left).furu_hash[:6]})"
    assert failure.message.startswith(
        f"the debugger in {name} was left" if left else f"{name} stops at breakpoint()"
    )
    assert 'worker="inline"' in failure.message
    assert sys.breakpointhook is sys.__breakpointhook__


def test_an_attempt_at_what_another_process_computes_is_busy(
    store: Path, session: Any, host: Host
) -> None:
    node = Step(label="waits", waits=True)
    child = attempt(host, store, node)
    await_mark(store, "waits")
    with session():
        result = run_node(node)
    assert (result.outcome, result.attempt) == (Outcome.BUSY, None)
    assert result.holder is not None
    assert result.holder.process is not None
    assert result.holder.process.pid == child.pid
    child.kill()
    child.wait()
    wait_until("the death to be noticed", lambda: node.status() is NodeState.LOST)


@pytest.mark.parametrize("kind", [FailureKind.LOST, FailureKind.CANCELLED])
def test_an_executor_records_the_death_that_it_saw(
    store: Path, session: Any, host: Host, kind: FailureKind
) -> None:
    node = Dies(label="dies", times=1)
    assert attempt(host, store, node).wait().killed
    assert node.status() is NodeState.LOST
    failure = record_death(node, None, kind, "killed by SIGKILL")
    assert failure is not None
    assert (failure.kind, failure.message) == (kind, "killed by SIGKILL")
    # To people it has failed, as its run says; who computes goes on with it.
    expected = NodeState.FAILED if kind is FailureKind.LOST else NodeState.CANCELLED
    assert node.status() is expected
    stands = NodeState.LOST if kind is FailureKind.LOST else expected
    assert StateReader().state(node).state is stands
    (folder,) = attempts_of(store, node)
    assert told(folder)["ended"]["kind"] == kind.value
    assert {path.name for path in folder.iterdir()} <= {".furu.json", ".furu.log"}
    with session():
        assert run_node(node).outcome is Outcome.COMPUTED


def test_a_death_after_publishing_is_no_failure(store: Path) -> None:
    node = Value(x="value")
    node.get()
    assert record_death(node, 1, FailureKind.LOST, "killed") is None
    assert node.get() == "value"


def test_a_death_does_not_change_what_the_attempt_itself_recorded(
    store: Path, session: Any
) -> None:
    node = Fails(label="bad", times=1)
    with pytest.raises(FuruComputeError):
        node.get()
    record_death(node, 1, FailureKind.LOST, "killed")
    assert node.status() is NodeState.FAILED


def test_progress_is_a_changed_checkpoint_and_outlives_kills(
    store: Path, session: Any, host: Host
) -> None:
    """P5: a week of work in 24-hour jobs is no failure; the same bytes each time are no progress."""
    counting = Saves(label="counting", steps=3)
    idle = SavesTheSame(label="idle", waits=True)
    for number in (1, 2, 3):
        for node in (counting, idle):
            child = attempt(host, store, node)
            await_mark(store, node.label, number)
            child.kill()
            assert child.wait().killed
            record_death(node, number, FailureKind.LOST, "killed by SIGKILL")
            wrote_anew = node is counting or number == 1
            assert made_progress(node, number) is made_progress(node) is wrote_anew
    let_go(store)
    with session():
        assert run_node(counting).outcome is Outcome.COMPUTED
        assert run_node(counting).attempt is None
    assert [past["status"] for past in told(counting.furu_dir)["earlier"]] == ["lost"] * 3


def test_a_class_that_cannot_be_imported_is_named_where_it_is_unpacked(
    store: Path, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone_nodes.py").write_text(
        "from furu_core import Furu\nclass Gone(Furu[int]):\n    n: int = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import gone_nodes  # type: ignore[import-not-found]

    data = Packer().pack(gone_nodes.Gone(n=2))
    assert Unpacker().unpack(data) == gone_nodes.Gone(n=2)
    path = tmp_path / "packed"
    path.write_bytes(data)
    (tmp_path / "gone_nodes.py").unlink()
    ended = host.start("worker_nodes:unpack", str(path)).wait()
    assert ended.error == FuruImportNameError.__name__
    assert "gone_nodes:Gone" in ended.message
    assert "; " in ended.message, "and what to do"
