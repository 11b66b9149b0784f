"""The context of a worker (executor, run, spec key), and the session in which its code runs.

The process that watches over a worker has a session as well, so this imports nothing that computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from furu_core._context import _context
from furu_core._context._context import ExecContext
from furu_core._context._submission import JobTimes, Submission


@attrs.frozen
class WorkerContext:
    """The context of a worker.

    Attributes:
        executor: the executor's name.
        run_id: the executor's run.
        spec_key: the spec key of the nodes that this worker computes.
        whole_process: whether the process computes one node at a time, so that everything that runs
            in it belongs to that node; False for a thread among others.
        echo: whether the console shows what nodes print; else only their logs have it.
        known_done_wait_secs: seconds to wait until an artifact that the plan knows to be there
            becomes visible on a network filesystem.
        submission: the scheduler's job that this worker runs in, where there is one.
        job_times: when that job was queued and began, as far as that is known.
    """

    executor: str
    run_id: str
    spec_key: str = "default"
    whole_process: bool = True
    echo: bool = False
    known_done_wait_secs: float = 0.0
    submission: Submission | None = None
    job_times: JobTimes | None = None


@contextmanager
def worker_session(worker: WorkerContext) -> Iterator[None]:
    """Run the enclosed code as a worker: `get()` loads and never computes.

    Args:
        worker: the worker's context. With `whole_process` the rule holds in all threads and child
            processes; else in this thread and in what `run_node` runs in it.

    Limits: a child process that is given an environment without furu's variables is not strict. A
    pool of processes that a node leaves running for the next node keeps the first node's context.
    In a thread worker, a violation by a thread or spawned child of a node raises, but does not fail
    the node if its code swallows the error.
    """
    with _context.session(_exec_context(worker), process_wide=worker.whole_process):
        yield


@contextmanager
def importing_user_code(worker: WorkerContext) -> Iterator[None]:
    """Run the enclosed import as part of a worker, so that errors name a missing main guard."""
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
        job_times=worker.job_times,
        known_done_wait_secs=worker.known_done_wait_secs,
        echo=worker.echo,
        one_at_a_time=worker.whole_process,
    )
