"""Worker processes, and what is handed out to them."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_nodes import Collects
from task_source import Tasks

from furu_core import Furu
from furu_core.errors import FuruExecutorError
from furu_core.workers import Watchdog, origin_here
from furu_local import run_local
from furu_local._process_pool import Launch, ProcessPool
from furu_plan.runs import Ended, Task
from furu_testing import await_mark, let_go, wait_until
from furu_testing.nodes import Dies, Step


@pytest.fixture
def pool(store: Path, tmp_path: Path) -> Iterator[ProcessPool]:
    launch = Launch(origin_here(for_here=True), os.environ, tmp_path)
    pool = ProcessPool(1, launch, "local", "run-1", ())
    yield pool
    pool.kill()
    pool.close()


def a_task(number: int, obj: Furu[Any]) -> Task:
    node: Any = SimpleNamespace(obj=obj, spec_key="default", rerun=False)
    return Task(number, node)


def test_a_death_says_nothing_of_how_long_nodes_take(store: Path, pool: ProcessPool) -> None:
    """Else they would be handed out ahead, behind one that takes long."""
    nodes = [Dies(label="dies", how="kill"), *(Step(label=f"{n}", waits=True) for n in range(9))]
    source = Tasks([a_task(number, node) for number, node in enumerate(nodes)])
    events: list[Any] = []

    def seen(number: int) -> bool:
        pool.feed(source)
        events.extend(pool.wait(0.1))
        return len(events) >= number

    wait_until("the first to die", lambda: seen(1))
    wait_until("the second to begin", lambda: seen(1) and bool(pool.busy))
    await_mark(store, "0")
    pool.feed(source)
    assert len(source.waiting) == 8
    let_go(store)
    wait_until("the second to end", lambda: seen(2))
    assert [event.result.outcome.value for event in events[:2]] == ["failed", "computed"]
    assert all(isinstance(event, Ended) for event in events)


def test_garbage_that_nodes_make_is_collected_although_none_is_while_a_worker_starts(
    store: Path,
) -> None:
    assert run_local(Collects(), max_workers=1).results() is True


def test_p8_a_process_that_the_system_does_not_start_is_told_of_once(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    pool._watchdog = Watchdog()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    said = "^a worker process cannot be started: no more processes; stop"
    with pytest.raises(FuruExecutorError, match=said):
        pool.feed(Tasks([a_task(1, Step(label="never"))]))


class _Talks:
    """A process that has said something, and ends only when that was read."""

    tells_all = True

    def __init__(self) -> None:
        self._said, end = os.pipe()
        os.close(end)
        self.looks = 0
        self.read = False

    def fileno(self) -> int:
        return self._said

    def has_ended(self) -> bool:
        self.looks += 1
        return self.read

    def poll(self) -> list[Any]:
        self.read = True
        os.close(self._said)
        return []


def test_p6_a_process_that_says_something_while_it_leaves_is_waited_for_without_a_busy_loop(
    pool: ProcessPool,
) -> None:
    process: Any = _Talks()
    pool._await_ends([process])
    assert process.looks == 2
