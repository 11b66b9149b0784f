"""What a worker belongs to, and the session in which its code runs.

The process that watches over a worker has a session as well, and needs nothing that computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from furu_core._context import _context
from furu_core._context._context import ExecContext
from furu_core._context._submission import Submission


@attrs.frozen
class WorkerContext:
    """What a worker belongs to.

    Attributes:
        executor: the executor's name.
        run_id: the executor's run.
        spec_key: of the nodes that this worker computes.
        whole_process: whether the process computes one node at a time, so that everything that runs
            in it belongs to that node; False for a thread among others.
        echo: whether the console shows what nodes print; else only their logs have it.
        known_done_wait_secs: seconds to wait until an artifact that the plan knows to be there
            becomes visible on a network filesystem.
        submission: the scheduler's job that this worker is, where there is one.
    """

    executor: str
    run_id: str
    spec_key: str = "default"
    whole_process: bool = True
    echo: bool = False
    known_done_wait_secs: float = 0.0
    submission: Submission | None = None


@contextmanager
def worker_session(worker: WorkerContext) -> Iterator[None]:
    """Run the enclosed code as a worker: `get()` loads and never computes.

    Args:
        worker: what the worker belongs to. With `whole_process` the rule holds in all threads and
            child processes; else in this thread and in what `run_node` runs in it.

    A child process that is given an environment without furu's variables is not strict. A pool of
    processes that a node leaves running for the next one goes on in the name of the first. What a
    thread or spawned child of a node in a thread worker asks for raises, but is not held against the
    node if its code swallows the error.
    """
    with _context.session(_exec_context(worker), process_wide=worker.whole_process):
        yield


@contextmanager
def importing_user_code(worker: WorkerContext) -> Iterator[None]:
    """Run the enclosed import as a worker's, so that errors name the missing main guard."""
    context = attrs.evolve(_exec_context(worker), importing=True)
    with _context.session(context, process_wide=worker.whole_process):
        yield


def _exec_context(worker: WorkerContext) -> ExecContext:
    return ExecContext(
        strict=True,
        executor=worker.executor,
        run_id=worker.run_id,
        spec_key=worker.spec_key,
        submission=worker.submission,
        known_done_wait_secs=worker.known_done_wait_secs,
        echo=worker.echo,
        one_at_a_time=worker.whole_process,
    )
