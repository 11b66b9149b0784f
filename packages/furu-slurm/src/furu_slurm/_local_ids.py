"""The ids of jobs that are processes of some machine; such a job knows its own."""

from __future__ import annotations

import re
import zlib
from typing import Final

from furu_core.executors import process_with_pid, this_process

PREFIX: Final = "local-"


def is_local(job_id: str) -> bool:
    """Whether a job is a process of some machine, and not one of Slurm's."""
    return job_id.startswith(PREFIX)


def local_job_id(pid: int) -> str:
    """The id of the job that a process of this machine is.

    It names machine and start as well: pids are used again, and other machines have the same.
    """
    process = process_with_pid(pid)
    start = "0" if process is None else re.sub(r"\W", "", process.start)
    return f"{PREFIX}{pid}-{start}-{_place()}"


def is_here(job_id: str) -> bool:
    """Whether a job is a process of this machine."""
    return is_local(job_id) and job_id.endswith(f"-{_place()}")


def pid_of(job_id: str) -> int | None:
    """The process that a job of this machine is, dead or alive; None for a job elsewhere."""
    parts = job_id.removeprefix(PREFIX).split("-")
    return int(parts[0]) if is_here(job_id) and parts[0].isdigit() else None


def _place() -> str:
    here = this_process()
    text = f"{here.host} {here.boot} {here.pid_namespace}"
    return f"{zlib.crc32(text.encode()):08x}"
