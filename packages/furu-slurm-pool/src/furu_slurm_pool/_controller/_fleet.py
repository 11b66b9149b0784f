"""The fleet of a run's workers: how many there are to be, and which of them live."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Final

from furu_slurm import (
    SILENT_LEASES,
    Health,
    JobState,
    Snapshot,
    SubmitLimit,
    last_word,
    new_token,
    reasons,
    reasons_text,
    worker_log_folder,
)
from furu_slurm.errors import FuruSlurmUnavailable, FuruSubmitLimit
from furu_slurm_pool._controller import _workers
from furu_slurm_pool._controller._ghost_jobs import ghost_jobs, live_jobs, worker_job_name
from furu_slurm_pool._controller._request import Request
from furu_slurm_pool._controller._scaling import RecentDemand, shares
from furu_slurm_pool._controller._scheduler import Scheduler
from furu_slurm_pool._controller._workers import FailedStarts, LostWorker, Worker, unschedulable
from furu_slurm_pool._queue._heartbeats import Watch
from furu_slurm_pool._queue._run_folder import order_leave
from furu_slurm_pool._worker import WorkerSetup

_log = logging.getLogger("furu.pool")

_LEFT_SECS: Final = 10.0  # a worker that left is replaced after so long, whatever Slurm says
_DENIED_SECS: Final = 60.0  # a worker that left is not counted after so long, even if its job lives
_LIMIT_WARNING_SECS: Final = 300.0
_SURPLUS_SECS: Final = 3.0  # for so long there may be more workers than needed
_KILL_SECS: Final = 10.0  # how long cancelled jobs may take to end
_WARNING_SECS: Final = 3.0  # after so long the user is told what the end waits for
_EARLY_REPORT_SECS: Final = 5.0  # how long to wait for sbatch when a worker has begun already
_SHOWN: Final = 5
_END_PAUSE_SECS: Final = 0.02
_LONGEST_POLL_SECS: Final = 2.0  # the longest pause between two calls of the scheduler


class Fleet:
    """All workers of a run.

    Args:
        run_folder: the run's folder.
        term: the number of this controller's term, part of its workers' names.
        request: the specs of their jobs, and how many there may be.
        lease_secs: how many seconds without a sign of life prove nothing yet.
        wake: called, from another thread, when the scheduler has answered.
    """

    def __init__(
        self,
        run_folder: str,
        term: int,
        request: Request,
        lease_secs: float,
        wake: Callable[[], None],
    ) -> None:
        self._run_folder = run_folder
        self._run_id = os.path.basename(run_folder)
        self._term = term
        self._request = request
        self._most = request.max_workers_total
        self._lease_secs = lease_secs
        self._poll_secs = min(request.poll_interval_sec, _LONGEST_POLL_SECS)
        self._scheduler = Scheduler(request.scheduler(), self._run_id, self._poll_secs, wake)
        self._watch = Watch(run_folder)
        self._workers: dict[str, Worker] = {}  # those that may still work, oldest first
        self._count = 0
        self._recent = RecentDemand(request.idle_timeout_sec)
        self._limit = SubmitLimit()
        self._limit_warned: float | None = None
        self._submitting: tuple[list[Worker], Future[list[str]]] | None = None
        self._next_submission = 0.0
        self._failed_starts = FailedStarts()
        self._surplus_since: dict[str, float] = {}
        self._ended_for_good = False

    # The workers

    def workers(self) -> list[Worker]:
        """The workers that may still work."""
        return list(self._workers.values())

    def worker(self, name: str) -> Worker | None:
        """The worker with this name; None if it may no longer work."""
        return self._workers.get(name)

    def obstacle(self) -> str:
        """What keeps workers from working, in words; empty for nothing."""
        if self._scheduler.problem:
            return f"Slurm does not answer ({self._scheduler.problem})"
        waiting = [worker for worker in self._workers.values() if worker.pending]
        if not waiting:
            return ""
        found = reasons(worker.health.info for worker in waiting if worker.health.info is not None)
        why = f" because of {reasons_text(found)}" if found else ""
        return f"queued workers: {len(waiting)}{why}"

    def await_job_of(self, worker: Worker) -> None:
        """Wait for the job id of a worker that reported something before sbatch had answered."""
        if worker.job_id is not None or self._submitting is None:
            return
        workers, future = self._submitting
        if any(one is worker for one in workers):
            wait([future], _EARLY_REPORT_SECS)
            if future.done() and future.exception() is None:
                self._collect_submission()

    def adopt(self) -> None:
        """Adopt the workers of the run that any controller has submitted before."""
        for worker in _workers.noted(self._run_folder):
            self._workers.setdefault(worker.name, worker)

    # How many there are to be

    def scale(self, demand: Mapping[str, int]) -> None:
        """Have as many workers of each spec key as it has nodes, within the limit for all keys.

        Args:
            demand: spec key to the number of its nodes that wait or are being computed.
        """
        if self._ended_for_good:
            return
        wanted = shares(demand, self._most)
        for key in {worker.spec_key for worker in self._workers.values()}:
            self._dismiss(key, wanted.get(key, 0))
        recent = self._recent.with_current(demand)
        kept = shares(recent, self._most) if len(recent) <= self._most else wanted
        self._submit(wanted, kept)

    def _staying(self, key: str) -> list[Worker]:
        return [
            worker
            for worker in self._workers.values()
            if worker.spec_key == key
            and not worker.leaving
            and worker.health.cancelled is None
            and not worker.health.has_left_for(_LEFT_SECS)
        ]

    def _dismiss(self, key: str, wanted: int) -> None:
        staying = self._staying(key)
        surplus = len(staying) - wanted
        if surplus <= 0:
            self._surplus_since.pop(key, None)
            return
        now = time.monotonic()
        if now - self._surplus_since.setdefault(key, now) < _SURPLUS_SECS:
            return  # nodes that become ready at the same moment may need them
        # The newest that have not begun; others leave by themselves, unless a spec key needs room.
        waiting = [w for w in staying if w.pending and w.job_id is not None]
        newest = waiting[::-1][:surplus]
        if newest:
            self.cancel(newest)

    def _submit(self, wanted: Mapping[str, int], kept: Mapping[str, int]) -> None:
        if self._submitting is not None or time.monotonic() < self._next_submission:
            return
        lacking = {key: n - len(self._staying(key)) for key, n in wanted.items()}
        there = [w for w in self._workers.values() if not w.health.has_left_for(_DENIED_SECS)]
        room = self._most - len(there)
        for key, missing in sorted(lacking.items(), key=lambda item: -item[1]):
            if missing <= 0:
                return
            if room <= 0:
                self._make_room(missing, wanted, kept)
                return
            count = self._limit.allows(key, min(missing, room))
            if count:
                self._start(key, count)
                return  # one submission at a time; the next round submits for other keys

    def _make_room(self, most: int, wanted: Mapping[str, int], kept: Mapping[str, int]) -> None:
        """Ask workers of spec keys that have more than their share to leave between two tasks."""
        if any(worker.leaving for worker in self._workers.values()):
            return
        for key in {worker.spec_key for worker in self._workers.values()}:
            staying = [worker for worker in self._staying(key) if worker.health.begun]
            surplus = len(staying) - max(wanted.get(key, 0), kept.get(key, 0))
            for worker in staying[: max(0, min(surplus, most))]:
                most -= 1
                worker.leaving = True
                order_leave(self._run_folder, worker.name)

    def _start(self, key: str, count: int) -> None:
        capacity = self._scheduler.capacity()
        if capacity is None:
            return
        largest, home = capacity
        count = min(count, largest)
        token = new_token()
        folder = worker_log_folder(self._request.submitit_root, key, self._run_id)
        workers = []
        for index in range(count):
            self._count += 1
            name = f"w{self._term}-{self._count:04d}"
            workers.append(Worker(name, key, token, index, str(folder), home=home))
        for worker in workers:
            _workers.note(self._run_folder, worker)
            self._workers[worker.name] = worker
        spec = self._request.specs[key]
        payload = self._setup(key).payload([worker.name for worker in workers])

        def submit() -> list[str]:
            try:
                return self._scheduler.cluster.submit(
                    spec=spec,
                    token=token,
                    name=worker_job_name(self._run_id, key),
                    folder=folder,
                    payload=payload,
                    requeue=False,
                    signal_before_secs=int(self._request.margin_secs(spec)),
                )
            except FuruSubmitLimit as error:
                if count == 1:
                    jobs = self._scheduler.cluster.jobs(self._job_ids(), fresh=True)
                    self._limit.check(error, jobs)
                raise

        self._submitting = workers, self._scheduler.ask(submit)

    def _setup(self, key: str) -> WorkerSetup:
        return WorkerSetup(
            run_folder=self._run_folder,
            run_id=self._run_id,
            spec_key=key,
            idle_timeout_secs=self._request.idle_timeout_sec,
            poll_interval_secs=self._request.poll_interval_sec,
            margin_secs=self._request.margin_secs(self._request.specs[key]),
            local_store=self._request.local_store,
        )

    # Looking at the workers

    def look(self) -> list[LostWorker]:
        """Read the scheduler's answers and the signs of life; return the workers that are gone.

        Raises:
            FuruSlurmError: the scheduler refuses them.
        """
        self._collect_submission()
        self._scheduler.collect_cancellations()
        self._watch.look()
        now = time.monotonic()
        for worker in self._workers.values():
            if self._watch.silence(worker.name) is None:
                continue
            self.note_begun(worker.name)
            present = self._watch.is_present(worker.name)
            worker.health.left = None if present else worker.health.left or now
        return self._collect_snapshot()

    def note_begun(self, name: str) -> None:
        """Note that a worker has begun, by its sign of life or its report."""
        worker = self._workers.get(name)
        if worker is not None and not worker.health.begun:
            worker.health.begun = True
            self._failed_starts.begun(worker.spec_key)

    def _collect_submission(self) -> None:
        if self._submitting is None or not self._submitting[1].done():
            return
        workers, future = self._submitting
        self._submitting = None
        error = future.exception()
        now = time.monotonic()
        if error is None:
            self._scheduler.answered()
            for worker, job_id in zip(workers, future.result(), strict=True):
                _workers.note_job(self._run_folder, worker, job_id)
                worker.health.submitted = now
            self._limit.taken(workers[0].spec_key, len(workers))
            self._scheduler.ask_soon()
            return
        if isinstance(error, FuruSlurmUnavailable):
            for worker in workers:
                if error.maybe_submitted:  # the next answers show it, by the token
                    worker.health.submitted = now
                else:
                    self.forget(worker)
            self._is_down(error)
            return
        for worker in workers:
            self.forget(worker)
        if isinstance(error, FuruSubmitLimit):
            if not self._limit.refused(workers[0].spec_key, len(workers)):
                self._warn_of_limit(error)
            return
        raise error

    def _warn_of_limit(self, error: FuruSubmitLimit) -> None:
        """Warn that there will be fewer workers: once, and repeatedly while there is none."""
        now = time.monotonic()
        there = len(self._workers)
        if self._limit_warned is None or (
            not there and now - self._limit_warned > _LIMIT_WARNING_SECS
        ):
            self._limit_warned = now
            _log.warning(
                "run %s: %s; going on with %d workers, and with more when Slurm takes them",
                *(self._run_id, error.message, there),
            )

    def _is_down(self, error: FuruSlurmUnavailable) -> None:
        self._next_submission = time.monotonic() + self._poll_secs
        at_work = any(self._is_at_work(worker) for worker in self._workers.values())
        self._scheduler.failed(error, at_work=at_work)

    def _is_at_work(self, worker: Worker) -> bool:
        silence = self._watch.silence(worker.name)
        return silence is not None and silence <= SILENT_LEASES * self._lease_secs

    def _collect_snapshot(self) -> list[LostWorker]:
        snapshot = self._scheduler.new_snapshot()
        if snapshot is not None and snapshot.known:
            return self._judge(snapshot)
        if snapshot is not None and self._scheduler.was_up:
            why = f"Slurm does not answer ({snapshot.problem})"
            hint = "run the same command again when `sinfo` answers"
            self._is_down(FuruSlurmUnavailable(why, hint=hint))
        if self._workers:
            self._scheduler.ask_about(self._job_ids())
        return []

    def _job_ids(self) -> list[str]:
        return [w.full_id for w in list(self._workers.values()) if w.full_id is not None]

    def _judge(self, snapshot: Snapshot) -> list[LostWorker]:
        gone: list[LostWorker] = []
        for worker in list(self._workers.values()):
            silence = self._watch.silence(worker.name)
            was_halted = worker.health.halted
            health = worker.health.look(
                worker.job, snapshot, silent_secs=silence, lease_secs=self._lease_secs
            )
            info = worker.health.info
            if info is not None and worker.job_id is None:
                _workers.note_job(self._run_folder, worker, info.job_id)
            if info is not None and worker.health.halted and not was_halted:
                _log.info("worker %s waits: its job is %s", worker, info.state.value)
            match health:
                case Health.HEALTHY | Health.UNKNOWN:
                    continue
                case Health.UNSCHEDULABLE:
                    assert info is not None
                    raise unschedulable(worker, info)
                case Health.GHOST | Health.STRANDED:
                    self.cancel([worker])
                    continue
                case Health.SILENT:
                    _log.warning(
                        "worker %s has given no sign of life for %.0f s: its job is cancelled, if it "
                        "can be",
                        *(worker, silence),
                    )
                    self.cancel([worker])
                    continue
                case Health.RESTARTED | Health.DROPPED:
                    # Its second start would find the claims and reports of the first.
                    self.cancel([worker])
                    why = "its job was put back into the queue"
                case Health.ENDED:
                    assert info is not None
                    why = f"its job has ended as {info.state.value}"
                case Health.DENIED:
                    why = "the scheduler does not know its job any more"
                case Health.OUT_OF_SIGHT:
                    elsewhere = info is not None and info.elsewhere
                    whose = info.reason if info is not None and elsewhere else "another user's"
                    why = f"its job is {whose}, of which nobody knows here, and has not begun"
                case Health.LOST:
                    why = f"it gave no sign of life for {silence:.0f} s, and its job does not end"
            gone.append(self._lost(worker, why))
        return gone

    def _lost(self, worker: Worker, why: str) -> LostWorker:
        del self._workers[worker.name]
        if not (worker.health.begun or worker.adopted or worker.health.cancelled is not None):
            info = worker.health.info
            if info is not None and info.state is JobState.COMPLETED:
                why = f"{why}, and its last word was: {last_word(worker.log) or 'none'}"
            too_many = self._failed_starts.failed(worker)
            if too_many is not None:
                return LostWorker(worker, f"{worker}: {why}; {too_many}", is_hopeless=True)
            _log.warning("worker %s ended before it began: %s (log: %s)", worker, why, worker.log)
        return LostWorker(worker, why)

    # Ending

    def cancel(self, workers: Iterable[Worker]) -> None:
        """Cancel the jobs of workers."""
        chosen = list(workers)
        now = time.monotonic()
        for worker in chosen:
            worker.health.cancelled = worker.health.cancelled or now
        self._scheduler.cancel([one.full_id for one in chosen if one.full_id is not None])

    def end(self, *, patience: float, hurried: Callable[[float], bool]) -> None:
        """End all workers: waiting ones at once, the others when they have had time to leave.

        Args:
            patience: seconds that workers have to leave.
            hurried: waits for so many seconds or less; tells whether the end is wanted at once.
        """
        self._ended_for_good = True
        began = time.monotonic()
        cancel_at = began + patience
        give_up_at = cancel_at + _KILL_SECS
        hurry = said = False
        while self._workers or self._submitting is not None:
            with suppress(Exception):  # the run has ended, so errors no longer matter
                self.look()
            for worker in [w for w in self._workers.values() if self._has_left(w)]:
                del self._workers[worker.name]
            hurry = hurry or hurried(_END_PAUSE_SECS)
            now = time.monotonic()
            late = hurry or now > cancel_at
            rest = [w for w in self._workers.values() if w.health.cancelled is None]
            self.cancel([w for w in rest if w.job_id is not None and (late or w.pending)])
            if now > give_up_at or (hurry and self._submitting is None):
                break
            if self._workers and not said and now > began + _WARNING_SECS:
                said = True
                self._warn_of_workers("waits for", f", for {give_up_at - now:.0f} s at most")
        if self._workers and not hurry:
            self._warn_of_workers("has ended without", ", which leave when they find that out")
        self._sweep(hurried, hurry=hurry)
        self._scheduler.close(wait_for_answers=not hurry)

    def _has_left(self, worker: Worker) -> bool:
        return worker.health.begun and not self._watch.is_present(worker.name)

    def _warn_of_workers(self, how: str, rest: str) -> None:
        why = " (Slurm does not answer)" if self._scheduler.is_down else ""
        names = ", ".join(str(worker) for worker in list(self._workers.values())[:_SHOWN])
        more = len(self._workers) - _SHOWN
        names += f" and {more} more" if more > 0 else ""
        _log.warning("run %s %s its workers %s%s%s", self._run_id, how, names, why, rest)

    def _sweep(self, hurried: Callable[[float], bool], *, hurry: bool) -> None:
        """Cancel the jobs of the run that Slurm lists as live, even if their workers have left."""
        scheduler = self._scheduler
        if scheduler.cluster.name != "slurm" or not scheduler.was_up:
            return
        noted = _workers.noted(self._run_folder)
        ask = partial(scheduler.ask, lambda: live_jobs(scheduler.cluster, self._run_id, noted))
        scheduler.cancel(ghost_jobs(ask, self._run_id, hurried, hurry=hurry))

    def abandon(self) -> None:
        """Leave all workers to the controller that has taken over."""
        self._ended_for_good = True
        self._scheduler.abandon()

    # Notes

    def forget(self, worker: Worker) -> None:
        """Remove the note of a worker that is gone, and whose tasks have been dealt with."""
        self._workers.pop(worker.name, None)
        _workers.remove_note(self._run_folder, worker)
