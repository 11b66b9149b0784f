"""A plan as JSON, as a tree, and as Graphviz DOT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from furu_plan import (
    DependencyPlan,
    PlanNode,
    Status,
    build_plan,
    ready_todo,
    topo_order_todo,
)
from furu_testing.nodes import Leaf

Graph = Callable[..., Any]


@pytest.fixture
def plan(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> DependencyPlan:
    monkeypatch.setattr(PlanNode, "name", property(lambda self: f"Node({self.hash})"))
    edges = {"top": ["left", "right"], "left": ["base"], "right": ["base"], "base": ["raw"]}
    made: DependencyPlan = graph(edges, {"raw": Status.DONE}).plan(["top", "left"])
    return made


def test_statuses_are_the_words_of_the_design_and_todo_is_asked_for_by_functions_as_well(
    furu_store: Path,
) -> None:
    plan = build_plan(Leaf(x=1))
    (node,) = plan
    assert node.status == "TODO"
    assert topo_order_todo(plan) == ready_todo(plan) == [node]


def test_a_tree_names_repeated_nodes_without_drawing_them_again(plan: DependencyPlan) -> None:
    assert plan.to_tree().splitlines() == [
        "Node(top) todo",
        "├── Node(left) todo",
        "│   └── Node(base) todo",
        "│       └── Node(raw) done",
        "└── Node(right) todo",
        "    └── Node(base) todo (above)",
        "Node(left) todo (above)",
    ]


def test_a_tree_ends_at_the_depth_and_length_asked_for(plan: DependencyPlan) -> None:
    shallow = plan.to_tree(max_depth=1).splitlines()
    assert shallow[:2] == [
        "Node(top) todo",
        "├── Node(left) todo ... (deeper ones are not drawn)",
    ]
    assert plan.to_tree(max_lines=2).splitlines()[2:] == ["... 3 more nodes"]


def test_json_has_every_node_with_its_state(plan: DependencyPlan) -> None:
    record = json.loads(json.dumps(plan.to_json()))
    assert record["version"] == 1
    assert record["roots"] == ["top", "left"]
    assert record["counts"] == {"done": 1, "in progress": 0, "todo": 4, "failed": 0}
    assert [node["hash"] for node in record["nodes"]] == ["raw", "base", "left", "right", "top"]
    assert record["nodes"][1]["dependencies"] == ["raw"]


def test_dot_draws_arrows_from_dependencies_to_dependents(plan: DependencyPlan) -> None:
    dot = plan.to_dot()
    assert dot.startswith("digraph plan {")
    assert '"raw" -> "base";' in dot
    assert '"top" [label="Node(top)\\ntodo", fillcolor=white, penwidth=2];' in dot


def test_counts_tell_classes_and_statuses(plan: DependencyPlan) -> None:
    assert plan.counts()[Status.TODO] == 4
    assert plan.counts_by_class() == {"FakeObject": plan.counts()}


def test_nodes_are_found_by_hash_and_by_object(plan: DependencyPlan) -> None:
    assert plan["top"] is plan[plan["top"].obj]
    assert "top" in plan
    assert "nothing" not in plan
    assert len(plan) == 5
    with pytest.raises(KeyError):
        plan["nothing"]
