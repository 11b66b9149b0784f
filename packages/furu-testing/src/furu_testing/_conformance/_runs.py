"""P6 and P8: what a run says of itself while it goes on and when it has ended; cancelling it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import pytest

from furu_core.errors import FuruRunCancelled
from furu_core.executors import EventKind, RunState, read_events
from furu_core.planning import NodeState, StateReader
from furu_testing._conformance._kit import ConformanceKit
from furu_testing._conformance._promises import kinds, promise, says
from furu_testing._conformance._tags import depends_on
from furu_testing.nodes import Fails, Step

_EVENTS = "P8: events tell what happened, all of it and in its order"
_CANCELLED = "P6: cancel() ends a run in bounded time, and wait() raises FuruRunCancelled"
_LOOK_SECS: Final = 2.0
_LOOKS: Final = 3  # on a busy machine one may see what has nothing to do with waiting
_IDLE: Final = 0.08  # of a processor; a loop that never waits takes all that it gets
_PART: Final = 0.25  # of what such a loop gets


@depends_on("run")
class RunTests(ConformanceKit):
    """What a run says of itself, and cancelling it."""

    def test_a_run_has_an_id_a_folder_and_its_roots(self) -> None:
        roots = {"one": Step(label="one"), "two": Step(label="two")}
        run = self.completed(roots)
        promise(run.id, f"P8: a run has an id; got {run.id!r}")
        promise(run.folder.is_dir(), f"P8: a run has a folder; there is no {run.folder}")
        promise(
            run.roots.names == ("one", "two") and run.roots.items == tuple(roots.values()),
            f"P8: a run knows its roots; expected {roots}, got {run.roots}",
        )
        file = run.folder / "run.json"
        promise(file.exists(), "P8: a run's folder says what it was to do (new_run_folder)")
        said = json.loads(file.read_text())
        promise(
            said.get("executor") == self.name and said.get("id") == run.id,
            f"P8: run.json names the executor and the run; got {said}",
        )

    def test_runs_have_ids_of_their_own(self) -> None:
        first, second = (self.completed(Step(label=label)) for label in "ab")
        promise(
            first.id != second.id and first.folder != second.folder,
            f"P8: each run has an id and a folder of its own; two share {first.id}",
        )

    def test_events_of_a_run_that_ends_well_are_complete_and_in_order(self) -> None:
        leaves = [Step(label=f"leaf-{n}") for n in range(3)]
        top = Step(label="top", needs=tuple(leaves))
        run = self.completed(top)
        events = list(run.events())
        promise(events, f"{_EVENTS}; there are none in {run.folder}")
        promise(
            events == list(read_events(run.folder)),
            "P8: events() gives what is in the run's folder",
        )
        promise(
            events[0].kind is EventKind.RUN_STARTED and events[-1].kind is EventKind.RUN_ENDED,
            f"{_EVENTS}, from RUN_STARTED to RUN_ENDED; got {[event.kind for event in events]}",
        )
        for kind in (EventKind.RUN_STARTED, EventKind.RUN_ENDED):
            number = sum(event.kind is kind for event in events)
            promise(number == 1, f"{_EVENTS}; there are {number} of {kind}")
        for node in (*leaves, top):
            told = kinds(events, node)
            promise(
                told == [EventKind.NODE_STARTED, EventKind.NODE_COMPUTED],
                f"{_EVENTS}; of {node.label} they tell {[kind.value for kind in told]}",
            )
        order = [event.hash for event in events if event.kind is EventKind.NODE_COMPUTED]
        promise(order[-1] == top.furu_hash, f"{_EVENTS}; the root was not computed last")
        times = [event.time for event in events]
        promise(times == sorted(times), f"{_EVENTS}; their times go back")
        promise(
            all(event.node for event in events if event.hash),
            f"{_EVENTS}; an event of a node has the node's short name",
        )

    def test_events_tell_of_tries_and_of_a_failure(self) -> None:
        flaky, bad = Fails(label="flaky", times=1), Fails(label="bad", times=99)
        with self.settings(max_compute_retries=1):
            going = self.going(Step(label="top", needs=(Step(label="mid", needs=(flaky,)), bad)))
            self.badly_ended(going)
        events = list(going.run.events())
        told = kinds(events, bad)
        promise(
            told.count(EventKind.NODE_RETRIED) == 1 and told.count(EventKind.NODE_FAILED) == 1,
            f"{_EVENTS}; a node was tried twice and failed, and of it they tell "
            f"{[kind.value for kind in told]}",
        )
        promise(
            events[-1].kind is EventKind.RUN_ENDED,
            f"{_EVENTS}; the last of a run that failed is {events[-1].kind}",
        )

    def test_status_tells_what_a_run_computed_and_loaded(self) -> None:
        base = Step(label="base")
        self.completed(base)
        run = self.completed([base, Step(label="a", needs=(base,)), Step(label="b")])
        status = run.status()
        says(run, RunState.DONE)
        numbers = (status.computed, status.running, status.waiting, status.failed)
        promise(
            numbers == (2, 0, 0, 0) and status.total in (2, 3),
            f"P8: status() tells the truth; two of three nodes were computed, and it says {status}",
        )

    def test_status_and_events_tell_while_a_run_goes_on(self) -> None:
        self.needs("background")
        going = self.going(Step(label="top", needs=(Step(label="waits", waits=True),)))
        self.await_mark("waits")
        self.await_that(
            lambda: going.run.status().running == 1,
            "P8: status() tells what is being computed; it never says that one node is",
        )
        says(going.run, RunState.RUNNING)
        self.await_that(
            lambda: EventKind.NODE_STARTED in {event.kind for event in going.run.events()},
            "P8: events tell of a node that has begun while the run goes on; no NODE_STARTED is "
            "there",
        )
        self.let_go()
        self.well_ended(going)

    def test_a_wait_that_is_too_short_raises_and_the_run_goes_on(self) -> None:
        self.needs("background")
        going = self.going(Step(label="waits", waits=True))
        self.await_mark("waits")
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - looked at below
            going.run.wait(0.01)
        promise(
            isinstance(caught.value, TimeoutError),
            "P6: wait(timeout) raises TimeoutError when the run has not ended; it raised "
            f"{type(caught.value).__name__}: {caught.value}",
        )
        self.let_go()
        self.well_ended(going, promised="P6: a wait that is given up does not end the run")

    def test_waiting_for_work_costs_no_processor(self) -> None:
        self.needs("background")
        going = self.going(Step(label="waits", waits=True))
        self.await_mark("waits")

        def wait() -> None:
            with pytest.raises(TimeoutError):
                going.run.wait(_LOOK_SECS)

        for _ in range(_LOOKS):
            spent, there = _spent_beside_a_busy_loop(wait)
            quiet = spent < _IDLE * _LOOK_SECS and spent < _PART * there
            if quiet:
                break
        promise(
            quiet,
            "P6: waiting on work costs no busy loop; the program was busy for "
            f"{spent:.2f} of {_LOOK_SECS:g} s in which it had nothing to do, and a busy loop beside "
            f"it for {there:.2f} s",
        )
        self.let_go()
        self.well_ended(going)

    # Cancelling

    @depends_on("cluster")
    def test_cancel_ends_a_run_and_begins_nothing_new(self) -> None:
        self.needs("background")
        begun = [Step(label=f"begun-{n}", waits=True) for n in range(self.at_once)]
        later = Step(label="later", needs=tuple(begun))
        going = self.going(later)
        for node in begun:
            self.await_mark(node.label)
        going.run.cancel()
        going.finish(_CANCELLED)
        promise(
            isinstance(going.error, FuruRunCancelled),
            f"{_CANCELLED}; it raised {type(going.error).__name__}: {going.error}",
        )
        says(going.run, RunState.CANCELLED)
        reader = StateReader()
        for node in begun:
            state = reader.state(node).state
            promise(
                state not in (NodeState.DONE, NodeState.FAILED, NodeState.QUEUED),
                f"P5: a cancelled node has neither failed nor is it queued; {node.label} is {state}",
            )
        self.nothing_lives("P6: a cancelled run leaves no process behind")
        self.nothing_staged("P1: a cancelled node leaves no half result and no job behind")
        self.let_go()
        promise(
            "later" not in self.times(), f"{_CANCELLED}; a node began after cancel() had returned"
        )
        self.completed(
            later, promised="P7: after a cancelled run the same command finishes the work"
        )

    @depends_on("cluster")
    def test_cancelling_costs_no_tries(self) -> None:
        self.needs("background")
        node = Step(label="waits", waits=True)
        with self.settings(max_compute_retries=0, max_lost_retries=0):
            for number in (1, 2):
                going = self.going(node)
                self.await_mark("waits", number, promised="P5: what was cancelled can be computed")
                going.run.cancel()
                going.finish(_CANCELLED)
            self.let_go()
            self.completed(node, promised="P5: to be cancelled costs a node nothing")

    def test_cancel_after_the_end_changes_nothing(self) -> None:
        self.needs("background")
        run = self.completed(Step(label="a"))
        run.cancel()
        run.cancel()
        says(run, RunState.DONE)
        promise(run.results() == 1, "P8: cancel() after the end leaves the results as they are")

    @depends_on("cluster")
    def test_a_run_leaves_nothing_behind(self) -> None:
        bad = Fails(label="bad", times=99)
        with self.settings(max_compute_retries=0):
            self.failed([Step(label="leaf"), bad])
        self.nothing_staged("P1: a failed node leaves no half result and no job behind")
        self.completed([Step(label="leaf"), Step(label="top", needs=(Step(label="leaf"),))])
        self.nothing_staged("P7: a run leaves nothing to clean up")
        self.nothing_lives("P6: a run leaves no process behind when it has ended")


_SPINS = """
import sys, time
print("ready", flush=True)
end, began = time.monotonic() + float(sys.argv[1]), time.process_time()
while time.monotonic() < end:
    pass
print(time.process_time() - began)
"""


def _spent_beside_a_busy_loop(meanwhile: Callable[[], None]) -> tuple[float, float]:
    """Processor time of this process and of a loop that never waits, in the same time.

    On a busy machine such a loop gets little as well, so that alone a number of seconds says nothing.
    """
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", _SPINS, str(_LOOK_SECS)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as loop:
        assert loop.stdout is not None
        loop.stdout.readline()
        began = time.process_time()
        meanwhile()
        spent = time.process_time() - began
        return spent, float(loop.stdout.readline())
