"""What the jobs of a submission run, in the file ``runs/<run id>/jobs/<token>.json``.

The file is named before the job has an id, so a job whose submission was never confirmed runs all the
same, and is found by its token.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

import furu_core.workers
from furu_core.executors import OWNER_WRITES, RecordFormat, read_trusted, store_errors

MAIN: Final = "furu_slurm._job_main"


def _items(given: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(given)


@attrs.frozen
class JobPayload:
    """What the jobs of one submission run.

    Attributes:
        function: ``module:function``. Each job calls it with this payload and the job's place in the
            array, after it has restored the submitter's `sys.path` and settings; the module is
            imported after that. It returns the job's exit status.
        run_folder: the run's folder.
        jobs: what each job is to do, as JSON; in the order of the array.
        shared: what is the same for all jobs, as JSON.
        token: of the submission; `Cluster.submit` fills it in.
        time_min: the walltime in minutes; `Cluster.submit` fills it in.
    """

    function: str
    run_folder: Path
    jobs: tuple[Any, ...] = attrs.field(converter=_items)
    shared: Mapping[str, Any] = attrs.field(factory=dict)
    token: str = ""
    time_min: float = 0.0

    @property
    def path(self) -> Path:
        """The file of the payload."""
        return payload_file(self.run_folder, self.token)


PAYLOAD: Final = RecordFormat(
    JobPayload,
    "what jobs are to run",
    version=2,
    next_step_other_version="use one furu on all machines of the cluster",
)


def payload_file(run_folder: Path, token: str) -> Path:
    """The file of the payload of a submission."""
    return run_folder / "jobs" / f"{token}.json"


def write_payload(payload: JobPayload) -> None:
    """Write the file that `read_payload` reads, atomically.

    Raises:
        FuruStoreError: it cannot be written.
    """
    path = payload.path
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    PAYLOAD.replace(path, payload, sync=True, mode=OWNER_WRITES)


def read_payload(
    path: Path, *, wait_secs: float = 0.0, environ: Mapping[str, str] | None = None
) -> JobPayload:
    """Read the payload of a submission.

    Args:
        path: of `payload_file`.
        wait_secs: how long to wait for the file, which a network filesystem may show late.
        environ: of a job that has yet to learn its settings; else None.

    Raises:
        FileNotFoundError: it is not there.
        FuruDamagedRecord, FuruFormatError: it is damaged, or another furu wrote it.
        FuruUntrustedFile: it is of somebody whose code is not to be run.
        FuruStoreError: it cannot be read.
    """
    reader = partial(read_trusted, environ=environ)
    return PAYLOAD.read(path, wait_secs=wait_secs, reader=reader)


def job_command(payload: Path, *place: str) -> str:
    """The shell command by which a job starts: this Python with the flags of this process.

    Args:
        payload: the file that says what the submission's jobs are to run.
        place: of the job in the array, for jobs that Slurm does not tell it.
    """
    # Through the package, which imports late: a job, which only reads payloads, does without it.
    flags = furu_core.workers.interpreter_flags()
    # Without -P the working directory would come first in `sys.path`, and a user's json.py would hide
    # Python's own.
    start = [sys.executable, *flags, "-u", "-P", "-m", MAIN]
    # What the job reads first says what it is to run, so whom to trust is said before it reads anything.
    name = "FURU_TRUST_PICKLES"
    trust = furu_core.workers.settings_to_env(furu_core.settings())[name]
    return shlex.join(["env", f"{name}={trust}", *start, str(payload), *place])
