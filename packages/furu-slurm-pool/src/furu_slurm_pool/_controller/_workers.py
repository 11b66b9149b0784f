"""The workers of a run, as jobs, and what is noted of them on disk.

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

_STARTS: Final = 3  # workers in a row that die before they can do anything
_TAKEN_STARTS: Final = 30  # the same, where somebody or something else ended them
_TAKEN: Final = frozenset({"CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED"})


@attrs.define(eq=False)
class Worker:
    """One worker, as its controller sees it.

    Attributes:
        name: in the run.
        spec_key: of the nodes it computes.
        token: of its submission.
        index: in the array of that submission.
        folder: of its log.
        job_id: None until the scheduler has told.
        home: where that job is at home, see `furu_slurm.at_home`.
        health: how its job stands.
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
        """Its job's id with its home; None until the scheduler has told."""
        return None if self.job_id is None else at_home(self.job_id, self.home)

    @property
    def job(self) -> SubmittedJob:
        """Which job it is."""
        return SubmittedJob(self.full_id, self.token, self.index, self.home)

    @property
    def log(self) -> Path:
        """Where its output goes."""
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
    """A worker that does nothing any more.

    Attributes:
        worker: which.
        why: how one knows.
        is_hopeless: whether workers end again and again before they can do anything.
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
        """Note that one ended before that; what is said when so did too many before it."""
        info = worker.health.info
        state = "" if info is None else info.state.value
        # A scheduler that was killed forgets what it had just been told: all jobs of a moment at once.
        forgotten = worker.health.verdict is Health.DENIED and worker.pending
        counter, limit = (self._failed, _STARTS)
        if state in _TAKEN or forgotten:
            counter, limit = (self._taken, _TAKEN_STARTS)
        counter[worker.spec_key] += 1
        too_many = counter[worker.spec_key] >= limit
        return f"so did {limit - 1} before it" if too_many else None


def unschedulable(worker: Worker, info: JobInfo) -> FuruSubmitRefused:
    """The error about a worker that waits for what will not come by itself."""
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
    home: str = ""  # which an earlier furu did not write


_FORMAT: Final = RecordFormat(_WorkerRecord, "the note of a worker", version=1)


def note(run_folder: str, worker: Worker) -> None:
    """Note a worker that is about to be submitted.

    Raises:
        OSError: it cannot be noted.
    """
    record = _WorkerRecord(worker.spec_key, worker.token, worker.index, worker.folder, worker.home)
    replace_file(f"{_folder(run_folder)}/{worker.name}.json", _FORMAT.to_bytes(record))


def note_job(run_folder: str, worker: Worker, job_id: str) -> None:
    """Note the job that a worker is."""
    worker.job_id = job_id
    with suppress(OSError):
        open(f"{_folder(run_folder)}/{worker.name}.{job_id}", "w").close()


def remove_note(run_folder: str, worker: Worker) -> None:
    """Remove what is noted of a worker."""
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
    """By worker, from the names of the files in the folder of workers."""
    return dict(name.split(".", 1) for name in names if not name.endswith(".json"))


def _read(run_folder: str, name: str) -> Worker | None:
    try:
        found = _FORMAT.read(f"{_folder(run_folder)}/{name}.json")
    except (FileNotFoundError, FuruStoreError):
        return None  # it was removed in this moment, or changed by others
    # An earlier furu gave a worker that was alone the index -1.
    index = max(0, found.index)
    return Worker(name, found.spec_key, found.token, index, found.folder, home=found.home)
