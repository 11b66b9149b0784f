"""Waiting for what someone else computes: announced, bounded, and ended when they die (P6)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import attrs
import pytest

from furu_core import NodeState, Settings
from furu_core.errors import FuruWaitTimeout
from furu_core.executors import EventLog, Submission
from furu_core.planning import Holder, NodeInfo
from furu_core.workers import ProcessId
from furu_plan import Frontier, PlanNode, Reconciled, Status, Waits, reconcile
from furu_plan.runs import Controller

Graph = Callable[..., Any]

HOLDER = Holder(ProcessId("node7", "boot", "pid", 4711, "1"), run_id="r1")


@attrs.define
class FakeReader:
    """Says what the test put in."""

    states: dict[str, NodeInfo]
    refreshed: int = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def state(self, obj: Any) -> NodeInfo:
        return self.states[obj.furu_hash]


@attrs.define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


RUNNING = NodeInfo(NodeState.RUNNING, 1, HOLDER)


def nodes(graph: Graph, names: str, monkeypatch: pytest.MonkeyPatch) -> list[PlanNode]:
    monkeypatch.setattr(PlanNode, "name", property(lambda self: f"Node({self.hash})"))
    statuses = dict.fromkeys(names, Status.IN_PROGRESS)
    return [*graph({}, statuses=statuses).plan(list(names))]


@pytest.fixture
def named(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[PlanNode]]:
    return lambda names: nodes(graph, names, monkeypatch)


def watch(reader: FakeReader, **changes: Any) -> tuple[Waits, Clock, list[str]]:
    said: list[str] = []
    clock = Clock()
    settings = Settings(path="/nowhere", **changes)
    waits = Waits(settings, reader=reader, announce=said.append, clock=clock)  # type: ignore[arg-type]
    return waits, clock, said


Named = Callable[[str], list[PlanNode]]


@pytest.mark.parametrize(
    ("state", "retry_failed", "status"),
    [
        (NodeState.DONE, True, Status.DONE),
        (NodeState.LOST, True, Status.TODO),
        (NodeState.LOST, False, Status.TODO),
        (NodeState.CANCELLED, True, Status.TODO),
        (NodeState.ABSENT, True, Status.TODO),
        (NodeState.FAILED, True, Status.TODO),
        (NodeState.FAILED, False, Status.FAILED),
        (NodeState.RUNNING, True, Status.IN_PROGRESS),
        (NodeState.QUEUED, True, Status.IN_PROGRESS),
    ],
)
def test_nodes_of_others_are_judged_by_one_policy(
    named: Named, state: NodeState, retry_failed: bool, status: Status
) -> None:
    reader = FakeReader({"a": NodeInfo(state)})
    result = reconcile(named("a"), reader, retry_failed=retry_failed)  # type: ignore[arg-type]
    found = {
        Status.DONE: result.done,
        Status.TODO: result.todo,
        Status.FAILED: result.failed,
        Status.IN_PROGRESS: result.running,
    }
    assert [node.hash for node in found[status]] == ["a"]
    assert [node.status for node in found[status]] == [status]
    assert bool(result) is (status is not Status.IN_PROGRESS)
    assert reader.refreshed == 1


def test_queued_nodes_can_be_taken_over(named: Named) -> None:
    reader = FakeReader({"a": NodeInfo(NodeState.QUEUED)})
    result = reconcile(named("a"), reader, retry_failed=True, compute_queued=True)  # type: ignore[arg-type]
    assert result.todo


def test_many_nodes_are_looked_at_with_one_listing(named: Named) -> None:
    reader = FakeReader(dict.fromkeys("abcdef", RUNNING))
    waits, _, _ = watch(reader)
    assert len(waits.check(named("abcdef")).running) == 6
    assert reader.refreshed == 1


def test_the_store_is_looked_at_once_an_interval(named: Named) -> None:
    reader = FakeReader({"a": RUNNING})
    waits, clock, _ = watch(reader, poll_interval_secs=2.0)
    assert waits.due_in() == 0
    waits.check(named("a"))
    assert waits.due_in() == 2.0
    clock.now += 1.5
    assert not waits.check(named("a")).running
    assert reader.refreshed == 1
    clock.now += 0.5
    assert waits.check(named("a")).running
    assert reader.refreshed == 2


def test_who_is_waited_for_is_said_at_once_and_ever_more_rarely(named: Named) -> None:
    waits, clock, said = watch(FakeReader({"a": RUNNING}))
    for _ in range(3600):
        waits.check(named("a"))
        clock.now += 1
    assert said[0] == "waiting for Node(a), computed by process 4711 on node7 of run r1, 0 ms"
    assert said[-1].endswith("min")
    assert 8 <= len(said) <= 14


def test_one_line_says_all_who_are_waited_for(named: Named) -> None:
    waits, _, said = watch(FakeReader(dict.fromkeys("abcde", RUNNING)))
    waits.check(named("abcde"))
    assert len(said) == 1
    assert said[0].endswith("; and 2 more")


def test_somebody_new_is_told_soon_but_not_each_by_itself(named: Named) -> None:
    waits, clock, said = watch(FakeReader(dict.fromkeys("abcdefghij", RUNNING)))
    for count in range(1, 11):
        waits.check(named("abcdefghij"[:count]))
        clock.now += 1
    clock.now += 15
    waits.check(named("abcdefghij"))
    assert len(said) == 2


def test_a_wait_that_takes_too_long_names_the_holder(named: Named) -> None:
    waits, clock, _ = watch(FakeReader({"a": RUNNING}), max_wait_secs=30.0)
    waits.check(named("a"))
    clock.now += 29
    waits.check(named("a"))
    clock.now += 2
    with pytest.raises(FuruWaitTimeout) as caught:
        waits.check(named("a"))
    error = caught.value
    assert (error.hash, error.waited) == ("a", 31)
    assert error.holder == "computed by process 4711 on node7 of run r1"
    assert "FURU_MAX_WAIT_SECS" in str(error)


def test_a_job_in_a_queue_is_named_as_well(named: Named) -> None:
    queued = NodeInfo(NodeState.QUEUED, holder=Holder(None, Submission("cluster", "42")))
    waits, _, said = watch(FakeReader({"a": queued}))
    waits.check(named("a"))
    assert "cluster job 42" in said[0]


def test_time_does_not_count_while_there_is_other_work(named: Named) -> None:
    waits, clock, _ = watch(FakeReader({"a": RUNNING}), max_wait_secs=30.0)
    for _ in range(100):
        waits.check(named("a"), idle=False)
        clock.now += 10
    waits.check(named("a"))
    clock.now += 31
    with pytest.raises(FuruWaitTimeout):
        waits.check(named("a"))


def test_there_is_no_limit_while_the_holder_lives(named: Named) -> None:
    waits, clock, _ = watch(FakeReader({"a": RUNNING}))
    for _ in range(10):
        assert waits.check(named("a")).running
        clock.now += 1e6


def test_news_come_before_the_end_of_the_wait(named: Named) -> None:
    reader = FakeReader({"a": RUNNING, "b": RUNNING})
    waits, clock, _ = watch(reader, max_wait_secs=5.0)
    waits.check(named("ab"))
    clock.now += 10
    reader.states["b"] = NodeInfo(NodeState.DONE)
    assert [node.hash for node in waits.check(named("ab")).done] == ["b"]
    clock.now += 1
    with pytest.raises(FuruWaitTimeout):
        waits.check(named("a"))


def test_while_others_get_on_a_run_looks_at_their_nodes_for_a_small_part_of_the_time(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = graph({}, statuses={"a": Status.IN_PROGRESS}).plan(["a"])
    controller = Controller(
        run_id="r",
        frontier=Frontier(plan),
        pool=Mock(),
        events=EventLog(tmp_path),
        settings=Settings(path=tmp_path),
        display=Mock(),
    )

    def check(found: list[PlanNode], *, idle: bool) -> Reconciled:
        time.sleep(0.05)  # as long as it takes to list a large class
        return Reconciled(todo=tuple(found))

    monkeypatch.setattr(controller._waits, "check", check)
    controller._look_elsewhere()
    assert controller._next_look - time.monotonic() > 0.15


def test_p8_what_failed_before_below_a_node_that_nobody_computes_any_more_is_named(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = {"top": Status.IN_PROGRESS, "low": Status.FAILED}
    plan = graph({"top": ["low"]}, statuses=statuses).plan(["top"])
    controller = Controller(
        run_id="r",
        frontier=Frontier(plan),
        pool=Mock(),
        events=EventLog(tmp_path),
        settings=Settings(path=tmp_path, retry_failed=False),
        display=Mock(),
    )

    def check(found: list[PlanNode], *, idle: bool) -> Reconciled:
        return Reconciled(todo=tuple(found))

    monkeypatch.setattr(controller._waits, "check", check)
    # How a real object is called, a made-up one does not know.
    monkeypatch.setattr(PlanNode, "name", property(lambda node: f"Node({node.hash})"))
    controller._look_elsewhere()
    status = controller.status()
    assert (status.failed, status.blocked) == (1, 1)
    assert [failure.node for failure in status.failures] == ["Node(low)"]
    assert not controller._accepting
