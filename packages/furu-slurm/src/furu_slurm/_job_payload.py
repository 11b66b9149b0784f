"""What the jobs of one submission are to run: ``runs/<run id>/jobs/<token>.json``, named after its token.

A job knows the file before it has an id, so a job whose submission was never confirmed runs all the
same, and is found by its token.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

import furu_core.workers
from furu_core.executors import RecordFormat, store_errors

MAIN: Final = "furu_slurm._job_main"


def _items(given: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(given)


@attrs.frozen
class JobPayload:
    """What the jobs of one submission are to run.

    Attributes:
        function: ``module:function``. In each job it is called with this and the job's place in the
            array, after the submitter's `sys.path` and settings were restored; the module is imported
            after that. What it returns is the job's exit status.
        run_folder: the run's folder.
        jobs: what each job is to do, as JSON; in the order of the array.
        shared: what is the same for all of them, as JSON.
        token: of the submission, which `Cluster.submit` fills in.
        time_min: the walltime in minutes; the same.
    """

    function: str
    run_folder: Path
    jobs: tuple[Any, ...] = attrs.field(converter=_items)
    shared: Mapping[str, Any] = attrs.field(factory=dict)
    token: str = ""
    time_min: float = 0.0

    @property
    def path(self) -> Path:
        """The file that it stands in."""
        return payload_file(self.run_folder, self.token)


PAYLOAD: Final = RecordFormat(
    JobPayload,
    "what jobs are to run",
    version=2,
    next_step_other_version="use one furu on all machines of the cluster",
)


def payload_file(run_folder: Path, token: str) -> Path:
    """Where the payload of a submission is."""
    return run_folder / "jobs" / f"{token}.json"


def write_payload(payload: JobPayload) -> None:
    """Write the file that `read_payload` reads, whole or not at all.

    Raises:
        FuruStoreError: it cannot be written.
    """
    path = payload.path
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    PAYLOAD.replace(path, payload, sync=True)


def read_payload(path: Path, *, wait_secs: float = 0.0) -> JobPayload:
    """The payload of a submission.

    Args:
        path: of `payload_file`.
        wait_secs: for it to be visible, as on a network filesystem.

    Raises:
        FileNotFoundError: it is not there.
        FuruDamagedRecord, FuruFormatError: it is damaged, or another furu wrote it.
        FuruStoreError: it cannot be read.
    """
    return PAYLOAD.read(path, wait_secs=wait_secs)


def job_command(payload: Path, *place: str) -> str:
    """The shell command by which a job starts: this Python with the flags of this process.

    Args:
        payload: the file that says what the submission's jobs are to run.
        place: of the job in the array, where Slurm does not tell it.
    """
    # By way of the module: a job, which only reads payloads, does not import it.
    flags = furu_core.workers.interpreter_flags()
    # Without -P the working directory would come first, and a user's json.py before that of Python.
    start = [sys.executable, *flags, "-u", "-P", "-m", MAIN]
    return shlex.join([*start, str(payload), *place])
