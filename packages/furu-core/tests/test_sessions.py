"""Which processes belong to a session, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from furu_core._guardian import processes_of
from furu_core.executors import kill_sessions


def test_a_session_is_killed_with_the_groups_in_it_and_stopped_processes() -> None:
    shell = subprocess.Popen(
        ["bash", "-c", "set -m; sleep 600 & sleep 601 & kill -STOP %1; wait"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while len({os.getpgid(pid) for pid in processes_of({shell.pid})}) < 3:
        assert time.monotonic() < deadline, "the shell has not started its jobs, each in its group"
    assert kill_sessions({shell.pid})
    assert processes_of({shell.pid}) == []
    assert shell.wait(10) == -signal.SIGKILL


def test_killing_what_is_gone_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait(30)
    assert kill_sessions({process.pid})
    assert kill_sessions(set())
