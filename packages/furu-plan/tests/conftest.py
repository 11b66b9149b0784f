"""Plans over made-up graphs, without a store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs
import pytest

from furu_core.planning import NodeInfo, NodeState
from furu_plan import DependencyPlan, PlanNode, Status


@attrs.frozen
class FakeObject:
    """What a plan needs of a Furu object."""

    furu_hash: str


@attrs.define
class FakeGraph:
    """A graph by names, with statuses; nodes that are not named are TODO."""

    edges: Mapping[str, Iterable[str]]
    statuses: dict[str, Status] = attrs.field(factory=dict)
    spec_keys: Mapping[str, str] = attrs.field(factory=dict)
    refreshed: int = 0

    def plan(self, roots: Iterable[str]) -> DependencyPlan:
        return DependencyPlan(
            tuple(dict.fromkeys(roots)),
            self.extend([FakeObject(name) for name in roots]),
            self.extend,  # type: ignore[arg-type]
        )

    def extend(
        self,
        objects: Iterable[Any],
        *,
        known: Collection[str] = (),
        todo: Collection[str] = (),
        refresh: bool = False,
    ) -> dict[str, PlanNode]:
        self.refreshed += refresh
        below: dict[str, tuple[Status, tuple[str, ...]]] = {}

        def visit(name: str) -> None:
            if name in below or (name in known and name not in todo):
                return
            status = Status.TODO if name in todo else self.statuses.get(name, Status.TODO)
            dependencies = tuple(self.edges.get(name, ())) if status is Status.TODO else ()
            for dependency in dependencies:
                visit(dependency)
            below[name] = status, dependencies

        for obj in objects:
            visit(obj.furu_hash)
        return {
            name: PlanNode(
                FakeObject(name),  # type: ignore[arg-type]
                name,
                status,
                self.spec_keys.get(name, "default"),
                dependencies,
                tuple(other for other, (_, named) in below.items() if name in named),
                NodeInfo(NodeState.ABSENT),
            )
            for name, (status, dependencies) in below.items()
        }


@pytest.fixture(scope="session")
def graph() -> Callable[..., FakeGraph]:
    return FakeGraph
