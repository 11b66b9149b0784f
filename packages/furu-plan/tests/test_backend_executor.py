"""Executors that bring a backend and nothing else: what the pool and the executor around it do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from furu_core import NodeState, use_settings
from furu_core.errors import FuruExecutorError, FuruRunCancelled, FuruRunError, FuruUsageError
from furu_core.executors import TEXT, EventKind, FailureKind, RunState, option
from furu_core.planning import StateReader
from furu_core.workers import (
    Died,
    NodeProcess,
    NodeResult,
    Outcome,
    WorkerContext,
    node_order,
    origin_here,
)
from furu_plan.runs import (
    Answer,
    BackendExecutor,
    NewRun,
    Place,
    Report,
    Task,
)
from furu_testing import await_mark, wait_until
from furu_testing.nodes import Step

GONE = FuruExecutorError("the machine room is on fire", hint="run")


def done(label: str, **fields: Any) -> NodeResult:
    """The answer for a node that was computed."""
    return NodeResult(Step(label=label, **fields).furu_hash, Outcome.COMPUTED, 1)


@attrs.define
class Room:
    """A backend that computes in processes of this machine, save for what a test scripts."""

    run: NewRun
    rooms: dict[Place | None, int]
    script: dict[str, list[Answer]] = attrs.field(factory=dict)
    may_answer: threading.Event = attrs.field(factory=threading.Event)  # as the script says
    most_at_once: int = 0
    at_once: int = 0
    gone: bool = False
    stopped: set[int] = attrs.field(factory=set)
    closed: bool = False
    forgetful: bool = False  # of what it stops, as most schedulers are
    threads: list[threading.Thread] = attrs.field(factory=list)
    counting: Any = attrs.field(factory=threading.Lock)
    reports: dict[int, Report] = attrs.field(factory=dict)

    def room(self, place: Place | None) -> int:
        if self.gone:
            raise GONE
        return self.rooms.get(place, 0)

    def start(self, task: Task, report: Report) -> None:
        self.reports[task.number] = report
        with self.counting:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.threads.append(threading.Thread(target=self._compute, args=(task, report)))
        self.threads[-1].start()

    def stop(self, tasks: Sequence[Task]) -> None:
        self.stopped.update(task.number for task in tasks)
        if self.forgetful:
            for task in tasks:
                self.reports[task.number](Died(FailureKind.CANCELLED, "it is not known any more"))

    def lack(self, place: Place | None) -> str:
        return f"there is no {place or 'computer'}"

    def close(self) -> None:
        self.closed = True
        self.may_answer.set()

    def _compute(self, task: Task, report: Report) -> None:
        scripted = self.script.get(task.node.obj.label, [])  # type: ignore[attr-defined]
        if scripted:
            self.may_answer.wait(120)
            answer = scripted.pop(0)
        else:
            worker = WorkerContext("rooms", self.run.id, task.node.spec_key)
            with NodeProcess(
                origin_here(self.run.settings), log=self.run.folder / "log"
            ) as process:
                answer = process.compute(
                    node_order(task.node.obj, worker),
                    unwanted=lambda: task.number in self.stopped or self.closed,
                )
        with self.counting:
            self.at_once -= 1
        report(answer)


ROOMS: list[Room] = []  # of the test that runs


@attrs.frozen(kw_only=True)
class Rooms(BackendExecutor):
    """The executor of such a backend."""

    name = "rooms"

    colour: str = option("", "of the walls", TEXT)
    script: Any = attrs.field(factory=dict)
    rooms: dict[Place | None, int] = attrs.field(factory=lambda: {None: 2, "big": 1})
    made: list[Room] = attrs.field(factory=list)
    hold_answers: threading.Event = attrs.field(factory=threading.Event)

    def backend(self, run: NewRun) -> Room:
        self.made.append(Room(run, self.rooms, self.script))
        if not self.hold_answers.is_set():
            self.made[-1].may_answer.set()
        ROOMS.append(self.made[-1])
        return self.made[-1]

    def places(self) -> dict[str, Place]:
        return {"huge": "big"}


@pytest.fixture(autouse=True)
def _rooms(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("furu_plan.runs._backend._LOOK_SECS", 0.05)
    yield
    for thread in [thread for room in ROOMS for thread in room.threads]:
        thread.join(120)  # lest what it does meets the next test
    ROOMS.clear()


def kinds(run: Any) -> list[EventKind]:
    return [event.kind for event in run.events()]


def test_a_backend_is_all_that_an_executor_needs() -> None:
    executor = Rooms.from_options({"colour": "red", "max_workers": "2", "progress": "0"})
    assert executor.colour == "red"
    leaves = (Step(label="leaf"), Step(label="big", key="huge"))
    run = executor.submit(Step(label="top", needs=leaves))
    assert run.results() == 3
    assert run.status().computed == 3
    assert executor.made[0].closed


@pytest.mark.parametrize(
    ("options", "says"),
    [({"max_workers": "0"}, "max_workers is 0"), ({"window_size": "x"}, "window_size")],
)
def test_an_option_that_makes_no_sense_is_an_error(options: dict[str, str], says: str) -> None:
    with pytest.raises((FuruUsageError, FuruExecutorError), match=says):
        Rooms.from_options(options)


@pytest.mark.parametrize(("max_workers", "room"), [(1, 2), (None, 1)])
def test_there_are_never_more_tasks_than_wanted_or_than_room_for_them(
    max_workers: int | None, room: int
) -> None:
    script = {label: [done(label)] for label in "abc"}
    executor = Rooms(max_workers=max_workers, script=script, progress=False)
    executor.rooms[None] = room
    executor.hold_answers.set()
    run = executor.submit([Step(label=label) for label in "abc"])
    wait_until("all to be begun that will be", lambda: run.status().running)
    executor.made[0].may_answer.set()
    run.wait()
    assert executor.made[0].most_at_once == 1


def test_P5_a_task_whose_worker_died_is_tried_again_so_often_and_no_more() -> None:
    lost = Died(FailureKind.LOST, "the roof fell in")
    run = Rooms(script={"a": [lost, done("a")]}, progress=False).submit(Step(label="a")).wait()
    assert kinds(run).count(EventKind.NODE_RETRIED) == 1
    with use_settings(max_lost_retries=1), pytest.raises(FuruRunError) as caught:
        Rooms(script={"b": [lost] * 9}, progress=False).submit(Step(label="b")).wait()
    (failure,) = caught.value.failures
    assert (failure.kind, failure.message) == (FailureKind.LOST, "the roof fell in")


def test_P5_what_keeps_a_backend_from_computing_is_no_failure_to_try_again() -> None:
    bad = ImportError("no module named furniture")
    with pytest.raises(FuruRunError) as caught:
        Rooms(script={"a": [bad] * 9}, progress=False).submit(Step(label="a")).wait()
    (failure,) = caught.value.failures
    assert (failure.kind, failure.error_type) == (FailureKind.PROTOCOL, "ImportError")
    assert "furniture" in str(caught.value)


@pytest.mark.parametrize(("place", "what"), [("big", "big"), (None, "computer")])
def test_P6_a_run_for_whose_nodes_there_is_no_worker_ends_and_says_what_is_missing(
    place: str | None, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    script = {"default": [done("default")]}
    executor = Rooms(worker_timeout=0.0, script=script, progress=False)
    executor.rooms[place] = 0
    keys = ["default", "huge"] if place else ["default"]
    run = executor.submit([Step(label=key, key=key) for key in keys])
    with pytest.raises(FuruRunError, match=f"there is no {what}"):
        run.wait()
    assert f"there is no {what}" in caplog.text
    # Where there was room, nodes were computed.
    assert (EventKind.NODE_COMPUTED in kinds(run)) is (place is not None)


def test_P6_workers_that_come_late_are_waited_for() -> None:
    executor = Rooms(script={"late": [done("late", key="huge")]}, progress=False)
    executor.rooms["big"] = 0
    run = executor.submit(Step(label="late", key="huge"))
    with pytest.raises(TimeoutError, match=run.id):
        run.wait(0.01)
    executor.rooms["big"] = 1
    run.wait()


def test_P6_a_backend_that_is_gone_ends_the_run() -> None:
    executor = Rooms(script={"a": [done("a")]}, progress=False)
    executor.hold_answers.set()
    run = executor.submit(Step(label="a"))
    wait_until("the task", lambda: executor.made[0].reports)
    executor.made[0].gone = True
    with pytest.raises(FuruRunError, match="the machine room is on fire"):
        run.wait()
    assert executor.made[0].closed
    assert run.status().state is RunState.FAILED


def test_P6_cancel_reports_the_end_once_the_node_has_ended(store: Path) -> None:
    executor = Rooms(progress=False)
    node = Step(label="a", waits=True)
    run = executor.submit(node)
    await_mark(store, "a")  # one that is cancelled before its code began leaves nothing
    room = executor.made[0]
    room.forgetful = True
    run.cancel()
    with pytest.raises(FuruRunCancelled):
        run.wait()
    assert StateReader().state(node).state is NodeState.CANCELLED
    assert kinds(run)[-2:] == [EventKind.NODE_CANCELLED, EventKind.RUN_ENDED]
