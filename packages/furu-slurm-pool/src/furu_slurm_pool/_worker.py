"""A worker of a pool: a small process that claims tasks, and starts a child process to compute them.

It imports none of the user's code. So whatever a node does to its process, the worker goes on to give
signs of life, watches its walltime and the scheduler's signals, and reports what became of the node.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Final

import attrs

import furu_core
import furu_slurm
from furu_core.errors import FuruStoreError
from furu_core.executors import Submission, Waker, list_folder
from furu_core.workers import (
    NodeProcess,
    NodeResult,
    WorkerContext,
    entered_snapshot,
    this_process,
)
from furu_slurm import JobPayload, this_job
from furu_slurm_pool._queue import _reports
from furu_slurm_pool._queue._heartbeats import BEAT, BeatRecord, Heartbeat
from furu_slurm_pool._queue._reports import TaskEnd, TaskReport, WorkerReport
from furu_slurm_pool._queue._run_folder import graph_file, orders_for
from furu_slurm_pool._queue._tasks import Claims, QueuedTask, queue_folder

EXECUTOR: Final = "slurm-pool"
WORK: Final = "furu_slurm_pool._worker:work"
_CACHE_SECS: Final = 60.0  # for so long a network filesystem may hide what another host wrote
_BRIEF_SECS: Final = 0.05  # of nodes that take less, several are claimed at once
_BATCH_SECS: Final = 0.25  # how much work, in seconds, is claimed at once
_MOST_AT_ONCE: Final = 64
_REPORT_SECS: Final = 0.1  # how long reports of brief nodes are held back, to be written together
_PATIENCE_SECS: Final = 0.5  # when a node takes longer, tasks claimed with it are given back
_FIRST_PAUSE_SECS: Final = 0.01
_INTERRUPT_SECS: Final = 4.0  # how long an interrupted node may take to end before it is killed


@attrs.frozen
class WorkerSetup:
    """The options that the workers of a spec key get when they are submitted.

    Attributes:
        run_folder: the folder of the run.
        run_id: the run.
        spec_key: of the nodes that the worker computes.
        idle_timeout_secs: seconds without work after which it leaves.
        poll_interval_secs: the longest pause between two looks for work.
        margin_secs: how many seconds before the end of its walltime a node is interrupted.
        local_store: the store is on a local disk, so other hosts' files are not waited for.
        worker: the name of one worker in the run.
    """

    run_folder: str
    run_id: str
    spec_key: str
    idle_timeout_secs: float
    poll_interval_secs: float
    margin_secs: float
    local_store: bool
    worker: str = ""

    def payload(self, names: Sequence[str]) -> JobPayload:
        """The payload for the jobs of workers with these names."""
        return JobPayload(WORK, Path(self.run_folder), names, attrs.asdict(self))


class Intent(IntEnum):
    """What a worker is about to do; it only changes to a higher value."""

    GO_ON = 0
    LEAVE = 1  # end once all tasks that it has claimed are done
    LOST = 2  # its job is being ended: its node is interrupted, and tried again by another worker
    STOP = 3  # the run is cancelled, and its node as well
    REVOKED = 4  # the controller gave it up for dead, so its reports do not count


def work(payload: JobPayload, place: int) -> int:
    """Run a worker until it has nothing to do or is told to end; return the exit status.

    Args:
        payload: of `WorkerSetup.payload`.
        place: of this worker's job in the array.
    """
    setup = attrs.evolve(WorkerSetup(**payload.shared), worker=payload.jobs[place])
    job = this_job()
    if job is not None and job.restarts:
        # Its reports and claims are those of its first start, which the controller has given up.
        return _refuse(setup, "was put back into the queue, and ends")
    try:
        claims = Claims(queue_folder(setup.run_folder, setup.spec_key), setup.worker)
    except FileExistsError:
        return _refuse(setup, "was started a second time, and ends")
    if setup.worker in list_folder(queue_folder(setup.run_folder, setup.spec_key).orphaned):
        claims.close()
        return _refuse(setup, "came too late and was given up, so it ends")
    worker = _PoolWorker(setup, claims)
    with worker.signals():
        return worker.serve()


def _refuse(setup: WorkerSetup, why: str) -> int:
    print(f"furu: worker {setup.worker} {why}", flush=True)
    return 1


class _PoolWorker:
    def __init__(self, setup: WorkerSetup, claims: Claims) -> None:
        settings = furu_core.settings()
        job = this_job()
        self._setup = setup
        self._claims = claims
        self._job = job
        self._patience_secs = settings.lease_secs  # how long to wait for room on a full disk
        self._beat_secs = min(max(settings.lease_secs / 8, 0.05), 15.0)
        about = BeatRecord(
            "" if job is None else job.full_id,
            0 if job is None else job.restarts,
            str(this_process()),
        )
        self._heart = Heartbeat(setup.run_folder, setup.worker, BEAT.to_bytes(about))
        wait = 0.0 if setup.local_store else max(settings.lease_secs, _CACHE_SECS)
        self._wait_secs = wait
        self._context = WorkerContext(
            executor=EXECUTOR,
            run_id=setup.run_id,
            spec_key=setup.spec_key,
            known_done_wait_secs=wait,
            submission=None if job is None else Submission(EXECUTOR, job.full_id, job.restarts),
            job_times=None if job is None else furu_slurm.job_times(job),
        )
        snapshot = entered_snapshot()
        self._code = "" if snapshot is None else snapshot.digest
        self._graph = ""
        self._process: NodeProcess | None = None
        self._intent = Intent.GO_ON
        self._why = ""
        self._signalled: signal.Signals | None = None
        self._next_beat = self._next_orders = 0.0
        self._files = 0  # number of report files so far
        self._unreported: list[TaskReport] = []
        self._done: list[str] = []  # tasks whose files are removed once their reports are written
        self._unreported_since = 0.0
        self._seconds: float | None = None  # average time of the latest nodes
        self._longest = 0.0
        self._waker = Waker()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle the signals of the scheduler."""
        signal.set_wakeup_fd(self._waker.wakeup_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)

    def serve(self) -> int:
        """Work until there is a reason to end."""
        idle_since = time.monotonic()
        pause = _FIRST_PAUSE_SECS
        try:
            while self._look() is Intent.GO_ON:
                names = self._claims.claim(self._at_once())
                if names:
                    self._compute_all(names)
                    idle_since, pause = time.monotonic(), _FIRST_PAUSE_SECS
                    continue
                self._write_report()
                left = self._setup.idle_timeout_secs - (time.monotonic() - idle_since)
                if left <= 0:
                    self._intend(
                        Intent.LEAVE, f"without work for {self._setup.idle_timeout_secs:g} s"
                    )
                    continue
                self._waker.sleep(min(pause, left, self._due_in()))
                pause = min(1.5 * pause, self._setup.poll_interval_secs)
            self._write_report(at_end=True)
        finally:
            if self._process is not None:
                self._process.close()
            self._heart.stop()
        print(f"furu: worker {self._setup.worker} ends: {self._why}", flush=True)
        if self._intent is not Intent.REVOKED:
            self._claims.close()
        return 1 if self._intent is Intent.REVOKED else 0

    # Signs of life, orders and walltime

    def _look(self) -> Intent:
        """Give a sign of life if one is due, and read the orders to this worker."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + self._beat_secs
            self._heart.beat()
        if self._signalled is not None or now >= self._next_orders:
            self._next_orders = now + min(self._beat_secs, self._setup.poll_interval_secs)
            self._read_orders()
        self._check_walltime()
        return self._intent

    def _check_walltime(self) -> None:
        intent, left = self._by_walltime()
        if intent <= self._intent:
            return
        assert self._job is not None
        self._job = furu_slurm.with_current_end(self._job)  # the walltime may have been extended
        intent, left = self._by_walltime()
        self._intend(
            intent,
            "its walltime ends" if intent is Intent.LOST else f"its walltime ends in {left:.0f} s",
        )

    def _by_walltime(self) -> tuple[Intent, float]:
        """The intent that follows from the end of the walltime, and the seconds until it applies."""
        left = None if self._job is None else self._job.seconds_left
        margin = self._setup.margin_secs
        if left is None or left > margin + max(margin, self._longest):
            return Intent.GO_ON, math.inf
        return (Intent.LOST if left <= margin else Intent.LEAVE), left

    def _read_orders(self) -> None:
        number, self._signalled = self._signalled, None
        if not self._claims.is_mine():
            self._intend(Intent.REVOKED, "it was given up for dead")
        stop, leave = orders_for(self._setup.run_folder, self._setup.worker)
        if stop:
            self._intend(Intent.STOP, "the run was cancelled or has ended")
        if leave:
            self._intend(Intent.LEAVE, "it is not needed any more")
        if number is signal.SIGUSR2:
            known = self._job is not None and self._job.end is not None
            if self._job is not None:  # the walltime may have been shortened
                self._job = furu_slurm.with_current_end(self._job)
            self._intend(Intent.LEAVE if known else Intent.LOST, "its walltime ends soon")
        elif number is not None:
            self._intend(Intent.LOST, f"it got {number.name}: its job was cancelled or preempted")

    def _intend(self, intent: Intent, why: str) -> None:
        if intent > self._intent:
            self._intent, self._why = intent, why

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled is not signal.SIGTERM:
            self._signalled = signal.Signals(number)

    def _due_in(self) -> float:
        return max(0.0, min(self._next_beat, self._next_orders) - time.monotonic())

    # Computing

    def _at_once(self) -> int:
        if self._seconds is None or self._seconds >= _BRIEF_SECS:
            return 1
        return min(_MOST_AT_ONCE, 1 + int(_BATCH_SECS / max(self._seconds, 1e-3)))

    def _compute_all(self, names: list[str]) -> None:
        while names:
            name = names.pop(0)
            began = time.monotonic()
            try:
                task = self._claims.read(name)
            except (OSError, FuruStoreError) as error:
                self._add_report(
                    TaskReport(name, TaskEnd.UNREADABLE, message=str(error)), keep=True
                )
                continue
            if task.code != self._code:
                self._intend(Intent.LEAVE, "the run goes on with other code")
                self._give_back([name])
                self._give_back(names)
                continue
            result = self._compute(task, names)
            seconds = time.monotonic() - began
            self._longest = max(self._longest, seconds)
            before = seconds if self._seconds is None else self._seconds
            self._seconds = 0.7 * before + 0.3 * seconds
            self._add_report(TaskReport(name, TaskEnd.ENDED, result), keep=_is_protocol(result))
            if self._look() > Intent.LEAVE:
                self._give_back(names)
            if time.monotonic() - self._unreported_since > _REPORT_SECS:
                self._write_report()
        if self._at_once() == 1:
            self._write_report()

    def _compute(self, task: QueuedTask, behind: list[str]) -> NodeResult:
        """Make one attempt at a node; tasks behind it that wait for too long are given back."""
        process = self._process_for(task.graph)
        process.assign(task.offset, self._context, rerun=task.rerun)
        began = time.monotonic()
        interrupted: float | None = None
        killed = False
        while True:
            wait = self._due_in()
            if behind:
                wait = min(wait, max(0.0, began + _PATIENCE_SECS - time.monotonic()))
            if interrupted is not None and not killed:
                wait = min(wait, max(0.0, interrupted + _INTERRUPT_SECS - time.monotonic()))
            result = self._wait_for(process, wait)
            if result is not None:
                return result
            now = time.monotonic()
            if behind and now - began >= _PATIENCE_SECS:
                self._give_back(behind)
                self._write_report()
            elif self._unreported and now - self._unreported_since > _REPORT_SECS:
                self._write_report()
            intent = self._look()
            if intent > Intent.LEAVE and interrupted is None:
                interrupted = now
                process.interrupt(self._why, lost=intent is not Intent.STOP)
            elif interrupted is not None and now - interrupted >= _INTERRUPT_SECS:
                killed = True  # a process that hangs in the kernel dies once the kernel returns
                process.kill()

    def _wait_for(self, process: NodeProcess, seconds: float) -> NodeResult | None:
        """The node's result, or None when time is up or a signal arrived."""
        reports = process.poll()
        if not reports and self._signalled is None:
            if self._unreported:
                seconds = min(seconds, _REPORT_SECS)
            self._waker.sleep(seconds, process.fileno())
            reports = process.poll()
        return reports[0].result if reports else None

    def _process_for(self, graph: str) -> NodeProcess:
        if self._process is None or graph != self._graph:
            if self._process is not None:
                self._process.close()
            self._graph = graph
            path = Path(graph_file(self._setup.run_folder, graph))
            self._process = NodeProcess(None, graph=path, wait_secs=self._wait_secs, idle_secs=None)
        return self._process

    # Reporting

    def _add_report(self, report: TaskReport, *, keep: bool = False) -> None:
        if not self._unreported:
            self._unreported_since = time.monotonic()
        self._unreported.append(report)
        if not keep:
            self._done.append(report.task)

    def _give_back(self, names: list[str]) -> None:
        for name in names:
            self._add_report(TaskReport(name, TaskEnd.GIVEN_BACK))
        names.clear()

    def _write_report(self, *, at_end: bool = False) -> None:
        """Write the reports that are due; at the end, wait for room on a full disk."""
        deadline = self._unreported_since + self._patience_secs
        while self._unreported and self._intent is not Intent.REVOKED:
            reports = WorkerReport(self._setup.worker, tuple(self._unreported))
            try:
                _reports.write(
                    self._setup.run_folder, self._files, reports, claims=self._claims.folder
                )
            except FileNotFoundError:
                if not self._claims.is_mine():
                    self._intend(Intent.REVOKED, "it was given up for dead")
                    return
                raise
            except OSError as error:
                late = time.monotonic() > deadline
                if late:
                    self._intend(Intent.LOST, f"it cannot write what became of its nodes: {error}")
                if late or not at_end:
                    return
                time.sleep(1.0)
                continue
            self._files += 1
            self._claims.clear(self._done)
            self._unreported.clear()
            self._done.clear()


def _is_protocol(result: NodeResult) -> bool:
    return result.failure is not None and result.failure.kind.value == "protocol"
