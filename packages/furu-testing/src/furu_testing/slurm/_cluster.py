"""Real Slurm clusters on this machine, for tests and for trying by hand.

The fixtures `slurm` (one cluster for the whole test run) and `own_slurm` (clusters of a test's own) are
defined in `furu_testing.slurm.fixtures`; ``python -m furu_testing.slurm up`` starts a cluster
by hand.

A cluster has four nodes ``n1`` to ``n4`` of 8 CPUs and 128 GB each, whatever the machine has, and the
partitions ``cpu`` (default), ``gpu`` (n3 and n4, two GPUs each that are none) and ``urgent``, whose
jobs send jobs of the others back to the queue. All its files are in one folder, all its daemons are
processes of this user, and both are gone when it ends; see `_guardian.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core.executors import excluding
from furu_testing.slurm._configuration import CONTROL, LOCK, ClusterOptions

PREFIX: Final = "furu-slurm-"
NEEDS: Final = "needs Slurm"
PACKAGES: Final = "slurmctld slurmd slurm-client slurmdbd munge mariadb-server"
_PROGRAMS: Final = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd")
_SBIN: Final = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))
_START_SECS: Final = 300.0
# Deadlines are for what must happen in the end: a machine that is busy takes many times as long.
WAIT_SECS: Final = 240.0
_COMMAND_SECS: Final = 120.0
# What commands say of a controller, or of the accounting, that is too busy to answer.
_BUSY: Final = ("timed out", "Unable to contact", "Zero Bytes were", "Connection refused")
_DEAD: Final = '{"error": "the guardian of the cluster has died"}'
_SQUEUE: Final = {
    "id": ("JobArrayID", 40),
    "name": ("Name", 200),
    "state": ("State", 20),
    "reason": ("Reason", 100),
    "partition": ("Partition", 20),
    "nodes": ("NodeList", 50),
    "restarts": ("RestartCnt", 10),
    "dependency": ("Dependency", 500),
    "wckey": ("WCKey", 50),
    "stdout": ("STDOUT", 500),
}
_SACCT: Final = ("JobID", "JobName", "State", "ExitCode", "Partition", "NodeList")

# Of a cluster on which `SlurmTestCluster.make_ghost` is to work, however slow the machine is.
GHOSTLY: Final = {"BatchStartTimeout": "600"}


def missing_programs() -> str:
    """What is missing for a cluster and how to get it, in one line; empty if nothing is."""
    path = os.pathsep.join((os.environ.get("PATH", ""), _SBIN))
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    if not missing:
        return ""
    return f"{NEEDS} ({', '.join(missing)} not found): apt-get install {PACKAGES}"


@attrs.frozen
class SlurmTestCluster:
    """A running cluster.

    Attributes:
        folder: where all its files are; daemons log to ``log/`` in it.
        key: marks the jobs of one test, see `environment`; empty for none.
    """

    folder: Path
    key: str = ""
    partitions: tuple[str, ...] = ("cpu", "gpu", "urgent")
    nodes: tuple[str, ...] = ("n1", "n2", "n3", "n4")

    @property
    def conf(self) -> Path:
        """The configuration file; ``SLURM_CONF`` names it for Slurm's commands."""
        return self.folder / "slurm.conf"

    @property
    def variables(self) -> dict[str, str]:
        """What must be in the environment of a process that uses this cluster.

        Jobs get `key` as their WCKey, also those that a job submits, so that tests that share
        a cluster tell their jobs apart. Slurm itself makes nothing of it.
        """
        key = {"SBATCH_WCKEY": self.key} if self.key else {}
        return {"SLURM_CONF": str(self.conf), **key}

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, but with this cluster instead of any other."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLURM_", "SBATCH_"))
        }
        return {**kept, **self.variables}

    # ----- commands

    def run(self, *command: str | Path, seconds: float = _COMMAND_SECS) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=seconds,
        )
        if done.returncode != 0:
            shown = " ".join(str(part) for part in command)
            raise AssertionError(f"`{shown}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, *command: str) -> str:
        """What a command prints that only asks, which is asked again where nobody had time to answer."""
        deadline = time.monotonic() + _COMMAND_SECS
        while True:
            try:
                return self.run(*command)
            except AssertionError as error:
                busy = any(words in str(error) for words in _BUSY)
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def sbatch(self, script: str, *options: str | Path) -> str:
        """Submit a shell script, its output thrown away unless told otherwise; the job's id."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "script")
            file.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
            quiet = ("--parsable", f"--output={os.devnull}")
            return self.run("sbatch", *quiet, *options, file).strip()

    def squeue(self, *job_ids: str, states: str = "all") -> list[dict[str, str]]:
        """The jobs that Slurm remembers, ended ones too, one row per array element.

        Args:
            job_ids: only these; without any, those with this cluster's `key`.
            states: only jobs in these, as for ``squeue --states``.
        """
        columns = ",".join(f"{column}:{width}" for column, width in _SQUEUE.values())
        # Asked for job ids, squeue fails when it has forgotten one, so all are asked for.
        output = self.ask("squeue", "-h", "--array", f"--states={states}", f"--Format={columns}")
        rows = [_row(line) for line in output.splitlines()]
        if job_ids:
            return [row for row in rows if {row["id"], row["id"].split("_")[0]} & {*job_ids}]
        return [row for row in rows if not self.key or row["wckey"] == self.key]

    def sacct(self, *job_ids: str) -> list[dict[str, str]]:
        """What accounting knows about jobs: one row per job or array element, without steps.

        It learns of changes seconds after they happened; a job that ended within its first seconds
        may be there with another name, ``allocation``, for a while.

        Args:
            job_ids: only these; without any, those with this cluster's `key` that `squeue` knows.
        """
        if self.key and not job_ids:
            job_ids = tuple({row["id"].split("_")[0] for row in self.squeue()})
            if not job_ids:
                return []
        chosen = [f"--jobs={','.join(job_ids)}"] if job_ids else []
        fields = f"--format={','.join(_SACCT)}"
        output = self.ask("sacct", "--noheader", "--allocations", "--parsable2", fields, *chosen)
        names = [name.lower() for name in _SACCT]
        return [dict(zip(names, line.split("|"), strict=True)) for line in output.splitlines()]

    def state(self, job_id: str) -> str:
        """The state of one job, such as ``RUNNING``; empty when Slurm has forgotten it."""
        rows = self.squeue(job_id)
        return rows[0]["state"] if rows else ""

    def jobs(self) -> list[dict[str, str]]:
        """The rows of `squeue` of jobs that have not ended: this test's, or all on an own cluster."""
        return self.squeue(states=_LIVE)

    # ----- waiting

    def wait_for_state(self, job_id: str, *states: str, seconds: float = WAIT_SECS) -> str:
        """Wait until a job is in one of some states; which."""
        deadline = time.monotonic() + seconds
        while (state := self.state(job_id)) not in states:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"waited {seconds:g} s for job {job_id} to be {' or '.join(states)}; it is"
                    f" {state or 'forgotten'}: {self.squeue(job_id)}{self.log_tail()}"
                )
            time.sleep(0.05)
        return state

    def wait_idle(self, seconds: float = WAIT_SECS) -> None:
        """Wait until no job is left: of this test on the shared cluster, at all on one of its own."""
        deadline = time.monotonic() + seconds
        while left := self.jobs():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for jobs to end: {left}")
            time.sleep(0.1)

    def nothing_left(self) -> None:
        """Fail when a job is left that has not ended."""
        if left := self.jobs():
            raise AssertionError(f"jobs are left: {left}")

    def cancel_all(self, seconds: float = WAIT_SECS) -> None:
        """Cancel all jobs, as `jobs` has them, and wait for their end."""
        deadline = time.monotonic() + seconds
        while left := self.jobs():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for cancelled jobs to end: {left}")
            chosen = f"--wckey={self.key}" if self.key else f"--user={os.getuid()}"
            with contextlib.suppress(AssertionError):  # one may have ended by itself
                self.run("scancel", chosen)
            time.sleep(0.1)

    def wait_for_nodes(self, *nodes: str, state: str = "idle", seconds: float = WAIT_SECS) -> None:
        """Wait until nodes (all, if none are named) are in a state as `sinfo` shows it."""
        deadline = time.monotonic() + seconds
        while True:
            rows = self.ask("sinfo", "-h", "-N", "-o", "%N %T").splitlines()
            states = dict(row.split() for row in rows)
            if all(states[node].startswith(state) for node in nodes or self.nodes):
                return
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"waited {seconds:g} s for nodes to be {state}: {states}{self.log_tail()}"
                )
            time.sleep(0.1)

    # ----- faults

    def kill_slurmd(self, node: str) -> None:
        """Kill a node's slurmd; its jobs go on, and Slurm notices nothing for a while."""
        self._ask(do="kill", name=node, signal=signal.SIGKILL)

    def crash(self, node: str) -> None:
        """End a node as a power cut does: slurmd and the jobs die at once, and nobody is told."""
        self._ask(do="crash", name=node)

    def start_slurmd(self, node: str) -> None:
        """Start a node's slurmd again, after `kill_slurmd` or `crash`."""
        self._ask(do="start", name=node)

    def down(self, node: str) -> None:
        """Tell Slurm that a node is down: its jobs end or go back to the queue."""
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def resume(self, node: str) -> None:
        """Tell Slurm that a node is up again."""
        with contextlib.suppress(AssertionError):  # it came back by itself
            self.run("scontrol", "update", f"nodename={node}", "state=resume")

    def stop_controller(self, *, kill: bool = False) -> None:
        """Stop slurmctld: no submissions, no answers; jobs that run go on.

        Args:
            kill: without saving its state; a job that started in the last seconds is then started a
                second time, under the same id and with the same restart count.
        """
        number = signal.SIGKILL if kill else signal.SIGTERM
        self._ask(do="kill", name="slurmctld", signal=number)

    def start_controller(self, seconds: float = WAIT_SECS) -> None:
        """Start slurmctld and wait until it answers."""
        self._ask(do="start", name="slurmctld")
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):
                if "UP" in self.run("scontrol", "ping"):
                    return
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for slurmctld{self.log_tail()}")
            time.sleep(0.1)

    def make_ghost(
        self, job_id: str, end: Callable[[], object], seconds: float = WAIT_SECS
    ) -> None:
        """End a job, and kill slurmctld before it saves that; started again, it believes in the job.

        It does until the job's walltime is over, or it has missed the job on its node for longer than
        ``BatchStartTimeout``, which `GHOSTLY` makes very long.

        Args:
            job_id: one that runs.
            end: ends it.
            seconds: how long to wait for that.
        """
        state = self.folder / "state" / "job_state"
        log = self.folder / "log" / "slurmctld.log"
        ended = re.compile(rf"_job_complete: JobId={re.escape(job_id)}\b.* done")
        self.wait_for_state(job_id, "RUNNING")
        before = time.time_ns()
        self.run("scontrol", "update", f"jobid={job_id}", "comment=changed, so that it is saved")
        self._await(
            "slurmctld to save its state", lambda: state.stat().st_mtime_ns > before, seconds
        )
        remembered = state.read_bytes()
        end()
        self._await(
            f"the end of job {job_id}", lambda: ended.search(log.read_text("utf-8")), seconds
        )
        self.stop_controller(kill=True)
        # Should it have saved the end as well, because the machine is slow.
        state.write_bytes(remembered)
        self.start_controller()
        if self.state(job_id) != "RUNNING":
            raise AssertionError(f"slurmctld knows that job {job_id} has ended{self.log_tail()}")

    def _await(self, what: str, happened: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for {what}{self.log_tail()}")
            time.sleep(0.01)

    # ----- the whole

    def processes(self) -> list[int]:
        """The processes of the cluster, daemons and jobs."""
        pids = self._ask(do="processes")["pids"]
        assert isinstance(pids, list)
        return pids

    def log_tail(self, lines: int = 15) -> str:
        """The end of the controller's log, for messages."""
        try:
            text = (self.folder / "log" / "slurmctld.log").read_text("utf-8", "replace")
        except OSError as error:
            return f"\n(no log: {error})"
        return "\n--- slurmctld:\n" + "\n".join(text.splitlines()[-lines:])

    def end(self, seconds: float = WAIT_SECS) -> None:
        """Kill everything, and wait until nothing is left."""
        with contextlib.suppress(OSError):
            self._ask(do="end")
        deadline = time.monotonic() + seconds
        while self.folder.exists():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for the end of {self.folder}")
            time.sleep(0.02)

    def _ask(self, **request: object) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WAIT_SECS)
            connection.connect(str(self.folder / CONTROL))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                reply: dict[str, object] = json.loads(stream.readline() or _DEAD)
        if "error" in reply:
            raise AssertionError(reply["error"])
        return reply


_LIVE: Final = "pending,configuring,running,completing,suspended,stopped,stage_out,signaling"


def _row(line: str) -> dict[str, str]:
    row: dict[str, str] = {}
    for name, (_column, width) in _SQUEUE.items():
        row[name], line = line[:width].strip(), line[width:]
    return row


def free_folder() -> Path:
    """A new folder for a cluster."""
    sweep()
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=base_folder()))


def base_folder() -> Path:
    """Where the folders of clusters are: in memory where there is room, since databases start faster there."""
    shared = Path("/dev/shm")
    with contextlib.suppress(OSError):
        if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 1 << 30:
            return shared
    return Path(tempfile.gettempdir())


def sweep() -> None:
    """Remove folders of clusters whose guardian was killed before it could."""
    for lock in base_folder().glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime < 60:
                continue  # its guardian may be about to lock it
            # Not `excluding`: it would make the file anew, of a folder that another process removes.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def start(options: ClusterOptions, *, key: str = "") -> SlurmTestCluster:
    """Start a cluster and wait until its nodes are idle.

    Raises:
        RuntimeError: it does not come up, with the end of the log of what does not.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), _SBIN))
    # Whoever ends the processes of a test's store must not end a cluster that outlives the test.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FURU_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "furu_testing.slurm._guardian", options.to_json()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**environment, "PATH": path},
    )
    assert process.stdout is not None
    with process.stdout:
        if not select.select([process.stdout], [], [], _START_SECS)[0]:
            process.wait()
            raise RuntimeError(f"waited {_START_SECS:g} s for a Slurm cluster in {options.folder}")
        line = process.stdout.readline()
    process.wait()
    reply = json.loads(line or _DEAD)
    if "error" in reply:
        shutil.rmtree(options.folder, ignore_errors=True)  # of a guardian that died it is left
        raise RuntimeError(f"no Slurm cluster: {reply['error']}")
    return SlurmTestCluster(Path(options.folder), key, nodes=tuple(options.node_names))


@contextlib.contextmanager
def running(**options: Any) -> Iterator[SlurmTestCluster]:
    """A cluster of one's own, which ends with the block or with this process.

    Args:
        options: the fields of `ClusterOptions`, without the folder.
    """
    cluster = start(ClusterOptions(str(free_folder()), watched=os.getpid(), **options))
    try:
        yield cluster
    finally:
        cluster.end()


def shared(folder: Path, watched: int) -> SlurmTestCluster:
    """The cluster in a folder, started by the first that asks for it."""
    sweep()
    folder.mkdir(mode=0o700, exist_ok=True)
    # The wait is for another process to start it, which gives up by itself.
    lock, wait_secs = folder / "start.lock", 2 * _START_SECS
    with excluding(lock, what="starting a Slurm cluster for tests", wait_secs=wait_secs):
        failure = folder / "failure"
        if failure.exists():
            raise RuntimeError(failure.read_text("utf-8"))
        if (folder / CONTROL).exists():
            return SlurmTestCluster(folder)
        try:
            return start(ClusterOptions(str(folder), watched=watched, accounting=True))
        except RuntimeError as error:
            folder.mkdir(mode=0o700, exist_ok=True)
            failure.write_text(str(error), "utf-8")
            raise
