"""Calls of Slurm's commands, and the configuration of the cluster that they reach.

A call has a clean environment and a time limit; its errors are in the reply, and never raised.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import attrs

from furu_slurm._job_names import Home

# These say where the cluster is; any other variable of an outer job would become an option of the
# inner one.
_KEPT: Final = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_CONF_SERVER")
_OF_JOBS: Final = re.compile(r"SLURMD?_")
_OF_OURS: Final = re.compile(r"SUBMITIT_|FURU_EXEC_")
# Users set these to format listings for themselves; here they would change what is parsed.
_FORMATS: Final = re.compile(r"SQUEUE_|SACCT_|SCONTROL_")
# These would make sbatch wait for the job's end, or make an array of what is one job.
_NOT_FOR_US: Final = ("SBATCH_WAIT", "SBATCH_ARRAY_INX")
_CONFIGURATION: Final = ("scontrol", "show", "config")
_CONFIGURATION_SECS: Final = 30.0
_DEFAULT_ARRAY_SIZE: Final = 1001  # Slurm's default, where its configuration names none
NO_SUCH_CONFIGURATION: Final = "is not there, which SLURM_CONF names"
# The devices of an outer job, which an inner job without any would take for its own.
_DEVICES: Final = (
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
)


@attrs.frozen
class Reply:
    """The reply of a command.

    Attributes:
        status: its exit status; None when it could not be started or took too long.
        out: what it printed.
        err: what it wrote to standard error, or why there is no reply.
        seconds: how long it took.
        timed_out: whether it was killed because it took too long.
    """

    status: int | None
    out: str
    err: str
    seconds: float
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return self.status == 0

    @property
    def said(self) -> str:
        """Its error message, in one line."""
        lines = [line.strip() for line in self.err.splitlines()]
        text = "; ".join(
            dict.fromkeys(re.sub(r"^\w+: (error: )?", "", line) for line in lines if line)
        )
        return text or f"exit status {self.status}"


def call(command: Sequence[str], *, timeout: float, environ: Mapping[str, str]) -> Reply:
    """Run a command to its end, or kill it when it takes too long.

    Args:
        command: name and arguments.
        timeout: seconds.
        environ: its whole environment.
    """
    conf = environ.get("SLURM_CONF", "")
    if conf and not os.path.exists(conf):
        # Slurm's commands would look for the file for a minute, without a message.
        return Reply(None, "", f"{conf} {NO_SUCH_CONFIGURATION}", 0.0)
    began = time.monotonic()
    # In a session of its own: otherwise Ctrl-C at the terminal would end sbatch half-way; and
    # processes that a site's wrapper script started are killed with it.
    try:
        process = subprocess.Popen(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return Reply(None, "", f"{command[0]} cannot be started: {error.strerror}", 0.0)
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            _kill(process)
            said = (late.stderr or b"").decode(errors="replace")
            why = f"{said}\n{command[0]} took longer than {timeout:g} s"
            return Reply(None, "", why, time.monotonic() - began, timed_out=True)
        except BaseException:
            _kill(process)
            raise
    return Reply(
        process.returncode,
        out.decode(errors="replace"),
        err.decode(errors="replace"),
        time.monotonic() - began,
    )


def installed(command: str) -> bool:
    """Whether there is such a command."""
    return shutil.which(command) is not None


def query_environ() -> dict[str, str]:
    """The environment of commands that query: in English, for the cluster that sbatch submits to."""
    environ = _without(_OF_JOBS, _without(_FORMATS, os.environ))
    if "SBATCH_CLUSTERS" in environ:
        environ["SLURM_CLUSTERS"] = environ["SBATCH_CLUSTERS"]
    return environ | {"LC_ALL": "C"}


def submit_environ() -> dict[str, str]:
    """The environment of sbatch, and so of the job: without the variables of an outer job."""
    environ = _without(_OF_OURS, os.environ)
    if "SLURM_JOB_ID" in environ:
        if "SLURM_JOB_GPUS" in environ or "SLURM_STEP_GPUS" in environ:
            for name in _DEVICES:
                environ.pop(name, None)
        # Outside of jobs these are the user's own settings for srun.
        environ = _without(_OF_JOBS, environ)
    for name in _NOT_FOR_US:
        environ.pop(name, None)
    return environ


def show_job(job_id: str, *, timeout: float) -> Reply:
    """What scontrol shows of a job, in one line, with times in UTC; see `parse_time`.

    Args:
        job_id: the id, without its home.
        timeout: seconds that the command may take.
    """
    command = ["scontrol", "--oneliner", "show", "job", job_id]
    # Without TZ it would be local time, in which one hour a year occurs twice.
    return call(command, timeout=timeout, environ=query_environ() | {"TZ": "UTC0"})


def parse_time(text: str) -> float | None:
    """A time that scontrol shows in UTC, in seconds since the epoch; None for `Unknown` and the like."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _without(names: re.Pattern[str], environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environ.items() if name in _KEPT or names.match(name) is None
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    # A grandchild that left the session may hold the pipes open; it is not waited for.
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)


# The configuration of the cluster


@attrs.frozen
class Configuration:
    """The configuration of a cluster.

    Attributes:
        cluster: its name; empty where the configuration has none.
        max_array_size: the first index that a job array must not have.
        hides_jobs: whether Slurm tells users that other users' jobs do not exist.
    """

    cluster: str
    max_array_size: int = _DEFAULT_ARRAY_SIZE
    hides_jobs: bool = False

    @property
    def home(self) -> Home | None:
        """This user on that cluster."""
        return Home(self.cluster, os.getuid()) if self.cluster else None


_known: dict[tuple[str, ...], Configuration] = {}


def cluster_key() -> tuple[str, ...]:
    """A key that distinguishes the cluster that the environment names from others."""
    environ = query_environ()
    return tuple(environ.get(name, "") for name in ("SLURM_CONF", "SLURM_CLUSTERS", "PATH"))


def configuration(*, timeout: float = _CONFIGURATION_SECS) -> Configuration | None:
    """The configuration of the cluster that the environment names; None while it does not answer.

    It is remembered once the cluster has answered.

    Args:
        timeout: seconds that the command may take.
    """
    key = cluster_key()
    if key not in _known:
        reply = call(_CONFIGURATION, timeout=timeout, environ=query_environ())
        found = dict(re.findall(r"^(\w+)\s*= *(.*?)\s*$", reply.out, re.MULTILINE))
        if not reply.ok or not found:
            return None
        size = found.get("MaxArraySize", "")
        _known[key] = Configuration(
            found.get("ClusterName", ""),
            max(1, int(size)) if size.isdecimal() else _DEFAULT_ARRAY_SIZE,
            bool({"jobs", "all"} & {*found.get("PrivateData", "").lower().split(",")}),
        )
    return _known[key]
