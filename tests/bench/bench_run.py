"""1,000 trivial nodes end to end with two worker processes, start-up included.

The bare reference is a pool of two processes that makes the same files in any order, without a graph.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

from bench.child import measure
from bench.files import make_node
from bench.row import Row
from furu_core import Furu, use_settings
from furu_local import run_local

COUNT = 1_000
ROUNDS = 3


class Trivial(Furu[int]):
    """A node that does nothing, upon three others at most."""

    index: int
    below: tuple[Trivial, ...] = ()

    def _create(self) -> int:
        return self.index


def wide() -> list[Trivial]:
    """Independent nodes."""
    return [Trivial(index=index) for index in range(COUNT)]


def layered() -> list[Trivial]:
    """100 layers of 10, each node upon three of the layer below; the roots are the last layer."""
    layer: list[Trivial] = []
    for number in range(100):
        layer = [
            Trivial(
                index=number * 10 + place,
                below=tuple(layer[(place + step) % 10] for step in range(3)) if layer else (),
            )
            for place in range(10)
        ]
    return layer


def ours(shape: str, store: str) -> float:
    """Seconds for a run of furu."""
    with use_settings(path=store, log_level="ERROR"):
        roots = wide() if shape == "wide" else layered()
        began = time.perf_counter()
        run_local(roots, max_workers=2, progress=False)
        return time.perf_counter() - began


def pool(folder: str) -> float:
    """Seconds for the reference."""
    os.makedirs(folder)
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(2) as workers:
        workers.starmap(make_node, [(folder, {"index": index}, index) for index in range(COUNT)], 1)
    return time.perf_counter() - began


def rows() -> Iterator[Row]:
    """The rows of the table."""
    folder = tempfile.mkdtemp(prefix="furu-bench-")
    try:
        for shape, target in (("wide", 4), ("layered", 5)):
            pairs = [
                (
                    measure("bench.bench_run:ours", shape, f"{folder}/{shape}-{number}").seconds,
                    measure("bench.bench_run:pool", f"{folder}/bare-{shape}-{number}").seconds,
                )
                for number in range(ROUNDS)
            ]
            furu, bare = (min(times) for times in zip(*pairs, strict=True))
            name = "wide" if shape == "wide" else "in 100 layers, 3 dependencies each"
            yield Row(f"1,000 trivial nodes, {name}", furu, bare, target=target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
