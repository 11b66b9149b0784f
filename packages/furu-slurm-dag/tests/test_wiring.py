"""What needs no cluster: groups of nodes, conditions, records, options, and whether jobs live."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import attrs
import pytest
from dag_kit import WAIT_SECS, states, submit
from fake_slurm import FakeSlurm

import furu_core
import furu_slurm_dag
from furu_core.errors import (
    FuruComputeError,
    FuruExecutorError,
    FuruRunCancelled,
    FuruRunError,
    FuruStoreError,
    FuruUsageError,
)
from furu_core.executors import (
    EventLog,
    Failure,
    FailureKind,
    Liveness,
    Submission,
    note_submission,
    remove_submission,
)
from furu_core.planning import NodeState, from_portable, ref_of
from furu_plan import Frontier, Spent, build_plan
from furu_plan.runs import RunJournal
from furu_slurm import (
    UNCONFIRMED_SECS,
    JobInfo,
    JobPayload,
    JobState,
    SlurmCluster,
    SlurmSpec,
    Snapshot,
    at_home,
    read_payload,
)
from furu_slurm._job_payload import write_payload
from furu_slurm.errors import FuruSlurmUnavailable, FuruSpecError
from furu_slurm_dag import SlurmDagExecutor, WaitInterrupted, submit_slurm_dag
from furu_slurm_dag import _run_folder as files
from furu_slurm_dag._arrays import afterok, grouped
from furu_slurm_dag._liveness import liveness
from furu_slurm_dag._outlook import outlook
from furu_slurm_dag._submit import Submitter
from furu_slurm_dag._tracker import Tracker
from furu_testing import wait_until
from furu_testing.nodes import Fails, Step


def test_nodes_of_one_class_and_spec_key_that_wait_for_the_same_are_one_group(
    store: Path,
) -> None:
    source, other = Step(label="source"), Step(label="other")
    gpu = Step(label="gpu", needs=(source,), key="gpu")
    fails = Fails(label="fails", times=0, needs=(source,))
    pairs = [Step(label=f"pair {number}", needs=(source,)) for number in range(3)]
    twice = Step(label="twice", needs=(source, source))
    last = Step(label="last", needs=(*pairs, gpu, fails, twice, other))
    plan = build_plan(last)
    groups = grouped(plan.topo_order_todo(), set(plan.nodes))
    names = [[node.obj.label for node in group.nodes] for group in groups]
    assert sorted(map(sorted, names)) == [
        ["fails"],
        ["gpu"],
        ["last"],
        ["other", "source"],
        ["pair 0", "pair 1", "pair 2", "twice"],
    ]
    assert names[-1] == ["last"]
    assert names[0][0] == "source"
    # What is there already is waited for by nobody.
    groups = grouped(plan.topo_order_todo(), set(plan.nodes) - {source.furu_hash})
    assert [len(group.waits_for) for group in groups if group.nodes[0].obj is not last] == [0, 0, 0]


def test_a_whole_array_is_waited_for_by_its_number_and_a_part_of_it_by_its_elements() -> None:
    array = [f"7_{index}" for index in range(3)]
    assert afterok([], {}) == ""
    assert afterok([*array, "9"], {"7": 3, "9": 1}) == "afterok:7:9"
    assert afterok(array[:2], {"7": 3}) == "afterok:7_0:7_1"
    assert afterok([*array, *array], {"7": 3}) == "afterok:7"
    assert afterok(array, {"7": 0}) == "afterok:7_0:7_1:7_2"


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    ref = from_portable("a/B", "12ab", "B")
    batch = files.Batch("run", "gpu", (files.Assignment(ref, 17, True),), (ref, ref))
    payload = attrs.evolve(batch.payload("module:function", tmp_path), token="tok")
    write_payload(payload)
    assert files.Batch.of(read_payload(payload.path)) == batch
    failure = Failure(FailureKind.COMPUTE, "ValueError", "bad", "B(12ab)", "12ab", Path("/log"))
    for ledger in (
        files.JobRecord(),
        files.JobRecord(Spent(1, 2), "tok", 3, True, True, failure, "A(34cd)", ("lost once",)),
    ):
        files.write_job_record(tmp_path, "12ab", ledger)
        assert files.read_job_record(tmp_path, "12ab") == ledger
    assert files.read_job_record(tmp_path, "other") is None
    path = tmp_path / "jobs" / "12ab.json"
    path.write_text(path.read_text().replace('"lost_in_all":0,', ""))
    assert files.read_job_record(tmp_path, "12ab") == ledger


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    payload = JobPayload("module:function", tmp_path, [["a/B", "12ab"]], token="tok")
    write_payload(payload)
    with pytest.raises(
        FuruStoreError, match=r"tok\.json, which says what jobs are to do, is damaged"
    ):
        files.Batch.of(read_payload(payload.path))
    (tmp_path / "jobs" / "12ab.json").write_text("{")
    assert files.read_job_record(tmp_path, "12ab") is None


class Queue(SlurmCluster):
    """A cluster that shows what a test says."""

    def __init__(self, *infos: JobInfo, known: bool = True, denied: str = "") -> None:
        super().__init__()
        found = {info.job_id: info for info in infos}
        self.snapshot = Snapshot(known, found=found, denied=frozenset([denied]))
        self.later = self.snapshot
        self.asked = 0

    def jobs(self, wanted: Iterable[str] = (), *, fresh: bool = False) -> Snapshot:
        self.asked += fresh
        return self.later if fresh else self.snapshot


def begun(seconds: float, *, queued: bool = False, home: str = "") -> Submission:
    """A submission that was begun so long ago."""
    folder = files.run_folder("run")
    folder.mkdir(parents=True)
    files.begin(folder, "tok", home)
    began = time.time() - seconds
    os.utime(folder / "jobs" / "tok.begun", (began, began))
    if queued:
        files.write_job_ids(folder, "tok", [at_home(one, home) for one in ("7_0", "7_1")])
    return files.JobRef("run", "tok", 1).submission()


def of(cluster: Queue, submission: Submission) -> Liveness:
    return liveness([submission], cluster)[submission]


INFO = JobInfo("7_1", "Train.tok", JobState.RUNNING, restarts=2)


def test_p7_a_job_lives_while_slurm_has_it_with_the_restarts_asked_about(store: Path) -> None:
    note = begun(500, queued=True)
    first = attrs.evolve(note, restarts=0)
    assert of(Queue(INFO), note) is Liveness.ALIVE
    assert of(Queue(INFO), attrs.evolve(note, restarts=2)) is Liveness.ALIVE
    assert of(Queue(INFO), first) is Liveness.GONE
    # What was seen a moment ago may be older than a restart.
    assert of(Queue(INFO), attrs.evolve(note, restarts=3)) is Liveness.ALIVE
    assert of(Queue(attrs.evolve(INFO, state=JobState.PENDING)), note) is Liveness.ALIVE
    assert of(Queue(attrs.evolve(INFO, state=JobState.FAILED)), note) is Liveness.GONE
    assert of(Queue(known=False), note) is Liveness.UNKNOWN
    assert of(Queue(), Submission("slurm-dag", "of a future format")) is Liveness.UNKNOWN


def test_p4_a_job_is_looked_up_by_its_id_and_gone_only_when_slurm_denies_that(store: Path) -> None:
    note = begun(500, queued=True)
    assert of(Queue(attrs.evolve(INFO, name="renamed by its user")), note) is Liveness.ALIVE
    assert of(Queue(attrs.evolve(INFO, job_id="7_0")), note) is Liveness.UNKNOWN
    assert of(Queue(), note) is Liveness.UNKNOWN
    assert of(Queue(denied="7_1"), note) is Liveness.GONE


def test_p4_a_job_that_another_cluster_took_is_not_known_here(store: Path) -> None:
    note = begun(500, queued=True, home="beta:1000")
    assert of(Queue(attrs.evolve(INFO, state=JobState.FAILED)), note) is Liveness.UNKNOWN


def test_p4_a_submission_of_another_user_that_is_not_listed_is_not_gone(store: Path) -> None:
    assert of(Queue(), begun(UNCONFIRMED_SECS + 5, home="alpha:12345")) is Liveness.UNKNOWN


def test_p7_a_job_that_is_being_submitted_lives_for_a_while(store: Path) -> None:
    assert of(Queue(), begun(1)) is Liveness.ALIVE


def test_p7_a_submission_that_nobody_finished_is_gone_in_the_end(store: Path) -> None:
    assert of(Queue(), begun(UNCONFIRMED_SECS + 5)) is Liveness.GONE


def test_p7_a_job_without_an_id_is_gone_only_by_a_look_from_after_the_submission(
    store: Path,
) -> None:
    note = begun(UNCONFIRMED_SECS + 5)
    cluster = Queue()
    cluster.snapshot = attrs.evolve(cluster.snapshot, taken=time.monotonic() - 10)
    cluster.later = Queue(INFO).snapshot
    assert of(cluster, note) is Liveness.ALIVE
    assert cluster.asked == 1
    cluster.later = Queue().snapshot
    assert of(cluster, note) is Liveness.GONE
    # Of a thousand such jobs each would else be a question to Slurm.
    cluster.snapshot = Queue().snapshot
    assert of(cluster, note) is Liveness.GONE
    assert cluster.asked == 2
    assert of(Queue(), attrs.evolve(note, id="run/other:0")) is Liveness.GONE


def test_options_are_read_from_a_command_line_and_checked() -> None:
    text = '{"default": {"cpus": 1}}'
    SlurmDagExecutor.from_options({"specs": text, "poll_interval_sec": "0.5", "keep_going": "1"})
    with pytest.raises(FuruExecutorError, match="max_workers"):
        SlurmDagExecutor.from_options({"max_workers": "4"})
    with pytest.raises(FuruExecutorError, match="JSON such as"):
        SlurmDagExecutor.from_options({"specs": "cpu"})
    with pytest.raises(FuruUsageError, match="poll_interval_sec"):
        SlurmDagExecutor(poll_interval_sec=0)
    with pytest.raises(FuruUsageError, match="signal_before_secs"):
        SlurmDagExecutor(signal_before_secs=0)


def test_specs_are_to_be_had_where_the_run_is() -> None:
    assert furu_slurm_dag.SlurmSpec is SlurmSpec


def test_a_spec_key_without_a_spec_is_an_error_before_anything_is_submitted(store: Path) -> None:
    node = Step(label="one", key="gpu")
    with pytest.raises(FuruSpecError, match="'gpu'"):
        submit_slurm_dag(node, specs={"default": SlurmSpec()})
    with pytest.raises(FuruSpecError, match="'default'"):
        submit_slurm_dag(node, specs={"gpu": SlurmSpec()})
    # Those of the project count as well.
    with (
        furu_core.use_settings(extra={"FURU_SLURM": '{"specs": {"default": {"cpus": 1}}}'}),
        pytest.raises(FuruSpecError, match="'gpu'"),
    ):
        SlurmDagExecutor.from_options({}).submit(node)
    assert not (store / "runs").exists()


def test_p8_what_failed_before_and_is_not_tried_again_is_an_error_and_nothing_is_submitted(
    store: Path,
) -> None:
    bad = Fails(label="bad", times=1)
    with pytest.raises(FuruComputeError):
        bad.get()
    roots = [Step(label="good"), Step(label="root", needs=(bad,))]
    with pytest.raises(FuruRunError, match="bad fails on purpose") as caught:
        submit_slurm_dag(roots, specs={"default": SlurmSpec()}, retry_failed=False)
    assert [failure.hash for failure in caught.value.failures] == [bad.furu_hash]
    assert "nothing was submitted" in str(caught.value)
    assert "FURU_RETRY_FAILED=1" in str(caught.value)
    assert not (store / "runs").exists()


# Submitting, where Slurm does not do what it should


LIMIT = "echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2; exit 1"
AWAY = "echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1"


def test_p6_a_wait_that_submits_is_interrupted_and_cancelled_at_once(
    store: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("furu_slurm._submit_limit.LIMIT_PAUSE_SECS", 0.0)
    fake.command("sbatch", LIMIT)
    run = submit(Step(label="step"))
    looks: list[float] = []

    def then(act: Callable[[], None], *, once: Callable[[], bool]) -> threading.Thread:
        def wait_and_act() -> None:
            wait_until("it to submit", once)
            act()

        (thread := threading.Thread(target=wait_and_act)).start()
        return thread

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    try:
        # sbatch does not end.
        fake.command("sbatch", "exec sleep 600")
        tried = len(fake.calls("sbatch"))
        thread = then(interrupt, once=lambda: len(fake.calls("sbatch")) > tried)
        with pytest.raises(WaitInterrupted):
            run.wait(WAIT_SECS)
        thread.join()
        # Now nobody knows whether it was submitted, so its job is waited for.
        adopt = run._submitter.adopt

        def noted(*args: Any) -> Any:
            looks.append(time.monotonic())
            return adopt(*args)

        monkeypatch.setattr(run._submitter, "adopt", noted)
        thread = then(interrupt, once=lambda: len(looks) == 1)
        with pytest.raises(WaitInterrupted):
            run.wait(WAIT_SECS)
        thread.join()
        thread = then(run.cancel, once=lambda: len(looks) == 2)
        with pytest.raises(FuruRunCancelled):
            run.wait(WAIT_SECS)
        thread.join()
        assert time.monotonic() - looks[-1] < UNCONFIRMED_SECS / 2
        assert len(fake.calls("sbatch")) == tried + 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_p6_a_wait_is_interrupted_while_another_thread_asks_how_the_run_stands(
    store: Path, fake: FakeSlurm
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    fake.command("sbatch", "echo 'Submitted batch job 5'")
    run = submit(Step(label="step"))
    fake.command("squeue", "while [ ! -e $FAKE/answer ]; do sleep 0.05; done")
    asks = threading.Thread(target=run.status)
    asks.start()
    try:
        wait_until("it to ask", lambda: bool(fake.calls("squeue")))
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(WaitInterrupted):
            run.wait(WAIT_SECS)
        assert asks.is_alive()
    finally:
        (fake.folder / "answer").touch()
        asks.join()
        signal.signal(signal.SIGINT, before)


def test_p6_a_job_that_another_user_submits_just_now_is_adopted_by_its_id(
    store: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No listing of this user's shows it by its name."""
    monkeypatch.setattr("furu_slurm_dag._submit._LOOK_SECS", 0.0)
    note = begun(1)
    submitter = Submitter(Queue(), {"default": SlurmSpec()}, store, "own", store, 60)
    submitter.look_up = lambda: files.write_job_ids(files.run_folder("run"), "tok", ["7_0", "7_1"])
    (node,) = build_plan(Step(label="step")).topo_order_todo()
    job = submitter.adopt(node, note)
    assert job is not None
    assert job.job_id == "7_1"


def test_p6_cancel_ends_jobs_as_well_of_which_sbatchs_answer_was_not_heard(
    store: Path, fake: FakeSlurm
) -> None:
    fake.command("sbatch", LIMIT)
    run = submit(Step(label="step"))
    files.begin(run.folder, "tok", "")
    fake.queue("5|PENDING|0|0|Priority|Step.tok|", "6|PENDING|0|0|Priority|Step.other|")
    run.cancel()
    assert fake.calls("scancel") == ["--quiet 5"]


def test_what_others_had_planned_is_planned_at_once_for_all_their_jobs_that_are_gone(
    store: Path, fake: FakeSlurm
) -> None:
    """Thousands may be, after a night in which their cluster was down."""
    base = Step(label="base")
    tops = [Step(label=f"top {number}", needs=(base,)) for number in range(2)]
    begun(500, queued=True)
    fake.queue(*(f"7_{index}|PENDING|0|0|Priority|Step.tok|" for index in range(2)))
    for index, top in enumerate(tops):
        note_submission(top, files.JobRef("run", "tok", index).submission(), over=None)
    plan = build_plan(tops)
    submitter = Submitter(Queue(), {"default": SlurmSpec()}, store, "own", store, 60)
    frontier = Frontier(plan)
    journal = RunJournal("own", frontier, EventLog(store))
    tracker = Tracker(frontier, submitter, furu_core.settings(), journal)
    assert frontier.ahead() == []
    fake.queue()
    gone = SlurmCluster().jobs(["7_0", "7_1"], fresh=True)
    frontier.plan = asked = Mock(wraps=plan)
    tracker.look(gone)
    assert asked.extend.call_count == 1
    assert [node.obj for node in frontier.ahead()] == [base, *tops]


def test_p6_what_lies_below_jobs_that_are_gone_and_no_job_can_wait_for_is_an_error_at_each_look(
    store: Path, fake: FakeSlurm
) -> None:
    base = Step(label="base")
    top = Step(label="top", needs=(base,))
    begun(500, queued=True)
    fake.queue("7_1|PENDING|0|0|Priority|Step.tok|")
    note_submission(top, files.JobRef("run", "tok", 1).submission(), over=None)
    frontier = Frontier(build_plan(top))
    journal = RunJournal("own", frontier, EventLog(store))
    submitter = Submitter(Queue(), {"default": SlurmSpec()}, store, "own", store, 60)
    tracker = Tracker(frontier, submitter, furu_core.settings(), journal)
    note_submission(base, Submission("another", "job 1"), over=None)
    fake.queue()
    gone = SlurmCluster().jobs(["7_1"], fresh=True)
    for _ in range(2):
        with pytest.raises(FuruExecutorError, match="no job can wait for it"):
            tracker.look(gone)
    remove_submission(base)
    tracker.look(gone)
    assert [node.obj for node in frontier.ahead()] == [base, top]


def test_p8_what_slurm_was_never_told_of_is_not_queued_and_anybody_may_compute_it(
    store: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "furu_slurm_dag._executor.SlurmCluster", lambda: SlurmCluster(patience_secs=0.1)
    )
    fake.command("sbatch", AWAY)
    fake.command("squeue", AWAY)
    base = Step(label="base")
    with pytest.raises(FuruSlurmUnavailable, match="nothing was submitted"):
        submit([Step(label="root", needs=(base,))])
    assert states(base) == [NodeState.ABSENT]
    assert [path.name for path in (store / "runs").rglob("jobs/*")] == []
    assert not list((store / "submitit").rglob("*.sh"))
    assert base.get() == 1


def test_what_is_told_of_a_run_without_its_submitter_is_what_slurm_says_of_its_jobs(
    store: Path,
) -> None:
    begun(500, queued=True)
    folder = files.run_folder("run")
    waits = attrs.evolve(INFO, job_id="7_0", state=JobState.PENDING, reason="Priority")
    told = outlook(folder, Queue(INFO, waits))
    assert (told.goes_on, told.lines) == (
        True,
        (
            "jobs: 1 running, 1 pending",
            "pending: 1 job, Slurm says Priority (1)  squeue --jobs=7_0",
        ),
    )
    assert told.why == "2 jobs of it live, though no program waits for them"
    assert outlook(folder, Queue(attrs.evolve(INFO, state=JobState.FAILED))).goes_on is None
    assert outlook(folder, Queue()).goes_on is None
    silent = outlook(folder, Queue(known=False))
    assert (silent.goes_on, len(silent.lines)) == (None, 1)
    assert outlook(store / "runs" / "another", Queue(INFO)).goes_on is None


def test_jobs_are_told_of_by_their_home_and_only_those_whose_nodes_have_no_result(
    store: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.command(
        "scontrol",
        f'case "$*" in "show config") echo "ClusterName = alpha";; *) {fake.NO_JOB};; esac',
    )
    begun(500, queued=True, home=f"alpha:{os.getuid()}")
    folder = files.run_folder("run")
    fake.queue("7_0|PENDING|0|0|Priority|Step.tok|", "7_1|FAILED|0|1|None|Step.tok|")
    told = outlook(folder)
    assert (told.goes_on, told.lines[0]) == (True, "jobs: 0 running, 1 pending")
    steps = [Step(label="first"), Step(label="second")]
    batch = files.Batch("run", "default", tuple(files.Assignment(ref_of(one), 0) for one in steps))
    write_payload(attrs.evolve(batch.payload("module:function", folder), token="tok"))
    steps[0].get()
    assert outlook(folder).goes_on is None
    fake.command("scontrol", 'echo "ClusterName = beta"')
    monkeypatch.setenv("SLURM_CLUSTERS", "beta")
    elsewhere = outlook(folder)
    assert elsewhere.goes_on is None
    assert "a job of the cluster alpha" in elsewhere.lines[1]
