"""The graph of a run: a plan's nodes and edges, and those that are found while running."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from furu_core import Furu
from furu_core.planning import dependencies
from furu_plan._node import PlanNode, Status


class RunGraph:
    """A plan's graph that can grow.

    Args:
        nodes: those of the plan.

    Attributes:
        nodes: all nodes, by hash.
    """

    def __init__(self, nodes: Mapping[str, PlanNode]) -> None:
        self.nodes = dict(nodes)
        self._late_dependents: dict[str, list[str]] = {}  # along edges that no plan has

    def dependents(self, node_hash: str) -> Iterable[str]:
        """The nodes that depend directly on a node of this graph."""
        planned = self.nodes[node_hash].dependents
        late = self._late_dependents.get(node_hash)
        return planned if late is None else (*planned, *late)

    def add_late(self, nodes: Mapping[str, PlanNode]) -> None:
        """Add nodes planned later: new ones, and ones whose dependencies were not known before."""
        for node_hash, node in nodes.items():
            old = self.nodes.get(node_hash)
            # No plan has edges from nodes known before, so all late edges are kept in one place.
            self.nodes[node_hash] = attrs.evolve(node, dependents=old.dependents if old else ())
            for dependency in node.dependencies:
                self._late_dependents.setdefault(dependency, []).append(node_hash)

    def link(self, dependency: str, dependent: str) -> bool:
        """Make one node depend on another; return whether that is new."""
        node = self.nodes[dependent]
        if dependency in node.dependencies:
            return False
        self.nodes[dependent] = attrs.evolve(node, dependencies=(*node.dependencies, dependency))
        self._late_dependents.setdefault(dependency, []).append(dependent)
        return True

    def was_walked(self, node_hash: str) -> bool:
        """Whether the dependencies of a node are known: a plan looks below TODO nodes only."""
        return self.nodes[node_hash].status is Status.TODO

    def find(self, node_hash: str, *, below: str) -> Furu[Any] | None:
        """The object with this hash, if the graph has it or it lies somewhere below a node."""
        if node_hash in self.nodes:
            return self.nodes[node_hash].obj
        seen: set[str] = set()
        stack: list[Furu[Any]] = [self.nodes[below].obj]
        while stack:
            obj: Furu[Any]
            for obj in dependencies(stack.pop()):
                if obj.furu_hash == node_hash:
                    return obj
                if obj.furu_hash not in seen:
                    seen.add(obj.furu_hash)
                    stack.append(obj)
        return None

    def cycle(self, start: str, waits: Callable[[str], bool]) -> list[PlanNode]:
        """The nodes that wait for each other in a circle, found by going down from one that waits.

        Args:
            start: a node that waits, as does at least one dependency of each that does.
            waits: whether a node waits.
        """
        way: dict[str, None] = {}
        while start not in way:
            way[start] = None
            start = next(filter(waits, self.nodes[start].dependencies))
        members = [*way]
        return [self.nodes[member] for member in members[members.index(start) :]]
