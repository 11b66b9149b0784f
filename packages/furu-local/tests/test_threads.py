"""Worker threads, and the exception that interrupts the code of their nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from task_source import Tasks

from furu_core.errors import FuruExecutorError
from furu_core.workers import NodeResult, Outcome, WorkerContext
from furu_local import _threads
from furu_local._threads import ThreadPool
from furu_plan.runs import Ended, Task
from furu_testing import wait_until

CONTEXT = WorkerContext(executor="local", run_id="run", whole_process=False)


def a_task(number: int) -> Task:
    node: Any = SimpleNamespace(hash=f"{number:040x}", name=f"Node({number})")
    return Task(number, node)


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool(2, "local", "run")
    yield pool
    pool.close()


def ended(pool: ThreadPool) -> Ended:
    found: list[Any] = []
    wait_until("a report", lambda: bool(found.extend(pool.wait(0.1)) or found))
    [event] = found
    assert isinstance(event, Ended)
    return event


def computed(task: Task, context: WorkerContext) -> NodeResult:
    return NodeResult(task.node.hash, Outcome.COMPUTED)


def test_p6_a_thread_that_is_cancelled_between_two_nodes_computes_the_next_one(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "compute", computed)
    pool.feed(Tasks([a_task(1)]))
    wait_until("the node to end", lambda: bool(pool._reports))
    pool.cancel()  # it has not been heard yet that the node has ended
    assert ended(pool).result.outcome is Outcome.COMPUTED
    pool.feed(Tasks([a_task(2)]))
    assert ended(pool).result.hash == a_task(2).node.hash


def test_p6_what_is_cancelled_before_its_thread_begins_it_is_never_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_threads, "compute", computed)
    worker = _threads._WorkerThread(thread=threading.current_thread())
    worker.assign(a_task(1))
    worker.interrupt()
    assert worker.compute(a_task(1), CONTEXT).outcome is Outcome.CANCELLED
    worker.assign(a_task(2))
    assert worker.compute(a_task(2), CONTEXT).outcome is Outcome.COMPUTED


def test_p6_whenever_a_thread_is_cancelled_each_node_is_told_of_once_and_the_thread_goes_on(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def briefly(task: Task, context: WorkerContext) -> NodeResult:
        for _ in range(20 * (task.number % 10)):
            pass
        return computed(task, context)

    monkeypatch.setattr(_threads, "compute", briefly)
    outcomes = set()
    for number in range(300):
        pool.feed(Tasks([a_task(number)]))
        time.sleep(1e-5 * (number % 7))
        pool.cancel()
        event = ended(pool)
        assert event.task.number == number
        outcomes.add(event.result.outcome)
    assert outcomes <= {Outcome.COMPUTED, Outcome.CANCELLED}
    assert len(pool._workers) == 1
    assert pool._workers[0].thread is not None
    assert pool._workers[0].thread.is_alive()


def test_p6_where_the_system_gives_no_more_threads_those_there_are_compute_all(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "compute", computed)
    tasks = Tasks([a_task(1), a_task(2)])
    threading.stack_size(1 << 46)  # for which no system has room
    try:
        with pytest.raises(FuruExecutorError, match=r"can't start new thread[\s\S]*ulimit -u"):
            pool.feed(tasks)
        assert len(tasks.waiting) == 2
        threading.stack_size(0)
        pool.feed(Tasks([tasks.waiting.pop(0)]))
        threading.stack_size(1 << 46)
        pool.feed(tasks)
        assert ended(pool).task.number == 1
        pool.feed(tasks)
        assert ended(pool).task.number == 2
    finally:
        threading.stack_size(0)
