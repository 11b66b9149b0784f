"""A plan: immutable records of the nodes that are not done and of what they depend on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

import attrs

from furu_core import Furu
from furu_plan import _render
from furu_plan._node import PlanNode, Status


class Extend(Protocol):
    """Plans further objects with the settings and the reader of an existing plan."""

    def __call__(
        self,
        objects: Iterable[Furu[Any]],
        *,
        known: Collection[str] = (),
        todo: Collection[str] = (),
        refresh: bool = False,
    ) -> Mapping[str, PlanNode]: ...


@attrs.frozen(slots=True, eq=False)
class DependencyPlan:
    """Which nodes of a graph are done, in progress, failed, or to be computed, and in which order.

    A plan is a snapshot: it does not change while a run goes on. A `Frontier`, made from the plan,
    keeps the state of the run.

    Attributes:
        roots: hashes of the roots, in the order given, each once.
        nodes: the nodes by hash, dependencies always before their dependents. Only what is not done
            is walked: below DONE, IN_PROGRESS and FAILED nodes there is nothing.
        extend: plans further objects with the same settings; `Frontier` uses it for nodes that have
            to be computed after all.

    Example:
        >>> from furu_core import use_settings
        >>> from furu_plan import build_plan
        >>> from furu_testing.nodes import Above, Leaf
        >>> with use_settings(path="/data/nothing-yet"):
        ...     plan = build_plan([Above(below=Leaf()), Above(below=Leaf(x=1))])
        >>> [node.class_name for node in plan.topo_order_todo()]
        ['Leaf', 'Above', 'Leaf', 'Above']
        >>> [node.class_name for node in plan.ready_todo()]
        ['Leaf', 'Leaf']
    """

    roots: tuple[str, ...]
    nodes: Mapping[str, PlanNode] = attrs.field(repr=lambda nodes: f"<{len(nodes)}>")
    extend: Extend = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[PlanNode]:
        return iter(self.nodes.values())

    def __contains__(self, item: object) -> bool:
        return _hash_of(item) in self.nodes

    def __getitem__(self, item: Furu[Any] | str) -> PlanNode:
        """The node of an object or of a full hash.

        Raises:
            KeyError: the plan has no such node; it may lie below one that is done.
        """
        return self.nodes[_hash_of(item)]

    def with_status(self, status: Status) -> list[PlanNode]:
        """The nodes with this status, dependencies first."""
        return [node for node in self.nodes.values() if node.status is status]

    def topo_order_todo(self) -> list[PlanNode]:
        """The nodes to be computed, each after everything that it depends on.

        The order follows the roots and the fields, so the same roots over the same store give the
        same order in every process.
        """
        return self.with_status(Status.TODO)

    def ready_todo(self) -> list[PlanNode]:
        """The nodes to be computed whose dependencies are all DONE, in topological order."""
        nodes = self.nodes
        return [
            node
            for node in nodes.values()
            if node.status is Status.TODO
            and all(nodes[node_hash].status is Status.DONE for node_hash in node.dependencies)
        ]

    def counts(self) -> dict[Status, int]:
        """The number of nodes in each status; every status is a key."""
        counts = dict.fromkeys(Status, 0)
        for node in self.nodes.values():
            counts[node.status] += 1
        return counts

    def counts_by_class(self) -> dict[str, dict[Status, int]]:
        """The number of nodes in each status, by class; the classes are in topological order."""
        table: dict[str, dict[Status, int]] = {}
        for node in self.nodes.values():
            counts = table.get(node.class_name)
            if counts is None:
                counts = table[node.class_name] = dict.fromkeys(Status, 0)
            counts[node.status] += 1
        return table

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values, for scripts; the format carries a version."""
        return _render.to_json(self.roots, self.nodes)

    def to_tree(self, *, max_depth: int = 20, max_lines: int = 2000) -> str:
        """The plan as an indented tree, one line a node, repeated nodes only named.

        Args:
            max_depth: levels below the roots that are drawn.
            max_lines: lines after which the drawing ends.
        """
        return _render.to_tree(self.roots, self.nodes, max_depth=max_depth, max_lines=max_lines)

    def to_dot(self) -> str:
        """The plan in Graphviz' DOT language, arrows from dependencies to dependents."""
        return _render.to_dot(self.roots, self.nodes)


def topo_order_todo(plan: DependencyPlan) -> list[PlanNode]:
    """The nodes to be computed, each after everything that it depends on; a plan's method as a function."""
    return plan.topo_order_todo()


def ready_todo(plan: DependencyPlan) -> list[PlanNode]:
    """The nodes to be computed whose dependencies are all done; a plan's method as a function."""
    return plan.ready_todo()


def _hash_of(item: object) -> str:
    return item if isinstance(item, str) else getattr(item, "furu_hash", "")
