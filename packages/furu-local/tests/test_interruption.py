"""P7: Ctrl-C, signals and SIGKILL, after which no process is left and the same command finishes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_nodes import Leaf, LeavesChild, Waiting, counted

from furu_core import NodeState
from furu_core.errors import FuruRunCancelled
from furu_core.executors import EventKind, RunState, StateReader
from furu_local import LocalExecutor, run_local
from furu_testing import Program, Scripts, processes_of, wait_until

RUN = """
    import sys
    from pathlib import Path
    from local_nodes import *
    from furu_local import run_local

    if __name__ == "__main__":
        folder = Path(sys.argv[1])
        how = sys.argv[2]
        kind = sys.argv[3] if len(sys.argv) > 3 else "process"
        nodes = {
            "waiting": [Waiting(n=n, folder=folder) for n in range(4)],
            "child": [LeavesChild(folder=folder, wait=True)],
        }.get(how) or [Stubborn(how=how, folder=folder)]
        print("results", run_local(nodes, max_workers=2, worker=kind).results())
"""


def pids_in(folder: Path) -> list[int]:
    """Who computes the nodes that have begun."""
    return [int(text) for path in folder.glob("began-*") if (text := path.read_text())]


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def states(folder: Path) -> list[NodeState]:
    reader = StateReader()
    return [reader.state(Waiting(n=n, folder=folder)).state for n in range(4)]


def begun(program: Scripts, folder: Path, how: str, number: int, *args: str) -> Program:
    """A program of which so many nodes have begun."""
    started = program(RUN, str(folder), how, *args)
    try:
        wait_until(
            "nodes to begin",
            lambda: len(pids_in(folder)) >= number,
        )
    except TimeoutError:
        started.process.kill()
        raise AssertionError(started.finish()) from None
    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_run_and_its_nodes_are_recorded_as_cancelled(
    program: Scripts,
    tmp_path: Path,
    nothing_left: Callable[[], None],
    number: signal.Signals,
) -> None:
    started = begun(program, tmp_path, "waiting", 2)
    started.signal(number)
    status, out, err = started.finish()
    assert status == 130, err
    assert "results" not in out
    assert "cancelled" in err
    nothing_left()
    assert sorted(states(tmp_path), key=str) == [
        *[NodeState.ABSENT] * 2,
        *[NodeState.CANCELLED] * 2,
    ]


@pytest.mark.parametrize("kind", ["thread", "inline"])
def test_nodes_in_the_program_itself_are_interrupted_too(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None], kind: str
) -> None:
    begin = 2 if kind == "thread" else 1
    started = begun(program, tmp_path, "waiting", begin, kind)
    started.signal(signal.SIGINT)
    status, _, err = started.finish()
    assert status == 130, err
    nothing_left()
    assert states(tmp_path).count(NodeState.CANCELLED) == begin


def test_the_same_command_finishes_what_was_interrupted(program: Scripts, tmp_path: Path) -> None:
    started = begun(program, tmp_path, "waiting", 2)
    started.signal(signal.SIGINT)
    assert started.finish()[0] == 130
    (tmp_path / "go").touch()
    status, out, err = program("", str(tmp_path), "waiting").finish()
    assert (status, out) == (0, "results [0, 1, 2, 3]\n"), err


@pytest.mark.parametrize("how", ["swallows", "ignores", "holds the lock"])
def test_a_second_signal_kills_nodes_that_cannot_be_interrupted(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None], how: str
) -> None:
    started = begun(program, tmp_path, how, 1)
    started.signal(signal.SIGINT)
    # The first has been taken when the run has said so.
    wait_until("the run to say so", lambda: "cancelled" in started.output)
    started.signal(signal.SIGINT)
    status, _, _ = started.finish()
    assert status == 130
    nothing_left()


def test_a_node_that_cannot_be_interrupted_is_killed_when_its_time_is_up(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    started = begun(program, tmp_path, "swallows", 1)
    started.signal(signal.SIGINT)
    status, _, err = started.finish()
    assert status == 130, err
    nothing_left()


@pytest.mark.parametrize("how", ["waiting", "swallows", "holds the lock", "child"])
def test_no_process_outlives_a_controller_that_was_killed(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None], how: str
) -> None:
    if how == "child":
        started = program(RUN, str(tmp_path), how)
        wait_until("the child to begin", lambda: (tmp_path / "child").exists())
    else:
        started = begun(program, tmp_path, how, 1)
    started.signal(signal.SIGKILL)
    started.finish()
    nothing_left()


def test_no_process_outlives_a_controller_although_its_workers_are_stopped(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    started = begun(program, tmp_path, "waiting", 2)
    for pid in set(pids_in(tmp_path)):
        os.kill(pid, signal.SIGSTOP)
    started.signal(signal.SIGKILL)
    started.finish()
    nothing_left()


def test_workers_end_by_themselves_when_the_guardian_was_killed_first(
    program: Scripts, tmp_path: Path, store: Path, nothing_left: Callable[[], None]
) -> None:
    started = begun(program, tmp_path, "waiting", 2)
    guardians = [one.pid for one in processes_of(store) if "_guardian" in one.command]
    assert len(guardians) == 1
    os.kill(guardians[0], signal.SIGKILL)
    started.signal(signal.SIGKILL)
    started.finish()
    nothing_left()


def test_no_worker_outlives_a_controller_whose_forked_child_holds_its_connections(
    program: Scripts, tmp_path: Path, store: Path
) -> None:
    code = RUN.replace(
        'print("results", run_local(nodes, max_workers=2, worker=kind).results())',
        """
        import os, time
        from furu_local import LocalExecutor
        run = LocalExecutor(max_workers=2).submit(nodes)
        while len(list(folder.glob("began-*"))) < 2:
            time.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        (folder / "forked").write_text(str(pid))
        run.wait()
        """,
    )
    started = program(code, str(tmp_path), "waiting")
    forked = tmp_path / "forked"
    wait_until("the fork", lambda: forked.exists() and forked.read_text() != "")
    child = int(forked.read_text())
    try:
        os.kill(started.pid, signal.SIGKILL)
        started.process.wait(120)
        wait_until(
            "the workers' ends",
            lambda: not any("furu_local" in one.command for one in processes_of(store)),
        )
        assert is_running(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_after_a_killed_controller_the_same_command_takes_over_at_once(
    program: Scripts, tmp_path: Path, store: Path
) -> None:
    """P7: the holders are dead, so nobody waits for their leases."""
    started = begun(program, tmp_path, "waiting", 2)
    started.signal(signal.SIGKILL)
    started.finish()
    (tmp_path / "go").touch()
    status, out, err = program("", str(tmp_path), "waiting").finish()
    assert (status, out) == (0, "results [0, 1, 2, 3]\n"), err


def test_a_worker_that_is_killed_from_outside_costs_one_try(store: Path, tmp_path: Path) -> None:
    run = LocalExecutor(max_workers=2).submit([Waiting(n=n, folder=tmp_path) for n in range(2)])
    wait_until("both to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    path = tmp_path / "began-0"
    wait_until("the pid to be written", lambda: path.read_text() != "")
    first = int(path.read_text())
    path.unlink()
    os.kill(first, signal.SIGKILL)
    wait_until("the second try", lambda: path.exists() and path.read_text() != "")
    assert int(path.read_text()) != first
    (tmp_path / "go").touch()
    assert run.results() == [0, 1]
    assert [event.kind for event in run.events()].count(EventKind.NODE_RETRIED) == 1


def test_after_the_run_no_process_is_left_not_even_those_of_nodes(
    store: Path, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    run_local(LeavesChild(folder=tmp_path), max_workers=1)
    assert not is_running(int((tmp_path / "child").read_text()))
    nothing_left()


def test_a_child_that_a_killed_node_left_behind_is_killed_with_its_worker(
    store: Path, tmp_path: Path
) -> None:
    run = LocalExecutor(max_workers=1).submit(LeavesChild(folder=tmp_path, wait=True))
    child = tmp_path / "child"
    wait_until("the child", lambda: child.exists() and child.read_text() != "")
    pid = int(child.read_text())
    (attempt,) = store.glob("data/**/.attempts/*/1/record.json")
    holder = int(attempt.read_text().split('"pid":')[1].split(",")[0])
    child.unlink()
    os.kill(holder, signal.SIGKILL)
    wait_until("the child's end", lambda: not is_running(pid))
    (tmp_path / "go").touch()
    run.wait(200)


@pytest.mark.parametrize("worker", ["process", "thread"])
def test_cancel_stops_a_run_from_any_thread(store: Path, tmp_path: Path, worker: str) -> None:
    run = LocalExecutor(max_workers=2, worker=worker).submit(  # type: ignore[arg-type]
        [Waiting(n=n, folder=tmp_path) for n in range(4)]
    )
    wait_until("both to begin", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    threading.Thread(target=run.cancel).start()
    with pytest.raises(FuruRunCancelled, match=run.id):
        run.wait(200)
    assert run.status().state is RunState.CANCELLED
    assert states(tmp_path).count(NodeState.CANCELLED) == 2


@pytest.fixture
def handlers() -> Iterator[dict[signal.Signals, object]]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield before  # type: ignore[misc]
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signal_handlers_are_put_back(
    store: Path, handlers: dict[signal.Signals, object], worker: str
) -> None:
    run_local(Leaf(x=1), worker=worker)
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_signal_that_the_program_ignores_stays_ignored(
    store: Path, handlers: dict[signal.Signals, object], tmp_path: Path
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run = LocalExecutor(max_workers=1).submit(Waiting(folder=tmp_path))
    wait_until("it to begin", lambda: (tmp_path / "began-0").exists())
    os.kill(os.getpid(), signal.SIGHUP)
    (tmp_path / "go").touch()
    assert run.wait(200).results() == 0


def test_a_run_in_another_thread_works_without_handlers(store: Path, worker: str) -> None:
    found: list[object] = []
    thread = threading.Thread(
        target=lambda: found.append(run_local(Leaf(x=2), worker=worker).results())
    )
    thread.start()
    thread.join(200)
    assert found == [2]


def test_a_program_that_ends_without_waiting_still_gets_its_results(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    code = RUN.replace(
        'print("results", run_local(nodes, max_workers=2, worker=kind).results())',
        "from furu_local import LocalExecutor; LocalExecutor().submit(nodes)",
    )
    (tmp_path / "go").touch()
    status, _, err = program(code, str(tmp_path), "waiting").finish()
    assert status == 0, err
    nothing_left()
    assert states(tmp_path) == [NodeState.DONE] * 4


def test_a_script_without_a_main_guard_is_told_so_and_runs_once(
    program: Scripts, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    code = f"""
    from pathlib import Path
    from furu_core import Furu
    from furu_local import run_local

    with open({str(tmp_path / "times")!r}, "a") as file:
        file.write("x")

    class Guardless(Furu[int]):
        def _create(self):
            return 1

    print("results", run_local(Guardless(), max_workers=1).results())
    """
    status, out, err = program(code).finish()
    assert status == 1
    assert "results" not in out
    assert '`if __name__ == "__main__":`' in err
    # Once as the program and once by the worker, which stopped at the run.
    assert counted(tmp_path, "times") == 2
    nothing_left()


def test_classes_of_the_program_itself_are_computed_in_workers(
    program: Scripts,
) -> None:
    code = """
    from furu_core import Furu
    from furu_local import run_local

    class Split(Furu[int]):
        seed: int = 0
        def _create(self):
            return self.seed

    class Train(Furu[int]):
        data: Split
        def _create(self):
            return self.data.get() + 1

    if __name__ == "__main__":
        print("results", run_local([Train(data=Split(seed=n)) for n in range(3)]).results())
    """
    status, out, err = program(code).finish()
    assert (status, out) == (0, "results [1, 2, 3]\n"), err
