"""Notes of jobs in a scheduler's queue, and what they say of a node whose job lives, is gone, or unknown."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from records import told

from furu_core import Furu
from furu_core._attempts import _publishing
from furu_core._executors import _registry
from furu_core._store._layout import ref_of
from furu_core.errors import FuruComputeError, FuruUsageError
from furu_core.executors import (
    Executor,
    Liveness,
    Run,
    Submission,
    liveness,
    note_submission,
    remove_submission,
    submission_of,
)
from furu_core.planning import NodeState, StateReader
from furu_core.workers import Outcome, WorkerContext, run_node, worker_session
from furu_testing.nodes import Fails, Leaf

DAY = 24 * 3600


class Queue(Executor):
    """An executor whose scheduler says what a test wants."""

    name = "queue"
    answers: dict[str, Liveness] = {}  # noqa: RUF012 - each test sets it

    def submit(self, roots: object) -> Run:
        raise NotImplementedError

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        return {job: cls.answers.get(job.id, Liveness.UNKNOWN) for job in submissions}


@pytest.fixture(autouse=True)
def _queue(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "_backend", {"queue": Queue}.get)
    monkeypatch.setattr(Queue, "answers", {})


def state(node: Furu[int]) -> NodeState:
    return StateReader().state(node).state


def test_a_note_comes_back_and_goes() -> None:
    assert submission_of(Leaf(x=1)) is None
    assert note_submission(Leaf(x=1), Submission("queue", "7", 2))
    assert submission_of(Leaf(x=1)) == Submission("queue", "7", 2)
    remove_submission(Leaf(x=1))
    assert submission_of(Leaf(x=1)) is None


def test_a_job_may_be_called_by_a_number() -> None:
    node = Leaf(x=1)
    job = Submission("queue", 7, restarts=int("1"))
    assert note_submission(node, job)
    assert submission_of(node) == job == Submission("queue", "7", 1)
    with worker_session(WorkerContext("queue", "run-1", submission=job)):
        assert run_node(node).outcome is Outcome.COMPUTED
    assert told(node.furu_dir)["submission"]["id"] == "7"
    assert submission_of(node) is None, "the job has done what it was to do"


def test_a_note_is_replaced_only_by_whoever_has_seen_it() -> None:
    first, second, third = (Submission("queue", str(number)) for number in range(3))
    assert note_submission(Leaf(x=1), first)
    assert not note_submission(Leaf(x=1), second)
    assert note_submission(Leaf(x=1), second, over=first)
    assert not note_submission(Leaf(x=1), third, over=first)
    assert submission_of(Leaf(x=1)) == second
    assert notes_of(Leaf(x=1)) == [".job"]


def notes_of(node: Leaf) -> list[str]:
    """What is beside the artifact, without the hash."""
    beside = Path(ref_of(node).class_dir).glob(f".{node.furu_hash}.*")
    return sorted(path.name.removeprefix(f".{node.furu_hash}") for path in beside)


@pytest.mark.parametrize("moment", ["makedirs", "open", "rename", "link"])
def test_p7_a_node_that_is_published_while_its_job_is_noted_takes_nothing_from_who_notes_it(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    node = Leaf(x=1)
    old = Submission("queue", "old")
    assert note_submission(node, old)
    real = getattr(os, moment)

    def then_publish(*args: Any, **kwargs: Any) -> Any:
        done = real(*args, **kwargs)
        monkeypatch.setattr(os, moment, real)
        node.get()
        return done

    monkeypatch.setattr(os, moment, then_publish)
    new = Submission("queue", "new")
    # Where the note that was seen is gone before it could be replaced, the node is left to others.
    noted = note_submission(node, new, over=old)
    assert node.exists()
    assert noted is (moment in ("rename", "link"))
    assert submission_of(node) == (new if moment == "rename" else None)
    assert notes_of(node) == ([".job"] if moment == "rename" else [])


def test_p7_a_node_without_a_note_that_is_published_meanwhile_gets_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, real = Leaf(x=1), os.makedirs

    def then_publish(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        monkeypatch.setattr(os, "makedirs", real)
        node.get()

    monkeypatch.setattr(os, "makedirs", then_publish)
    assert note_submission(node, Submission("queue", "7"))
    assert submission_of(node) == Submission("queue", "7")


def test_what_a_killed_submitter_left_of_a_note_of_a_published_node_goes_after_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Leaf(x=1)
    node.get()
    for name, age in (("job.1-a.tmp", 2 * DAY), ("job.2-b.tmp", 60)):
        path = Path(ref_of(node).class_dir, f".{node.furu_hash}.{name}")
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    monkeypatch.setattr(_publishing, "_swept", set())
    Leaf(x=2).get()
    assert notes_of(node) == [".job.2-b.tmp"]


def test_of_submitters_at_once_one_succeeds() -> None:
    last = Submission("queue", "first")
    assert note_submission(Leaf(x=1), last)
    with ThreadPoolExecutor(8) as pool:
        for turn in range(50):
            jobs = [Submission("queue", f"{turn}-{number}") for number in range(8)]
            won = [*pool.map(partial(note_submission, Leaf(x=1), over=last), jobs)]
            assert won.count(True) == 1
            last = jobs[won.index(True)]
            assert submission_of(Leaf(x=1)) == last


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Liveness.ALIVE, NodeState.QUEUED),
        (Liveness.UNKNOWN, NodeState.QUEUED),
        (Liveness.GONE, NodeState.LOST),
    ],
)
def test_a_queued_node_stands_as_its_job_does(answer: Liveness, expected: NodeState) -> None:
    note_submission(Leaf(x=1), Submission("queue", "7"))
    Queue.answers["7"] = answer
    assert state(Leaf(x=1)) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Liveness.ALIVE, NodeState.QUEUED),
        (Liveness.UNKNOWN, NodeState.FAILED),
        (Liveness.GONE, NodeState.FAILED),
    ],
)
def test_a_node_that_failed_is_queued_again_only_while_its_job_lives(
    answer: Liveness, expected: NodeState
) -> None:
    node = Fails(label="bad", times=9)
    with pytest.raises(FuruComputeError, match="on purpose"):
        node.get()
    note_submission(node, Submission("queue", "7"))
    Queue.answers["7"] = answer
    assert state(node) is expected


def test_a_node_that_is_only_queued_is_computed_when_asked_for() -> None:
    note_submission(Leaf(x=1), Submission("queue", "7"))
    Queue.answers["7"] = Liveness.ALIVE
    assert Leaf(x=1).get() == 1
    assert state(Leaf(x=1)) is NodeState.DONE


class Faulty(Queue):
    """An executor by a stranger that answers with what it should not, or not at all."""

    name = "faulty"
    answer: object = None

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        if isinstance(cls.answer, Exception):
            raise cls.answer
        return dict.fromkeys(submissions, cls.answer)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [Liveness.ALIVE, Liveness.UNKNOWN])
def test_P10_a_queued_node_is_not_deleted_and_its_job_keeps_its_note(answer: Liveness) -> None:
    node = Leaf(x=1)
    Queue.answers["7"] = answer
    assert note_submission(node, Submission("queue", "7"))
    with pytest.raises(FuruUsageError, match=r"is queued for queue job 7; cancel that job first"):
        node.delete()
    assert submission_of(node) == Submission("queue", "7")
    Queue.answers["7"] = Liveness.GONE
    assert node.delete()
    assert submission_of(node) is None


@pytest.mark.parametrize("answer", [OSError("the scheduler is away"), False, "dead"])
def test_an_executor_that_fails_to_tell_leaves_its_jobs_unknown_and_is_warned_of_once(
    answer: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_registry, "_backend", {"queue": Queue, "faulty": Faulty}.get)
    monkeypatch.setattr(Faulty, "answer", answer)
    monkeypatch.setattr(Queue, "answers", {"1": Liveness.GONE})
    _registry._warn.cache_clear()
    sound, faulty = Submission("queue", "1"), Submission("faulty", "2")
    for _ in range(3):
        told = liveness([sound, faulty])
        assert told == {sound: Liveness.GONE, faulty: Liveness.UNKNOWN}
    (said,) = caplog.messages
    assert said.startswith("the executor 'faulty' cannot tell whether its jobs live: ")
