"""How many workers each spec key is to have: what it needs, and what it keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def shares(demand: Mapping[str, int], most: int) -> dict[str, int]:
    """How many workers each spec key is to have: as many as it has nodes, and a fair share at least.

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

    Where the layers of a graph have different spec keys by turns, the workers of one key are idle while
    those of the other work. By what was needed lately each key keeps a fair share of workers, instead of
    having them leave for each other at every layer.

    Args:
        secs: how long a demand counts after it has fallen.
        clock: seconds, for tests.
    """

    def __init__(self, secs: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._secs = secs
        self._clock = clock
        self._peaks: dict[str, tuple[int, float]] = {}

    def with_current(self, demand: Mapping[str, int]) -> dict[str, int]:
        """What each spec key has needed lately, when it needs so many now."""
        now = self._clock()
        for key in {*self._peaks, *demand}:
            current = demand.get(key, 0)
            peak, seen = self._peaks.get(key, (0, now))
            if current >= peak or now - seen > self._secs:
                self._peaks[key] = current, now
        return {key: peak for key, (peak, _) in self._peaks.items() if peak}
