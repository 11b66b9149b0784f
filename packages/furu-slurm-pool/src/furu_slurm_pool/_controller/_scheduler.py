"""What a controller asks of Slurm, in threads of its own, so that a slow answer delays no node."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from furu_slurm import Cluster, Snapshot
from furu_slurm.errors import FuruSlurmUnavailable

_log = logging.getLogger("furu.pool")

T = TypeVar("T")

_DOWN_SECS: Final = 120.0  # for which the scheduler may not answer while nobody is at work
_MOMENT_SECS: Final = 0.2  # for an answer that takes no time where the scheduler answers at all


class Scheduler:
    """A cluster that is asked in other threads, and whether it answers.

    Args:
        cluster: which.
        run_id: the run, for what is said.
        poll_secs: seconds between two questions about jobs.
        wake: called, from another thread, when there is an answer.

    Attributes:
        cluster: which, to be asked from one of those threads.
        problem: why it has not answered when it was asked about jobs last; empty where it has.
        was_up: whether it has ever answered.
    """

    def __init__(
        self, cluster: Cluster, run_id: str, poll_secs: float, wake: Callable[[], None]
    ) -> None:
        self.cluster = cluster
        self.problem = ""
        self.was_up = False
        self._run_id = run_id
        self._poll_secs = poll_secs
        self._wake = wake
        # Two, so that jobs can be cancelled while a submission gets no answer.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="furu-scheduler")
        self._began = time.monotonic()
        self._down_since: float | None = None
        self._capacity: Future[tuple[int, str]] | None = None
        self._asked: Future[Snapshot] | None = None
        self._next_ask = 0.0
        self._cancelling: list[Future[None]] = []

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Ask it something, in another thread."""
        future = self._threads.submit(question)
        future.add_done_callback(lambda _: self._wake())
        return future

    def close(self, *, wait_for_answers: bool) -> None:
        """Ask nothing any more; what has not been asked yet is dropped if nobody waits."""
        self._threads.shutdown(wait=wait_for_answers)

    def abandon(self) -> None:
        """Ask nothing any more, and drop what has not been asked yet."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Whether it answers

    @property
    def is_down(self) -> bool:
        """Whether it does not answer at the moment."""
        return self._down_since is not None

    def answered(self) -> None:
        """Note that it has answered."""
        self._down_since, self.was_up = None, True

    def failed(self, error: FuruSlurmUnavailable, *, at_work: bool) -> None:
        """Note that it has not, and go on as long as somebody is at work or it may soon be back.

        Args:
            error: says so; raised where there is nothing to wait for.
            at_work: whether some worker is.
        """
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            _log.warning("run %s: %s", self._run_id, error.message)
        if not at_work and (not self.was_up or now - self._down_since > _DOWN_SECS):
            raise error

    # What it is asked

    def capacity(self) -> tuple[int, str] | None:
        """How many jobs an array may have, and where jobs are at home; None while it has not answered."""
        if self._capacity is None:
            # A scheduler that does not answer may take half a minute to say even this.
            self._capacity = self.ask(lambda: (self.cluster.max_array_size(), self.cluster.home()))
            wait([self._capacity], _MOMENT_SECS)
        if not self._capacity.done():
            return None
        capacity, self._capacity = self._capacity.result(), None
        return capacity

    def new_snapshot(self) -> Snapshot | None:
        """A new answer to `ask_about`, if there is one."""
        if self._asked is None or not self._asked.done():
            return None
        asked, self._asked = self._asked, None
        error = asked.exception()
        if error is not None:
            _log.debug("the scheduler gives no answer: %s", error)
            self.problem = str(error)
            return None
        snapshot = asked.result()
        self.problem = "" if snapshot.known else snapshot.problem
        # What was heard before this run began, a moment before it stopped to answer, is none.
        if snapshot.known and snapshot.taken >= self._began:
            self.answered()
        return snapshot

    def ask_about(self, job_ids: Collection[str]) -> None:
        """Ask how jobs stand, if it is time to."""
        if self._asked is None and time.monotonic() >= self._next_ask:
            self._next_ask = time.monotonic() + self._poll_secs
            self._asked = self.ask(lambda: self.cluster.jobs(job_ids))

    def ask_soon(self) -> None:
        """Let the next `ask_about` ask at once."""
        self._next_ask = 0.0

    def cancel(self, job_ids: Collection[str]) -> None:
        """End jobs."""
        if job_ids:
            self._cancelling.append(self.ask(lambda: self.cluster.cancel(job_ids)))

    def collect_cancellations(self) -> None:
        """Say which jobs could not be cancelled."""
        for future in [future for future in self._cancelling if future.done()]:
            self._cancelling.remove(future)
            error = future.exception()
            if error is not None:
                _log.warning("jobs could not be cancelled: %s", error)
