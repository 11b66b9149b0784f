"""How many workers each spec key is to have: what it needs, what it keeps, what the scheduler allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

_PAUSE_SECS: Final = 30.0  # after the scheduler took not even one more job


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


class Allowance:
    """How many workers of a spec key may be submitted at once, where the scheduler limits jobs.

    How many more it takes is found out by asking for half as many each time it refuses.

    Args:
        clock: seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._most: dict[str, int] = {}
        self._from: dict[str, float] = {}

    def of(self, key: str, wanted: int) -> int:
        """How many to submit of those that are wanted; 0 while none are to be tried."""
        if self._clock() < self._from.get(key, 0.0):
            return 0
        return min(wanted, self._most.get(key, wanted))

    def taken(self, key: str, count: int) -> None:
        """Note that the scheduler took so many."""
        if key in self._most:
            self._most[key] = 2 * count

    def refused(self, key: str, count: int) -> bool:
        """Note that it refused so many; whether to ask for fewer at once."""
        self._most[key] = max(1, count // 2)
        if count == 1:
            self._from[key] = self._clock() + _PAUSE_SECS
        return count > 1
