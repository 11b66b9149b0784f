"""Measuring several things in turn, because the speed of a shared machine drifts."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_turn(rounds: int, *calls: Callable[[int], T]) -> list[tuple[T, ...]]:
    """For each round, what the calls returned; each is told the number of the round."""
    return [tuple(call(number) for call in calls) for number in range(rounds)]


def medians(rounds: int, *calls: Callable[[int], float]) -> list[float]:
    """For each call the median of what it returned."""
    return [statistics.median(values) for values in zip(*in_turn(rounds, *calls), strict=True)]
