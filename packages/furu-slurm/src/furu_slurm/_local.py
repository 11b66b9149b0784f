"""This machine in place of a cluster: each job is a process, which outlives its submitter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import attrs

from furu_core.errors import FuruStoreError
from furu_slurm._cluster import Cluster
from furu_slurm._commands import submit_environ
from furu_slurm._job_names import is_here, is_local, job_name, local_job_id, pid_of
from furu_slurm._job_payload import MAIN, JobPayload, job_command, write_payload
from furu_slurm._settings import job_log
from furu_slurm._specs import SlurmSpec
from furu_slurm._states import JobInfo, JobState, Snapshot, job_elsewhere
from furu_slurm.errors import FuruSlurmError

ENV_MARK: Final = "SUBMITIT_EXECUTOR"
_MANY: Final = 1000

_children: dict[str, subprocess.Popen[bytes]] = {}  # children of this process, by job id
_names: dict[str, str] = {}
_cancelled: set[str] = set()
_lock = threading.Lock()


class LocalCluster(Cluster):
    """Runs each job as a process of this machine, at once, whatever its spec asks for.

    A job keeps running when its submitter ends. Its walltime is not enforced.
    """

    name: ClassVar[str] = "local"

    def submit(
        self,
        *,
        spec: SlurmSpec,
        token: str,
        name: str,
        folder: Path,
        payload: JobPayload,
        dependency: str = "",
        requeue: bool = False,
        signal_before_secs: int = 60,
    ) -> list[str]:
        """Start one process for each job; see `Cluster.submit`.

        Raises:
            FuruSlurmError: a dependency is given, for which there is no scheduler to wait.
        """
        if dependency:
            raise FuruSlurmError(
                f"a process of this machine cannot wait for {dependency}",
                token=token,
                hint="submit to Slurm, or use the executor local",
            )
        if not payload.jobs:
            return []
        payload = attrs.evolve(payload, token=token, time_min=spec.time_min)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            again = payload.path.exists()
            write_payload(payload)
            there = {place: pid for pid, of, place in _processes() if of == token} if again else {}
            return [
                local_job_id(there[place])
                if place in there
                else self._start(spec, payload.path, folder, place, job_name(name, token))
                for place in range(len(payload.jobs))
            ]
        except OSError as error:
            raise FuruStoreError(
                f"a job cannot be started with its log in {folder}: {error.strerror or error}",
                path=folder,
                hint="mend that and run the same command again",
            ) from error

    def _start(self, spec: SlurmSpec, path: Path, folder: Path, index: int, name: str) -> str:
        start = job_command(path, str(index))
        # `exec` replaces the shell, so the process started here is the job's own.
        command = ["/bin/bash", "-c", "\n".join([*spec.setup, f"exec {start}"])]
        environ = {**os.environ, ENV_MARK: LocalCluster.name}
        if "SLURM_JOB_ID" not in os.environ:
            environ = {**submit_environ(), ENV_MARK: LocalCluster.name}
        fresh = folder / f"{path.stem}-{index}.log"
        with fresh.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        job_id = local_job_id(process.pid)
        with _lock:
            _children[job_id] = process
            _names[job_id] = name
        with suppress(OSError):
            fresh.rename(job_log(folder, job_id))
        return job_id

    def jobs(self, wanted: Iterable[str] = (), *, fresh: bool = False) -> Snapshot:
        """The states of the jobs on this machine; see `Cluster.jobs`."""
        taken = time.monotonic()
        found: dict[str, JobInfo] = {}
        for pid, token, _ in _processes():
            job_id = local_job_id(pid)
            found[job_id] = JobInfo(job_id, _names.get(job_id, f"furu.{token}"), JobState.RUNNING)
        with _lock:
            for job_id, child in _children.items():
                status = child.poll()
                if status is None:
                    # A shell that has not become the job yet.
                    found.setdefault(job_id, JobInfo(job_id, _names[job_id], JobState.RUNNING))
                else:
                    state = JobState.FAILED if status else JobState.COMPLETED
                    code = status if status >= 0 else 128 - status
                    found[job_id] = JobInfo(job_id, _names[job_id], state, exit_code=code)
        denied = set()
        for job_id in wanted:
            if not is_here(job_id):
                where = "a process of another machine" if is_local(job_id) else "a job of Slurm"
                found[job_id] = job_elsewhere(job_id, where)
            elif job_id not in found and not _is_hidden(job_id):
                denied.add(job_id)
        return Snapshot(True, taken=taken, found=found, denied=frozenset(denied))

    def cancel(self, job_ids: Iterable[str]) -> None:
        """End jobs with SIGTERM to all processes of their sessions; when called again, with SIGKILL.

        Jobs of other machines are skipped.
        """
        for job_id in job_ids:
            pid = pid_of(job_id)
            if pid is None or local_job_id(pid) != job_id:
                continue
            kind = signal.SIGKILL if job_id in _cancelled else signal.SIGTERM
            _cancelled.add(job_id)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, kind)

    def requeue(self, job_id: str) -> None:
        """Raise, because there is no queue here.

        Raises:
            FuruSlurmError: always.
        """
        raise FuruSlurmError(
            f"{job_id} is a process of this machine, and there is no queue to put it back into",
            hint="start it again",
        )

    def max_array_size(self) -> int:
        """How many jobs one submission may have."""
        return _MANY


def _is_hidden(job_id: str) -> bool:
    """Whether /proc may hide a job, because it belongs to another user."""
    pid = pid_of(job_id)
    try:
        os.kill(pid or 0, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _processes() -> Iterator[tuple[int, str, int]]:
    """The processes of this machine that are jobs: pid, token and place."""
    found = {
        pid: (match[1], int(match[2]))
        for pid, command in _commands()
        if (match := _COMMAND.search(command))
    }
    for pid, job in found.items():
        # A process that a job forked, such as that of a node, has the same command line.
        if found.get(_parent_of(pid)) != job:
            yield pid, *job


def _parent_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the command in parentheses; it may contain spaces and parentheses.
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0  # it has ended, or there is no /proc


_COMMAND: Final = re.compile(rf"-m[\0 ]{re.escape(MAIN)}[\0 ].*?(\w+)\.json[\0 ](\d+)")


def _commands() -> Iterator[tuple[int, str]]:
    if not os.path.isdir("/proc/self"):
        listing = subprocess.run(
            ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=False
        ).stdout
        for line in listing.splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command
        return
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                yield int(name), file.read().decode(errors="replace")
