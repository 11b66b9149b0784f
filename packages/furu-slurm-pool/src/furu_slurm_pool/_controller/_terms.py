"""Which process controls a run: one after the other, each in a term with a number of its own.

::

    runs/<run id>/controllers/stop-<n>              asks the n-th to cancel the run
                              <n>/controller.json   the process, and the job that it runs in
                                  alive             touched now and then; at the end it becomes
                                  ended-<state>     how the run ended under it
                                  spent.jsonl       see `_retries`

A process takes over by claiming the next number; it never removes the last one. So a controller that
was given up for dead and wakes again finds a higher number, and ends without touching anything.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import attrs

from furu_core.errors import FuruStoreError
from furu_core.executors import (
    Liveness,
    RecordFormat,
    RunState,
    Submission,
    filesystem_time,
    list_folder,
    liveness,
    replace_file,
)
from furu_core.workers import ProcessId, process_is_gone, this_process
from furu_slurm import SILENT_LEASES, bare_id

_STOP: Final = "stop-"
_ENDED: Final = "ended-"


@attrs.frozen
class Term:
    """One process's time as the controller of a run.

    Attributes:
        run_folder: the run's folder.
        number: counts the run's controllers from 1.
    """

    run_folder: str
    number: int

    @property
    def folder(self) -> str:
        return f"{self.run_folder}/controllers/{self.number}"

    def beat(self) -> None:
        """Give a sign of life."""
        with suppress(OSError):
            os.utime(f"{self.folder}/alive")

    def is_over(self) -> bool:
        """Whether another process has taken over."""
        return max(numbers(self.run_folder), default=0) > self.number

    def is_asked_to_stop(self) -> bool:
        """Whether another process has asked to cancel the run."""
        return f"{_STOP}{self.number}" in list_folder(f"{self.run_folder}/controllers")

    @contextmanager
    def given_up_on_error(self) -> Iterator[None]:
        """End the term if the block fails, so that no process waits for this one to control the run."""
        try:
            yield
        except BaseException:
            self.end(RunState.RUNNING)
            raise

    def end(self, state: RunState) -> None:
        """Note how the run ended; `RUNNING` means that only this term ended, and the run may go on."""
        with suppress(OSError):  # it is a rename, so that it works on a full disk, too
            os.rename(f"{self.folder}/alive", f"{self.folder}/{_ENDED}{state.value}")


@attrs.frozen
class Leader:
    """The newest controller of a run, as other processes see it.

    Attributes:
        number: counts the run's controllers.
        process: the process; None for a job that has not begun.
        submission: the job that it runs in, where there is one.
        ended: how the run ended under it; None while it has not. `RUNNING` means that it gave up
            the run, which may go on under another controller.
        silent_secs: seconds since its last sign of life, by the filesystem's clock.
    """

    number: int
    process: ProcessId | None
    submission: Submission | None
    ended: RunState | None
    silent_secs: float

    def __str__(self) -> str:
        job = None if self.submission is None else f"job {bare_id(self.submission.id)}"
        process = None if self.process is None else str(self.process)
        return ", ".join(part for part in (process, job) if part)

    @property
    def concluded(self) -> RunState | None:
        """How the run ended under it; None where it has not."""
        return None if self.ended is RunState.RUNNING else self.ended

    def lives(self, lease_secs: float) -> bool:
        """Whether it can still do anything, as far as is known."""
        return self.liveness(lease_secs) is Liveness.ALIVE

    def liveness(self, lease_secs: float) -> Liveness:
        """Whether it can still do anything; for a job that has not begun only the scheduler tells."""
        if self.ended is not None:
            return Liveness.GONE
        if self.submission is not None:
            # First, because a job that was put back into the queue goes on in another process.
            told = liveness([self.submission])[self.submission]
            if told is not Liveness.UNKNOWN:
                return told
        if self.process is not None and process_is_gone(self.process):
            return Liveness.GONE
        if self.silent_secs <= SILENT_LEASES * lease_secs:
            return Liveness.ALIVE
        return Liveness.UNKNOWN if self.process is None else Liveness.GONE


@attrs.frozen
class _ControllerRecord:
    process: ProcessId | None
    submission: Submission | None
    started: float


_FILE: Final = "controller.json"
_FORMAT: Final = RecordFormat(_ControllerRecord, "the record of a controller", version=1)


def numbers(run_folder: str) -> list[int]:
    """The numbers of the run's controllers so far."""
    return [int(name) for name in list_folder(f"{run_folder}/controllers") if name.isdecimal()]


def ask_to_stop(run_folder: str, number: int) -> None:
    """Ask a controller to cancel its run.

    Raises:
        OSError: the request cannot be written.
    """
    with open(f"{run_folder}/controllers/{_STOP}{number}", "w", encoding="utf-8"):
        pass


def take_over(
    run_folder: str, after: int, submission: Submission | None, *, for_job: bool = False
) -> Term | None:
    """Become the controller of a run; None when another process was faster.

    Args:
        run_folder: the run's folder.
        after: the number of the controller before, which is dead; 0 for none.
        submission: the job that this process runs in, where there is one.
        for_job: that job is to be the controller once it begins, not this process.

    Raises:
        OSError: the term cannot be written.
    """
    term = Term(run_folder, after + 1)
    staged = f"{run_folder}/controllers/.new-{os.getpid()}-{os.urandom(4).hex()}"
    os.makedirs(staged)
    record = _ControllerRecord(None if for_job else this_process(), submission, time.time())
    try:
        for name, data in ((_FILE, _FORMAT.to_bytes(record)), ("alive", b"")):
            replace_file(f"{staged}/{name}", data)
        os.rename(staged, term.folder)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(error, FileExistsError) or os.path.isdir(term.folder):
            return None
        raise
    return None if term.is_over() else term


def current_leader(run_folder: str) -> Leader | None:
    """The newest controller of a run; None where there was none yet, or its record is damaged."""
    number = max(numbers(run_folder), default=0)
    if not number:
        return None
    folder = f"{run_folder}/controllers/{number}"
    try:
        found = _FORMAT.read(f"{folder}/{_FILE}")
    except (FileNotFoundError, FuruStoreError):
        return None
    return Leader(number, found.process, found.submission, _ended(folder), _silence(folder))


def _ended(folder: str) -> RunState | None:
    for name in list_folder(folder):
        if name.startswith(_ENDED):
            with suppress(ValueError):
                return RunState(name.removeprefix(_ENDED))
    return None


def _silence(folder: str) -> float:
    """Seconds since the last sign of life; both times are from the filesystem's clock."""
    try:
        last = os.stat(f"{folder}/alive").st_mtime
        return max(0.0, filesystem_time(folder) - last)
    except OSError:
        return 0.0  # a process that cannot read the time must not take over
