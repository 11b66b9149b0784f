"""Which processes belong to a session, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

from furu_core._processes._watchdog_main import processes_of
from furu_core.workers import kill_sessions
from furu_testing import wait_until


def groups(session: int) -> set[int]:
    """The process groups of a session."""
    found = set()
    for pid in processes_of({session}):
        with suppress(ProcessLookupError):  # it ended meanwhile
            found.add(os.getpgid(pid))
    return found


def test_a_session_is_killed_with_the_groups_in_it_and_stopped_processes() -> None:
    shell = subprocess.Popen(
        ["bash", "-c", "set -m; sleep 600 & sleep 601 & kill -STOP %1; wait"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until("the shell's jobs, each in its group", lambda: len(groups(shell.pid)) == 3)
    assert kill_sessions({shell.pid}, within=120)
    assert processes_of({shell.pid}) == []
    assert shell.wait(120) == -signal.SIGKILL


def test_killing_what_is_gone_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait(120)
    assert kill_sessions({process.pid})
    assert kill_sessions(set())


def test_p8_a_program_that_a_closed_pipe_ends_does_not_end_when_a_process_of_its_nodes_has() -> (
    None
):
    code = """if True:
        import os, signal, socket
        from furu_core._processes._child_process import ChildProcess
        from furu_core._processes._messages import Notice

        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            os._exit(3)
        child = ChildProcess(pid, ours)
        theirs.close()
        assert child.has_ended(within=120)
        child.write(Notice.STOP)
        child.flush()
        print(child.reap(patience=120))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
