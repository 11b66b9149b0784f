"""How a process that computes nodes and its parent talk, and what the end of one is called."""

from __future__ import annotations

import pytest

from furu_core._processes._child_process import death_text
from furu_core._processes._messages import (
    Decoder,
    ExitCode,
    Finished,
    Notice,
    Order,
    Recall,
    Returned,
    encode,
)
from furu_core.executors import Failure, FailureKind
from furu_core.workers import NodeResult, Outcome, WorkerContext


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_messages_arrive_whole_however_they_are_cut(size: int) -> None:
    messages = [
        Notice.READY,
        Order(1, 0, b"x" * 300, WorkerContext("test", "run-1"), False, True),
        Recall((1, 2)),
        Order(2, 0, b"y", None, True, False),
        Order(3, 0, 7, None, False, False),
        Order(4, 1, b"z", None, False, True),
        Returned(()),
        Finished(1, NodeResult("ab", Outcome.LOADED, seconds=0.5)),
        Finished(2, NodeResult("ab", Outcome.COMPUTED, 3, seconds=0.5)),
        Finished(
            3, NodeResult("ab", Outcome.FAILED, 1, Failure(FailureKind.COMPUTE, "E", "m", "n", "h"))
        ),
        Finished(4, NodeResult("ab", Outcome.INVALID_DEPENDENCY, culprit="cd")),
    ]
    data = b"".join(encode(message) for message in messages)
    decoder = Decoder()
    found = []
    for start in range(0, len(data), size):
        found += decoder.feed(data[start : start + size])
    assert found == messages
    assert [type(message) for message in found] == [type(message) for message in messages]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-9, "SIGKILL, perhaps because memory ran out"),
        (-11, "SIGSEGV"),
        (-100, "signal 100"),
        (3, "exit status 3"),
        (ExitCode.FORKED, "fork"),
        (ExitCode.NO_CONNECTION, "closed file descriptors"),
        (ExitCode.DEAF, "could not read what it was told"),
        (None, "closed its connection"),
    ],
)
def test_the_end_of_a_worker_is_told_in_words(code: int | None, said: str) -> None:
    text = death_text(77, code)
    assert "worker process 77" in text
    assert said in text
