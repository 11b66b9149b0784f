"""A pool of 8 workers on this machine: nodes per second, what a queued node costs, how soon the next starts.

The times of nodes are those of the run's events, so that the start of the workers, 8 interpreters on
however few cores there are, does not hide what the queue can do; the note has the whole.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.child import measure
from bench.row import Row
from bench.trivial import Trivial
from furu_core import Furu, use_settings
from furu_core.executors import EventKind
from furu_core.workers import GraphWriter
from furu_slurm import SlurmSpec
from furu_slurm_pool import run_slurm_pool
from furu_slurm_pool._queue._tasks import QueuedTask, QueueFolder, enqueue, task_name

WORKERS = 8
WANTED_PER_SECOND = 400
WANTED_SHARE = 0.3
SPECS = {"default": SlurmSpec(cpus=1, mem_gb=1)}
POLL_SECS = 0.5
CHAIN = 30


class Timed(Furu[tuple[float, float]]):
    """A node that tells when it was computed, from and to."""

    index: int
    below: Timed | None = None

    def _create(self) -> tuple[float, float]:
        began = time.time()
        time.sleep(0.02)
        return began, time.time()


def through_the_pool(count: int, store: str) -> float:
    """Run `count` trivial nodes; leaves seconds between the first and the last, and more, in a file."""
    with use_settings(path=store, log_level="ERROR"):
        roots = [Trivial(index=index) for index in range(count)]
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        run = run_slurm_pool(
            roots,
            specs=SPECS,
            max_workers_total=WORKERS,
            cluster="local",
            idle_timeout_sec=5,
            progress=False,
        )
        whole = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    times = [event.time for event in run.events() if event.kind is EventKind.NODE_COMPUTED]
    assert len(times) == count
    Path(store, "figures").write_text(f"{whole} {used / whole}", "utf-8")
    return max(times) - min(times)


def next_starts(store: str) -> float:
    """The median of the seconds between the end of a node and the start of the one upon it."""
    with use_settings(path=store, log_level="ERROR"):
        chain: list[Timed] = []
        for index in range(CHAIN):
            chain.append(Timed(index=index, below=chain[-1] if chain else None))
        run_slurm_pool(
            chain[-1],
            specs=SPECS,
            max_workers_total=2,
            cluster="local",
            poll_interval_sec=POLL_SECS,
            idle_timeout_sec=10,
            progress=False,
        )
        times = [node.get() for node in chain]
    return statistics.median(after[0] - before[1] for before, after in itertools.pairwise(times))


def queued(count: int, folder: str) -> float:
    """Seconds to queue one node of a layered graph; leaves what that takes on disk in a file."""
    queue = QueueFolder(f"{folder}/queue")
    queue.make()
    nodes: list[Trivial] = []
    for index in range(count):
        nodes.append(Trivial(index=index, below=tuple(nodes[-3:])))
    hashes = [node.furu_hash for node in nodes]
    began = time.perf_counter()
    with GraphWriter(Path(folder, "graph.jsonl")) as graph:
        for number, node in enumerate(nodes):
            place = graph.add(node)
            task = QueuedTask(hashes[number], "graph.jsonl", place)
            enqueue(queue, task_name(number, 1, hashes[number]), task)
    spent = time.perf_counter() - began
    tasks = os.listdir(queue.todo)
    size = sum(os.stat(f"{queue.todo}/{name}").st_size for name in tasks)
    described = os.stat(f"{folder}/graph.jsonl").st_size
    text = (
        f"{len(tasks) / count:g} file, {size / count:.0f} bytes; {described / count:.0f} of graph"
    )
    Path(folder, "figures").write_text(text, "utf-8")
    return spent / count


def rows() -> Iterator[Row]:
    """The rows of the table."""
    folder = tempfile.mkdtemp(prefix="furu-bench-")
    try:
        for count in (1_000, 20_000):
            store = f"{folder}/pool-{count}"
            seconds = measure("bench.bench_pool:through_the_pool", count, store).seconds
            whole, share = map(float, Path(store, "figures").read_text("utf-8").split())
            yield Row(
                f"pool of {WORKERS} workers, {count:,} trivial nodes",
                seconds,
                limit=count / WANTED_PER_SECOND,
                note=f"{count / seconds:.0f} nodes per second; with start and end {whole:.1f} s",
            )
            yield Row(f"its controller, per second, {count:,} nodes", share, limit=WANTED_SHARE)
        store = f"{folder}/chain"
        yield Row(
            f"pool: from a node's end to the next, poll {POLL_SECS:g} s",
            measure("bench.bench_pool:next_starts", store).seconds,
            limit=1.5 * POLL_SECS,
            note="median",
        )
        store = f"{folder}/queued"
        os.mkdir(store)
        spent = measure("bench.bench_pool:queued", 2_000, store).seconds
        note = Path(store, "figures").read_text("utf-8")
        yield Row("pool: to queue one node, 3 dependencies", spent, note=note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
