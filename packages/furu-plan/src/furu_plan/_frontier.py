"""The frontier of a run: which nodes can be computed now, kept up to date node by node."""

from __future__ import annotations

from typing import Any

from furu_core import Furu
from furu_core.errors import FuruCycleError
from furu_plan._elsewhere import Reconciled
from furu_plan._node import PlanNode
from furu_plan._plan import DependencyPlan
from furu_plan._progress import Progress
from furu_plan._stages import Reopening, Stage
from furu_plan._windows import RootWindow, Window


class Frontier:
    """Hands out the nodes of a plan as they become ready, each once, after all its dependencies.

    The plan is never built again: a whole run costs O(nodes + edges). The order is deterministic:
    the same plan and the same calls give the same nodes. `graphlib.TopologicalSorter` knows neither
    nodes that come back (an invalid dependency, a holder that died) nor edges found while running,
    so each node counts how many of its dependencies are not DONE, and is ready at 0.

    It belongs to one thread, and knows nothing of retries (`RetryLedger`) nor of time (`Waits`). A
    node that failed ends what depends on it and nothing else; to end the run is up to the executor.

    Args:
        plan: what to run.
        window: how many unfinished roots are worked on at once: ``"dfs"`` one, ``"bfs"`` all, or a
            number from 1 on. Roots that are done, blocked or computed elsewhere take no place.

    Attributes:
        plan: what it was made from.

    Each node taken is reported back by exactly one of `done`, `failed`, `retry`, `reopen` (as the
    asker, unless refused) and `elsewhere`.

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

    def __init__(self, plan: DependencyPlan, *, window: Window = "bfs") -> None:
        self.plan = plan
        self._now = Progress(RootWindow(plan.roots, window))
        self._ticks = 0
        self._taken: dict[str, int] = {}  # when a node was taken last
        self._remade: dict[str, int] = {}  # when a reopened node was computed anew
        self._now.graph.add_plan(plan.nodes)
        self._now.add(plan.nodes.values())
        self._now.newly_blocked()  # those of failures before the run are no news
        self._now.admit()

    # What there is to do

    def take(self, spec_key: str | None = None, limit: int | None = None) -> list[PlanNode]:
        """Take nodes that are ready, those first that became ready first.

        Args:
            spec_key: only nodes with this one; None takes of all.
            limit: at most so many; None takes all there are.

        Raises:
            FuruCycleError: nothing is ready, taken or computed elsewhere, and yet nodes are left.
        """
        if self.idle:
            self._check_not_stuck()
        now = self._now
        count = now.ready.count(spec_key)
        taken = []
        for _ in range(count if limit is None else min(count, limit)):
            node_hash = now.ready.pop(spec_key)
            now.set(node_hash, Stage.OUT)
            self._ticks += 1
            self._taken[node_hash] = self._ticks
            taken.append(now.graph.nodes[node_hash])
        return taken

    def ready(self) -> dict[str, int]:
        """How many nodes can be taken, by spec key; keys with none are left out."""
        return self._now.ready.counts()

    def waiting(self) -> list[PlanNode]:
        """The nodes that someone else computes and this run needs; `Waits.check` watches them."""
        return [self._now.graph.nodes[node_hash] for node_hash in self._now.needed()]

    @property
    def idle(self) -> bool:
        """Whether nothing is ready and nothing is taken."""
        return not self._now.ready and not self._now.counts[Stage.OUT]

    @property
    def finished(self) -> bool:
        """Whether all is done that can be: nothing is left to take, to hear of, or to wait for."""
        return self.idle and not self._now.counts[Stage.PENDING] and not any(self._now.needed())

    # How it stands

    def counts(self) -> dict[Stage, int]:
        """How many nodes stand where; every stage is a key."""
        return dict(self._now.counts)

    def stage(self, node_hash: str) -> Stage:
        """Where a node stands.

        Raises:
            KeyError: it does not belong to this run.
        """
        return self._now.stages[node_hash]

    def node(self, node_hash: str) -> PlanNode:
        """A node of this run, as it stood when it was planned.

        Raises:
            KeyError: it does not belong to this run.
        """
        return self._now.graph.nodes[node_hash]

    def in_stage(self, stage: Stage) -> list[PlanNode]:
        """The nodes that stand so; looks at every node."""
        nodes = self._now.graph.nodes
        return [nodes[node_hash] for node_hash, at in self._now.stages.items() if at is stage]

    # What became of a node

    def done(self, node_hash: str) -> None:
        """A node's artifact is there, whoever made it."""
        if self._now.stages[node_hash] is Stage.DONE:
            return
        if node_hash in self._remade:
            self._ticks += 1
            self._remade[node_hash] = self._ticks
        self._now.done(node_hash)
        self._now.admit()

    def failed(self, node_hash: str) -> tuple[PlanNode, ...]:
        """A node failed for good.

        Returns:
            The nodes that can never run because of it, each once in a run.
        """
        self._now.lost(node_hash, Stage.FAILED)
        self._now.admit()
        return self._now.newly_blocked()

    def retry(self, node_hash: str) -> tuple[PlanNode, ...]:
        """A node that was taken is given back, to be taken again when its dependencies are there.

        Returns:
            The nodes that can never run: it and its dependents, if meanwhile a dependency failed.
        """
        self._now.settle(node_hash)
        self._now.admit()
        return self._now.newly_blocked()

    def elsewhere(self, node_hash: str) -> None:
        """A node that was taken is computed by someone else; it is WAITING until `resolve`."""
        self._now.set(node_hash, Stage.WAITING)
        self._now.waiting[node_hash] = None
        self._now.window.close(node_hash)
        self._now.admit()

    def resolve(self, reconciled: Reconciled) -> tuple[PlanNode, ...]:
        """Take over what became of nodes that someone else computed.

        Returns:
            The nodes that can never run because of those that failed.
        """
        now = self._now
        for node in reconciled.done:
            self.done(node.hash)
        for node in reconciled.failed:
            if now.stages[node.hash] is Stage.WAITING:
                now.lost(node.hash, Stage.FAILED)
        todo = [node.hash for node in reconciled.todo if node.hash in now.waiting]
        # What was IN_PROGRESS at planning was not looked below.
        leaves = [node_hash for node_hash in todo if not now.graph.was_walked(node_hash)]
        if leaves:
            objects = [now.graph.nodes[node_hash].obj for node_hash in leaves]
            self._walk_below(leaves, objects, refresh=True)
        for node_hash in todo:
            if node_hash in now.admitted:
                now.bring_back(node_hash)
            else:  # a root that took no place while it was computed elsewhere
                now.settle(node_hash)
                now.window.postpone(node_hash)
        now.admit()
        return now.newly_blocked()

    def reopen(self, node_hash: str, asker: str) -> Reopening:
        """A node that was taken found that something it depends on is invalid and gone.

        The dependency is computed again, at most once in a run, and the asker waits for it, as does
        all else that needs it and has not started.

        Args:
            node_hash: the invalid dependency; it may lie below what was planned.
            asker: the node that found it; it is OUT.
        """
        now = self._now
        at = now.stages.get(node_hash)
        if at is Stage.FAILED or at is Stage.BLOCKED or node_hash == asker:
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
            now.open((node_hash,))
            answer = Reopening.WAITS
        now.link(node_hash, asker)
        now.settle(asker)
        now.admit()
        return answer

    def _compute_again(self, node_hash: str, asker: str) -> bool:
        """Reopen a node that is DONE, or was never planned; whether that is possible."""
        now = self._now
        obj = now.graph.find(node_hash, below=asker)
        if obj is None:
            return False
        if node_hash in now.stages:
            now.undone(node_hash)
        if node_hash not in now.stages or not now.graph.was_walked(node_hash):
            self._walk_below([node_hash], [obj], refresh=False)
        self._remade[node_hash] = 0
        now.bring_back(node_hash)
        return True

    def _walk_below(self, hashes: list[str], objects: list[Furu[Any]], *, refresh: bool) -> None:
        """Plan nodes that were not looked below, as nodes to be computed."""
        planned = self.plan.extend(objects, known=self._now.stages, todo=hashes, refresh=refresh)
        self._now.graph.add_late(planned)
        self._now.add(planned.values())

    def _check_not_stuck(self) -> None:
        if not self._now.counts[Stage.PENDING] or any(self._now.needed()):
            return
        # Only edges found while running get here: the plan itself was searched for cycles.
        names = [node.name for node in self._now.cycle()]
        names.append(names[0])
        raise FuruCycleError(
            f"nodes that wait for each other: {' -> '.join(names)}",
            cycle=names,
            hint="look at their `_dependencies`",
        )
