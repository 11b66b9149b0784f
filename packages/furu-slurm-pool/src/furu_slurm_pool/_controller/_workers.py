"""The workers of a run, as jobs, and the notes about them on disk.

::

    runs/<run id>/workers/<worker>.json     written before the job is submitted
                          <worker>.<id>     an empty file that names the job, once its id is known
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from furu_core.errors import FuruStoreError
from furu_core.executors import RecordFormat, list_folder, replace_file
from furu_slurm import Health, JobHealth, JobInfo, SubmittedJob, at_home, job_log
from furu_slurm.errors import FuruSubmitRefused

_STARTS: Final = 3  # how many workers in a row may die before they can do anything
_TAKEN_STARTS: Final = 30  # the same for workers that something from outside ended
_TAKEN: Final = frozenset({"CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED"})


@attrs.define(eq=False)
class Worker:
    """One worker, as its controller sees it.

    Attributes:
        name: its name in the run.
        spec_key: of the nodes it computes.
        token: of its submission.
        index: in the array of that submission.
        folder: of its log.
        job_id: the id of its job; None until the scheduler has told it.
        home: the home of its job, see `furu_slurm.at_home`.
        health: the health of its job.
        adopted: whether another controller submitted it.
        leaving: whether it was asked to leave.
    """

    name: str
    spec_key: str
    token: str
    index: int
    folder: str
    job_id: str | None = None
    home: str = ""
    health: JobHealth = attrs.field(factory=lambda: JobHealth(submitted=None, may_restart=False))
    adopted: bool = False
    leaving: bool = False

    @property
    def full_id(self) -> str | None:
        """Its job's id with its home; None until the scheduler has told the id."""
        return None if self.job_id is None else at_home(self.job_id, self.home)

    @property
    def job(self) -> SubmittedJob:
        """Its job, as `JobHealth` takes it."""
        return SubmittedJob(self.full_id, self.token, self.index, self.home)

    @property
    def log(self) -> Path:
        """The log file of its job."""
        folder = Path(self.folder)
        return folder if self.job_id is None else job_log(folder, self.job_id)

    @property
    def pending(self) -> bool:
        """Whether it has not begun, as far as is known."""
        if self.health.begun or self.health.cancelled is not None:
            return False
        return self.health.info is None or self.health.info.state.waiting

    def __str__(self) -> str:
        return self.name if self.job_id is None else f"{self.name} (job {self.job_id})"


@attrs.frozen
class LostWorker:
    """A worker that is gone.

    Attributes:
        worker: the worker.
        why: the evidence, as a clause.
        is_hopeless: whether workers of its kind end repeatedly before they can do anything.
    """

    worker: Worker
    why: str
    is_hopeless: bool = False


class FailedStarts:
    """How often in a row workers of each spec key have failed to start."""

    def __init__(self) -> None:
        self._failed: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()

    def begun(self, key: str) -> None:
        """Note that a worker has begun."""
        self._failed[key] = self._taken[key] = 0

    def failed(self, worker: Worker) -> str | None:
        """Note that a worker ended before it began; return a message if too many in a row did."""
        info = worker.health.info
        state = "" if info is None else info.state.value
        # A scheduler that was killed forgets all jobs submitted just before, so many fail at once:
        # they have the higher limit.
        forgotten = worker.health.verdict is Health.DENIED and worker.pending
        counter, limit = (self._failed, _STARTS)
        if state in _TAKEN or forgotten:
            counter, limit = (self._taken, _TAKEN_STARTS)
        counter[worker.spec_key] += 1
        too_many = counter[worker.spec_key] >= limit
        return f"so did {limit - 1} before it" if too_many else None


def unschedulable(worker: Worker, info: JobInfo) -> FuruSubmitRefused:
    """The error for a worker whose job waits for something that cannot come."""
    return FuruSubmitRefused(
        f"the workers for spec key {worker.spec_key!r} would wait for ever: job {info.job_id} "
        f"is pending because of {info.reason}",
        token=worker.token,
        said=info.reason,
        hint=f"mend specs[{worker.spec_key!r}]: it asks for more than its partition has, or than your "
        "account may have",
    )


# Notes


@attrs.frozen
class _WorkerRecord:
    spec_key: str
    token: str
    index: int
    folder: str
    home: str = ""  # an earlier version of furu did not write it


_FORMAT: Final = RecordFormat(_WorkerRecord, "the note of a worker", version=1)


def note(run_folder: str, worker: Worker) -> None:
    """Note a worker that is about to be submitted.

    Raises:
        OSError: the note cannot be written.
    """
    record = _WorkerRecord(worker.spec_key, worker.token, worker.index, worker.folder, worker.home)
    replace_file(f"{_folder(run_folder)}/{worker.name}.json", _FORMAT.to_bytes(record))


def note_job(run_folder: str, worker: Worker, job_id: str) -> None:
    """Note the job id of a worker."""
    worker.job_id = job_id
    with suppress(OSError):
        open(f"{_folder(run_folder)}/{worker.name}.{job_id}", "w").close()


def remove_note(run_folder: str, worker: Worker) -> None:
    """Remove the notes about a worker."""
    for suffix in ("json", worker.job_id):
        with suppress(OSError):
            os.unlink(f"{_folder(run_folder)}/{worker.name}.{suffix}")


def noted(run_folder: str) -> list[Worker]:
    """The workers that were submitted, by any controller of the run, the oldest first."""
    names = list_folder(_folder(run_folder))
    job_ids = _job_ids(names)
    found = []
    for name in sorted(names):
        if not name.endswith(".json") or name.startswith("."):
            continue
        worker = _read(run_folder, name.removesuffix(".json"))
        if worker is not None:
            worker.job_id = job_ids.get(worker.name)
            worker.health.submitted = time.monotonic()
            worker.adopted = True
            found.append(worker)
    return found


def _folder(run_folder: str) -> str:
    return f"{run_folder}/workers"


def _job_ids(names: list[str]) -> dict[str, str]:
    """The job ids by worker, from the names of the files in the folder of workers."""
    return dict(name.split(".", 1) for name in names if not name.endswith(".json"))


def _read(run_folder: str, name: str) -> Worker | None:
    try:
        found = _FORMAT.read(f"{_folder(run_folder)}/{name}.json")
    except (FileNotFoundError, FuruStoreError):
        return None  # it was removed at this moment, or changed by other programs
    # An earlier version of furu gave a single worker the index -1.
    index = max(0, found.index)
    return Worker(name, found.spec_key, found.token, index, found.folder, home=found.home)
