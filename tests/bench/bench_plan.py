"""Planning graphs of 1,000, 10,000 and 100,000 nodes: wide, layered, chained; cold and cached.

The bare reference makes plain objects, hashes them with hashlib over canonical JSON, lists one folder
per class, reads the records of the roots that are done, walks the graph without recursion down to what
is done, and puts it in order with `graphlib`.

Seconds are those of the processor, the system's share included: nothing here waits for anything but
the local disk's cache, and other work on the machine should not count.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from bench.child import Measured, measure
from bench.files import manifest, publish
from bench.row import Row
from furu_core import Furu, use_settings
from furu_plan import Frontier, build_plan

SHAPES = ("wide", "layered", "chain")
SIZES = (1_000, 10_000, 100_000)


class Node(Furu[int]):
    """A node of a graph."""

    index: int
    rate: float = 0.1
    below: tuple[Furu[Any], ...] = ()

    def _create(self) -> int:
        return self.index


class Bare:
    """The same node without furu."""

    __slots__ = ("below", "digest", "index", "rate")

    def __init__(self, index: int, rate: float = 0.1, below: tuple[Bare, ...] = ()) -> None:
        self.index = index
        self.rate = rate
        self.below = below
        self.digest = ""

    @property
    def furu_hash(self) -> str:
        """The digest; those of dependencies are there."""
        if not self.digest:
            text = json.dumps(
                {
                    "class": "bench.bench_plan:Node",
                    "index": self.index,
                    "rate": self.rate,
                    "below": [item.digest for item in self.below],
                },
                sort_keys=True,
                separators=(",", ":"),
            )
            self.digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self.digest


def build(make: Callable[..., Any], shape: str, size: int) -> tuple[list[Any], list[Any]]:
    """All nodes, dependencies first, and the roots."""
    if shape == "wide":
        nodes = [make(index=index) for index in range(size)]
        return nodes, nodes
    if shape == "chain":
        nodes = [make(index=0)]
        for index in range(1, size):
            nodes.append(make(index=index, below=(nodes[-1],)))
        return nodes, nodes[-1:]
    width = max(size // 100, 1)  # 100 layers, each node upon 3 of the layer below
    nodes = []
    layer: list[Any] = []
    for start in range(0, size, width):
        layer = [
            make(
                index=start + place,
                below=tuple(layer[(place + step) % width] for step in range(3)) if layer else (),
            )
            for place in range(width)
        ]
        nodes += layer
    return nodes, layer


def ours(shape: str, size: int, store: str, hashed: bool, cached: bool) -> float:
    """Seconds for building, hashing and planning, or for planning alone."""
    with use_settings(path=store):
        gc.collect()
        began = time.process_time()
        nodes, roots = build(Node, shape, size)
        if hashed:
            for node in nodes:
                node.furu_hash  # noqa: B018 - hashes it
            gc.collect()
            began = time.process_time()
        plan = build_plan(roots)
        order = plan.topo_order_todo()
        took = time.process_time() - began
    assert len(order) == (0 if cached else size), len(order)
    return took


def bare(shape: str, size: int, store: str, hashed: bool, cached: bool) -> float:
    """The same for the reference."""
    gc.collect()
    began = time.process_time()
    nodes, roots = build(Bare, shape, size)
    for node in nodes:
        node.furu_hash  # noqa: B018 - hashes it
    if hashed:
        gc.collect()
        began = time.process_time()
    done = listing(class_folder(store, Bare))
    graph: dict[str, list[str]] = {}
    stack = []
    for node in roots:
        if node.digest in done:
            manifest(f"{class_folder(store, Bare)}/{node.digest}")
        else:
            stack.append(node)
    while stack:
        node = stack.pop()
        if node.digest in graph:
            continue
        below = [item for item in node.below if item.digest not in done]
        graph[node.digest] = [item.digest for item in below]
        stack += below
    order = [*TopologicalSorter(graph).static_order()]
    took = time.process_time() - began
    assert len(order) == (0 if cached else size), len(order)
    return took


def frontier(shape: str, size: int) -> float:
    """Seconds for handing out and finishing every node of a graph, one at a time."""
    _, roots = build(Node, shape, size)
    with use_settings(path="/nowhere"):
        plan = build_plan(roots)
    gc.collect()
    began = time.process_time()
    line = Frontier(plan)
    count = 0
    while not line.finished:
        for node in line.take(limit=100):
            line.done(node.hash)
            count += 1
    took = time.process_time() - began
    assert count == size
    return took


def sorter(shape: str, size: int) -> float:
    """The same with `graphlib` on the same hashes."""
    nodes, _ = build(Node, shape, size)
    graph = {node.furu_hash: [item.furu_hash for item in node.below] for node in nodes}
    gc.collect()
    began = time.process_time()
    line = TopologicalSorter(graph)
    line.prepare()
    count = 0
    while line.is_active():
        for node_hash in line.get_ready():
            line.done(node_hash)
            count += 1
    took = time.process_time() - began
    assert count == size
    return took


def listing(folder: str) -> set[str]:
    """The names in a folder, none if there is none."""
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def class_folder(store: str, cls: type) -> str:
    """Where the artifacts of a class are."""
    return f"{store}/data/bench/bench_plan/{cls.__name__}"


def fill(store: str, shape: str, size: int) -> float:
    """Make the folders of all artifacts, and records in those of the roots, which a plan reads."""
    for cls in (Node, Bare):
        folder = class_folder(store, cls)
        os.makedirs(folder, exist_ok=True)
        nodes, roots = build(cls, shape, size)
        last = {id(root) for root in roots}
        for node in nodes:
            if id(node) in last:
                publish(folder, node.furu_hash, {"index": node.index}, node.index)
            else:
                os.mkdir(f"{folder}/{node.furu_hash}")
    return 0.0


def compare(rounds: int, *arguments: Any, functions: tuple[str, str]) -> tuple[Measured, Measured]:
    """The best of some rounds, furu and reference in turn."""
    found: tuple[list[Measured], list[Measured]] = ([], [])
    for _ in range(rounds):
        for function, results in zip(functions, found, strict=True):
            results.append(measure(f"bench.bench_plan:{function}", *arguments))
    first, second = (min(results, key=lambda result: result.seconds) for results in found)
    return first, second


def rows() -> Iterator[Row]:
    """The rows of the table."""
    folder = Path(tempfile.mkdtemp(prefix="furu-bench-"))
    try:
        yield from _rows(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rows(folder: Path) -> Iterator[Row]:
    both = ("ours", "bare")
    for shape in ("wide", "layered"):
        furu, reference = compare(5, shape, 1_000, f"{folder}/cold", True, False, functions=both)
        yield Row(
            f"plan 1,000 {shape}, cold, hashed before",
            furu.seconds,
            reference.seconds,
            target=4,
        )
    cold: dict[tuple[str, int], tuple[float, float]] = {}
    for shape in SHAPES:
        for size in SIZES:
            rounds = 3 if size <= 10_000 else 2
            store = f"{folder}/{shape}-{size}"
            furu, reference = compare(rounds, shape, size, store, False, False, functions=both)
            cold[shape, size] = furu.seconds, reference.seconds
            bound = {"target": 3, "limit_mib": 1024} if size == 100_000 else {}
            yield Row(
                f"plan {size:,} {shape}, cold",
                furu.seconds,
                reference.seconds,
                peak_mib=furu.peak_mib,
                **bound,
            )
            measure("bench.bench_plan:fill", store, shape, size)
            furu, reference = compare(rounds, shape, size, store, False, True, functions=both)
            yield Row(
                f"plan {size:,} {shape}, cached",
                furu.seconds,
                reference.seconds,
                peak_mib=furu.peak_mib,
                **bound,
            )
        (small, bare_small), (large, bare_large) = cold[shape, 1_000], cold[shape, 100_000]
        yield Row(
            f"plan 100,000 {shape}, expected of 1,000",
            large,
            small * bare_large / bare_small,
            target=1.5,
            note=f"furu grew {large / small:.0f} x, bare {bare_large / bare_small:.0f} x",
        )
    for size in (1_000, 100_000):
        furu, reference = compare(2, "layered", size, functions=("frontier", "sorter"))
        yield Row(
            f"hand out {size:,} layered",
            furu.seconds,
            reference.seconds,
            note="reference: graphlib alone",
        )
