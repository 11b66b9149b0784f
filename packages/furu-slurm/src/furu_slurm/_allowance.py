"""How many jobs are submitted at once, where the scheduler limits how many it takes."""

from __future__ import annotations

import time
from collections.abc import Callable


class Allowance:
    """How many jobs of a spec key may be submitted at once, where the scheduler limits jobs.

    How many more it takes is found out by asking for half as many each time it refuses, and
    remembered: after it took not even one, the next question is for one. When it has not refused for
    a while, it is asked for twice as many each time.

    Args:
        pause_secs: how long nothing is tried after it took not even one more job, nor more than it
            took after it has refused that.
        clock: seconds, for tests.

    Example:
        >>> from furu_slurm import Allowance
        >>> allowance = Allowance(pause_secs=30.0)
        >>> allowance.refused("gpu", 8), allowance.of("gpu", 8), allowance.of("cpu", 8)
        (True, 4, 8)
    """

    def __init__(self, pause_secs: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_secs = pause_secs
        self._clock = clock
        self._most: dict[str, int] = {}
        self._from: dict[str, float] = {}
        self._refused: dict[str, float] = {}  # when it refused last

    def of(self, key: str, wanted: int) -> int:
        """How many to submit of those that are wanted; 0 while none are to be tried."""
        if self._clock() < self._from.get(key, 0.0):
            return 0
        return min(wanted, self._most.get(key, wanted))

    def taken(self, key: str, count: int) -> None:
        """Note that the scheduler took so many."""
        if key in self._most:
            lately = self._clock() - self._refused[key] < self._pause_secs
            self._most[key] = count if lately else 2 * count

    def refused(self, key: str, count: int) -> bool:
        """Note that it refused so many; whether to ask for fewer at once."""
        self._most[key] = max(1, count // 2)
        self._refused[key] = self._clock()
        if count == 1:
            self._from[key] = self._clock() + self._pause_secs
        return count > 1
