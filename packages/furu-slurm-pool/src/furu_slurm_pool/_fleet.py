"""The workers of a run, as jobs: how many there are to be, and which of them live.

::

    runs/<run id>/workers/<worker>.json     written before the job is submitted
                          <worker>.<id>     an empty file that names the job, once its id is known

What the scheduler is asked happens in a thread of its own, so that a slow answer delays no node.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from furu_slurm import Call, Cluster, JobInfo, Snapshot, Specs, job_log, new_token
from furu_slurm.errors import FuruSlurmUnavailable, FuruSubmitLimit, FuruSubmitRefused
from furu_slurm_pool._folders import order_leave
from furu_slurm_pool._heartbeats import Watch
from furu_slurm_pool._moves import is_hidden, listed
from furu_slurm_pool._queue import declare_dead, queue_folder

_log = logging.getLogger("furu.pool")

VERSION: Final = 1
WORK: Final = "furu_slurm_pool._worker:work"
_SILENT_LEASES: Final = 3.0  # without a sign of life, after which a worker's job is cancelled
_LIMIT_PAUSE_SECS: Final = 30.0  # after the scheduler took no more jobs
_DOWN_SECS: Final = 120.0  # for which the scheduler may not answer while nobody is at work
_SURPLUS_SECS: Final = 3.0  # for which workers may be more than needed
_STARTS: Final = 3  # workers in a row that die before they can do anything
_TAKEN_STARTS: Final = 30  # the same, where somebody or something else ended them
_TAKEN: Final = frozenset({"CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED"})
_KILL_SECS: Final = 10.0  # for jobs to end that were cancelled
_END_PAUSE_SECS: Final = 0.02
_MISSING_LOOKS: Final = 2  # a job that is found in none of so many answers is gone
_HOPELESS_LOOKS: Final = 2


@attrs.define(eq=False)
class Worker:
    """One worker, as its controller sees it.

    Attributes:
        name: in the run.
        spec_key: of the nodes it computes.
        token: of its submission.
        index: in the array of that submission; -1 when it is alone.
        folder: of its log.
        job_id: None until the scheduler has told.
        info: what the scheduler said last.
        submitted: when its submission was over, by `time.monotonic`.
        begun: whether it has given a sign of life.
        adopted: whether another controller submitted it.
        leaving: whether it was asked to leave.
        cancelled: when its job was cancelled, by `time.monotonic`.
        missed: in how many answers in a row it was not found.
        hopeless: in how many it was said to wait for ever.
    """

    name: str
    spec_key: str
    token: str
    index: int
    folder: str
    job_id: str | None = None
    info: JobInfo | None = None
    submitted: float | None = None
    begun: bool = False
    adopted: bool = False
    leaving: bool = False
    cancelled: float | None = None
    missed: int = 0
    hopeless: int = 0

    @property
    def log(self) -> Path:
        """Where its output goes."""
        folder = Path(self.folder)
        return folder if self.job_id is None else job_log(folder, self.job_id)

    @property
    def pending(self) -> bool:
        """Whether it has not begun, as far as is known."""
        if self.begun or self.cancelled is not None:
            return False
        return self.info is None or self.info.state.waiting

    def __str__(self) -> str:
        return self.name if self.job_id is None else f"{self.name} (job {self.job_id})"


@attrs.frozen
class Gone:
    """A worker that does nothing any more.

    Attributes:
        worker: which.
        why: how one knows.
    """

    worker: Worker
    why: str


class StartsFail(Exception):
    """Workers end again and again before they can do anything.

    Attributes:
        worker: the last of them.
    """

    def __init__(self, message: str, worker: Worker) -> None:
        super().__init__(message)
        self.worker = worker


class Fleet:
    """All workers of a run.

    Args:
        run_folder: the run's.
        run_id: the run.
        reign: the number of this controller, part of its workers' names.
        cluster: runs them.
        specs: what their jobs ask for.
        most: how many there may be, those that wait in the scheduler's queue counted.
        log_folder: spec key to the folder of its workers' logs.
        arguments: what a worker is started with, by its name and spec key.
        margin_secs: spec key to the seconds before its walltime's end at which a worker is signalled.
        lease_secs: seconds without a sign of life that mean nothing yet.
        poll_secs: seconds between two questions to the scheduler.
        wake: called, from another thread, when there is an answer.
    """

    def __init__(
        self,
        *,
        run_folder: str,
        run_id: str,
        reign: int,
        cluster: Cluster,
        specs: Specs,
        most: int,
        log_folder: Callable[[str], Path],
        arguments: Callable[[str, str], tuple[str, ...]],
        margin_secs: Callable[[str], float],
        lease_secs: float,
        poll_secs: float,
        wake: Callable[[], None],
    ) -> None:
        self._run_folder = run_folder
        self._run_id = run_id
        self._reign = reign
        self._cluster = cluster
        self._specs = specs
        self._most = most
        self._log_folder = log_folder
        self._arguments = arguments
        self._margin_secs = margin_secs
        self._lease_secs = lease_secs
        self._poll_secs = poll_secs
        self._wake = wake
        self._watch = Watch(run_folder)
        self._workers: dict[str, Worker] = {}  # those that may do something yet, oldest first
        self._count = 0
        # Two, so that jobs can be cancelled while a submission gets no answer.
        self._thread = ThreadPoolExecutor(2, thread_name_prefix="furu-scheduler")
        self._asked: Future[Snapshot] | None = None
        self._submitting: tuple[list[Worker], Future[list[str]]] | None = None
        self._cancelling: list[Future[None]] = []
        self._next_ask = 0.0
        self._next_submission = 0.0
        self._down_since: float | None = None
        self._was_up = False  # whether the scheduler has ever answered
        self._failed: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._surplus_since: dict[str, float] = {}
        self._ended_for_good = False

    # What there is

    def workers(self) -> list[Worker]:
        """The workers that may do something yet."""
        return list(self._workers.values())

    def worker(self, name: str) -> Worker | None:
        """One of them."""
        return self._workers.get(name)

    def adopt(self) -> None:
        """Take over the workers of the run that were submitted before, by any controller."""
        names = listed(f"{self._run_folder}/workers")
        job_ids = _job_ids(names)
        for name in sorted(names):
            if not name.endswith(".json") or is_hidden(name):
                continue
            worker = self._read(name.removesuffix(".json"))
            if worker is None or worker.name in self._workers:
                continue
            worker.job_id = job_ids.get(worker.name)
            worker.submitted = time.monotonic()
            worker.adopted = True
            self._workers[worker.name] = worker

    # How many there are to be

    def scale(self, demand: Mapping[str, int]) -> None:
        """Have as many workers of each spec key as it has nodes, within the limit for all.

        Args:
            demand: spec key to the number of its nodes that wait or are computed.
        """
        if self._ended_for_good:
            return
        wanted = shares(demand, self._most)
        for key in {worker.spec_key for worker in self._workers.values()}:
            self._dismiss(key, wanted.get(key, 0))
        self._submit(wanted)

    def _staying(self, key: str) -> list[Worker]:
        return [
            worker
            for worker in self._workers.values()
            if worker.spec_key == key and not worker.leaving and worker.cancelled is None
        ]

    def _dismiss(self, key: str, wanted: int) -> None:
        staying = self._staying(key)
        surplus = len(staying) - wanted
        if surplus <= 0:
            self._surplus_since.pop(key, None)
            return
        now = time.monotonic()
        if now - self._surplus_since.setdefault(key, now) < _SURPLUS_SECS:
            return  # what became ready in the same moment may need them
        # The newest that wait; those that have begun leave by themselves, unless others need room.
        waiting = [w for w in staying if w.pending and w.job_id is not None]
        newest = waiting[::-1][:surplus]
        if newest:
            self.cancel(newest)

    def _submit(self, wanted: Mapping[str, int]) -> None:
        if self._submitting is not None or time.monotonic() < self._next_submission:
            return
        lacking = {key: n - len(self._staying(key)) for key, n in wanted.items()}
        room = self._most - len(self._workers)
        for key, missing in sorted(lacking.items(), key=lambda item: -item[1]):
            if missing <= 0:
                return
            if room <= 0:
                self._make_room(wanted)
                return
            self._start(key, min(missing, room, self._cluster.max_array_size()))
            return  # one submission at a time; the next round sees to the other keys

    def _make_room(self, wanted: Mapping[str, int]) -> None:
        """Ask workers of spec keys that have more than their share to leave between two tasks."""
        if any(worker.leaving for worker in self._workers.values()):
            return
        for key in {worker.spec_key for worker in self._workers.values()}:
            staying = [worker for worker in self._staying(key) if worker.begun]
            for worker in staying[: max(0, len(staying) - wanted.get(key, 0))]:
                worker.leaving = True
                order_leave(self._run_folder, worker.name)

    def _start(self, key: str, count: int) -> None:
        token = new_token()
        folder = self._log_folder(key)
        workers = []
        for index in range(count):
            self._count += 1
            name = f"w{self._reign}-{self._count:04d}"
            place = index if count > 1 else -1
            workers.append(Worker(name, key, token, place, str(folder)))
        for worker in workers:
            self._write(worker)
            self._workers[worker.name] = worker
        calls = [Call(WORK, self._arguments(worker.name, key)) for worker in workers]
        spec = self._specs[key]
        margin = max(1, int(self._margin_secs(key)))

        def submit() -> list[str]:
            return self._cluster.submit(
                spec=spec,
                token=token,
                name=f"furu-pool-{key}-{self._run_id}",
                folder=folder,
                calls=calls,
                requeue=False,
                signal_before_secs=margin,
            )

        self._submitting = workers, self._in_thread(submit)

    # Looking

    def look(self) -> list[Gone]:
        """Hear what the scheduler has answered, and look at signs of life; who is gone.

        Raises:
            StartsFail: workers end again and again before they can do anything.
            FuruSlurmError: the scheduler refuses them.
        """
        self._hear_submission()
        self._hear_cancellations()
        self._watch.look()
        for worker in self._workers.values():
            if not worker.begun and self._watch.silence(worker.name) is not None:
                self.heard_of(worker.name)
        return self._hear_snapshot()

    def heard_of(self, name: str) -> None:
        """A worker has begun, as it shows or tells."""
        worker = self._workers.get(name)
        if worker is not None and not worker.begun:
            worker.begun = True
            self._failed[worker.spec_key] = self._taken[worker.spec_key] = 0

    def _hear_submission(self) -> None:
        if self._submitting is None or not self._submitting[1].done():
            return
        workers, future = self._submitting
        self._submitting = None
        error = future.exception()
        now = time.monotonic()
        if error is None:
            self._down_since, self._was_up = None, True
            for worker, job_id in zip(workers, future.result(), strict=True):
                self._known(worker, job_id)
                worker.submitted = now
            self._next_ask = 0.0
            return
        if isinstance(error, FuruSlurmUnavailable):
            for worker in workers:
                if error.maybe_submitted:  # the next answers tell, by their token
                    worker.submitted = now
                else:
                    self.forget(worker)
            self._is_down(error)
            return
        for worker in workers:
            self.forget(worker)
        if isinstance(error, FuruSubmitLimit) and self._workers:
            _log.warning("%s; going on with %d workers", error, len(self._workers))
            self._next_submission = now + _LIMIT_PAUSE_SECS
            return
        raise error

    def _hear_cancellations(self) -> None:
        for future in [future for future in self._cancelling if future.done()]:
            self._cancelling.remove(future)
            error = future.exception()
            if error is not None:
                _log.warning("jobs could not be cancelled: %s", error)

    def _is_down(self, error: FuruSlurmUnavailable) -> None:
        """Go on without the scheduler, as long as somebody is at work or it may soon be back."""
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            _log.warning("%s", error)
        self._next_submission = now + self._poll_secs
        if any(self._is_at_work(worker) for worker in self._workers.values()):
            return
        if not self._was_up or now - self._down_since > _DOWN_SECS:
            raise error

    def _is_at_work(self, worker: Worker) -> bool:
        silence = self._watch.silence(worker.name)
        return silence is not None and silence <= _SILENT_LEASES * self._lease_secs

    def _hear_snapshot(self) -> list[Gone]:
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            error = asked.exception()
            if error is not None:
                _log.debug("the scheduler gives no answer: %s", error)
            elif asked.result().known:
                self._down_since, self._was_up = None, True
                return self._judge(asked.result())
            elif self._was_up:
                why = f"Slurm does not answer ({asked.result().problem})"
                hint = "run the same command again when `sinfo` answers"
                self._is_down(FuruSlurmUnavailable(why, hint=hint))
        if self._asked is None and self._workers and time.monotonic() >= self._next_ask:
            self._next_ask = time.monotonic() + self._poll_secs
            known = [w.job_id for w in self._workers.values() if w.job_id is not None]
            self._asked = self._in_thread(lambda: self._cluster.jobs(known))
        return []

    def _judge(self, snapshot: Snapshot) -> list[Gone]:
        gone: list[Gone] = []
        for worker in list(self._workers.values()):
            if worker.submitted is None or worker.submitted > snapshot.taken:
                continue  # it was submitted after this was asked
            info = self._find(worker, snapshot)
            if info is not None:
                worker.info, worker.missed = info, 0
                if worker.job_id is None:
                    self._known(worker, info.job_id)
                if info.state.ended:
                    gone.append(self._gone(worker, f"its job has ended as {info.state.value}"))
                    continue
                worker.hopeless = worker.hopeless + 1 if info.hopeless else 0
                if worker.hopeless >= _HOPELESS_LOOKS:
                    self._refuse(worker, info)
                self._mind_silence(worker, gone)
                continue
            worker.missed += 1
            if worker.missed >= _MISSING_LOOKS:
                gone.append(self._gone(worker, "the scheduler does not know its job any more"))
        return gone

    def _find(self, worker: Worker, snapshot: Snapshot) -> JobInfo | None:
        if worker.job_id is not None:
            return snapshot.job(worker.job_id)
        for info in snapshot.by_token(worker.token):
            place = info.job_id.partition("_")[2]
            if worker.index < 0 or place == str(worker.index):
                return info
        return None

    def _mind_silence(self, worker: Worker, gone: list[Gone]) -> None:
        """Cancel a worker that runs, as the scheduler says, and gives no sign of life."""
        silence = self._watch.silence(worker.name)
        limit = _SILENT_LEASES * self._lease_secs
        if silence is None or silence <= limit:
            return
        if worker.cancelled is None:
            _log.warning(
                "worker %s has given no sign of life for %.0f s: its job is cancelled",
                *(worker, silence),
            )
            self.cancel([worker])
        elif time.monotonic() - worker.cancelled > limit:
            why = f"it gave no sign of life for {silence:.0f} s, and its job does not end"
            gone.append(self._gone(worker, why))

    def _refuse(self, worker: Worker, info: JobInfo) -> None:
        raise FuruSubmitRefused(
            f"the workers for spec key {worker.spec_key!r} would wait for ever: job {info.job_id} "
            f"is pending because of {info.reason}",
            token=worker.token,
            said=info.reason,
            hint=f"mend specs[{worker.spec_key!r}]: no node of its partition can run this",
        )

    def _gone(self, worker: Worker, why: str) -> Gone:
        del self._workers[worker.name]
        if worker.begun or worker.adopted or worker.cancelled is not None:
            return Gone(worker, why)
        state = "" if worker.info is None else worker.info.state.value
        counter, limit = (self._failed, _STARTS)
        if state in _TAKEN:
            counter, limit = (self._taken, _TAKEN_STARTS)
        counter[worker.spec_key] += 1
        if counter[worker.spec_key] >= limit:
            raise StartsFail(f"{worker}: {why}; so did {limit - 1} before it", worker)
        _log.warning("worker %s did not start: %s (log: %s)", worker, why, worker.log)
        return Gone(worker, why)

    # Ending

    def cancel(self, workers: Iterable[Worker]) -> None:
        """Have the scheduler end workers."""
        chosen = list(workers)
        now = time.monotonic()
        for worker in chosen:
            worker.cancelled = worker.cancelled or now
        job_ids = [worker.job_id for worker in chosen if worker.job_id is not None]
        if job_ids:
            self._cancelling.append(self._in_thread(lambda: self._cluster.cancel(job_ids)))

    def end(self, *, patience: float, hurried: Callable[[float], bool]) -> None:
        """End all workers: those that wait at once, the others when they have had time to leave.

        Args:
            patience: seconds for those that are at work.
            hurried: waits for so many seconds or less; whether somebody wants the end at once.
        """
        self._ended_for_good = True
        cancel_at = time.monotonic() + patience
        give_up_at = cancel_at + _KILL_SECS
        hurry = False
        while self._workers or self._submitting is not None:
            with suppress(Exception):  # the run has ended; what fails now is no news to it
                self.look()
            for worker in [w for w in self._workers.values() if self._has_left(w)]:
                del self._workers[worker.name]
            hurry = hurry or hurried(_END_PAUSE_SECS)
            now = time.monotonic()
            late = hurry or now > cancel_at
            rest = [w for w in self._workers.values() if w.cancelled is None]
            self.cancel([w for w in rest if w.job_id is not None and (late or w.pending)])
            if now > give_up_at or (hurry and self._submitting is None):
                break
        self._thread.shutdown(wait=not hurry)

    def _has_left(self, worker: Worker) -> bool:
        return worker.begun and not self._watch.is_present(worker.name)

    def abandon(self) -> None:
        """Let go of all workers, because somebody else controls them now."""
        self._ended_for_good = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    # Notes

    def _in_thread(self, call: Callable[[], Any]) -> Future[Any]:
        future = self._thread.submit(call)
        future.add_done_callback(lambda _: self._wake())
        return future

    def _write(self, worker: Worker) -> None:
        record = {
            "version": VERSION,
            "spec_key": worker.spec_key,
            "token": worker.token,
            "index": worker.index,
            "folder": worker.folder,
        }
        path = f"{self._run_folder}/workers/{worker.name}.json"
        with open(path, "x", encoding="utf-8") as file:
            json.dump(record, file)

    def _read(self, name: str) -> Worker | None:
        try:
            with open(f"{self._run_folder}/workers/{name}.json", "rb") as file:
                raw = json.load(file)
            return Worker(name, raw["spec_key"], raw["token"], int(raw["index"]), raw["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it was being written when its controller died: nothing was submitted

    def _known(self, worker: Worker, job_id: str) -> None:
        worker.job_id = job_id
        with suppress(OSError):
            open(f"{self._run_folder}/workers/{worker.name}.{job_id}", "w").close()

    def forget(self, worker: Worker) -> None:
        """Remove the note of a worker that is not there, and whose tasks have been seen to."""
        self._workers.pop(worker.name, None)
        for suffix in ("json", worker.job_id):
            with suppress(OSError):
                os.unlink(f"{self._run_folder}/workers/{worker.name}.{suffix}")


def shares(demand: Mapping[str, int], most: int) -> dict[str, int]:
    """How many workers each spec key is to have: as many as it has nodes, and a fair share at least.

    Example:
        >>> shares({"default": 100, "gpu": 2}, 8)
        {'default': 6, 'gpu': 2}
    """
    given = dict.fromkeys(demand, 0)
    left = most
    while left > 0:
        lacking = [key for key in demand if given[key] < demand[key]]
        if not lacking:
            break
        each = max(1, left // len(lacking))
        for key in lacking:
            more = min(each, demand[key] - given[key], left)
            given[key] += more
            left -= more
    return given


def noted_jobs(run_folder: str) -> list[str]:
    """The jobs of all workers of a run that may live."""
    return list(_job_ids(listed(f"{run_folder}/workers")).values())


def _job_ids(names: list[str]) -> dict[str, str]:
    """By worker, from the names of the files in the folder of workers."""
    return dict(name.split(".", 1) for name in names if not name.endswith(".json"))


def give_up(run_folder: str, worker: Worker) -> list[str]:
    """Take a dead worker's folder away from it, or keep it from making one; the tasks it had."""
    queue = queue_folder(run_folder, worker.spec_key)
    names = declare_dead(queue, worker.name)
    with suppress(OSError):
        os.makedirs(f"{queue.dead}/{worker.name}", exist_ok=True)
    return names
