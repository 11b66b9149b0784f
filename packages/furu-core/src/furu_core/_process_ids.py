"""The identity of processes, and whether one is gone.

A process is identified by host, boot, PID namespace, pid and start time. Only a process of the same
host, boot and namespace can be looked up; of any other, nothing is known here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import attrs


@attrs.frozen
class ProcessId:
    """One process, told apart from every other one on any host at any time.

    Attributes:
        host: the host's name.
        boot: the kernel's boot id; two containers on one machine share it.
        pid_namespace: the namespace in which the pid is valid.
        pid: the process id.
        start: the start time as the system writes it, because pids are used again.
    """

    host: str
    boot: str
    pid_namespace: str
    pid: int
    start: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


_pid = os.getpid()
_this: ProcessId | None = None


def this_pid() -> int:
    """The pid of the calling process, without asking the system, which takes a system call."""
    return _pid


def this_process() -> ProcessId:
    """The identity of the calling process."""
    global _this
    if _this is None:
        _this = ProcessId(
            host=os.uname().nodename,
            boot=_boot_id(),
            pid_namespace=_pid_namespace(),
            pid=_pid,
            start=(_own_start_time(_pid) if _HAS_PROC else _start_time(_pid)) or "",
        )
    return _this


def _after_fork() -> None:
    global _pid, _this
    _pid, _this = os.getpid(), None


os.register_at_fork(after_in_child=_after_fork)


def process_with_pid(pid: int) -> ProcessId | None:
    """The identity of a process of this host that lives; None when there is none.

    Args:
        pid: the pid, in this process's namespace.
    """
    start = _start_time(pid)
    return None if start is None else attrs.evolve(this_process(), pid=pid, start=start)


def process_is_gone(process: ProcessId) -> bool | None:
    """Whether `process` has ended: True, False, or None where it cannot be looked up from here."""
    here = this_process()
    if (process.host, process.boot, process.pid_namespace) != (
        here.host,
        here.boot,
        here.pid_namespace,
    ):
        return None
    if not here.start or not process.start:
        return None
    start = _start_time(process.pid)
    if start is None and _is_hidden(process.pid):
        return None
    return start != process.start


_HAS_PROC: Final = os.path.exists("/proc/self/stat")
_ZOMBIE_STATES: Final = ("Z", "X")


def _start_time(pid: int) -> str | None:
    """When the process started, as the system writes it; None when it has ended."""
    if _HAS_PROC:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stat = file.read().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The second field is the command in parentheses and may itself hold spaces and parentheses.
        fields = stat[stat.rindex(")") + 2 :].split(" ")
        # A killed process that its parent has not reaped keeps its pid but computes nothing.
        return None if fields[0] in _ZOMBIE_STATES else fields[19]
    import subprocess  # only where there is no /proc

    listing = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, start = listing.partition(" ")
    return None if not listing or state.startswith(_ZOMBIE_STATES) else start.strip()


def may_have_children() -> bool:
    """Whether this process has children, or the system does not tell."""
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", "rb") as file:
                if file.read():
                    return True
    except OSError:
        return True
    return False


def _own_start_time(pid: int) -> str | None:
    # A container may show the /proc of another namespace, where this pid is another process.
    with suppress(OSError):
        if os.readlink("/proc/self") == str(pid):
            return _start_time(pid)
    return None


def _is_hidden(pid: int) -> bool:
    """Whether a process of another user exists that /proc, mounted with `hidepid`, does not show."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _boot_id() -> str:
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    import subprocess  # only where there is no /proc

    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            ["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=True
        ).stdout.strip()
    return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""  # the system knows no namespaces, so there is one
