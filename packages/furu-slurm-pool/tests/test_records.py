"""WorkerReport, heartbeats and controllers: what processes of a run tell each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs
import pytest

import furu_core
from furu_core.errors import FuruStoreError, FuruUsageError
from furu_core.executors import Failure, FailureKind, Liveness, RunState, Submission, named_roots
from furu_core.planning import Holder, NodeInfo, NodeState, StateReader
from furu_core.workers import NodeResult, Outcome, this_process
from furu_plan import Spent
from furu_slurm_pool._controller import _request, _terms
from furu_slurm_pool._controller._recovery import Recovered, RecoveryReader
from furu_slurm_pool._controller._retries import StoredLedger, spent_before
from furu_slurm_pool._executor import SlurmPoolExecutor
from furu_slurm_pool._observer._run import ObservedPoolRun
from furu_slurm_pool._queue import _heartbeats, _reports, _run_folder, _tasks
from furu_slurm_pool._queue._heartbeats import Heartbeat, Watch
from furu_slurm_pool._queue._reports import REPORT, TaskEnd, TaskReport, WorkerReport
from furu_slurm_pool._queue._tasks import Claims
from furu_testing.nodes import Leaf


@pytest.fixture
def run(tmp_path: Path) -> str:
    _run_folder.make_folders(str(tmp_path))
    return str(tmp_path)


RESULT = NodeResult(
    hash="abc",
    outcome=Outcome.FAILED,
    attempt=2,
    failure=Failure(FailureKind.LOST, "", "killed", "Train(abc)", "abc", Path("/logs/furu.log")),
    seconds=1.5,
    culprit="def",
    holder=Holder(this_process(), Submission("slurm-pool", "123_4", 1), "slurm-pool", "r", 2.0),
)


def test_a_report_is_read_as_it_was_written() -> None:
    told = WorkerReport(
        "w1",
        (
            TaskReport("001-00000001.abc", TaskEnd.ENDED, RESULT),
            TaskReport("001-00000002.def", TaskEnd.GIVEN_BACK),
            TaskReport("001-00000003.fed", TaskEnd.UNREADABLE, message="it is empty"),
        ),
    )
    assert REPORT.from_bytes(REPORT.to_bytes(told), "") == told


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"version": 2}', b'{"version": 1}', b"\xff"])
def test_a_damaged_report_is_an_error_and_no_crash(data: bytes) -> None:
    with pytest.raises(FuruStoreError):
        REPORT.from_bytes(data, "")


def test_what_stands_for_true_or_false_among_the_options_is_read_as_that(
    run: str, furu_store: Path
) -> None:
    given: dict[str, Any] = {"keep_going": 1, "retry_failed": 0, "progress": 1, "detach": 1}
    executor = SlurmPoolExecutor(specs={"default": {"cpus": 1}}, **given)
    request = executor._request()
    _request.write_request(Path(run), request, named_roots([Leaf()]))
    found = _request.read_options(Path(run))
    assert found == request
    assert (found.keep_going, found.retry_failed, found.progress) == (True, False, True)
    with pytest.raises(FuruUsageError, match="keep_going is 'false'"):
        SlurmPoolExecutor(**{**given, "keep_going": "false"})


def test_p4_a_worker_that_was_given_up_cannot_tell_anything(run: str) -> None:
    queue = _run_folder.open_queue(run, "default")
    claims = Claims(queue, "w1")
    _reports.write(run, 0, WorkerReport("w1", ()), claims=claims.folder)
    assert _reports.names(run) == ["w1.000000.json"]
    _tasks.revoke(queue, "w1")
    with pytest.raises(FileNotFoundError):
        _reports.write(run, 1, WorkerReport("w1", ()), claims=claims.folder)
    assert _reports.names(run) == ["w1.000000.json"]


def test_one_listing_tells_whose_heart_beats(run: str) -> None:
    now = 100.0
    watch = Watch(run, lambda: now)
    watch.look()
    assert watch.silence("w1") is None
    one, two = Heartbeat(run, "w1", b"one"), Heartbeat(run, "w2", b"two")
    watch.look()
    assert watch.silence("w1") == 0.0
    now = 130.0
    one.beat()
    watch.look()
    assert watch.silence("w1") == 0.0
    assert watch.silence("w2") == 30.0
    two.stop()
    watch.look()
    assert watch.is_present("w1")
    assert not watch.is_present("w2")


def test_a_heartbeat_that_somebody_removed_goes_on(run: str) -> None:
    heart = Heartbeat(run, "w1", b"")
    for name in os.listdir(_heartbeats.folder_of(run)):
        os.unlink(f"{_heartbeats.folder_of(run)}/{name}")
    heart.beat()
    assert _heartbeats.counts(run) == {"w1": 1}


def test_one_of_two_controllers_takes_over(run: str) -> None:
    first = _terms.take_over(run, 0, None)
    assert first is not None
    assert _terms.take_over(run, 0, None) is None
    second = _terms.take_over(run, 1, None)
    assert second is not None
    assert first.is_over()
    assert not second.is_over()


def test_the_newest_controller_is_known_by_process_and_end(run: str) -> None:
    assert _terms.current_leader(run) is None
    term = _terms.take_over(run, 0, None)
    assert term is not None
    found = _terms.current_leader(run)
    assert found is not None
    assert found.process == this_process()
    assert found.lives(120.0)
    term.end(RunState.CANCELLED)
    found = _terms.current_leader(run)
    assert found is not None
    assert found.ended is RunState.CANCELLED
    assert not found.lives(120.0)


def test_a_controller_of_another_host_lives_as_long_as_it_gives_signs(run: str) -> None:
    term = _terms.take_over(run, 0, None)
    assert term is not None
    found = _terms.current_leader(run)
    assert found is not None
    there = attrs.evolve(found, process=attrs.evolve(found.process, host="elsewhere"))
    assert there.lives(10.0)
    assert not attrs.evolve(there, silent_secs=31.0).lives(10.0)
    os.utime(f"{term.folder}/alive", (0, 0))
    silent = _terms.current_leader(run)
    assert silent is not None
    assert silent.silent_secs > 1e6
    term.beat()
    beating = _terms.current_leader(run)
    assert beating is not None
    assert beating.silent_secs < 1e5


def test_p4_a_controller_that_waits_in_a_queue_is_not_dead_because_the_scheduler_is_silent(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard_of = Submission("slurm-pool", "local-999-1-00000000", -1)
    term = _terms.take_over(run, 0, unheard_of, for_job=True)
    assert term is not None
    os.utime(f"{term.folder}/alive", (0, 0))
    found = _terms.current_leader(run)
    assert found is not None
    assert found.liveness(10.0) is Liveness.UNKNOWN
    assert not found.lives(10.0)  # whoever wants to may take over
    observed = ObservedPoolRun(Path(run), named_roots(Leaf(x=1)), Path(run))
    monkeypatch.setattr(observed, "_check_queue", lambda _: None)
    with pytest.raises(TimeoutError):
        observed.wait(0.01)


def test_p8_a_controller_that_concludes_while_it_is_asked_for_has_not_died(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking the scheduler takes a while, by the end of which the job may have ended well."""
    term = _terms.take_over(run, 0, None)
    assert term is not None
    found = _terms.current_leader(run)
    assert found is not None
    assert found.process is not None
    dead = attrs.evolve(found, process=attrs.evolve(found.process, start="before"))
    assert dead.liveness(10.0) is Liveness.GONE
    looks = [dead, attrs.evolve(dead, ended=RunState.DONE)]
    monkeypatch.setattr("furu_slurm_pool._observer._run.current_leader", lambda _: looks.pop(0))
    observed = ObservedPoolRun(Path(run), named_roots(Leaf(x=1)), Path(run))
    assert observed.wait(5.0) is observed


def test_p5_budgets_outlive_a_controller(run: str, furu_store: Path) -> None:
    term = _terms.take_over(run, 0, None)
    assert term is not None
    ledger = StoredLedger(
        term, lambda node: f"task-of-{node}", furu_core.settings(), keep_going=False, spent={}
    )
    ledger.decide("abc", FailureKind.COMPUTE)
    ledger.decide("abc", FailureKind.LOST)
    ledger.decide("def", FailureKind.LOST, progress=True)
    ledger.close()
    with open(f"{term.folder}/spent.jsonl", "a") as file:
        file.write('["abc", "task", 7')  # it was killed in the middle of a line
    spent, counted = spent_before(run)
    assert spent == {"abc": Spent(1, 1, 1), "def": Spent(0, 0, 1)}
    assert counted == {"task-of-abc", "task-of-def"}


def test_p6_a_new_controller_asks_nobody_about_nodes_that_its_workers_have(
    furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, held, other = (Leaf(x=x) for x in range(3))
    done.get()
    asked: list[Leaf] = []

    def state(_self: StateReader, obj: Leaf) -> NodeInfo:
        asked.append(obj)
        return NodeInfo(NodeState.RUNNING)

    monkeypatch.setattr(StateReader, "state", state)
    claimed = {node.furu_hash: f"001-00000001.{node.furu_hash}" for node in (done, held)}
    reader = RecoveryReader(Recovered(claimed=claimed))
    assert reader.state(held).state is NodeState.ABSENT
    assert asked == []
    reader.state(done)
    reader.state(other)
    assert asked == [done, other]


def test_orders_reach_those_whom_they_are_for(run: str) -> None:
    assert _run_folder.orders_for(run, "w1") == (False, False)
    _run_folder.order_leave(run, "w1")
    assert _run_folder.orders_for(run, "w1") == (False, True)
    assert _run_folder.orders_for(run, "w2") == (False, False)
    _run_folder.order_stop(run)
    assert _run_folder.orders_for(run, "w2") == (True, False)
    _run_folder.withdraw_orders(run)
    assert _run_folder.orders_for(run, "w1") == (False, False)
