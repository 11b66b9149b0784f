"""The queue of a pool: claiming, and whole runs of trivial nodes on eight local workers."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from bench.child import measure
from bench.row import Row
from furu_core import Furu, use_settings
from furu_slurm import SlurmSpec
from furu_slurm_pool import run_slurm_pool
from furu_slurm_pool._queue._tasks import (
    Claims,
    QueuedTask,
    QueueFolder,
    enqueue,
    queue_folder,
    task_name,
)

CLAIMS_PER_SEC = 10_000
NODES_PER_SEC = 400
POLL_SECS = 1.0


class Trivial(Furu[int]):
    """A node that does nothing."""

    index: int

    def _create(self) -> int:
        return self.index


class Timed(Furu[tuple]):
    """When it began and ended."""

    below: Timed | None = None
    index: int = 0

    def _create(self) -> tuple:
        began = time.time()
        if self.below is not None:
            self.below.get()
        time.sleep(0.02)
        return (began, time.time())


def filled(folder: str, count: int) -> QueueFolder:
    """A queue of so many tasks."""
    queue = queue_folder(folder, "default")
    queue.make()
    for number in range(count):
        task = QueuedTask(f"{number:040x}", "001-0001.jsonl", 400 * number)
        enqueue(queue, task_name(number, 1, task.hash), task)
    return queue


def claims(folder: str, count: int, processes: int) -> float:
    """Seconds until so many processes have claimed all of so many tasks, one at a time."""
    queue = filled(f"{folder}/{count}-{processes}", count)
    fork = multiprocessing.get_context("fork")
    start, results = fork.Barrier(processes), fork.Queue()

    def work(worker: str) -> None:
        claims = Claims(queue, worker)
        start.wait()
        began = time.perf_counter()
        claimed = 0
        while claims.claim(1):
            claimed += 1
        results.put((claimed, time.perf_counter() - began))

    workers = [fork.Process(target=work, args=(f"w{number}",)) for number in range(processes)]
    for worker in workers:
        worker.start()
    answers: list[Any] = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(claimed for claimed, _ in answers) == count
    return float(max(seconds for _, seconds in answers))


def pool(store: str, count: int) -> float:
    """Seconds for a run of so many trivial nodes."""
    with use_settings(path=store, log_level="ERROR"):
        roots = [Trivial(index=index) for index in range(count)]
        began = time.perf_counter()
        _run(roots)
        return time.perf_counter() - began


def controller_share(store: str, count: int) -> float:
    """The controller's share of one core, in seconds per second, in such a run."""
    with use_settings(path=store, log_level="ERROR"):
        roots = [Trivial(index=index) for index in range(count)]
        before, began = _cpu(), time.perf_counter()
        _run(roots)
        return (_cpu() - before) / (time.perf_counter() - began)


def gap(store: str) -> float:
    """Median seconds from a node's end to the start of its dependent."""
    with use_settings(path=store, log_level="ERROR"):
        chain: Timed | None = None
        links = []
        for index in range(20):
            chain = Timed(below=chain, index=index)
            links.append(chain)
        _run([chain], workers=2)
        times = [link.get() for link in links]
        pairs = itertools.pairwise(times)
        return statistics.median(after[0] - before[1] for before, after in pairs)


def bytes_per_task(folder: str) -> float:
    """The bytes of one queued task's file."""
    queue = filled(folder, 1)
    (name,) = os.listdir(queue.todo)
    return float(os.stat(f"{queue.todo}/{name}").st_size)


def _run(roots: list[Any], workers: int = 8) -> None:
    run_slurm_pool(
        roots,
        specs={"default": SlurmSpec()},
        cluster="local",
        max_workers_total=workers,
        poll_interval_sec=POLL_SECS,
        progress=False,
    )


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rows() -> Iterator[Row]:
    """The rows of the table."""
    folder = tempfile.mkdtemp(prefix="furu-bench-")
    try:
        for count in (1_000, 10_000, 100_000):
            for processes in (1, 2, 4, 8):
                seconds = measure("bench.bench_queue:claims", folder, count, processes).seconds
                yield Row(
                    f"claims, {count:,} queued, {processes} processes",
                    seconds,
                    limit=count / CLAIMS_PER_SEC,
                    note=f"{count / seconds:,.0f} per second",
                )
        size = measure("bench.bench_queue:bytes_per_task", f"{folder}/one").seconds
        yield Row("a queued task", 0.0, note=f"1 file of {size:.0f} bytes")
        for count in (1_000, 20_000):
            seconds = measure("bench.bench_queue:pool", f"{folder}/pool-{count}", count).seconds
            yield Row(
                f"{count:,} trivial nodes, 8 local workers of a pool",
                seconds,
                limit=count / NODES_PER_SEC,
                note=f"{count / seconds:,.0f} per second",
            )
        share = measure("bench.bench_queue:controller_share", f"{folder}/share", 4_000).seconds
        yield Row("the controller meanwhile, of each second", share, limit=0.3)
        seconds = measure("bench.bench_queue:gap", f"{folder}/gap").seconds
        yield Row(
            "from a node's end to its dependent's start",
            seconds,
            limit=1.5 * POLL_SECS,
            note=f"median, poll interval {POLL_SECS:g} s",
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
