"""How far a run is: the stage of each node, and what follows for others when one changes."""

from __future__ import annotations

from collections.abc import Iterable

from furu_plan._graph import RunGraph
from furu_plan._node import PlanNode, Status
from furu_plan._ready import ReadyQueue
from furu_plan._stages import Stage
from furu_plan._windows import RootWindow

_AT_PLANNING = {
    Status.DONE: Stage.DONE,
    Status.IN_PROGRESS: Stage.WAITING,
    Status.TODO: Stage.PENDING,
    Status.FAILED: Stage.FAILED,
}


class Progress:
    """The stages of a run's nodes; `Frontier` decides which node changes.

    Between two calls of the frontier: `missing` counts for each node those of its dependencies that
    are not DONE; a node is READY if and only if none is missing, it waits for nothing else, and a
    root needs it whose turn has come; a node is BLOCKED when something it depends on is FAILED or
    BLOCKED, unless it is OUT or computed elsewhere and may succeed all the same.
    """

    def __init__(self, window: RootWindow) -> None:
        self.window = window
        self.graph = RunGraph()
        self.stages: dict[str, Stage] = {}
        self.counts: dict[Stage, int] = dict.fromkeys(Stage, 0)
        self.missing: dict[str, int] = {}
        self.ready = ReadyQueue()
        self.admitted: set[str] = set()  # needed by a root whose turn has come
        self.waiting: dict[str, None] = {}  # those WAITING that are needed so, in order
        self._blocked: list[str] = []

    def add(self, nodes: Iterable[PlanNode]) -> None:
        """Give planned nodes their first stage; dependencies come before their dependents."""
        for node in nodes:
            missing = 0
            stage = _AT_PLANNING[node.status]
            for dependency in node.dependencies:
                at = self.stages[dependency]
                if at is not Stage.DONE:
                    missing += 1
                    if at is Stage.FAILED or at is Stage.BLOCKED:
                        stage = Stage.BLOCKED
            self.missing[node.hash] = missing
            self.set(node.hash, stage)

    def set(self, node_hash: str, stage: Stage) -> None:
        """Change the stage of a node, and nothing for others."""
        old = self.stages.get(node_hash)
        if old is not None:
            self.counts[old] -= 1
            if old is Stage.READY:
                self.ready.discard(node_hash)
            elif old is Stage.WAITING:
                self.waiting.pop(node_hash, None)
        self.stages[node_hash] = stage
        self.counts[stage] += 1
        if stage is Stage.DONE or stage is Stage.FAILED or stage is Stage.BLOCKED:
            self.window.close(node_hash)
            if stage is Stage.BLOCKED and old is not Stage.BLOCKED:
                self._blocked.append(node_hash)

    def done(self, node_hash: str) -> None:
        """A node is DONE: those that waited for it alone become ready."""
        self.set(node_hash, Stage.DONE)
        for dependent in self.graph.dependents(node_hash):
            self.missing[dependent] -= 1
            if (
                self.missing[dependent] == 0
                and self.stages[dependent] is Stage.PENDING
                and dependent in self.admitted
            ):
                self._make_ready(dependent)

    def undone(self, node_hash: str) -> None:
        """A node that was DONE is not: those that were ready because of it are no more."""
        for dependent in self.graph.dependents(node_hash):
            self.missing[dependent] += 1
            if self.stages[dependent] is Stage.READY:
                self.set(dependent, Stage.PENDING)

    def lost(self, node_hash: str, stage: Stage) -> None:
        """A node is FAILED or BLOCKED, and so can never run what depends on it."""
        self.set(node_hash, stage)
        stack = [node_hash]
        while stack:
            for dependent in self.graph.dependents(stack.pop()):
                # One that is OUT may still succeed; if not, `settle` finds out.
                if self.stages[dependent] is Stage.PENDING:
                    self.set(dependent, Stage.BLOCKED)
                    stack.append(dependent)

    def settle(self, node_hash: str) -> None:
        """Put a node that came back where its dependencies allow."""
        dependencies = self.graph.nodes[node_hash].dependencies
        if any(self.stages[item] in (Stage.FAILED, Stage.BLOCKED) for item in dependencies):
            self.lost(node_hash, Stage.BLOCKED)
        elif self.missing[node_hash] == 0 and node_hash in self.admitted:
            self._make_ready(node_hash)
        else:
            self.set(node_hash, Stage.PENDING)

    def bring_back(self, node_hash: str) -> None:
        """A node is to be computed after all, and what it needs as well."""
        self.admitted.add(node_hash)
        self.window.open(node_hash)
        self.settle(node_hash)
        self.open(self.graph.nodes[node_hash].dependencies)

    def admit(self) -> None:
        """Let further roots have their turn while the window has places."""
        while (root := self.window.next()) is not None:
            stage = self.stages[root]
            if stage is Stage.WAITING:
                self.waiting[root] = None
                continue
            if stage in (Stage.PENDING, Stage.READY, Stage.OUT):
                self.window.open(root)
            # What a blocked root needs and can be computed is computed, as `make -k` would.
            self.open((root,))

    def open(self, hashes: Iterable[str]) -> None:
        """Let what these nodes need become ready; each node is opened once in a run."""
        stack = [*hashes]
        stack.reverse()
        while stack:
            node_hash = stack.pop()
            stage = self.stages[node_hash]
            if node_hash in self.admitted or stage in (Stage.DONE, Stage.FAILED):
                continue
            self.admitted.add(node_hash)
            if stage is Stage.WAITING:
                self.waiting[node_hash] = None
            elif stage is Stage.PENDING and self.missing[node_hash] == 0:
                self._make_ready(node_hash)
            else:
                stack.extend(reversed(self.graph.nodes[node_hash].dependencies))

    def link(self, dependency: str, dependent: str) -> None:
        """Let a node wait for another one, also if it does not depend on it directly."""
        if self.graph.link(dependency, dependent) and self.stages[dependency] is not Stage.DONE:
            self.missing[dependent] += 1

    def needed(self) -> Iterable[str]:
        """The nodes computed elsewhere that are roots, or that something still waits for."""
        return (
            node_hash
            for node_hash in self.waiting
            if node_hash in self.window.roots
            or any(map(self.is_pending, self.graph.dependents(node_hash)))
        )

    def is_pending(self, node_hash: str) -> bool:
        """Whether a node waits for its dependencies or its turn."""
        return self.stages[node_hash] is Stage.PENDING

    def newly_blocked(self) -> tuple[PlanNode, ...]:
        """The nodes that became BLOCKED since this was asked last."""
        blocked, self._blocked = self._blocked, []
        return tuple(self.graph.nodes[node_hash] for node_hash in blocked)

    def cycle(self) -> list[PlanNode]:
        """Nodes that wait for each other, when nothing is ready, OUT or waited for elsewhere."""
        nodes = self.graph.nodes
        way: dict[str, None] = {}
        node_hash = next(
            item for item in filter(self.is_pending, self.stages) if item in self.admitted
        )
        while node_hash not in way:
            way[node_hash] = None
            node_hash = next(filter(self.is_pending, nodes[node_hash].dependencies))
        members = [*way]
        return [nodes[member] for member in members[members.index(node_hash) :]]

    def _make_ready(self, node_hash: str) -> None:
        self.set(node_hash, Stage.READY)
        self.ready.add(node_hash, self.graph.nodes[node_hash].spec_key)
