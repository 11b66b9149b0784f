"""Killing whole sessions of processes, and the watchdog that does so when their parent was killed.

The watchdog is a small process of its own. It knows the sessions of a parent's processes and
outlives a parent that was killed: then it kills every process in them, also one that is stopped or
holds its interpreter's lock, which no thread inside could do.

This file is also run by itself (``python -I -S _watchdog_main.py PIPE PARENT``) and must be ready
within milliseconds, so it imports next to nothing.
"""

import os
import select
import signal
import sys
import time

#: A process that does not die from SIGKILL within this time is stuck in the kernel.
KILL_SECS = 10.0

# Schedulers send these to all processes of a job.
_PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

_HAS_PROC = os.path.exists("/proc/self/stat")


def processes_of(sessions: set[int]) -> list[int]:
    """The living processes of the given sessions, found in ``/proc``."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            # A machine may have thousands, and this takes a tenth of reading a file of each.
            if os.getsid(int(name)) not in sessions:
                continue
            with open(f"/proc/{name}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue  # it ended meanwhile
        # The command's name in parentheses may hold anything, so fields count from its end.
        state, _, _, session = stat[stat.rindex(b")") + 2 :].split(b" ", 4)[:4]
        # Its number may have become another process's in between.
        if state not in (b"Z", b"X") and int(session) in sessions:
            found.append(int(name))
    return found


def kill_sessions(sessions: set[int], *, within: float = KILL_SECS) -> bool:
    """Kill all processes of the given sessions and wait until they are gone.

    A session's number stays taken while a process, or its unreaped leader, is in it; so call this
    before waiting for the leader. A process that left its session on purpose is not found.

    Args:
        sessions: process ids of the sessions' leaders.
        within: seconds after which to give up on processes that are stuck in the kernel.

    Returns:
        Whether all are gone.
    """
    deadline = time.monotonic() + within
    pause = 0.001
    while True:
        left = _kill_once(sessions)
        if not left:
            return True
        if time.monotonic() > deadline:
            return False
        # Several rounds, because a process may have forked between the listing and the kill.
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def _kill_once(sessions: set[int]) -> bool:
    """Send SIGKILL to all that are left; whether there were any."""
    if _HAS_PROC:
        left = processes_of(sessions)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass  # it ended meanwhile
        return bool(left)
    # Elsewhere sessions cannot be listed; the leader's own process group is what can be reached.
    any_left = False
    for session in sessions:
        try:
            os.killpg(session, signal.SIGKILL)
            any_left = True
        except OSError:
            pass  # none is left
    return any_left


def watch(pipe: int, parent: int) -> set[int]:
    """Wait until the parent has ended, and return the sessions that it left.

    Args:
        pipe: has a line ``+PID`` or ``-PID`` for each session that starts or ends.
        parent: the parent's process id. Its end is watched apart from the pipe, because a child
            that the parent forked may hold the pipe open.
    """
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    pause = 1000.0
    if hasattr(os, "pidfd_open"):
        try:
            poll.register(os.pidfd_open(parent), select.POLLIN)
            pause = -1.0
        except OSError:
            pass  # it has ended already, or the kernel is too old: ask now and then
    os.set_blocking(pipe, False)
    sessions: set[int] = set()
    rest = b""
    while True:
        # Before the pipe is read, so that nothing written before the parent's end is missed.
        orphaned = os.getppid() != parent
        ended = False
        while True:
            try:
                data = os.read(pipe, 65536)
            except BlockingIOError:
                break
            if not data:
                ended = True
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                (sessions.add if line[:1] == b"+" else sessions.discard)(int(line[1:]))
        if ended or orphaned:
            return sessions
        poll.poll(pause)


def main(pipe: int, parent: int) -> None:
    """Wait for the parent's end, then kill the sessions that it left."""
    for number in _PASSED_ON:
        signal.signal(number, signal.SIG_IGN)
    sessions = watch(pipe, parent)
    if sessions:
        kill_sessions(sessions, within=60.0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
