"""What a trivial node costs in a run with two worker processes, and what the run itself costs.

The bare reference is a pool of two processes that makes the same files in any order, without a graph.
The cost of one node is the difference between a large and a small run, so start-up is not in it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.child import Measured, measure
from bench.files import make_node
from bench.row import Row
from bench.trivial import Trivial
from bench.turns import in_turn
from furu_core import use_settings

ROUNDS = 5
FEW, SMALL, LARGE = 2, 1_000, 5_000


def rows() -> Iterator[Row]:
    """The rows of the table."""
    folder = tempfile.mkdtemp(prefix="furu-bench-")
    try:
        yield from _on_disk(folder)
        yield from _runs(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on_disk(folder: str) -> Iterator[Row]:
    with use_settings(path=f"{folder}/furu", log_level="ERROR"):
        Trivial(index=0).get()
        ours = Trivial(index=0).furu_dir
    os.mkdir(f"{folder}/bare")
    make_node(f"{folder}/bare", {"index": 0}, 0)
    (bare,) = Path(folder, "bare").iterdir()
    kept, least = [ours, *ours.rglob("*")], [bare, *bare.rglob("*")]
    yield Row("a trivial artifact, inodes", len(kept), len(least), limit=2, unit="inodes")
    size, smallest = (sum(path.stat().st_blocks * 512 for path in all_) for all_ in (kept, least))
    written = (ours / ".furu.json").stat().st_size
    note = f"the record has {written} bytes"
    yield Row("a trivial artifact, on disk", size, smallest, limit=8192, unit="bytes", note=note)


def _runs(folder: str) -> Iterator[Row]:
    def ours(shape: str, count: int) -> Callable[[int], Measured]:
        where = f"{folder}/furu-{shape}-{count}"
        return lambda number: measure("bench.trivial:run", shape, count, f"{where}-{number}")

    def bare(count: int) -> Callable[[int], Measured]:
        where = f"{folder}/bare-{count}"
        return lambda number: measure("bench.files:pool", f"{where}-{number}", count)

    rounds = in_turn(
        ROUNDS,
        *(ours("wide", count) for count in (FEW, SMALL, LARGE)),
        ours("layered", SMALL),
        *(bare(count) for count in (FEW, SMALL, LARGE)),
    )
    few, small, large, layered, bare_few, bare_small, bare_large = zip(*rounds, strict=True)
    seconds = partial(_median, "seconds")
    yield Row(f"{SMALL:,} trivial nodes, wide", seconds(small), seconds(bare_small), limit=0.6)
    name = f"{SMALL:,} trivial nodes in {SMALL // 10} layers"
    yield Row(name, seconds(layered), seconds(bare_small), limit=0.7)
    each = _each("seconds", small, large)
    yield Row(
        "a trivial node, steady",
        each,
        _each("seconds", bare_small, bare_large),
        limit=1 / 3_000,
        note=f"{1 / each:,.0f} nodes per second",
    )
    yield Row(
        "a trivial node, processor of all processes",
        _each("processor", small, large),
        _each("processor", bare_small, bare_large),
        limit=0.4e-3,
    )
    yield Row(
        "a program with 2 nodes, processor of all",
        _median("processor", few),
        _median("processor", bare_few),
        limit=0.3,
        note=f"{seconds(few):.2f} s of time",
    )


def _median(figure: str, found: Sequence[Measured]) -> float:
    return statistics.median(getattr(one, figure) for one in found)


def _each(figure: str, small: Sequence[Measured], large: Sequence[Measured]) -> float:
    """What one node costs: the median over the rounds."""
    pairs = zip(small, large, strict=True)
    return statistics.median(
        (getattr(more, figure) - getattr(less, figure)) / (LARGE - SMALL) for less, more in pairs
    )
