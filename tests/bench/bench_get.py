"""One node at a time: a hit, a hash, a miss.

The bare reference hashes the same values with hashlib over canonical JSON and makes the same file
operations. Each figure is the median of some rounds, in which furu and the reference take turns.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.files import digest, load_node, make_node
from bench.row import Row
from bench.turns import medians
from furu_core import Furu, use_settings

ROUNDS = 7


class Flat(Furu[dict[str, float]]):
    """Five fields."""

    index: int
    rate: float = 0.1
    name: str = "adam"
    deep: bool = True
    sizes: tuple[int, ...] = (64, 64)

    def _create(self) -> dict[str, float]:
        return {"accuracy": 0.5, "index": float(self.index)}


class Middle(Furu[dict[str, float]]):
    """Five fields, two or three of the kind below among them."""

    index: int
    leaves: tuple[Flat, ...]
    rate: float = 0.1
    name: str = "adam"
    deep: bool = True

    def _create(self) -> dict[str, float]:
        return {"accuracy": 0.5}


class Top(Furu[dict[str, float]]):
    """Three levels, ten dependencies in all."""

    index: int
    parts: tuple[Middle, ...]
    rate: float = 0.1
    name: str = "adam"
    deep: bool = True

    def _create(self) -> dict[str, float]:
        return {"accuracy": 0.5}


def flat(index: int) -> dict[str, Any]:
    """The values of `Flat`."""
    return {"index": index, "rate": 0.1, "name": "adam", "deep": True, "sizes": (64, 64)}


def top(index: int) -> Top:
    """A nested config, made anew."""
    return Top(
        index=index,
        parts=(
            Middle(index=1, leaves=(Flat(index=1), Flat(index=2), Flat(index=3))),
            Middle(index=2, leaves=(Flat(index=4), Flat(index=5))),
            Middle(index=3, leaves=(Flat(index=6), Flat(index=7))),
        ),
    )


def bare_top(index: int) -> dict[str, Any]:
    """The values of `top`."""
    same = {"rate": 0.1, "name": "adam", "deep": True}
    leaves = ((flat(1), flat(2), flat(3)), (flat(4), flat(5)), (flat(6), flat(7)))
    parts = [{"index": k + 1, "leaves": group, **same} for k, group in enumerate(leaves)]
    return {"index": index, "parts": parts, **same}


def per_call(call: Callable[[int], Any], count: int, start: int = 0) -> float:
    """Seconds for one of `count` calls, whose argument counts up from `start`."""
    began = time.perf_counter()
    for index in range(start, start + count):
        call(index)
    return (time.perf_counter() - began) / count


def hit(shape: str, count: int, store: str) -> float:
    """Seconds for one of so many hits in a row, of a config that is made anew."""
    make = {"flat": lambda: Flat(index=0), "nested": lambda: top(0)}[shape]
    with use_settings(path=store, log_level="ERROR"):
        make().get()
        return per_call(lambda _: make().get(), count)


def rows() -> Iterator[Row]:
    """The rows of the table."""
    folder = tempfile.mkdtemp(prefix="furu-bench-")
    level = logging.getLogger("furu").level
    try:
        with use_settings(path=f"{folder}/furu", log_level="ERROR"):
            yield from _rows(f"{folder}/bare")
    finally:
        logging.getLogger("furu").setLevel(level)
        shutil.rmtree(folder, ignore_errors=True)


def _rows(folder: str) -> Iterator[Row]:
    os.makedirs(folder)
    count = 1000
    Flat(index=0).get()
    make_node(folder, flat(0), {"accuracy": 0.5, "index": 0.0})
    top(0).get()
    make_node(folder, bare_top(0), {"accuracy": 0.5})

    furu, bare = medians(
        ROUNDS,
        lambda _: per_call(lambda _: Flat(index=0).get(), count),
        lambda _: per_call(lambda _: load_node(folder, flat(0)), count),
    )
    yield Row("warm hit, flat config of 5 fields", furu, bare, limit=18e-6)
    furu, bare = medians(
        ROUNDS,
        lambda _: per_call(lambda _: top(0).get(), count),
        lambda _: per_call(lambda _: load_node(folder, bare_top(0)), count),
    )
    yield Row("warm hit, 3 levels with 10 dependencies", furu, bare, target=1.8)
    furu, bare = medians(
        ROUNDS,
        lambda _: per_call(lambda index: Flat(index=index).furu_hash, count),
        lambda _: per_call(lambda index: digest(flat(index)), count),
    )
    yield Row("hash alone, flat", furu, bare, target=3)
    cold = 200
    furu, bare = medians(
        ROUNDS,
        lambda number: per_call(lambda i: Flat(index=i).get(), cold, 10_000 + number * cold),
        lambda number: per_call(
            lambda i: make_node(folder, flat(i), {"accuracy": 0.5}), cold, 10_000 + number * cold
        ),
    )
    yield Row("cold trivial node, interactive", furu, bare, limit=150e-6, note="200 µs on a disk")
