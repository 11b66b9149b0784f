"""P7: Ctrl-C, signals and SIGKILL, after which no process is left and the same command finishes."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_nodes import LeavesChild, Stubborn

from furu_core import Furu, NodeState
from furu_core.errors import FuruRunCancelled
from furu_core.executors import EventKind, read_events
from furu_core.planning import StateReader
from furu_local import LocalExecutor, run_local
from furu_testing import (
    Program,
    Scripts,
    await_mark,
    is_running,
    let_go,
    noted,
    processes_of,
    wait_until,
)
from furu_testing.nodes import Step

STUBBORN = ("swallows", "ignores", "holds the lock")


def script(*lines: str) -> str:
    """A program that does this when it is run, and not when a worker imports it."""
    imports = (
        "from furu_testing.nodes import *",
        "from local_nodes import *",
        "from furu_local import LocalExecutor, run_local",
    )
    body = textwrap.indent("\n".join(lines), "    ")
    return "\n".join((*imports, "if __name__ == '__main__':", body))


def begun(program: Scripts, store: Path, code: str, *labels: str, **variables: str) -> Program:
    """A program of which nodes have begun."""
    started = program(code, **variables)
    try:
        for label in labels:
            await_mark(store, label)
    except TimeoutError as error:
        started.kill()
        raise AssertionError(f"{error}; {started.finish()}") from None
    return started


def state(node: Furu[int]) -> NodeState:
    return StateReader().state(node).state


def test_a_signal_stops_the_run_and_its_nodes_are_recorded_as_cancelled(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    """SIGHUP, as when a terminal is closed; the suite sends the others."""
    code = script(
        "nodes = [Step(label=label, waits=True) for label in 'ab']",
        "print('results', run_local(nodes, max_workers=1).results())",
    )
    started = begun(program, store, code, "a")
    started.signal(signal.SIGHUP)
    said = started.finish()
    assert (said.status, said.out) == (130, ""), said
    assert "cancelled" in said.err
    nothing_left()
    states = [state(Step(label=label, waits=True)) for label in "ab"]
    assert states == [NodeState.CANCELLED, NodeState.ABSENT]


@pytest.fixture
def deaf() -> Iterator[Callable[[int, object], None]]:
    """The handler of the signals that end a program, for a test that sends some to itself."""

    def nobody_listens(number: int, _frame: object) -> None:
        raise AssertionError(f"no run heard of signal {number}")

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, nobody_listens) for number in numbers}
    yield nobody_listens
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_nodes_in_the_program_itself_and_handlers_are_put_back(
    store: Path, deaf: Callable[[int, object], None], inside: str, number: signal.Signals
) -> None:
    node = Step(label="waits", waits=True)

    def send() -> None:
        await_mark(store, "waits")
        wait_until("the run to listen", lambda: signal.getsignal(number) is not deaf)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(FuruRunCancelled) as caught:
        run_local(node, worker=inside, max_workers=1)  # type: ignore[arg-type]
    sender.join()
    # So ends a program that does not catch it.
    assert isinstance(caught.value, SystemExit)
    assert caught.value.code == 130
    assert state(node) is NodeState.CANCELLED
    assert signal.getsignal(number) is deaf


def test_a_signal_that_the_program_ignores_stays_ignored(
    store: Path, deaf: Callable[[int, object], None]
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def send() -> None:
        await_mark(store, "waits")
        os.kill(os.getpid(), signal.SIGHUP)
        let_go(store)

    sender = threading.Thread(target=send)
    sender.start()
    assert run_local(Step(label="waits", waits=True), worker="inline").results() == 1
    sender.join()


def test_a_second_signal_kills_nodes_that_cannot_be_interrupted(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    code = script(f"run_local([Stubborn(how=how) for how in {STUBBORN}], max_workers=3)")
    started = begun(program, store, code, *STUBBORN)
    started.signal(signal.SIGINT)
    # The first has been taken when the run has said so.
    wait_until("the run to say so", lambda: "cancelled" in started.output)
    started.signal(signal.SIGINT)
    assert started.finish().status == 130
    nothing_left()


def test_P6_a_node_that_cannot_be_interrupted_is_killed_when_its_time_is_up(
    store: Path, nothing_left: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("furu_plan.runs._controller._GRACE_SECS", 0.1)
    run = LocalExecutor(max_workers=1).submit(Stubborn(how="swallows"))
    await_mark(store, "swallows")
    run.cancel()
    with pytest.raises(FuruRunCancelled):
        run.wait(200)
    nothing_left()


def test_no_process_outlives_a_controller_that_was_killed_and_its_nodes_are_free_at_once(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    """Not those of stubborn nodes, nor a stopped one, nor what a node has started."""
    code = script(
        "nodes = [Step(label='waits', waits=True), Step(label='stopped', waits=True)]",
        "nodes += [Stubborn(how='swallows'), Stubborn(how='holds the lock')]",
        "run_local([*nodes, LeavesChild(label='child', waits=True)], max_workers=5)",
    )
    labels = ("waits", "stopped", "swallows", "holds the lock", "child")
    started = begun(program, store, code, *labels, FURU_LEASE_SECS="3600")
    os.kill(await_mark(store, "stopped").pid, signal.SIGSTOP)
    started.kill()
    nothing_left()
    let_go(store)
    # The leases last longer than this test may take.
    nodes = [Step(label=label, waits=True) for label in ("waits", "stopped")]
    assert run_local(nodes, worker="inline").results() == [1, 1]


def test_workers_end_by_themselves_when_the_watchdog_was_killed_first(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    code = script("run_local(Step(label='waits', waits=True), max_workers=1)")
    started = begun(program, store, code, "waits")
    (watchdog,) = [one.pid for one in processes_of(store) if "_watchdog" in one.command]
    os.kill(watchdog, signal.SIGKILL)
    started.kill()
    nothing_left()


def test_no_worker_outlives_a_controller_whose_forked_child_holds_its_connections(
    program: Scripts, store: Path
) -> None:
    code = script(
        "import os, time",
        "from furu_core import settings",
        "from furu_testing import await_mark, note",
        "run = LocalExecutor(max_workers=1).submit(Step(label='waits', waits=True))",
        "await_mark(settings().path, 'waits')",
        "pid = os.fork()",
        "if pid == 0:",
        "    time.sleep(600)",
        "    os._exit(0)",
        "note('forked', str(pid))",
        "run.wait()",
    )
    started = program(code)
    wait_until("the fork", lambda: noted(store, "forked"))
    child = int(noted(store, "forked"))
    try:
        started.kill()
        wait_until(
            "the worker's end",
            lambda: not any("_node_server" in one.command for one in processes_of(store)),
        )
        assert is_running(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_a_node_leaves_behind_ends_with_its_worker_whether_killed_or_done(
    store: Path, nothing_left: Callable[[], None]
) -> None:
    run = LocalExecutor(max_workers=1).submit(LeavesChild(label="leaves", waits=True))
    os.kill(await_mark(store, "leaves").pid, signal.SIGKILL)
    child = int(noted(store, "child-leaves"))
    wait_until("the child's end", lambda: not is_running(child))
    await_mark(store, "leaves", 2)
    assert is_running(int(noted(store, "child-leaves")))
    let_go(store)
    run.wait(200)
    nothing_left()


def test_a_program_s_own_classes_are_computed_in_workers_though_it_does_not_wait(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    code = """
    from furu_core import Furu
    from furu_local import LocalExecutor

    class Split(Furu[int]):
        seed: int = 0
        def _create(self):
            return self.seed

    class Train(Furu[int]):
        data: Split
        def _create(self):
            return self.data.get() + 1

    if __name__ == "__main__":
        LocalExecutor(max_workers=1).submit(Train(data=Split(seed=1)))
    """
    said = program(code).finish()
    assert said.status == 0, said
    nothing_left()
    (folder,) = (store / "runs").iterdir()
    kinds = [event.kind for event in read_events(folder)]
    assert kinds.count(EventKind.NODE_COMPUTED) == 2
    assert kinds[-1] is EventKind.RUN_ENDED


def test_a_script_without_a_main_guard_is_told_so_and_runs_once(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    code = f"""
    from furu_core import Furu
    from furu_local import run_local

    with open({str(tmp_path / "times")!r}, "a") as file:
        file.write("x")

    class Guardless(Furu[int]):
        def _create(self):
            return 1

    print("results", run_local(Guardless(), max_workers=1).results())
    """
    said = program(code).finish()
    assert said.status == 1
    assert "results" not in said.out
    assert '`if __name__ == "__main__":`' in said.err
    # Once as the program and once by the worker, which stopped at the run.
    assert (tmp_path / "times").read_text() == "xx"
    nothing_left()


def test_p6_ctrl_c_while_the_run_is_being_started_cancels_it(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    code = script(
        "import os, signal, threading",
        "start = threading.Thread.start",
        "def interrupted(self):",
        "    start(self)",
        "    if self.name.startswith('furu-run-'):",
        "        os.kill(os.getpid(), signal.SIGINT)",
        "threading.Thread.start = interrupted",
        "nodes = [Step(label=label, waits=True) for label in 'ab']",
        "print('results', run_local(nodes, max_workers=2).results())",
    )
    said = program(code).finish()
    assert (said.status, said.out) == (130, ""), said
    assert "cancelled" in said.err
    nothing_left()
