"""Controllers that are interrupted, killed, detached and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from pool_kit import LOCAL, RUN_SECS, await_begun, furu, furu_pool, start
from pool_nodes import PlannedTwice

from furu_core.errors import FuruExecutorError, FuruRunCancelled, FuruRunError
from furu_core.executors import RunState, named_roots, new_run_folder
from furu_core.workers import this_process
from furu_slurm import LocalCluster, SlurmSpec
from furu_slurm.errors import FuruSpecError, FuruSubmitRefused
from furu_slurm_pool import SlurmPoolExecutor
from furu_slurm_pool._controller._request import read_options, read_request
from furu_slurm_pool._controller._start import begin_term, unfinished_run
from furu_slurm_pool._controller._terms import Leader, current_leader
from furu_slurm_pool._executor import resume_run
from furu_slurm_pool._observer._stop import _stop_workers
from furu_slurm_pool._worker import EXECUTOR
from furu_slurm_pool.errors import FuruRunAlive
from furu_testing import Program, Scripts, await_mark, let_go, times, wait_until
from furu_testing.nodes import Leaf, Step, Sum

PROGRAM = """
    from furu_slurm_pool import run_slurm_pool
    from furu_testing.nodes import Step, Sum
    from pool_nodes import PlannedTwice, Stubborn

    if __name__ == "__main__":
        run = run_slurm_pool(
            {roots}, specs={{"default": {{}}}}, cluster="local", max_workers_total=2,
            poll_interval_sec=0.2, progress=False,
        )
        print("result", run.results(), run.status().computed)
"""
WAITING = Sum(parts=tuple(Step(label=f"{n}", waits=True) for n in range(4)))
DETACHED = LOCAL | {"poll_interval_sec": 0.2, "max_workers_total": 1, "detach": True}


@pytest.fixture
def waiting(program: Scripts, store: Path) -> Program:
    """A controller of four nodes, whose two workers have begun with one each."""
    controller = program(PROGRAM.format(roots=WAITING.to_python()))
    await_begun(store, 2)
    wait_until("both workers' jobs to be noted", lambda: len(jobs_of_workers(store)) == 2)
    return controller


def run_folder(store: Path) -> Path:
    """The folder of the only run."""
    (folder,) = (store / "runs").glob("[!.]*")
    return folder


def jobs_of_workers(store: Path) -> set[str]:
    """The jobs of workers that are noted."""
    names = [path.name for path in (run_folder(store) / "workers").iterdir()]
    return {name.split(".", 1)[1] for name in names if not name.endswith(".json")}


def newest(store: Path) -> Leader:
    """The newest controller of the only run."""
    found = current_leader(str(run_folder(store)))
    assert found is not None
    return found


def await_controller(store: Path, number: int) -> None:
    wait_until("somebody to take over", lambda: newest(store).number == number)


def all_once(store: Path) -> bool:
    """Whether all nodes that wait were computed, once each."""
    return times(store) == {f"{n}": 1 for n in range(4)}


def test_p7_a_hangup_cancels_the_workers_and_the_same_command_goes_on(
    program: Scripts, store: Path, waiting: Program, nothing_left: Callable[[], None]
) -> None:
    waiting.signal(signal.SIGHUP)
    said = waiting.finish()
    assert said.status == 130, said
    assert "cancelled: nothing new starts" in said.text
    nothing_left()
    assert newest(store).ended is RunState.CANCELLED
    let_go(store)
    said = program("").finish()
    assert said.status == 0, said
    assert "result 4 5" in said.out
    assert len(list((store / "runs").glob("[!.]*"))) == 1
    nothing_left()


def test_p6_a_second_signal_ends_a_node_that_does_not_listen_at_once(
    program: Scripts, store: Path, nothing_left: Callable[[], None]
) -> None:
    run = program(PROGRAM.format(roots="Stubborn(label='stubborn')"))
    await_mark(store, "stubborn")
    run.signal(signal.SIGINT)
    wait_until("the workers to be told", lambda: (run_folder(store) / "orders" / "stop").exists())
    run.signal(signal.SIGINT)
    assert run.finish().status == 130
    nothing_left()


def test_p7_a_killed_controller_is_succeeded_and_all_that_its_workers_do_counts(
    program: Scripts, store: Path, waiting: Program, nothing_left: Callable[[], None]
) -> None:
    """What ended meanwhile, what they have in hand, and what waits for them."""
    before = jobs_of_workers(store)
    waiting.kill()
    (first, _) = await_begun(store, 2)
    let_go(store, first)
    await_begun(store, 3)
    second = program("")
    await_controller(store, 2)
    let_go(store)
    said = second.finish()
    assert said.status == 0, said
    assert "result 4 " in said.out
    assert all_once(store)
    assert len(list((store / "runs").glob("[!.]*"))) == 1
    # All that was computed was computed by the workers of the first.
    assert jobs_of_workers(store) <= before
    nothing_left()


def test_p4_of_two_identical_commands_at_once_one_begins_the_run_and_the_other_is_refused(
    program: Scripts, store: Path
) -> None:
    """As if the other had come later, though neither finds a run of the other's before it plans its own."""
    roots = PlannedTwice(part=Step(label="part", waits=True)).to_python()
    programs = [program(PROGRAM.format(roots=roots)) for _ in range(2)]
    wait_until("one to end", lambda: any(one.process.poll() is not None for one in programs))
    refused, begun = sorted(programs, key=lambda one: one.process.poll() is None)
    said = refused.finish()
    assert said.status == 1
    assert f"FuruRunAlive: run {run_folder(store).name} is for the same roots" in said.err
    assert f"controlled by process {begun.pid} on " in said.err
    let_go(store)
    assert begun.finish(RUN_SECS).out == "result 1 2\n"
    assert times(store) == {"part": 1}


def test_p5_budgets_are_kept_when_a_controller_is_killed(program: Scripts, store: Path) -> None:
    """Three attempts in all, whoever counts them, and whenever the controller dies."""
    code = PROGRAM.format(roots="Step(label='victim', waits=True)")
    controller = program(code, FURU_MAX_LOST_RETRIES="2")
    victim = await_mark(store, "victim", 1).pid
    controller.kill()
    os.kill(victim, signal.SIGKILL)  # nobody is there to count it
    controller = program("", FURU_MAX_LOST_RETRIES="2")
    os.kill(await_mark(store, "victim", 2).pid, signal.SIGKILL)
    victim = await_mark(store, "victim", 3).pid  # so that one has been counted
    controller.kill()
    controller = program("", FURU_MAX_LOST_RETRIES="2")
    await_controller(store, 3)
    os.kill(victim, signal.SIGKILL)
    said = controller.finish()
    assert said.status == 1, said
    assert "FuruRunError" in said.err
    assert times(store) == {"victim": 3}


def test_p4_a_controller_that_was_given_up_and_wakes_harms_nobody(
    program: Scripts, store: Path, waiting: Program, nothing_left: Callable[[], None]
) -> None:
    waiting.signal(signal.SIGSTOP)
    _make_it_another_hosts(store)
    second = program("")
    await_controller(store, 2)
    waiting.signal(signal.SIGCONT)
    said = waiting.finish()
    assert said.status == 1, said
    assert "another process controls this run now" in said.err
    let_go(store)
    said = second.finish()
    assert said.status == 0, said
    assert "result 4 5" in said.out
    assert all_once(store)
    nothing_left()


def _make_it_another_hosts(store: Path) -> None:
    """Have the controller look like one of another host that has been silent for very long."""
    folder = run_folder(store) / "controllers" / "1"
    record = json.loads((folder / "controller.json").read_text())
    record["process"] = attrs.asdict(attrs.evolve(this_process(), host="elsewhere"))
    (folder / "controller.json").write_text(json.dumps(record))
    os.utime(folder / "alive", (0, 0))


def test_p7_a_run_that_goes_on_is_gone_on_with_by_the_options_of_the_newest_controller(
    store: Path,
) -> None:
    roots = named_roots(Leaf(x=1))
    asked = SlurmPoolExecutor(**LOCAL)._request()
    _, folder = new_run_folder(EXECUTOR, roots)
    begin_term(folder, 0, asked, roots).end(RunState.CANCELLED)
    found = unfinished_run(roots, None)
    assert found is not None
    more = attrs.evolve(asked, max_workers_total=7, keep_going=True)
    named = named_roots({"one": Leaf(x=1)})
    begin_term(found[0], found[1].number, more, named)
    assert read_options(folder) == more
    assert read_request(folder)[1].names == ("one",)
    with pytest.raises(FuruRunAlive):  # who comes too late leaves them as they are
        begin_term(folder, 1, asked, roots)
    assert read_options(folder) == more


def test_p7_who_cannot_go_on_with_a_run_does_not_keep_it_from_the_next_one(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Step(label="root", key="gpu")
    roots = named_roots(root)
    asked = SlurmPoolExecutor(**LOCAL)._request()
    _, folder = new_run_folder(EXECUTOR, roots)
    begin_term(folder, 0, asked, roots).end(RunState.CANCELLED)
    for detach in (False, True, False):
        lacking = SlurmPoolExecutor(**LOCAL | {"specs": {"default": {}}, "detach": detach})
        with pytest.raises(FuruSpecError, match="'gpu'"):
            lacking.submit(root)
    assert newest(store).number == 1
    assert read_options(folder) == asked

    def refuse(*_: object, **__: object) -> None:
        raise FuruSubmitRefused("Slurm refuses the job")

    with monkeypatch.context() as patch:
        patch.setattr(LocalCluster, "submit", refuse)
        for _ in range(2):
            with pytest.raises(FuruSubmitRefused):
                SlurmPoolExecutor(**DETACHED).submit(root)
            with pytest.raises(FuruSubmitRefused):
                resume_run(folder, detach=True)
    with monkeypatch.context() as patch:
        patch.setattr("furu_slurm_pool._controller._run.spent_before", refuse)
        for _ in range(2):
            with pytest.raises(FuruSubmitRefused):
                start(root)
    killed = begin_term(folder, newest(store).number, asked, roots)
    controller = attrs.evolve(newest(store), number=killed.number)
    with monkeypatch.context() as patch:
        patch.setattr(LocalCluster, "cancel", refuse)
        with pytest.raises(FuruSubmitRefused):
            _stop_workers(folder, LocalCluster(), controller)
    assert newest(store).ended is RunState.RUNNING
    assert f"{folder.name}  without a controller" in furu_pool("status")
    run = start(root)
    assert run.run_dir == folder
    assert run.wait(RUN_SECS).results() == 1


# Detached controllers and commands


def test_p7_a_detached_run_is_cancelled_from_afar_and_goes_on_as_it_is_asked_for_the_next_time(
    store: Path, nothing_left: Callable[[], None]
) -> None:
    """With as many workers as are asked for then; and what anyone reads of it later says so."""
    nodes = [Step(label=label, waits=True) for label in "ab"]
    executor = SlurmPoolExecutor(**DETACHED)
    run = executor.submit(nodes)
    with pytest.raises(FuruRunAlive, match="job local-"):
        executor.submit(nodes)
    await_begun(store, 1)
    assert run.status().state is RunState.RUNNING
    with pytest.raises(TimeoutError):
        run.wait(0.1)
    run.cancel()
    with pytest.raises(FuruRunCancelled, match=run.id):
        run.wait(RUN_SECS)
    nothing_left()
    again = SlurmPoolExecutor(**DETACHED | {"max_workers_total": 2}).submit(nodes)
    await_begun(store, 3)  # the one that was cancelled, and both at once
    assert read_options(run.run_dir).max_workers_total == 2
    let_go(store)
    assert again.wait(RUN_SECS).results() == [1, 1]
    assert again.status().computed == 2
    assert again.run_dir == run.run_dir == store / "runs" / run.run_id
    logs = store / "submitit" / "workers" / "controller" / run.run_id
    assert len(list(logs.glob("*.out"))) == 2
    nothing_left()


def test_p8_a_detached_controller_that_cannot_begin_tells_why_and_where_its_log_is(
    store: Path,
) -> None:
    away = SlurmSpec(setup=("echo 'furu: no module named numpy' >&2; exit 1",))
    executor = SlurmPoolExecutor(**DETACHED | {"specs": {"default": {}, "controller": away}})
    run = executor.submit(Leaf(x=1))
    with pytest.raises(FuruRunError, match="has ended: no module named numpy") as caught:
        run.wait(RUN_SECS)
    (log,) = (store / "submitit" / "workers" / "controller" / run.id).glob("*.out")
    assert f"(log: {log})" in str(caught.value)


def test_p8_a_run_whose_controller_was_killed_says_so_and_is_stopped_and_resumed(
    store: Path, nothing_left: Callable[[], None]
) -> None:
    run = SlurmPoolExecutor(**DETACHED).submit(Step(label="waits", waits=True))
    await_mark(store, "waits")
    wait_until("the worker's job to be noted", lambda: jobs_of_workers(store))
    controller = newest(store).process
    assert controller is not None
    os.kill(controller.pid, signal.SIGKILL)
    with pytest.raises(FuruRunError, match=f"furu pool resume {run.id}"):
        run.wait(RUN_SECS)
    assert "without a controller" in furu_pool("status", run.id)
    assert "1 workers were cancelled" in furu_pool("stop", run.id)
    nothing_left()
    let_go(store)
    furu("pool", "resume", run.id[-6:])
    assert run.wait(RUN_SECS).results() == 1
    assert times(store) == {"waits": 2}
    nothing_left()


def test_the_command_tells_stops_and_resumes_and_a_run_whose_controller_lives_is_refused(
    request: pytest.FixtureRequest, store: Path, nothing_left: Callable[[], None]
) -> None:
    assert "no runs on a pool" in furu_pool("status")
    run = request.getfixturevalue("waiting")
    run_id = run_folder(store).name
    assert f"{run_id}  running, 5 nodes" in furu_pool("status")
    told = furu_pool("status", run_id)
    assert re.search(r"controller  process \d+ on \S+ \(lives\)", told)
    assert "queue       default: 2 waiting, 2 with workers" in told
    assert len(re.findall(r"worker      w1-000\d: job local-", told)) == 2
    record = json.loads(furu_pool("status", run_id[-6:], "--json"))
    assert (record["state"], record["total"], record["running"]) == ("running", 5, 2)
    with pytest.raises(FuruRunAlive, match=f"process {run.pid} on "):
        furu_pool("resume", run_id)
    with pytest.raises(FuruRunAlive, match=f"process {run.pid} on .*furu pool stop"):
        start(WAITING)
    assert "is over: cancelled" in furu_pool("stop", run_id)
    assert run.finish().status == 1
    nothing_left()
    assert "has ended already: cancelled" in furu_pool("stop", run_id)
    let_go(store)
    furu("pool", "resume", run_id)
    assert f"{run_id}  done, 5 nodes" in furu_pool("status")
    with pytest.raises(FuruExecutorError, match="no run 'nonsense'"):
        furu_pool("status", "nonsense")
