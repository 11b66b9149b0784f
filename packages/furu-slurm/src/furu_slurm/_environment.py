"""What travels with a job: import paths, working directory, settings and provenance of its submitter."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

import furu_core.executors
from furu_core.errors import FuruFormatError, FuruStoreError, FuruUsageError
from furu_core.executors import adopt_provenance, this_process
from furu_slurm._job_names import Home, at_home, local_job_id, token_of

FILE: Final = "environment.json"
VERSION: Final = 1
VISIBLE_SECS: Final = 60.0  # network filesystems show other hosts' files that late
_EXECUTION: Final = "FURU_EXEC_"
T = TypeVar("T")

_job: JobEnvironment | None = None


@attrs.frozen
class JobEnvironment:
    """The job that this process is.

    Attributes:
        cluster: ``"slurm"`` or ``"local"``.
        job_id: as in listings: ``"123"``, or ``"123_4"`` for an element of an array.
        token: of its submission.
        restarts: how often Slurm has put it back into the queue.
        end: when its walltime ends, in seconds since the epoch; None for never. It is computed from
            what the spec asked for, where Slurm does not tell.
        home: where it is at home, see `at_home`; empty where the id says it, or nobody does.
    """

    cluster: str
    job_id: str
    token: str = ""
    restarts: int = 0
    end: float | None = None
    home: str = ""

    @property
    def full_id(self) -> str:
        """Its id with its home, by which anybody may ask for it."""
        return at_home(self.job_id, self.home)

    @property
    def seconds_left(self) -> float | None:
        """How much of the walltime is left, by this machine's clock; None for no end."""
        return None if self.end is None else self.end - time.time()


def this_job() -> JobEnvironment | None:
    """The job that this process is or was forked from; None outside of jobs."""
    return _job


def enter_job(token: str, time_min: float) -> JobEnvironment | None:
    """Note the job that this process is, as it starts; see `job_environment`."""
    global _job
    _job = job_environment(token=token, time_min=time_min)
    return _job


def job_environment(*, token: str = "", time_min: float | None = None) -> JobEnvironment | None:
    """The job that this process is; None outside of jobs.

    Args:
        token: of the submission, where the name of the job does not tell.
        time_min: the walltime in minutes, counted from now, where Slurm does not tell the end.
    """
    env = os.environ
    if env.get("SUBMITIT_EXECUTOR") == "local":
        return JobEnvironment("local", local_job_id(os.getpid()), token)
    if "SLURM_JOB_ID" not in env:
        return None
    array = env.get("SLURM_ARRAY_JOB_ID")
    job_id = f"{array}_{env['SLURM_ARRAY_TASK_ID']}" if array else env["SLURM_JOB_ID"]
    end: float | None = None
    if env.get("SLURM_JOB_END_TIME", "").isdigit():
        end = float(env["SLURM_JOB_END_TIME"])
    elif time_min is not None:
        end = time.time() + 60 * time_min
    where = env.get("SLURM_CLUSTER_NAME", "")
    return JobEnvironment(
        cluster="slurm",
        job_id=job_id,
        token=token or token_of(env.get("SLURM_JOB_NAME", "")),
        restarts=int(env.get("SLURM_RESTART_COUNT") or 0),
        end=end,
        home=str(Home(where, os.getuid())) if where else "",
    )


def write_job_environment(run_folder: Path) -> Path:
    """Write down what the jobs of a run need of this process, before they are submitted.

    Args:
        run_folder: the run's folder.

    Returns:
        The file.

    Raises:
        FuruStoreError: it cannot be written.
    """
    try:
        cwd = os.getcwd()
    except OSError as error:
        raise FuruUsageError(
            "the working directory was deleted, so jobs could not start in it",
            hint="change to a folder that is there",
        ) from error
    # By way of the module: a job, which only reads what stands here, does not import them.
    executors = furu_core.executors
    record = {
        "version": VERSION,
        "host": this_process().host,
        "cwd": cwd,
        "store": str(furu_core.settings().path),
        "sys_path": executors.import_roots(),
        "settings": executors.settings_to_env(furu_core.settings()),
        "provenance": executors.process_provenance().record,
    }
    path = run_folder / FILE
    fresh = path.with_name(f"{FILE}.{os.getpid()}.new")
    try:
        fresh.write_text(json.dumps(record), "utf-8")
        os.replace(fresh, path)
    except OSError as error:
        raise FuruStoreError(
            f"{path} cannot be written: {error.strerror or error}",
            path=path,
            hint="free some space, or make the folder writable, and run the same command again",
        ) from error
    return path


def restore_job_environment(run_folder: Path, *, patience_secs: float = VISIBLE_SECS) -> None:
    """Make this process, which has imported nothing of the user's yet, what the submitter was.

    Import paths, working directory, settings and provenance become the submitter's. A network
    filesystem gets a while to show the run's folder.

    Args:
        run_folder: the run's folder.
        patience_secs: how long to wait for it.

    Raises:
        FuruStoreError: this machine does not see the run's folder or the store.
        FuruUsageError: it does not see the working directory.
        FuruFormatError: the record is damaged, or a newer furu wrote it.
    """
    here = this_process().host
    path = run_folder / FILE
    try:
        text = once_visible(path.read_text, patience_secs)
    except OSError as error:
        raise FuruStoreError(
            f"{here} cannot read {path}, where the run's environment is: {error.strerror or error}",
            path=path,
            hint="FURU_PATH must be a folder that all nodes of the cluster see under one name",
        ) from error
    record = _parsed(text, path)
    store = record["store"]
    if not os.path.isdir(store):
        raise FuruStoreError(
            f"{here} does not see the store {store} of {record['host']}",
            path=store,
            hint="FURU_PATH must be a folder that all nodes of the cluster see under one name",
        )
    try:
        os.chdir(record["cwd"])
    except OSError as error:
        raise FuruUsageError(
            f"{here} cannot enter the working directory {record['cwd']} of {record['host']}: "
            f"{error.strerror or error}",
            hint="submit from a folder that all nodes of the cluster see under one name",
        ) from error
    for name in [name for name in os.environ if name.startswith("FURU_")]:
        del os.environ[name]
    os.environ.update(record["settings"])
    # What this Python finds by itself and the submitter's did not, comes last.
    sys.path[:] = list(dict.fromkeys([*record["sys_path"], *sys.path]))
    adopt_provenance(record["provenance"])


def once_visible(read: Callable[[], T], patience_secs: float) -> T:
    """Read a file that was written before this process started, maybe on another host.

    Raises:
        OSError: it cannot be read, or is not there in time.
    """
    deadline = time.monotonic() + patience_secs
    while True:
        try:
            return read()
        except OSError as error:
            late = error.errno in {errno.ENOENT, errno.ESTALE}
            if not late or time.monotonic() >= deadline:
                raise
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(text)
        version = record["version"]
        if version <= VERSION:
            for name in ("host", "cwd", "store", "sys_path", "settings", "provenance"):
                record[name]
            return record
    except (ValueError, KeyError, TypeError) as error:
        raise FuruFormatError(
            f"{path} is damaged: {type(error).__name__}: {error}", path=path, hint="submit again"
        ) from error
    raise FuruFormatError(
        f"{path} has format version {version}, this furu reads up to {VERSION}",
        path=path,
        hint="use one furu on all machines of the cluster",
    )
