"""The frontier hands out nodes in order, and loses none whatever becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from furu_core.errors import FuruCycleError
from furu_plan import Frontier, PlanNode, Reconciled, Reopening, Stage, Status

Graph = Callable[..., Any]


def hashes(nodes: list[PlanNode] | tuple[PlanNode, ...]) -> list[str]:
    return [node.hash for node in nodes]


def run_all(frontier: Frontier) -> list[str]:
    """Let every node succeed, one at a time; the order in which they were taken."""
    order = []
    while not frontier.finished:
        (node,) = frontier.take(limit=1)
        order.append(node.hash)
        frontier.done(node.hash)
    return order


def still(node: PlanNode, status: Status) -> PlanNode:
    return attrs.evolve(node, status=status)


DIAMOND = {"top": ["left", "right"], "left": ["base"], "right": ["base"]}


def test_a_node_is_handed_out_after_its_dependencies(graph: Graph) -> None:
    frontier = Frontier(graph(DIAMOND).plan(["top"]))
    assert hashes(frontier.take()) == ["base"]
    assert frontier.take() == []
    frontier.done("base")
    assert hashes(frontier.take()) == ["left", "right"]
    frontier.done("right")
    assert frontier.take() == []
    frontier.done("left")
    assert hashes(frontier.take()) == ["top"]
    assert not frontier.finished
    frontier.done("top")
    assert frontier.finished


def test_nodes_are_handed_out_by_spec_key_in_the_order_they_became_ready(graph: Graph) -> None:
    keys = {"b": "gpu", "d": "gpu"}
    plan = graph({}, spec_keys=keys).plan(["a", "b", "c", "d", "e"])
    frontier = Frontier(plan)
    assert frontier.ready() == {"default": 3, "gpu": 2}
    assert hashes(frontier.take("gpu", 1)) == ["b"]
    assert hashes(frontier.take(limit=2)) == ["a", "c"]
    assert hashes(frontier.take(limit=2)) == ["d", "e"]
    assert frontier.take("unheard of") == []
    assert frontier.ready() == {}


def test_nothing_to_do_is_finished_at_once(graph: Graph) -> None:
    assert Frontier(graph({}).plan([])).finished
    done = graph({}, statuses={"a": Status.DONE}).plan(["a"])
    assert Frontier(done).finished


def test_a_failure_blocks_what_depends_on_it_and_nothing_else(graph: Graph) -> None:
    frontier = Frontier(graph({**DIAMOND, "other": ["right"]}).plan(["top", "other"]))
    frontier.take()
    frontier.done("base")
    frontier.take()
    assert hashes(frontier.failed("left")) == ["top"]
    frontier.done("right")
    assert hashes(frontier.take()) == ["other"]
    frontier.done("other")
    assert frontier.finished
    assert frontier.counts()[Stage.BLOCKED] == 1
    assert hashes(frontier.in_stage(Stage.FAILED)) == ["left"]


def test_what_failed_before_blocks_from_the_start_while_retrying_is_off(graph: Graph) -> None:
    frontier = Frontier(graph(DIAMOND, statuses={"left": Status.FAILED}).plan(["top"]))
    assert frontier.stage("top") is Stage.BLOCKED
    # What can be computed is computed, so that less is left after the failure was mended.
    assert run_all(frontier) == ["base", "right"]


def test_a_node_given_back_is_handed_out_again(graph: Graph) -> None:
    frontier = Frontier(graph({}).plan(["a", "b"]))
    frontier.take(limit=1)
    assert frontier.retry("a") == ()
    assert hashes(frontier.take()) == ["b", "a"]


def test_roots_are_worked_on_one_at_a_time_in_dfs(graph: Graph) -> None:
    edges = {"r1": ["a", "b"], "r2": ["b", "c"], "r3": ["d"]}
    plan = graph(edges).plan(["r1", "r2", "r3"])
    frontier = Frontier(plan, window="dfs")
    assert hashes(frontier.take()) == ["a", "b"]
    frontier.done("a")
    frontier.done("b")
    assert hashes(frontier.take()) == ["r1"]
    frontier.done("r1")
    assert hashes(frontier.take()) == ["c"]


def test_all_roots_are_worked_on_in_bfs(graph: Graph) -> None:
    plan = graph({"r1": ["a"], "r2": ["b"], "r3": ["a", "c"]}).plan(["r1", "r2", "r3"])
    assert hashes(Frontier(plan).take()) == ["a", "b", "c"]
    assert hashes(Frontier(plan, window=2).take()) == ["a", "b"]


@pytest.mark.parametrize("window", [0, -1, True, "all", 1.5])
def test_a_window_that_is_none_is_refused(graph: Graph, window: Any) -> None:
    with pytest.raises(ValueError, match="the window is"):
        Frontier(graph({}).plan([]), window=window)


def test_roots_done_or_computed_elsewhere_take_no_place(graph: Graph) -> None:
    statuses = {"r1": Status.DONE, "r2": Status.IN_PROGRESS}
    frontier = Frontier(graph({}, statuses=statuses).plan(["r1", "r2", "r3"]), window="dfs")
    assert hashes(frontier.take()) == ["r3"]
    assert hashes(frontier.waiting()) == ["r2"]


def test_what_someone_else_finished_counts_as_done(graph: Graph) -> None:
    plan = graph({"r": ["a"]}, statuses={"a": Status.IN_PROGRESS}).plan(["r"])
    frontier = Frontier(plan)
    assert frontier.take() == []
    assert frontier.idle
    assert not frontier.finished
    (waiting,) = frontier.waiting()
    frontier.resolve(Reconciled(done=(still(waiting, Status.DONE),)))
    assert hashes(frontier.take()) == ["r"]
    assert frontier.waiting() == []


def test_what_a_dead_holder_left_is_planned_and_computed(graph: Graph) -> None:
    fake = graph({"r": ["a"], "a": ["b", "c"]}, statuses={"a": Status.IN_PROGRESS})
    fake.statuses["b"] = Status.DONE
    frontier = Frontier(fake.plan(["r"]))
    (waiting,) = frontier.waiting()
    frontier.resolve(Reconciled(todo=(still(waiting, Status.TODO),)))
    assert fake.refreshed == 1
    assert run_all(frontier) == ["c", "a", "r"]


def test_what_failed_elsewhere_blocks_while_retrying_is_off(graph: Graph) -> None:
    plan = graph({"r": ["a"]}, statuses={"a": Status.IN_PROGRESS}).plan(["r"])
    frontier = Frontier(plan)
    (waiting,) = frontier.waiting()
    blocked = frontier.resolve(Reconciled(failed=(still(waiting, Status.FAILED),)))
    assert hashes(blocked) == ["r"]
    assert frontier.finished


def test_a_dead_holder_s_node_blocks_when_what_it_needs_failed(graph: Graph) -> None:
    fake = graph({"r": ["a"], "a": ["b"]}, statuses={"a": Status.IN_PROGRESS})
    fake.statuses["b"] = Status.FAILED
    frontier = Frontier(fake.plan(["r"]))
    blocked = frontier.resolve(Reconciled(todo=tuple(frontier.waiting())))
    assert hashes(blocked) == ["a", "r"]
    assert frontier.finished


def test_a_busy_node_is_waited_for_and_can_come_back(graph: Graph) -> None:
    frontier = Frontier(graph({"r": ["a"]}).plan(["r"]))
    frontier.take()
    frontier.elsewhere("a")
    assert hashes(frontier.waiting()) == ["a"]
    frontier.resolve(Reconciled(todo=tuple(frontier.waiting())))
    assert run_all(frontier) == ["a", "r"]


def test_a_node_elsewhere_that_only_failed_nodes_need_is_not_waited_for(graph: Graph) -> None:
    """P6: nothing waits for nothing."""
    plan = graph({"r": ["a", "b"]}, statuses={"b": Status.IN_PROGRESS}).plan(["r"])
    frontier = Frontier(plan)
    frontier.take()
    assert not frontier.finished
    frontier.failed("a")
    assert frontier.waiting() == []
    assert frontier.finished


def test_an_invalid_dependency_is_computed_again_before_who_asked(graph: Graph) -> None:
    fake = graph({"r": ["a"], "s": ["a"], "a": ["b"]}, statuses={"a": Status.DONE})
    frontier = Frontier(fake.plan(["r", "s"]))
    assert hashes(frontier.take()) == ["r", "s"]
    assert frontier.reopen("a", asker="r") is Reopening.REOPENED
    assert frontier.reopen("a", asker="s") is Reopening.WAITS
    assert run_all(frontier) == ["b", "a", "r", "s"]


def test_an_invalid_dependency_takes_back_what_was_ready(graph: Graph) -> None:
    frontier = Frontier(graph({"r": ["a"], "s": ["a"]}, statuses={"a": Status.DONE}).plan("rs"))
    frontier.take(limit=1)
    frontier.reopen("a", asker="r")
    assert run_all(frontier) == ["a", "r", "s"]


def test_a_dependency_is_reopened_once_a_run(graph: Graph) -> None:
    """P5: what is invalid again after it was computed anew is not computed for ever."""
    frontier = Frontier(graph({"r": ["a"]}, statuses={"a": Status.DONE}).plan(["r"]))
    frontier.take()
    frontier.reopen("a", asker="r")
    frontier.take()
    frontier.done("a")
    frontier.take()
    assert frontier.reopen("a", asker="r") is Reopening.REFUSED
    assert frontier.stage("r") is Stage.OUT
    frontier.failed("r")
    assert frontier.finished


def test_who_saw_the_old_artifact_only_tries_again(graph: Graph) -> None:
    frontier = Frontier(graph({"r": ["a"], "s": ["a"]}, statuses={"a": Status.DONE}).plan("rs"))
    frontier.take()
    frontier.reopen("a", asker="r")
    frontier.take()
    frontier.done("a")
    assert frontier.reopen("a", asker="s") is Reopening.AGAIN
    assert sorted(hashes(frontier.take())) == ["r", "s"]


def test_a_reopened_dependency_that_fails_blocks_who_waits_for_it(graph: Graph) -> None:
    frontier = Frontier(graph({"r": ["a"], "s": ["a"]}, statuses={"a": Status.DONE}).plan("rs"))
    frontier.take()
    frontier.reopen("a", asker="r")
    frontier.take()
    assert hashes(frontier.failed("a")) == ["r"]
    # The other one runs, and may have loaded it before; if not, it cannot run again.
    assert frontier.stage("s") is Stage.OUT
    assert frontier.reopen("a", asker="s") is Reopening.REFUSED
    assert hashes(frontier.retry("s")) == ["s"]
    assert frontier.finished


def test_edges_found_while_running_that_make_a_cycle_are_an_error(graph: Graph) -> None:
    """P6: a run that cannot go on says so."""
    fake = graph({"r": ["a", "b"], "a": ["b"]}, statuses={"b": Status.DONE})
    fake.edges = {**fake.edges, "b": ["r"]}
    frontier = Frontier(fake.plan(["r"]))
    frontier.take()
    frontier.reopen("b", asker="a")
    with pytest.raises(FuruCycleError, match="wait for each other") as caught:
        frontier.take()
    assert caught.value.cycle[0] == caught.value.cycle[-1]


@st.composite
def dags(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    size = draw(st.integers(1, 14))
    names = [f"n{index}" for index in range(size)]
    edges = {
        names[index]: draw(st.lists(st.sampled_from(names[:index]), max_size=4, unique=True))
        for index in range(1, size)
    }
    edges["n0"] = []
    return edges, draw(st.lists(st.sampled_from(names), min_size=1, max_size=6))


windows = st.one_of(st.sampled_from(["dfs", "bfs"]), st.integers(1, 4))


def closure(edges: dict[str, list[str]], root: str) -> set[str]:
    seen: set[str] = set()
    stack = [root]
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(edges[name])
    return seen


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dags(), windows)
def test_every_node_is_handed_out_once_and_within_the_window(
    graph: Graph, dag: tuple[dict[str, list[str]], list[str]], window: Any
) -> None:
    edges, roots = dag
    plan = graph(edges).plan(roots)
    frontier = Frontier(plan, window=window)
    places = {"dfs": 1, "bfs": len(roots)}.get(window, window)
    order: list[str] = []
    while not frontier.finished:
        for node in frontier.take():
            left = [root for root in plan.roots if root not in order]
            assert any(node.hash in closure(edges, root) for root in left[:places])
            assert set(edges[node.hash]) <= set(order)
            order.append(node.hash)
            frontier.done(node.hash)
    assert len(order) == len(set(order))
    assert set(order) == set().union(*(closure(edges, root) for root in roots))
