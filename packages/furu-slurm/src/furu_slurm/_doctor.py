"""The checks of `furu doctor --slurm`: Slurm itself, and the store as a node sees it, by one small job."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
import time
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs

import furu_core
from furu_core.checks import CheckLevel, CheckResult, probe_folder
from furu_core.errors import FuruError
from furu_core.executors import (
    count,
    duration,
    excluding,
    list_folder,
    once_visible,
    read_file,
    replace_file,
)
from furu_slurm import _doctor_commands
from furu_slurm._cluster import Cluster
from furu_slurm._doctor_node import (
    FUNCTION,
    HERE,
    LOCK,
    NODE,
    PAUSE_SECS,
    THERE,
    Surroundings,
    results_in,
)
from furu_slurm._environment import VISIBLE_SECS, write_job_environment
from furu_slurm._job_names import new_token
from furu_slurm._job_payload import JobPayload
from furu_slurm._settings import job_log, last_word, submitit_root
from furu_slurm._slurm import SlurmCluster
from furu_slurm._specs import SlurmSpec, configured_specs
from furu_slurm._states import JobInfo, Snapshot, reasons, reasons_text
from furu_slurm.errors import FuruSlurmUnavailable

_log = logging.getLogger("furu.slurm")

_PREFIX: Final = ".furu-doctor-"  # begins the names of doctors' folders
_CLOCK_SECS: Final = 2.0
_LOOK_SECS: Final = 0.5
_END_SECS: Final = 20.0  # how long a job may take to end that has done all it was to do
_MOST_MIN: Final = 10.0  # its walltime
_LOGIN: Final = "type it on a login node of the cluster, where sbatch is"


def checks(wait_secs: float) -> Iterator[CheckResult]:
    """Whether Slurm answers, and whether a node is like this host and sees the same store.

    Args:
        wait_secs: how long to wait for the job that tells.
    """
    try:
        missing = list(_doctor_commands.commands(next_step=_LOGIN))
        told = missing or list(_doctor_commands.controller())
        yield from told
        if any(one.level is CheckLevel.PROBLEM for one in told):
            return
        spec = _small(configured_specs().get("default", SlurmSpec()))
        yield from _doctor_commands.partitions(spec.partition)
        yield from _doctor_commands.accounting()
        cluster = SlurmCluster()
        yield from _own_jobs(cluster)
        with closing(_from_a_node(cluster, spec, wait_secs)) as found:
            yield from found
    except FuruError as error:
        yield _problem("job", error.message, error.hint)
    except OSError as error:
        where = "" if error.filename is None else f" ({error.filename})"
        yield _problem("job", f"{error.strerror or error}{where}", "mend what stands above")


def _small(spec: SlurmSpec) -> SlurmSpec:
    """A spec with little of what it asks for, in the same partition and account."""
    memory = None if spec.mem_gb is None else min(spec.mem_gb or 1.0, 1.0)
    time_min = min(spec.time_min, _MOST_MIN)
    return attrs.evolve(spec, cpus=1, gpus=0, mem_gb=memory, time_min=time_min)


# The user's jobs


def _own_jobs(cluster: Cluster) -> Iterator[CheckResult]:
    """How the user's jobs stand, without those of doctors that are gone, which are cancelled."""
    snapshot = cluster.jobs(fresh=True)
    if not snapshot.known:
        yield _problem("squeue", f"squeue does not answer: {snapshot.problem}", "squeue --me")
        return
    left = _of_gone_doctors(snapshot)
    if left:
        cluster.cancel(info.job_id for info in left)
        ids = ", ".join(info.job_id for info in left)
        yield _ok("squeue", f"cancelled {ids}, which an earlier doctor left")
    live = [one for one in snapshot.found.values() if one.state.live and one not in left]
    waiting = [one for one in live if one.state.waiting]
    said = reasons_text(reasons(waiting))
    text = f"you have {count(len(live), 'job')}: {len(live) - len(waiting)} running, {len(waiting)} pending"
    text += f", Slurm says {said}" if said else ""
    stuck = [one for one in waiting if one.unschedulable or one.held]
    if stuck:
        yield CheckResult(
            "squeue",
            CheckLevel.WARNING,
            f"{text}; {stuck[0].words}, which does not pass by itself",
            f"scontrol show job {stuck[0].job_id}",
        )
    else:
        yield _ok("squeue", text)


def _name() -> str:
    """The name of doctors' jobs for this store."""
    return f"furu-doctor-{zlib.crc32(os.fsencode(furu_core.settings().path)):08x}"


def _of_gone_doctors(snapshot: Snapshot) -> list[JobInfo]:
    """Live jobs of doctors of this store whose folders are gone."""
    store = str(furu_core.settings().path)
    folders = [name for where in (store, os.path.dirname(store)) for name in _folders(where)]
    living = {
        name.removesuffix(".json") for folder in folders for name in list_folder(f"{folder}/jobs")
    }
    return [
        info
        for info in snapshot.found.values()
        if info.state.live and info.name.startswith(f"{_name()}.") and info.token not in living
    ]


def _folders(where: str) -> list[str]:
    return [f"{where}/{name}" for name in list_folder(where) if name.startswith(_PREFIX)]


# A node


def _from_a_node(
    cluster: Cluster, spec: SlurmSpec, wait_secs: float
) -> Generator[CheckResult, None, None]:
    with probe_folder(wait_secs + 60 * _MOST_MIN) as name:
        folder = Path(name)
        store = furu_core.settings().path
        if not store.is_dir():
            (store := folder / "store").mkdir()
        # The doctor leaves no snapshot of code behind.
        with furu_core.use_settings(code="live", path=store):
            write_job_environment(folder)
            logs = _log_folder(folder)
        inner = folder / "login"
        inner.mkdir()
        here = Surroundings.here(inner)
        with _submitted(cluster, spec, folder, logs) as job_id:
            began = time.monotonic()
            answer = _answer(cluster, job_id, folder / NODE, job_log(logs, job_id), wait_secs)
            if isinstance(answer, CheckResult):
                yield answer
                return
            there = Surroundings(**answer["surroundings"])
            waited = duration(time.monotonic() - began)
            yield _ok("job", f"job {job_id} began on {there.host}, and answered after {waited}")
            yield from _compared(here, there)
            yield from _of_node(results_in(answer, there.host), there.host)
            yield from _exchange(folder, here, there)
            _await_end(cluster, job_id)


@contextmanager
def _submitted(cluster: Cluster, spec: SlurmSpec, folder: Path, logs: Path) -> Iterator[str]:
    """Submit the job; it is cancelled however this ends, and its logs are removed."""
    token = new_token()
    payload = JobPayload(FUNCTION, folder, [None])
    ids: list[str] = []
    try:
        ids += cluster.submit(spec=spec, token=token, name=_name(), folder=logs, payload=payload)
        yield ids[0]
    finally:
        try:
            if not ids:  # interrupted while it was being submitted
                ids += [one.job_id for one in cluster.jobs(fresh=True).by_token(token)]
            cluster.cancel(ids)
        except FuruSlurmUnavailable as error:
            _log.warning("%s", error)
        shutil.rmtree(logs, ignore_errors=True)


def _log_folder(folder: Path) -> Path:
    """Where the job has its log: where all jobs have theirs, since nodes must see that as well."""
    root, store = submitit_root(), furu_core.settings().path
    if root.is_relative_to(store):
        return folder / "log"
    for name in list_folder(root):  # of doctors that were killed
        if name.startswith(_PREFIX) and not (folder.parent / name).exists():
            shutil.rmtree(root / name, ignore_errors=True)
    return root / folder.name


def _answer(
    cluster: Cluster, job_id: str, path: Path, log: Path, wait_secs: float
) -> dict[str, Any] | CheckResult:
    """What the node writes to a file; or why it does not, by its job's log."""
    deadline = time.monotonic() + wait_secs
    said = ""
    ended_at: float | None = None
    while True:
        with suppress(FileNotFoundError):
            answer: dict[str, Any] = json.loads(
                once_visible(lambda: read_file(path), _LOOK_SECS, pause_secs=PAUSE_SECS)
            )
            return answer
        snapshot = cluster.jobs([job_id])
        info = snapshot.job(job_id)
        words = info.words if info is not None else f"job {job_id} is not shown by Slurm"
        if not snapshot.known:
            words = f"Slurm does not answer ({snapshot.problem})"
        now = time.monotonic()
        if words != said:
            said = words
            _log.info("%s; waiting for its answer for %s at most", words, duration(deadline - now))
        if snapshot.gone(job_id):
            ended_at = now if ended_at is None else ended_at
            word = last_word(log)
            # Files of its machine may be seen late.
            if word or now - ended_at > min(VISIBLE_SECS, wait_secs):
                return _died(words, word)
        if info is not None and info.unschedulable:
            return _problem(
                "job",
                f"{words}, which does not pass by itself",
                "sinfo; and correct the default SlurmSpec",
            )
        if now > deadline:
            return _problem(
                "job",
                f"waited {duration(wait_secs)} for an answer, and {words}; it was cancelled",
                f"furu doctor --slurm --wait {max(600, 2 * wait_secs):.0f} (squeue --me --start tells when jobs may begin)",
            )


def _died(words: str, word: str) -> CheckResult:
    store = shlex.quote(str(furu_core.settings().path))
    told = word.removeprefix("furu: ") or "it wrote nothing that is seen here"
    return _problem(
        "job",
        f"{words}, without an answer: {told}",
        f"srun ls -ld {store} {shlex.quote(sys.executable)} (does a node see the store, and this Python?)",
    )


def _compared(here: Surroundings, there: Surroundings) -> Iterator[CheckResult]:
    """Whether a node has the same Python, packages and time."""
    if (here.python, here.executable) == (there.python, there.executable):
        yield _ok(
            "python", f"Python {there.python} at {there.executable} there as well", there.host
        )
    else:
        yield _problem(
            "python",
            f"Python {there.python} at {there.executable}, here {here.python} at {here.executable}",
            "install one environment in a folder that all nodes see",
            there.host,
        )
    differing = sorted(
        name
        for name in here.packages.keys() | there.packages.keys()
        if here.packages.get(name) != there.packages.get(name)
    )
    for name in differing:
        yield _problem(
            "packages",
            f"{name} {there.packages.get(name, 'is not installed')}, here {here.packages.get(name, 'it is not')}",
            "install one environment in a folder that all nodes see",
            there.host,
        )
    if not differing:
        yield _ok("packages", f"the same versions of {len(there.packages)} packages", there.host)
    # Both clocks are compared with the one of the filesystem.
    off = here.offset - there.offset
    if abs(off) > _CLOCK_SECS:
        yield CheckResult(
            "clock",
            CheckLevel.WARNING,
            f"its clock is {duration(abs(off))} {'ahead of' if off > 0 else 'behind'} that of {here.host}: times in "
            "listings are off, results are not",
            f"srun -w {there.host} timedatectl status",
            there.host,
        )
    else:
        yield _ok(
            "clock",
            f"its clock differs from that of {here.host} by {duration(abs(off))}",
            there.host,
        )


def _of_node(results: list[CheckResult], host: str) -> Iterator[CheckResult]:
    """What the node found, in one line where all is well."""
    fine = [one for one in results if one.level is CheckLevel.OK]
    yield from (one for one in results if one.level is not CheckLevel.OK)
    names = ", ".join(dict.fromkeys(one.check for one in fine))
    yield _ok("store", f"it sees the store under the same path; ok there: {names}", host)


def _exchange(folder: Path, here: Surroundings, there: Surroundings) -> Iterator[CheckResult]:
    """How long it takes until each side sees what the other one writes; and whether a lock keeps the node out."""
    lost = False
    with excluding(folder / LOCK, what="trying out locks"):
        replace_file(folder / HERE, b"", sync=True)
        written = os.stat(folder / HERE).st_mtime
        try:
            answer = json.loads(
                once_visible(
                    lambda: read_file(folder / THERE), 2 * VISIBLE_SECS, pause_secs=PAUSE_SECS
                )
            )
            seen = time.time() + here.offset
        except FileNotFoundError:
            lost = True
    if lost:
        yield _problem(
            "files",
            f"waited {duration(2 * VISIBLE_SECS)} for an answer to a file that was written here: nothing came back",
            f"findmnt --target {shlex.quote(str(folder.parent))} (has the filesystem caches that do not end?)",
            there.host,
        )
        return
    forth = max(0.0, answer["seen"] - written)
    back = max(0.0, seen - os.stat(folder / THERE).st_mtime)
    text = f"a file written here is seen there after {duration(forth)}, and the reverse after {duration(back)}"
    lease_secs = furu_core.settings().lease_secs
    if max(forth, back) > lease_secs / 2:
        yield CheckResult(
            "files",
            CheckLevel.WARNING,
            f"{text}; signs of life are believed for FURU_LEASE_SECS={lease_secs:g}",
            f"export FURU_LEASE_SECS={4 * max(forth, back):.0f}",
            there.host,
        )
    else:
        yield _ok("files", text, there.host)
    if answer["locked_out"]:
        yield _ok("locks", f"a lock held here keeps {there.host} out", there.host)
    else:
        yield CheckResult(
            "locks",
            CheckLevel.WARNING,
            f"a lock held on {here.host} does not keep it out: begin runs, and furu gc --do, on one host",
            "have the filesystem mounted with locks for all hosts (Lustre: -o flock)",
            there.host,
        )


def _await_end(cluster: Cluster, job_id: str) -> None:
    """Wait until the job has ended, since it may still write to the folder that is about to go."""
    deadline = time.monotonic() + _END_SECS
    while not cluster.jobs([job_id]).gone(job_id) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECS)


def _ok(check: str, what: str, host: str = "") -> CheckResult:
    return CheckResult(check, CheckLevel.OK, what, host=host)


def _problem(check: str, what: str, next_step: str, host: str = "") -> CheckResult:
    return CheckResult(check, CheckLevel.PROBLEM, what, next_step, host)
