"""What a job gets from its submitter: import paths, working directory, settings and provenance."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

import furu_core.workers
from furu_core.errors import FuruStoreError, FuruUsageError
from furu_core.executors import OWNER_WRITES, JobTimes, RecordFormat, read_trusted
from furu_core.workers import CodeSnapshot, adopt_provenance, this_process
from furu_slurm._job_names import Home, at_home, local_job_id, token_of

FILE: Final = "environment.json"
VISIBLE_SECS: Final = 60.0  # a network filesystem may show another host's files so late
_TIMES_SECS: Final = 3.0
_TIMES: Final = re.compile(
    r" JobState=(?:RUNNING|COMPLETING) .*? Restarts=(?P<restarts>\d+) .*? SubmitTime=(?P<submitted>\S+)"
    r" EligibleTime=(?P<eligible>\S+) (?:.*? )??StartTime=(?P<started>\S+)"
)

_job: JobEnvironment | None = None


@attrs.frozen
class _Submitter:
    """What jobs need of the process that submitted them."""

    host: str
    cwd: str
    store: str
    sys_path: tuple[str, ...]
    settings: Mapping[str, str]
    provenance: Any
    snapshot: CodeSnapshot | None = None


_SUBMITTER: Final = RecordFormat(
    _Submitter,
    "the environment of a run",
    version=1,
    next_step_other_version="use one furu on all machines of the cluster",
)


@attrs.frozen
class JobEnvironment:
    """The job that this process is.

    Attributes:
        cluster: ``"slurm"`` or ``"local"``.
        job_id: as in listings: ``"123"``, or ``"123_4"`` for an element of an array.
        token: of its submission.
        restarts: how often Slurm has put it back into the queue.
        end: when its walltime ends, in seconds since the epoch; None for never. It is computed from
            the walltime in the spec, where Slurm does not tell.
        home: its home, see `at_home`; empty where the id includes it, or it is not known.
    """

    cluster: str
    job_id: str
    token: str = ""
    restarts: int = 0
    end: float | None = None
    home: str = ""

    @property
    def full_id(self) -> str:
        """Its id with its home, which means the same job on every host and cluster."""
        return at_home(self.job_id, self.home)

    @property
    def seconds_left(self) -> float | None:
        """How much of the walltime is left, by this machine's clock; None for no end."""
        return None if self.end is None else self.end - time.time()


def this_job() -> JobEnvironment | None:
    """The job that this process is or was forked from; None outside of jobs."""
    return _job


def enter_job(token: str, time_min: float) -> JobEnvironment | None:
    """Remember, at its start, the job that this process is; see `job_environment`."""
    global _job
    _job = job_environment(token=token, time_min=time_min)
    return _job


def job_environment(*, token: str = "", time_min: float | None = None) -> JobEnvironment | None:
    """The job that this process is; None outside of jobs.

    Args:
        token: of the submission, where the name of the job does not contain it.
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


def job_times(job: JobEnvironment) -> JobTimes | None:
    """When Slurm queued and began a job that runs; None where it does not say so at once.

    Only the job itself asks for this, and once, because each call is work for Slurm's controller.

    Example:
        >>> from furu_slurm import JobEnvironment, job_times
        >>> job_times(JobEnvironment("local", "local-1")) is None
        True
    """
    if job.cluster != "slurm":
        return None
    from furu_slurm import _commands  # a job without Slurm asks nobody

    shown = _commands.show_job(job.job_id, timeout=_TIMES_SECS).out
    told = _TIMES.search(shown)
    if told is not None and int(told["restarts"]) == job.restarts:
        names = ("submitted", "eligible", "started")
        found = JobTimes(**{name: _commands.parse_time(told[name]) for name in names})
    else:
        started = os.environ.get("SLURM_JOB_START_TIME", "")
        found = JobTimes(started=float(started) if started.isdecimal() else None)
    return None if found == JobTimes() else found


def write_job_environment(run_folder: Path) -> Path:
    """Write down what the jobs of a run need of this process, before they are submitted.

    Unless `FURU_CODE` is ``live``, this makes a snapshot of the project's code, from which they import.

    Args:
        run_folder: the run's folder.

    Returns:
        The file.

    Raises:
        FuruStoreError: it, or the snapshot, cannot be written.
        FuruUsageError: the working directory was deleted, or there is too much in the project's folder.
    """
    try:
        cwd = os.getcwd()
    except OSError as error:
        raise FuruUsageError(
            "the working directory was deleted, so jobs could not start in it",
            hint="change to a folder that is there",
        ) from error
    # Through the package, which imports late: a job, which only reads the file, does without them.
    workers = furu_core.workers
    record = _Submitter(
        host=this_process().host,
        cwd=cwd,
        store=str(furu_core.settings().path),
        sys_path=tuple(workers.import_roots()),
        settings=workers.settings_to_env(furu_core.settings()),
        provenance=workers.process_provenance().record,
        snapshot=workers.take_snapshot(),
    )
    path = run_folder / FILE
    _SUBMITTER.replace(path, record, mode=OWNER_WRITES)
    return path


def restore_job_environment(
    run_folder: Path,
    *,
    patience_secs: float = VISIBLE_SECS,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Give this process the submitter's import paths, code, working directory, settings and provenance.

    It must not have imported any code of the user yet. On a network filesystem the run's folder may
    appear late.

    Args:
        run_folder: the run's folder.
        patience_secs: how long to wait for it.
        environ: of a job that has yet to learn its settings; else None.

    Raises:
        FuruStoreError: this machine does not see the run's folder, the store or the snapshot of the code.
        FuruUntrustedFile: the record is of somebody whose code is not to be run.
        FuruUsageError: it does not see the working directory.
        FuruDamagedRecord, FuruFormatError: the record is damaged, or another furu wrote it.
    """
    here = this_process().host
    path = run_folder / FILE
    try:
        reader = partial(read_trusted, environ=environ)
        record = _SUBMITTER.read(path, wait_secs=patience_secs, reader=reader)
    except FileNotFoundError as error:
        raise FuruStoreError(
            f"{here} cannot read {path}, where the run's environment is: {error.strerror}",
            path=path,
            hint="FURU_PATH must be a folder that all nodes of the cluster see under one name",
        ) from error
    store = record.store
    if not os.path.isdir(store):
        raise FuruStoreError(
            f"{here} does not see the store {store} of {record.host}",
            path=store,
            hint="FURU_PATH must be a folder that all nodes of the cluster see under one name",
        )
    try:
        os.chdir(record.cwd)
    except OSError as error:
        raise FuruUsageError(
            f"{here} cannot enter the working directory {record.cwd} of {record.host}: "
            f"{error.strerror or error}",
            hint="submit from a folder that all nodes of the cluster see under one name",
        ) from error
    for name in [name for name in os.environ if name.startswith("FURU_")]:
        del os.environ[name]
    os.environ.update(record.settings)
    # Import paths that only this Python has come last.
    sys.path[:] = list(dict.fromkeys([*record.sys_path, *sys.path]))
    if record.snapshot is not None:
        furu_core.workers.enter_snapshot(record.snapshot, wait_secs=patience_secs)
    adopt_provenance(record.provenance)


def code_of_run(run_folder: Path) -> CodeSnapshot | None:
    """The snapshot that jobs of a run import from if they start now; None for what is there then.

    Raises:
        FileNotFoundError: nothing was written down for its jobs.
        FuruStoreError: that cannot be read.
        FuruUntrustedFile: it is of somebody whose code is not to be run.
    """
    return _SUBMITTER.read(run_folder / FILE, reader=read_trusted).snapshot
