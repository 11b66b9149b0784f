"""The work that peers do: a script for each imports this, in an environment without furu."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

WORKERS = 2


def trivial(index: int, *below: int) -> int:
    """A node that does nothing, upon three others at most."""
    return index


def layers(count: int) -> Iterator[list[tuple[int, list[int]]]]:
    """Layers of 10: the index of each node, and the places in the layer below of those it is upon."""
    for start in range(0, count, 10):
        steps = range(3) if start else ()
        yield [(start + place, [(place + step) % 10 for step in steps]) for place in range(10)]


@dataclass(frozen=True)
class Flat:
    """The config of `bench.bench_get.Flat`."""

    index: int
    rate: float = 0.1
    name: str = "adam"
    deep: bool = True
    sizes: tuple[int, ...] = (64, 64)


@dataclass(frozen=True)
class Nested:
    """The configs of `bench.bench_get.Middle` and `Top`."""

    index: int
    parts: tuple[object, ...]
    rate: float = 0.1
    name: str = "adam"
    deep: bool = True


def flat() -> Flat:
    """A flat config, made anew."""
    return Flat(index=0)


def nested() -> Nested:
    """A config of three levels with ten below it, made anew."""
    groups = ((1, 2, 3), (4, 5), (6, 7))
    parts = [
        Nested(index=place, parts=tuple(Flat(index=index) for index in group))
        for place, group in enumerate(groups, 1)
    ]
    return Nested(index=0, parts=tuple(parts))


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(works: dict[str, Callable[[int, str], float]]) -> None:
    """Do the work that the command names: ``WORK COUNT FOLDER``; print the seconds it took.

    Args:
        works: by name; each is told how many nodes or calls there are, and a folder of its own.
    """
    name, count, folder = sys.argv[1:]
    print(json.dumps(works[name](int(count), folder)), flush=True)
