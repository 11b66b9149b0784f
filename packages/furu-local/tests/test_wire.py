"""How controller and worker talk, and which processes belong to a session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from furu_core.executors import NodeResult, Outcome
from furu_local._deaths import described_exit
from furu_local._guardian import kill_sessions, processes_of
from furu_local._wire import Decoder, ExitCode, Finished, Ready, Recall, Returned, Work, encode


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_messages_arrive_whole_however_they_are_cut(size: int) -> None:
    messages = [
        Ready(),
        Work(1, 0, "default", False, True, b"x" * 300),
        Recall((1, 2)),
        Returned(()),
        Finished(1, NodeResult("ab", Outcome.LOADED, seconds=0.5)),
    ]
    data = b"".join(encode(message) for message in messages)
    decoder = Decoder()
    found = []
    for start in range(0, len(data), size):
        found += decoder.feed(data[start : start + size])
    assert found == messages
    assert [type(message) for message in found] == [type(message) for message in messages]


def test_a_session_is_killed_with_the_groups_in_it_and_stopped_processes() -> None:
    shell = subprocess.Popen(
        ["bash", "-c", "set -m; sleep 600 & sleep 601 & kill -STOP %1; wait"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while len(processes_of({shell.pid})) < 3:
        assert time.monotonic() < deadline, "the shell has not started its jobs"
    assert len({os.getpgid(pid) for pid in processes_of({shell.pid})}) == 3
    assert kill_sessions({shell.pid})
    assert processes_of({shell.pid}) == []
    assert shell.wait(10) == -signal.SIGKILL


def test_killing_what_is_gone_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait(30)
    assert kill_sessions({process.pid})
    assert kill_sessions(set())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-9, "SIGKILL, perhaps because memory ran out"),
        (-11, "SIGSEGV"),
        (-100, "signal 100"),
        (3, "exit status 3"),
        (ExitCode.FORKED, "fork"),
        (ExitCode.NO_CONNECTION, "closed file descriptors"),
        (None, "closed its connection"),
    ],
)
def test_the_end_of_a_worker_is_told_in_words(code: int | None, said: str) -> None:
    text = described_exit(77, code)
    assert "worker process 77" in text
    assert said in text
