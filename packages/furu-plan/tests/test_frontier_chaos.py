"""Whatever becomes of nodes, in whatever order: the frontier loses none and ends (P5, P6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from furu_plan import Frontier, Reconciled, Reopening, Stage, Status

Graph = Callable[..., Any]


@st.composite
def stores(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, Status], list[str]]:
    """A graph, how its nodes stand, and roots."""
    size = draw(st.integers(1, 12))
    names = [f"n{index}" for index in range(size)]
    edges = {
        names[index]: draw(st.lists(st.sampled_from(names[:index]), max_size=4, unique=True))
        if index
        else []
        for index in range(size)
    }
    statuses = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(Status)))
    roots = draw(st.lists(st.sampled_from(names), min_size=1, max_size=5))
    return edges, statuses, roots


LOST = (Stage.FAILED, Stage.BLOCKED)


def check(frontier: Frontier) -> None:
    """What holds between any two calls."""
    graph, stages = frontier._graph, frontier._stages
    assert graph.nodes.keys() == stages.keys()
    assert sum(frontier.counts().values()) == len(stages)
    for node_hash, node in graph.nodes.items():
        missing = sum(stages[dependency] is not Stage.DONE for dependency in node.dependencies)
        assert frontier._missing[node_hash] == missing
        lost = any(stages[dependency] in LOST for dependency in node.dependencies)
        if stages[node_hash] is Stage.READY:
            assert missing == 0
        if stages[node_hash] is Stage.PENDING:
            assert not lost
        if stages[node_hash] is Stage.BLOCKED:
            assert lost
    assert sum(frontier.ready().values()) == frontier.counts()[Stage.READY]
    if not frontier.finished:
        # Something can be done about it: nothing waits for ever.
        assert frontier.ready() or frontier.counts()[Stage.OUT] or frontier.waiting()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.data(),
    stores(),
    st.one_of(st.sampled_from(["dfs", "bfs"]), st.integers(1, 3)),
    st.integers(0, 40),
)
def test_no_node_is_lost_whatever_becomes_of_them(
    graph: Graph, data: st.DataObject, store: Any, window: Any, trouble: int
) -> None:
    edges, statuses, roots = store
    plan = graph(edges, statuses).plan(roots)
    frontier = Frontier(plan, window=window)
    check(frontier)
    first_blocked = {node.hash for node in frontier.in_stage(Stage.BLOCKED)}
    computed: dict[str, int] = {}
    blocked: list[str] = []
    out: list[str] = []
    reopened: set[str] = set()
    for _ in range(1000):
        if frontier.finished:
            break
        limit = data.draw(st.one_of(st.none(), st.integers(1, 3)))
        for node in frontier.take(limit=limit):
            assert node.hash not in out
            dependencies = frontier.node(node.hash).dependencies
            assert set(edges[node.hash]) <= set(dependencies)
            assert all(frontier.stage(dependency) is Stage.DONE for dependency in dependencies)
            assert node.hash not in computed or node.hash in reopened
            out.append(node.hash)
            check(frontier)
        waiting = frontier.waiting()
        if waiting and (not out or data.draw(st.booleans())):
            node = data.draw(st.sampled_from(waiting))
            status = Status.DONE
            if trouble > 0:
                trouble -= 1
                status = data.draw(st.sampled_from(Status))
            now = attrs.evolve(node, status=status)
            match status:
                case Status.DONE:
                    news = Reconciled(done=(now,))
                case Status.TODO:
                    news = Reconciled(todo=(now,))
                case Status.FAILED:
                    news = Reconciled(failed=(now,))
                case Status.IN_PROGRESS:
                    news = Reconciled(running=(now,))
            blocked += [node.hash for node in frontier.resolve(news)]
        elif out:
            node_hash = out.pop(data.draw(st.integers(0, len(out) - 1)))
            what = "done"
            if trouble > 0:
                trouble -= 1
                what = data.draw(st.sampled_from(["done", "failed", "retry", "busy", "reopen"]))
            below = frontier.node(node_hash).dependencies
            if what == "reopen" and below:
                culprit = data.draw(st.sampled_from(below))
                was = frontier.stage(culprit)
                match frontier.reopen(culprit, asker=node_hash):
                    case Reopening.REOPENED:
                        assert was is Stage.DONE
                        assert culprit not in reopened
                        reopened.add(culprit)
                    case Reopening.AGAIN:
                        assert was is Stage.DONE
                        assert culprit in reopened
                    case Reopening.WAITS:
                        assert was not in (Stage.DONE, *LOST)
                    case Reopening.REFUSED:
                        assert frontier.stage(node_hash) is Stage.OUT
                        blocked += [node.hash for node in frontier.failed(node_hash)]
            elif what == "failed":
                blocked += [node.hash for node in frontier.failed(node_hash)]
            elif what == "busy":
                frontier.elsewhere(node_hash)
            elif what in ("retry", "reopen"):
                blocked += [node.hash for node in frontier.retry(node_hash)]
            else:
                frontier.done(node_hash)
                computed[node_hash] = computed.get(node_hash, 0) + 1
        check(frontier)
    assert frontier.finished
    assert all(count == 1 or node_hash in reopened for node_hash, count in computed.items())
    # Each node that can never run is told once.
    assert len(blocked) == len(set(blocked))
    assert set(blocked) <= {node.hash for node in frontier.in_stage(Stage.BLOCKED)} - first_blocked
    for root in plan.roots:
        at = frontier.stage(root)
        assert at in (Stage.DONE, *LOST), f"{root} is {at}"
