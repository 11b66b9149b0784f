"""Which ready nodes of the frontier may start now, within limits and places."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping

from furu_plan._frontier import Frontier
from furu_plan._node import PlanNode
from furu_plan.runs._pool import Place, Task


class FrontierSource:
    """Hands out the nodes of a frontier as tasks.

    Args:
        frontier: what is ready.
        limits: spec key to the number of its nodes that may be computed at once.
        places: spec key to the places of its nodes, for those that have any.
        on_start: called with each node that is handed out to a worker.
    """

    def __init__(
        self,
        frontier: Frontier,
        limits: Mapping[str, int],
        places: Mapping[str, tuple[Place, ...]],
        on_start: Callable[[PlanNode], object],
    ) -> None:
        self._frontier = frontier
        self._on_start = on_start
        self._limits = limits
        self._places = places
        self._out: Counter[str] = Counter()
        self._numbers = itertools.count()

    def ready(self, place: Place | None) -> int:
        """How many tasks could be taken now for a worker at this place, or for one without."""
        if not self._limits and not self._places:
            return sum(self._frontier.ready().values()) if place is None else 0
        return sum(self._startable(place).values())

    def take(
        self, place: Place | None, *, ahead: bool = False, queued: bool = False
    ) -> Task | None:
        """Take one; `ahead` leaves out tasks whose number is limited; one that is `queued` starts later."""
        key: str | None = None
        if self._limits or self._places:
            startable = self._startable(place)
            if ahead:
                startable = {key: n for key, n in startable.items() if key not in self._limits}
            if not startable:
                return None
            # Take the spec key of which the fewest nodes are computed, so that none starves.
            key = min(startable, key=self._out.__getitem__)
        nodes = self._frontier.take(key, limit=1)
        if not nodes:
            return None
        node = nodes[0]
        self._out[node.spec_key] += 1
        if not queued:
            self._on_start(node)
        return Task(next(self._numbers), node)

    def came_back(self, task: Task) -> None:
        """A task has ended or was given back."""
        self._out[task.node.spec_key] -= 1

    def _startable(self, place: Place | None) -> dict[str, int]:
        """How many nodes of each spec key could start now on such a worker."""
        startable = {}
        for key, count in self._frontier.ready().items():
            if place is None:
                fits = key not in self._places
            else:
                fits = place in self._places.get(key, ())
            if key in self._limits:
                count = min(count, self._limits[key] - self._out[key])
            if fits and count > 0:
                startable[key] = count
        return startable
