"""The frontier of a run: which nodes can be computed now, kept up to date node by node."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable
from enum import StrEnum
from operator import itemgetter
from typing import Any, Final, Literal

from furu_core import Furu
from furu_core.errors import FuruCycleError
from furu_plan._elsewhere import Reconciled
from furu_plan._graph import RunGraph
from furu_plan._node import PlanNode, Status
from furu_plan._plan import DependencyPlan

Window = Literal["dfs", "bfs"] | int


class Stage(StrEnum):
    """A node's state within a run."""

    PENDING = "pending"  # waits for dependencies, or for its root to get a place in the window
    READY = "ready"  # can be taken
    OUT = "out"  # taken, and not yet reported back
    WAITING = "waiting"  # computed by another run or process
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"  # can never run, because something that it depends on failed


class Reopening(StrEnum):
    """What follows from the report that a node's dependency is invalid; the asker is that node."""

    REOPENED = "reopened"  # the dependency is computed again, the asker waits for it
    WAITS = "waits"  # the dependency is being computed already, the asker waits for it
    AGAIN = "again"  # the dependency was computed anew meanwhile, the asker is ready again
    REFUSED = "refused"  # it was computed anew before, or failed; the asker is still OUT: fail it


_AT_PLANNING: Final = {
    Status.DONE: Stage.DONE,
    Status.IN_PROGRESS: Stage.WAITING,
    Status.TODO: Stage.PENDING,
    Status.FAILED: Stage.FAILED,
}
_LOST: Final = (Stage.FAILED, Stage.BLOCKED)


class Frontier:
    """Hands out the nodes of a plan as they become ready, each once, after all its dependencies.

    The plan is never built again: a whole run costs O(nodes + edges). The order is deterministic:
    the same plan and the same calls give the same nodes. `graphlib.TopologicalSorter` supports neither
    nodes that come back (an invalid dependency, a process that died while it computed a node) nor
    edges found while running, so each node counts how many of its dependencies are not DONE, and is
    ready at 0.

    It belongs to one thread, and knows nothing of retries (`RetryLedger`) nor of time (`Waits`). A
    node that failed blocks what depends on it and nothing else; the executor decides whether the run
    ends.

    Args:
        plan: what to run.
        window: how many unfinished roots are worked on at once: ``"dfs"`` one, ``"bfs"`` all, or a
            number from 1 on. Roots that are done, blocked or computed elsewhere take no place.

    Attributes:
        plan: what it was made from.

    Each node taken is reported back by exactly one of `done`, `failed`, `blocked`, `retry`, `reopen`
    (as the asker, unless refused) and `elsewhere`.

    Example:
        >>> from furu_core import use_settings
        >>> from furu_plan import Frontier, build_plan
        >>> from furu_testing.nodes import Above, Leaf
        >>> with use_settings(path="/data/nothing-yet"):
        ...     frontier = Frontier(build_plan([Above(below=Leaf())]))
        >>> while not frontier.finished:
        ...     for node in frontier.take():
        ...         print(node.class_name)
        ...         frontier.done(node.hash)
        Leaf
        Above
    """

    # Invariants between two calls: `_missing` counts for each node those of its dependencies that are
    # not DONE; a node is READY if and only if none is missing, it waits for nothing else, and a root
    # that was admitted needs it; a node is BLOCKED when something it depends on is FAILED or BLOCKED,
    # unless it is OUT or computed elsewhere and may succeed all the same.

    def __init__(self, plan: DependencyPlan, *, window: Window = "bfs") -> None:
        self.plan = plan
        self._graph = RunGraph(plan.nodes)
        self._stages: dict[str, Stage] = {}
        self._counts: dict[Stage, int] = dict.fromkeys(Stage, 0)
        self._missing: dict[str, int] = {}
        self._ready = _ReadyQueue()
        self._roots = frozenset(plan.roots)
        self._roots_left = deque(plan.roots)  # not admitted yet
        self._roots_open: set[str] = (
            set()
        )  # admitted and not finished: each takes a place of the window
        self._places = _window_size(window, len(plan.roots))
        self._admitted: set[str] = set()  # needed by a root that was admitted
        self._waiting: dict[str, None] = {}  # the admitted nodes that are WAITING, in order
        self._newly_blocked: list[str] = []
        self._ticks = itertools.count(1)
        self._taken: dict[str, int] = {}  # when a node was taken last
        self._remade: dict[str, int] = {}  # when a reopened node was computed anew
        self._add(plan.nodes.values())
        self._newly_blocked.clear()  # nodes blocked by failures before the run are not reported
        self._admit()

    # What there is to do

    def take(self, spec_key: str | None = None, limit: int | None = None) -> list[PlanNode]:
        """Take nodes that are ready, in the order in which they became ready.

        Args:
            spec_key: only nodes with this one; None takes of all.
            limit: how many to take at most; None takes all.

        Raises:
            FuruCycleError: nothing is ready, taken or computed elsewhere, and yet nodes are left.
        """
        if self.idle:
            self._check_not_stuck()
        count = self._counts[Stage.READY] if spec_key is None else self.ready().get(spec_key, 0)
        hashes = []
        for _ in range(count if limit is None else min(count, limit)):
            hashes.append(self._ready.first(spec_key))
            self.claim(hashes[-1])
        return [self._graph.nodes[node_hash] for node_hash in hashes]

    def ready(self) -> dict[str, int]:
        """How many nodes can be taken, by spec key; keys with none are left out."""
        return self._ready.counts()

    def ahead(self) -> list[PlanNode]:
        """The nodes whose jobs can be given to a scheduler that orders them, dependencies first.

        Each dependency of a node in the list is DONE, OUT, WAITING, or earlier in the list. A caller
        that submits a job for a node takes the node by `claim`.
        """
        given = (Stage.DONE, Stage.OUT, Stage.WAITING)
        missing = {
            node_hash: sum(self._stages[one] not in given for one in node.dependencies)
            for node_hash, node in self._graph.nodes.items()
            if node_hash in self._admitted
            and self._stages[node_hash] in (Stage.PENDING, Stage.READY)
        }
        found = [node_hash for node_hash, number in missing.items() if not number]
        for node_hash in found:  # the loop appends to it
            for dependent in self._graph.dependents(node_hash):
                if dependent in missing:
                    missing[dependent] -= 1
                    if not missing[dependent]:
                        found.append(dependent)
        return [self._graph.nodes[node_hash] for node_hash in found]

    def claim(self, node_hash: str) -> None:
        """Take one node that is READY, or one of those `ahead`."""
        self._set(node_hash, Stage.OUT)
        self._taken[node_hash] = next(self._ticks)

    def waiting(self) -> list[PlanNode]:
        """The nodes that this run needs and another computes; `Waits.check` watches them."""
        return [self._graph.nodes[node_hash] for node_hash in self._needed()]

    @property
    def idle(self) -> bool:
        """Whether nothing is ready and nothing is taken."""
        return not self._counts[Stage.READY] and not self._counts[Stage.OUT]

    @property
    def finished(self) -> bool:
        """Whether no node is left to take, to be reported back, or to wait for."""
        return self.idle and not self._counts[Stage.PENDING] and not any(self._needed())

    # The state of the run

    def counts(self) -> dict[Stage, int]:
        """The number of nodes in each stage; every stage is a key."""
        return dict(self._counts)

    def stage(self, node_hash: str) -> Stage:
        """The stage of a node.

        Raises:
            KeyError: it does not belong to this run.
        """
        return self._stages[node_hash]

    def node(self, node_hash: str) -> PlanNode:
        """A node of this run, as it was planned.

        Raises:
            KeyError: it does not belong to this run.
        """
        return self._graph.nodes[node_hash]

    def in_stage(self, *stages: Stage) -> list[PlanNode]:
        """The nodes in any of these stages; looks at every node."""
        nodes = self._graph.nodes
        return [nodes[node_hash] for node_hash, at in self._stages.items() if at in stages]

    # What became of a node

    def done(self, node_hash: str) -> None:
        """A node has its artifact, from any run; nodes that waited for it alone become ready."""
        if self._stages[node_hash] is Stage.DONE:
            return
        if node_hash in self._remade:
            self._remade[node_hash] = next(self._ticks)
        self._set(node_hash, Stage.DONE)
        for dependent in self._graph.dependents(node_hash):
            self._missing[dependent] -= 1
            if (
                self._missing[dependent] == 0
                and self._stages[dependent] is Stage.PENDING
                and dependent in self._admitted
            ):
                self._make_ready(dependent)
        self._admit()

    def failed(self, node_hash: str) -> tuple[PlanNode, ...]:
        """A node failed for good.

        Returns:
            The nodes that can never run because of it, each once in a run.
        """
        self._lose(node_hash, Stage.FAILED)
        return self._admit()

    def blocked(self, node_hash: str) -> tuple[PlanNode, ...]:
        """A node that was taken can never run, because one that it depends on cannot be computed.

        Returns:
            It, and the nodes that can never run because of it.
        """
        self._lose(node_hash, Stage.BLOCKED)
        return self._admit()

    def retry(self, node_hash: str) -> tuple[PlanNode, ...]:
        """A node that was taken is given back, to be taken again when its dependencies are DONE.

        Returns:
            The nodes that can never run: it and its dependents, if meanwhile a dependency failed.
        """
        self._settle(node_hash)
        return self._admit()

    def elsewhere(self, node_hash: str) -> None:
        """A node that was taken is computed by another process; it is WAITING until `resolve`."""
        self._set(node_hash, Stage.WAITING)
        self._waiting[node_hash] = None
        self._roots_open.discard(node_hash)
        self._admit()

    def resolve(self, reconciled: Reconciled) -> tuple[PlanNode, ...]:
        """Enter what became of nodes that another run or process computed.

        Returns:
            The nodes that can never run because of those that failed.
        """
        for node in reconciled.done:
            self.done(node.hash)
        for node in reconciled.failed:
            if self._stages[node.hash] is Stage.WAITING:
                self._lose(node.hash, Stage.FAILED)
        todo = [node.hash for node in reconciled.todo if node.hash in self._waiting]
        # The plan did not look below nodes that were IN_PROGRESS.
        leaves = [node_hash for node_hash in todo if not self._graph.was_walked(node_hash)]
        if leaves:
            objects = [self._graph.nodes[node_hash].obj for node_hash in leaves]
            self._walk_below(leaves, objects, refresh=True)
        for node_hash in todo:
            if node_hash in self._admitted:
                self._bring_back(node_hash)
            else:  # a root that took no place while it was computed elsewhere
                self._settle(node_hash)
                self._roots_left.appendleft(node_hash)
        return self._admit()

    def reopen(self, node_hash: str, asker: str) -> Reopening:
        """A node that was taken found that something it depends on is invalid and gone.

        The dependency is computed again, at most once in a run. The asker waits for it, as does every
        other node that depends on it and has not started.

        Args:
            node_hash: the invalid dependency; it may lie below what was planned.
            asker: the node that found it; it is OUT.
        """
        at = self._stages.get(node_hash)
        if at in _LOST or node_hash == asker:
            return Reopening.REFUSED
        if at is Stage.DONE or at is None:
            if node_hash in self._remade:
                if self._remade[node_hash] < self._taken[asker]:
                    return Reopening.REFUSED  # what was computed anew is invalid as well
                answer = Reopening.AGAIN
            elif self._compute_again(node_hash, asker):
                answer = Reopening.REOPENED
            else:
                return Reopening.REFUSED
        else:
            self._open((node_hash,))
            answer = Reopening.WAITS
        if self._graph.link(node_hash, asker) and self._stages[node_hash] is not Stage.DONE:
            self._missing[asker] += 1
        self._settle(asker)
        self._admit()
        return answer

    def _compute_again(self, node_hash: str, asker: str) -> bool:
        """Reopen a node that is DONE, or was never planned; whether that is possible."""
        obj = self._graph.find(node_hash, below=asker)
        if obj is None:
            return False
        if node_hash in self._stages:  # nodes that were ready because of it no longer are
            for dependent in self._graph.dependents(node_hash):
                self._missing[dependent] += 1
                if self._stages[dependent] is Stage.READY:
                    self._set(dependent, Stage.PENDING)
        if node_hash not in self._stages or not self._graph.was_walked(node_hash):
            self._walk_below([node_hash], [obj], refresh=False)
        self._remade[node_hash] = 0
        self._bring_back(node_hash)
        return True

    def _walk_below(self, hashes: list[str], objects: list[Furu[Any]], *, refresh: bool) -> None:
        """Plan nodes below which the plan did not look, as nodes to be computed."""
        planned = self.plan.extend(objects, known=self._stages, todo=hashes, refresh=refresh)
        self._graph.add_late(planned)
        self._add(planned.values())

    def _check_not_stuck(self) -> None:
        if not self._counts[Stage.PENDING] or any(self._needed()):
            return
        # Only edges found while running get here: the plan itself was searched for cycles.
        start = next(
            item for item in filter(self._is_pending, self._stages) if item in self._admitted
        )
        names = [node.name for node in self._graph.cycle(start, self._is_pending)]
        names.append(names[0])
        raise FuruCycleError(
            f"nodes that wait for each other: {' -> '.join(names)}",
            cycle=names,
            hint="look at their `_dependencies`",
        )

    # One node's stage, and what follows for others

    def _add(self, nodes: Iterable[PlanNode]) -> None:
        """Give planned nodes their first stage; dependencies come before their dependents."""
        for node in nodes:
            missing = 0
            stage = _AT_PLANNING[node.status]
            for dependency in node.dependencies:
                at = self._stages[dependency]
                if at is not Stage.DONE:
                    missing += 1
                    if at in _LOST:
                        stage = Stage.BLOCKED
            self._missing[node.hash] = missing
            self._set(node.hash, stage)

    def _set(self, node_hash: str, stage: Stage) -> None:
        """Change the stage of a node, and of no other."""
        old = self._stages.get(node_hash)
        if old is not None:
            self._counts[old] -= 1
            if old is Stage.READY:
                self._ready.remove(node_hash, self._graph.nodes[node_hash].spec_key)
            elif old is Stage.WAITING:
                self._waiting.pop(node_hash, None)
        self._stages[node_hash] = stage
        self._counts[stage] += 1
        if stage is Stage.DONE or stage in _LOST:
            self._roots_open.discard(node_hash)
            if stage is Stage.BLOCKED and old is not Stage.BLOCKED:
                self._newly_blocked.append(node_hash)

    def _make_ready(self, node_hash: str) -> None:
        self._set(node_hash, Stage.READY)
        self._ready.add(node_hash, self._graph.nodes[node_hash].spec_key)

    def _lose(self, node_hash: str, stage: Stage) -> None:
        """Set a node to FAILED or BLOCKED, and its dependents to BLOCKED."""
        self._set(node_hash, stage)
        stack = [node_hash]
        while stack:
            for dependent in self._graph.dependents(stack.pop()):
                # One that is OUT may still succeed; if not, `_settle` finds out.
                if self._stages[dependent] is Stage.PENDING:
                    self._set(dependent, Stage.BLOCKED)
                    stack.append(dependent)

    def _settle(self, node_hash: str) -> None:
        """Set the stage of a node that came back, by the stages of its dependencies."""
        dependencies = self._graph.nodes[node_hash].dependencies
        if any(self._stages[item] in _LOST for item in dependencies):
            self._lose(node_hash, Stage.BLOCKED)
        elif self._missing[node_hash] == 0 and node_hash in self._admitted:
            self._make_ready(node_hash)
        else:
            self._set(node_hash, Stage.PENDING)

    def _bring_back(self, node_hash: str) -> None:
        """A node is to be computed after all, and what it needs as well."""
        self._admitted.add(node_hash)
        if node_hash in self._roots:
            self._roots_open.add(node_hash)
        self._settle(node_hash)
        self._open(self._graph.nodes[node_hash].dependencies)

    def _is_pending(self, node_hash: str) -> bool:
        return self._stages[node_hash] is Stage.PENDING

    def _needed(self) -> Iterable[str]:
        """The nodes computed elsewhere that are roots, or that something still waits for."""
        return (
            node_hash
            for node_hash in self._waiting
            if node_hash in self._roots
            or any(map(self._is_pending, self._graph.dependents(node_hash)))
        )

    # The window

    def _admit(self) -> tuple[PlanNode, ...]:
        """Admit further roots while the window has places; called after every change.

        Returns:
            The nodes that became BLOCKED since this was called last.
        """
        while self._roots_left and len(self._roots_open) < self._places:
            root = self._roots_left.popleft()
            stage = self._stages[root]
            if stage is Stage.WAITING:
                self._waiting[root] = None
                continue
            if stage in (Stage.PENDING, Stage.READY, Stage.OUT):
                self._roots_open.add(root)
            # What a blocked root needs is computed as far as it can be, as `make -k` would.
            self._open((root,))
        blocked, self._newly_blocked = self._newly_blocked, []
        return tuple(self._graph.nodes[node_hash] for node_hash in blocked)

    def _open(self, hashes: Iterable[str]) -> None:
        """Admit these nodes and what they depend on; each node is admitted once in a run."""
        stack = [*hashes]
        stack.reverse()
        while stack:
            node_hash = stack.pop()
            stage = self._stages[node_hash]
            if node_hash in self._admitted or stage in (Stage.DONE, Stage.FAILED):
                continue
            self._admitted.add(node_hash)
            if stage is Stage.WAITING:
                self._waiting[node_hash] = None
            elif stage is Stage.PENDING and self._missing[node_hash] == 0:
                self._make_ready(node_hash)
            else:
                stack.extend(reversed(self._graph.nodes[node_hash].dependencies))


class _ReadyQueue:
    """The nodes that can be taken, first in, first out, over all spec keys or within one, in O(1)."""

    def __init__(self) -> None:
        self._tickets = itertools.count()
        self._of_key: dict[str, OrderedDict[str, int]] = {}  # node to ticket, the oldest first

    def counts(self) -> dict[str, int]:
        return {key: len(nodes) for key, nodes in self._of_key.items() if nodes}

    def add(self, node_hash: str, spec_key: str) -> None:
        self._of_key.setdefault(spec_key, OrderedDict())[node_hash] = next(self._tickets)

    def remove(self, node_hash: str, spec_key: str) -> None:
        del self._of_key[spec_key][node_hash]

    def first(self, spec_key: str | None) -> str:
        keys = self.counts() if spec_key is None else (spec_key,)
        oldest = (next(iter(self._of_key[key].items())) for key in keys)
        return min(oldest, key=itemgetter(1))[0]


def _window_size(window: Window, roots: int) -> int:
    """How many places a window has.

    Raises:
        ValueError: the window is none of ``"dfs"``, ``"bfs"`` and a number from 1 on.
    """
    if window == "bfs":
        return max(roots, 1)
    if window == "dfs":
        return 1
    if type(window) is int and window >= 1:
        return window
    raise ValueError(f'the window is {window!r}, expected "dfs", "bfs" or a number from 1 on')
