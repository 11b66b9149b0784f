"""What Dask adds to what every executor does: workers and schedulers that die, resources, liveness."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest
from furu_dask import DaskExecutor, run_dask

from conftest import DaskCluster
from furu_core import NodeState
from furu_core.errors import FuruError, FuruExecutorError, FuruRunError
from furu_core.executors import EventKind, Liveness, Run, Submission, liveness
from furu_core.planning import StateReader
from furu_testing import (
    Scripts,
    await_mark,
    is_running,
    let_go,
    read_marks,
    wait_until,
)
from furu_testing.nodes import Step

HELD = Step(label="held", waits=True)
PROGRAM = """
from furu_dask import DaskExecutor
from furu_testing.nodes import Step

if __name__ == "__main__":  # the processes of an own cluster import this file
    run = DaskExecutor(OPTIONS).submit(Step(label="held", waits=True))
"""
OWN = PROGRAM.replace("OPTIONS", "max_workers=1")


def await_end(pid: int) -> None:
    """Wait until a process has ended."""
    wait_until(f"process {pid} to end", lambda: not is_running(pid))


def were_lost(run: Run, number: int) -> None:
    """See that each dead worker has cost the node one try, which was counted and told (P5)."""
    assert run.wait().results() == 1
    told = [event.detail for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    assert len(told) == number
    for nth, detail in enumerate(told, 1):
        assert f"lost {nth} of at most" in detail
        assert "the Dask worker" in detail


# Workers that come and go


def test_P5_a_killed_worker_of_an_own_cluster_costs_its_node_one_try(furu_store: Path) -> None:
    run = DaskExecutor(max_workers=1, progress=False).submit(HELD)
    mark = await_mark(furu_store, "held")
    os.kill(mark.parent, signal.SIGKILL)
    await_end(mark.pid)
    await_mark(furu_store, "held", 2)
    let_go(furu_store)
    were_lost(run, 1)


def test_P5_P6_a_run_waits_for_workers_and_each_that_dies_costs_its_node_one_try(
    dask_cluster: DaskCluster, furu_store: Path
) -> None:
    address = dask_cluster.address
    with pytest.raises(FuruRunError, match="has no worker at all"):
        run_dask(HELD, address=address, worker_timeout=0.1, progress=False)
    run = DaskExecutor(address=address, progress=False).submit(HELD)
    alone = dask_cluster.start_worker()
    mark = await_mark(furu_store, "held")
    dask_cluster.start_worker(nanny=True)
    alone.kill()  # so that Dask repeats its task on the other
    await_end(mark.pid)
    mark = await_mark(furu_store, "held", 2)
    os.kill(mark.parent, signal.SIGKILL)  # its nanny starts another
    await_mark(furu_store, "held", 3)
    let_go(furu_store)
    were_lost(run, 2)


# Programs and schedulers that die


def test_P7_an_own_cluster_ends_with_its_program_that_is_killed_or_gets_Ctrl_C(
    furu_store: Path, furu_program: Scripts
) -> None:
    program = furu_program(OWN + "    run.wait()")
    mark = await_mark(furu_store, "held")
    program.kill()
    await_end(mark.pid)
    await_end(mark.parent)

    program = furu_program("")
    mark = await_mark(furu_store, "held", 2)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does, so Dask's workers get it too
    said = program.finish()
    assert said.status == 130, said
    assert "Traceback" not in said.err
    await_end(mark.pid)
    await_end(mark.parent)
    assert StateReader().state(HELD).state is NodeState.CANCELLED


def test_P6_a_program_that_ends_without_waiting_ends_its_run(furu_program: Scripts) -> None:
    said = furu_program(OWN).finish()
    assert said.status == 0, said
    assert "ended without waiting" in said.err


def test_P4_liveness_tells_what_is_computed_from_what_a_killed_program_has_left(
    shared_cluster: DaskCluster, furu_store: Path, furu_program: Scripts
) -> None:
    before = loops()
    options = f"address={shared_cluster.address!r}"
    program = furu_program(PROGRAM.replace("OPTIONS", options) + "    run.wait()")
    mark = await_mark(furu_store, "held")
    submission = submission_of_held()
    elsewhere = Submission("dask", submission.id.replace("Scheduler-", "Scheduler-0"))
    assert liveness([submission, elsewhere]) == {
        submission: Liveness.ALIVE,
        elsewhere: Liveness.UNKNOWN,
    }
    program.kill()
    await_end(mark.pid)  # which frees the worker of a cluster that goes on
    wait_until("the task to be gone", lambda: liveness([submission])[submission] is Liveness.GONE)
    assert loops() <= before, "to ask leaves nothing behind"


def loops() -> set[threading.Thread]:
    """The event loops of Dask that go on in this process."""
    return {thread for thread in threading.enumerate() if "IO loop" in thread.name}


def submission_of_held() -> Submission:
    """What Dask was given for the node that is held."""
    holder = StateReader().state(HELD).holder
    assert holder is not None
    assert holder.submission is not None
    return holder.submission


def test_P6_without_a_scheduler_a_run_ends_with_its_address(
    furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loops()
    monkeypatch.setattr("furu_dask._backend._ANSWER_SECS", 2.0)
    address = "tcp://127.0.0.1:1"
    with pytest.raises(FuruExecutorError, match=f"{address} cannot be reached"):
        run_dask(HELD, address=address, progress=False)
    assert loops() <= before, "a client that is left behind is closed at any time, in any thread"


def test_P4_P6_a_scheduler_that_dies_ends_the_run_and_nobody_can_tell_what_lives(
    dask_cluster: DaskCluster, furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dask_cluster.start_worker()
    run = DaskExecutor(address=dask_cluster.address, progress=False).submit(HELD)
    mark = await_mark(furu_store, "held")
    submission = submission_of_held()
    dask_cluster.scheduler.kill()
    with pytest.raises(FuruRunError, match="is gone"):
        run.wait()
    monkeypatch.setattr("furu_dask._backend._ANSWER_SECS", 2.0)
    assert liveness([submission]) == {submission: Liveness.UNKNOWN}
    await_end(mark.pid)


def test_P6_a_scheduler_that_hangs_ends_the_run(
    shared_cluster: DaskCluster, furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = DaskExecutor(address=shared_cluster.address, progress=False).submit(HELD)
    mark = await_mark(furu_store, "held")
    monkeypatch.setattr("furu_dask._backend._ANSWER_SECS", 2.0)
    # That it was silent is remembered for a while, and the next test has the same scheduler.
    monkeypatch.setattr("furu_dask._backend._silent_until", {})
    shared_cluster.scheduler.signal(signal.SIGSTOP)
    try:
        with pytest.raises(FuruRunError, match="does not answer"):
            run.wait()
    finally:
        shared_cluster.scheduler.signal(signal.SIGCONT)
    await_end(mark.pid)


# Resources


def test_nodes_go_to_workers_that_have_the_resources_of_their_spec_key(
    shared_cluster: DaskCluster, furu_store: Path
) -> None:
    big = [Step(label=f"big-{n}", key="big", waits=True) for n in range(2)]
    executor = DaskExecutor.from_options(
        {"address": shared_cluster.address, "resources": "big=BIG:1+DISK:2", "progress": False}
    )
    run = executor.submit([*big, HELD])
    await_mark(furu_store, "held")
    wait_until("a big node to begin", lambda: len(read_marks(furu_store)) == 2)
    let_go(furu_store)
    run.wait()
    first, second = (mark for mark in read_marks(furu_store) if mark.label != "held")
    assert {first.parent, second.parent} == {shared_cluster.rich.pid}
    assert first.ended is not None
    assert first.ended <= second.began, "there is one BIG, and each of them needs it"
    started = [event.hash for event in run.events() if event.kind is EventKind.NODE_STARTED]
    assert started[1] == HELD.furu_hash, "the second big node kept the other from its worker"


def test_P6_a_spec_key_whose_resources_no_worker_has_ends_the_run_and_names_both(
    shared_cluster: DaskCluster, furu_store: Path
) -> None:
    with pytest.raises(FuruRunError, match=r"no worker with GPU=2, DISK=1, .* spec key 'big'"):
        run_dask(
            Step(label="big", key="big"),
            address=shared_cluster.address,
            resources={"big": {"GPU": 2, "DISK": 1}},
            worker_timeout=0.1,
            progress=False,
        )


@pytest.mark.parametrize("options", [{"resources": "gpu=GPU:1"}, {"resources": "gpu"}])
def test_resources_that_make_no_sense_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(FuruError, match="resources"):
        DaskExecutor.from_options(options)


def test_run_dask_takes_the_options_that_the_executor_declares() -> None:
    parameters = dict(inspect.signature(run_dask).parameters)
    del parameters["roots"]
    said = {name: (one.default, one.annotation) for name, one in parameters.items()}
    fields = attrs.fields_dict(DaskExecutor)
    assert said == {name: (field.default, field.type) for name, field in fields.items()}
