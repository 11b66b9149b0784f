"""The files by which a submitter and its jobs communicate, in the folder `jobs` of a run.

::

    jobs/<token>.begun   a submission has begun; with its home; the file's age tells for how long
    jobs/<token>.json    what its jobs are to compute, a `furu_slurm.JobPayload`; written before sbatch
                         is called
    jobs/<token>.ids     the jobs' ids with their home, in the order of the nodes; written when sbatch
                         has answered
    jobs/<hash>.json     the state of a node's job, and the failures counted for the node

The submitter writes the first three, the job the last one. Each is written atomically.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

import attrs

import furu_core
from furu_core.errors import FuruDamagedRecord, FuruStoreError
from furu_core.executors import Failure, RecordFormat, Submission, replace_file, store_errors
from furu_core.planning import NodeRef, from_portable, portable
from furu_plan import Spent
from furu_slurm import ANY_RESTART, JobPayload

NAME: Final = "slurm-dag"
GRAPH: Final = "graph.jsonl"
# A node may be retried from its checkpoint for years, and each time its whole file is written.
_MOST_RETRIES: Final = 100
_LONGEST_WHY: Final = 300


@attrs.frozen
class JobRef:
    """The job that a node was given to, by names that its submitter chose.

    Attributes:
        run_id: the run that submitted it.
        token: the submission's token, which is part of the job's name.
        index: the job's place in its array.
    """

    run_id: str
    token: str
    index: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.token}:{self.index}"

    def submission(self, restarts: int = ANY_RESTART) -> Submission:
        """The job as the store records it."""
        return Submission(NAME, str(self), restarts)


def parse_ref(submission: Submission) -> JobRef | None:
    """The job that a submission names; None for one of another executor, or of a future format."""
    run_id, _, rest = submission.id.partition("/")
    token, _, index = rest.partition(":")
    if submission.executor != NAME or not token or not index.isdecimal():
        return None
    return JobRef(run_id, token, int(index))


def run_folder(run_id: str) -> Path:
    """The folder of a run in the current store."""
    return furu_core.settings().path / "runs" / run_id


# The assignments of a submission's jobs


@attrs.frozen
class Assignment:
    """The node that a job is to compute.

    Attributes:
        ref: where it is in the store.
        offset: its place in the run's graph.
        rerun: compute it although it has an artifact.
    """

    ref: NodeRef
    offset: int
    rerun: bool = False


@attrs.frozen
class Batch:
    """What the jobs of one submission are to compute.

    Attributes:
        run_id: the run.
        spec_key: of all the nodes.
        assignments: one for each job.
        dependencies: the nodes that must be done before any of them.
    """

    run_id: str
    spec_key: str
    assignments: tuple[Assignment, ...]
    dependencies: tuple[NodeRef, ...] = ()

    def payload(self, function: str, folder: Path) -> JobPayload:
        """The batch as a payload for the jobs.

        Args:
            function: computes one of the nodes.
            folder: the run's folder.
        """
        return JobPayload(
            function,
            folder,
            jobs=[[*portable(one.ref), one.offset, one.rerun] for one in self.assignments],
            shared={
                "run": self.run_id,
                "spec_key": self.spec_key,
                "dependencies": [portable(ref) for ref in self.dependencies],
            },
        )

    @classmethod
    def of(cls, payload: JobPayload) -> Self:
        """The batch in a payload that `payload` made.

        Raises:
            FuruStoreError: it is damaged.
        """
        try:
            assignments = [
                Assignment(from_portable(class_folder, node_hash, name), offset, rerun)
                for class_folder, node_hash, name, offset, rerun in payload.jobs
            ]
            dependencies = tuple(from_portable(*one) for one in payload.shared["dependencies"])
            shared = payload.shared
            return cls(shared["run"], shared["spec_key"], tuple(assignments), dependencies)
        except (KeyError, TypeError, ValueError) as error:
            raise FuruDamagedRecord(
                f"{payload.path}, which says what jobs are to do, is damaged: {error!r}",
                path=payload.path,
                hint="was it changed? Run the same command again",
            ) from None


def begin(folder: Path, token: str, home: str) -> None:
    """Record that a submission begins, before anything refers to it.

    Args:
        folder: the run's folder.
        token: the submission's token.
        home: of its jobs, see `furu_slurm.at_home`.

    Raises:
        FuruStoreError: the run's folder cannot be written.
    """
    _write(folder / "jobs" / f"{token}.begun", home.encode())


def take_back(folder: Path, token: str) -> None:
    """Remove the files of a submission that was not made, and that nothing refers to."""
    for kind in ("json", "begun"):
        with suppress(OSError):
            (folder / "jobs" / f"{token}.{kind}").unlink()


def unanswered(folder: Path) -> set[str]:
    """The tokens of a run's submissions that were begun, and whose answer from sbatch is missing."""
    found: dict[str, set[str]] = {"begun": set(), "ids": set()}
    with suppress(OSError):
        for name in os.listdir(folder / "jobs"):
            token, _, kind = name.rpartition(".")
            if kind in found:
                found[kind].add(token)
    return found["begun"] - found["ids"]


def age_of_submission(folder: Path, token: str) -> float | None:
    """Seconds since a submission was begun, by this host's clock; None where no file tells."""
    path = folder / "jobs" / f"{token}.begun"
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def home_of_submission(folder: Path, token: str) -> str:
    """The home of a submission's jobs; empty where no file tells."""
    try:
        return (folder / "jobs" / f"{token}.begun").read_text("utf-8")
    except OSError:
        return ""


@attrs.frozen
class _IdsRecord:
    ids: tuple[str, ...]


_IDS: Final = RecordFormat(_IdsRecord, "the ids of jobs", version=2)


def write_job_ids(folder: Path, token: str, job_ids: Sequence[str]) -> None:
    """Write down the ids from sbatch's answer; if that fails, the jobs are found by the token."""
    with suppress(FuruStoreError):
        _write(folder / "jobs" / f"{token}.ids", _IDS.to_bytes(_IdsRecord(tuple(job_ids))))


@lru_cache(maxsize=4096)
def _known_job_ids(path: Path) -> tuple[str, ...]:
    return _IDS.read(path).ids


def job_ids(folder: Path, token: str) -> tuple[str, ...]:
    """The ids of a submission's jobs, with their home; empty while sbatch has not answered."""
    try:
        return _known_job_ids(folder / "jobs" / f"{token}.ids")
    except (FileNotFoundError, FuruStoreError):
        return ()


# The state of a node's job


@attrs.frozen
class JobRecord:
    """The state of a node's job.

    Attributes:
        spent: the failures counted for the node in this run.
        token: the submission that the job belongs to.
        restarts: how often Slurm had restarted the job.
        ended: whether it has reported what became of its node. If not, and it is gone, it was lost.
        terminated: whether Slurm told it to end, for a reason that it did not know.
        failure: why the node failed for good.
        blocked_by: short name of a dependency that failed, so that the node could not begin.
        retries: why the node was tried again, each of the first hundred times.
    """

    spent: Spent = attrs.field(factory=Spent)
    token: str = ""
    restarts: int = 0
    ended: bool = False
    terminated: bool = False
    failure: Failure | None = None
    blocked_by: str = ""
    retries: tuple[str, ...] = ()

    def tried_again(self, why: str) -> JobRecord:
        """The record after one more retry."""
        return attrs.evolve(self, retries=(*self.retries, why[:_LONGEST_WHY])[:_MOST_RETRIES])


_FORMAT: Final = RecordFormat(JobRecord, "the record of a node's job", version=2)


def write_job_record(folder: Path, node_hash: str, record: JobRecord) -> None:
    """Write the record of a node's job.

    Raises:
        FuruStoreError: the run's folder cannot be written.
    """
    _write(folder / "jobs" / f"{node_hash}.json", _FORMAT.to_bytes(record))


def read_job_record(folder: Path, node_hash: str) -> JobRecord | None:
    """Read the record of a node's job; None when it has not begun, or its file is damaged."""
    try:
        return _FORMAT.read(folder / "jobs" / f"{node_hash}.json")
    except (FileNotFoundError, FuruStoreError):
        return None


def _write(path: Path, data: bytes) -> None:
    with store_errors(path):
        path.parent.mkdir(exist_ok=True)
        replace_file(path, data, sync=True)
