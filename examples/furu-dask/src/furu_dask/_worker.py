"""What a Dask worker does with a node: it has a process of furu's compute it."""

from __future__ import annotations

import threading
from pathlib import Path

from distributed import Worker, get_worker

from furu_core.executors import FailureKind
from furu_core.workers import Died, NodeOrder, NodeProcess, NodeResult, Origin

_of_thread = threading.local()  # each thread of a Dask worker keeps its process for the next node


def compute(origin: Origin, order: NodeOrder, begun: Path) -> NodeResult | Died:
    """Make one attempt at a node; Dask calls this in a worker.

    Args:
        origin: what the process is to be like.
        order: the node.
        begun: a file of this task, in the run's folder, that is there once it has begun.
    """
    worker, key = get_worker(), begun.stem
    try:
        with begun.open("x") as file:
            file.write(worker.address)
    except FileExistsError:
        # Dask repeats the tasks of a worker that died, and nobody would count that as an attempt.
        return Died(FailureKind.LOST, f"the Dask worker {begun.read_text()} died")
    process: NodeProcess | None = getattr(_of_thread, "process", None)
    if process is None or process.origin != origin:
        if process is not None:
            process.close()
        log = begun.with_name(f"{worker.id}-{threading.get_ident()}.log")
        process = _of_thread.process = NodeProcess(origin, log=log)
    return process.compute(order, unwanted=lambda: _is_dropped(worker, key))


def _is_dropped(worker: Worker, key: str) -> bool:
    """Whether the run was cancelled, its program has died, or the worker is about to end."""
    task = worker.state.tasks.get(key)
    wanted = task is not None and task.state in ("executing", "long-running")
    return not wanted or worker.status.name in ("closing", "closed", "failed", "stopping")
