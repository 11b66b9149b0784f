"""A worker of a pool: a small process that claims tasks, and has a child of its own compute them.

It imports nothing of the user's, so whatever a node does to its process, the worker goes on to give
signs of life, watches its walltime and the signals of the scheduler, and reports what became of the node.
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
from furu_core.workers import NodeProcess, NodeResult, WorkerContext, this_process
from furu_slurm import JobPayload, this_job
from furu_slurm_pool._queue import _reports
from furu_slurm_pool._queue._heartbeats import BEAT, BeatRecord, Heartbeat
from furu_slurm_pool._queue._reports import TaskEnd, TaskReport, WorkerReport
from furu_slurm_pool._queue._run_folder import graph_file, orders_for
from furu_slurm_pool._queue._tasks import Claims, QueuedTask, queue_folder

EXECUTOR: Final = "slurm-pool"
WORK: Final = "furu_slurm_pool._worker:work"
_CACHE_SECS: Final = 60.0  # for which a network filesystem may hide what another host wrote
_BRIEF_SECS: Final = 0.05  # nodes that take less are claimed several at once
_BATCH_SECS: Final = 0.25  # as many as take so long together
_MOST_AT_ONCE: Final = 64
_REPORT_SECS: Final = 0.1  # for which the ends of brief nodes are kept back
_PATIENCE_SECS: Final = 0.5  # a node that takes longer holds up those claimed with it
_FIRST_PAUSE_SECS: Final = 0.01
_INTERRUPT_SECS: Final = 4.0  # for a node that was interrupted, before it is killed


@attrs.frozen
class WorkerSetup:
    """What the workers of a spec key are told when they are submitted.

    Attributes:
        run_folder: of the run it works for.
        run_id: the run.
        spec_key: of the nodes it computes.
        idle_timeout_secs: without work, after which it leaves.
        poll_interval_secs: the longest pause between two looks for work.
        margin_secs: before the end of its walltime, at which a node is interrupted.
        local_store: no other host's files are waited for.
        worker: the name of one of them in the run.
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
        """The same for the jobs of workers with these names."""
        return JobPayload(WORK, Path(self.run_folder), names, attrs.asdict(self))


class Intent(IntEnum):
    """What a worker is about to do; it never goes back."""

    GO_ON = 0
    LEAVE = 1  # when all that it has claimed is done
    LOST = 2  # it is being ended: its node is interrupted, and tried again elsewhere
    STOP = 3  # the run is cancelled: its node is as well
    REVOKED = 4  # it was given up for dead, so nothing it says counts


def work(payload: JobPayload, place: int) -> int:
    """Be a worker, until there is nothing to do or somebody wants it to end; the exit status.

    Args:
        payload: of `WorkerSetup.payload`.
        place: of this one.
    """
    setup = attrs.evolve(WorkerSetup(**payload.shared), worker=payload.jobs[place])
    job = this_job()
    if job is not None and job.restarts:
        # What it has reported and claimed was the first start's, which the controller has given up.
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
        self._patience_secs = settings.lease_secs  # for a full disk to be given room
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
        )
        self._graph = ""
        self._process: NodeProcess | None = None
        self._intent = Intent.GO_ON
        self._why = ""
        self._signalled: signal.Signals | None = None
        self._next_beat = self._next_orders = 0.0
        self._files = 0  # report files so far
        self._unreported: list[TaskReport] = []
        self._done: list[str] = []  # the tasks whose files go once their reports are written
        self._unreported_since = 0.0
        self._seconds: float | None = None  # what nodes took lately
        self._longest = 0.0
        self._waker = Waker()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Heed the signals of the scheduler."""
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

    # Looking around

    def _look(self) -> Intent:
        """Give a sign of life if it is time to, and see what is wanted of this worker."""
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
        self._job = furu_slurm.with_current_end(self._job)  # it may have been given more
        intent, left = self._by_walltime()
        self._intend(
            intent,
            "its walltime ends" if intent is Intent.LOST else f"its walltime ends in {left:.0f} s",
        )

    def _by_walltime(self) -> tuple[Intent, float]:
        """What the end of its walltime makes of this worker, and the seconds until then."""
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
            if self._job is not None:  # it may have been given less
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
                killed = True  # one that hangs in the kernel dies when that lets it
                process.kill()

    def _wait_for(self, process: NodeProcess, seconds: float) -> NodeResult | None:
        """The node's end, or None when time is up or a signal came."""
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
        """Report what there is to report; at the end, wait for room on a full disk."""
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
