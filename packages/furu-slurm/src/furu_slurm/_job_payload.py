"""What the jobs of one submission are to run: ``runs/<run id>/jobs/<token>.json``, named after its token.

A job knows the file before it has an id, so a job whose submission was never confirmed runs all the
same, and is found by its token.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core.errors import FuruFormatError

VERSION: Final = 2
MAIN: Final = "furu_slurm._job_main"


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
    jobs: Sequence[Any]
    shared: Mapping[str, Any] = attrs.field(factory=dict)
    token: str = ""
    time_min: float = 0.0

    @property
    def path(self) -> Path:
        """The file that it stands in."""
        return payload_file(self.run_folder, self.token)


def payload_file(run_folder: Path, token: str) -> Path:
    """Where the payload of a submission is."""
    return run_folder / "jobs" / f"{token}.json"


def write_payload(payload: JobPayload) -> None:
    """Write the file that `read_payload` reads, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    record = {
        "version": VERSION,
        "time_min": payload.time_min,
        "function": payload.function,
        "shared": payload.shared,
        "jobs": payload.jobs,
    }
    path = payload.path
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            file.write(json.dumps(record, separators=(",", ":")).encode())
            file.flush()
            os.fsync(file.fileno())  # a network filesystem shows other hosts only what was synced
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def read_payload(path: Path) -> JobPayload:
    """The payload of a submission.

    Args:
        path: of `payload_file`.

    Raises:
        OSError: the file cannot be read.
        FuruFormatError: it is damaged, or a newer furu wrote it.
    """
    text = path.read_text("utf-8")
    try:
        record = json.loads(text)
        version = record["version"]
        if version == VERSION:
            return JobPayload(
                function=record["function"],
                run_folder=path.parents[1],
                jobs=tuple(record["jobs"]),
                shared=record["shared"],
                token=path.stem,
                time_min=float(record["time_min"]),
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FuruFormatError(
            f"{path}, which says what jobs are to do, is damaged: {type(error).__name__}: {error}",
            path=path,
            hint="was it changed? Run the same command again",
        ) from error
    raise FuruFormatError(
        f"{path} has format version {version}, this furu reads {VERSION}",
        path=path,
        hint="use one furu on all machines of the cluster",
    )


def job_command(payload: Path, *place: str) -> str:
    """The shell command by which a job starts: this Python with the flags of this process.

    Args:
        payload: the file that says what the submission's jobs are to run.
        place: of the job in the array, where Slurm does not tell it.
    """
    flags = sys.flags
    given = [
        *(["-" + "O" * flags.optimize] if flags.optimize else []),
        *(["-I"] if flags.isolated else []),
        *(["-s"] if flags.no_user_site and not flags.isolated else []),
        *(["-E"] if flags.ignore_environment and not flags.isolated else []),
        *(["-B"] if flags.dont_write_bytecode else []),
        *(f"-W{option}" for option in sys.warnoptions),
        *(
            f"-X{key}" if value is True else f"-X{key}={value}"
            for key, value in sys._xoptions.items()  # noqa: SLF001 - documented so
        ),
    ]
    # Without -P the working directory would come first, and a user's json.py before that of Python.
    start = [sys.executable, *given, "-u", "-P", "-m", MAIN]
    return shlex.join([*start, str(payload), *place])
