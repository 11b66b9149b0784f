"""How many workers each spec key is to have: those it needs now, and those it keeps for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def shares(demand: Mapping[str, int], most: int) -> dict[str, int]:
    """How many workers each spec key is to have: one per node, with the limit shared fairly.

    Example:
        >>> shares({"default": 100, "gpu": 2}, 8)
        {'default': 6, 'gpu': 2}
    """
    given = dict.fromkeys(demand, 0)
    left = most
    while left > 0:
        lacking = [key for key in demand if given[key] < demand[key]]
        if not lacking:
            break
        each = max(1, left // len(lacking))
        for key in lacking:
            more = min(each, demand[key] - given[key], left)
            given[key] += more
            left -= more
    return given


class RecentDemand:
    """The most workers that each spec key has needed lately.

    Where layers of a graph alternate between spec keys, the workers of one key are idle while those of
    the other work. Because recent demand counts, each key keeps a fair share of the workers; otherwise
    they would leave for each other at every layer.

    Args:
        secs: how long a demand counts after it has fallen.
        clock: seconds, for tests.
    """

    def __init__(self, secs: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._secs = secs
        self._clock = clock
        self._peaks: dict[str, tuple[int, float]] = {}

    def with_current(self, demand: Mapping[str, int]) -> dict[str, int]:
        """The recent peak of each spec key's demand, including its current demand."""
        now = self._clock()
        for key in {*self._peaks, *demand}:
            current = demand.get(key, 0)
            peak, seen = self._peaks.get(key, (0, now))
            if current >= peak or now - seen > self._secs:
                self._peaks[key] = current, now
        return {key: peak for key, (peak, _) in self._peaks.items() if peak}
