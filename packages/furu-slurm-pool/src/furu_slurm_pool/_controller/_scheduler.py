"""A controller's calls of Slurm, in threads of their own, so that a slow answer delays no node."""

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

_DOWN_SECS: Final = 120.0  # for so long the scheduler may be down while no worker is at work
_MOMENT_SECS: Final = 0.2  # enough for an answer, unless the scheduler is down


class Scheduler:
    """Calls a cluster from other threads, and tracks whether it answers.

    Args:
        cluster: the cluster.
        run_id: the run, for messages.
        poll_secs: seconds between two questions about jobs.
        wake: called, from another thread, when there is an answer.

    Attributes:
        cluster: the cluster, to be called in one of those threads.
        problem: why it did not answer the last question about jobs; empty if it did.
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
        """Call the cluster in another thread."""
        future = self._threads.submit(question)
        future.add_done_callback(lambda _: self._wake())
        return future

    def close(self, *, wait_for_answers: bool) -> None:
        """Accept no more calls; those that have not begun are dropped unless the caller waits."""
        self._threads.shutdown(wait=wait_for_answers)

    def abandon(self) -> None:
        """Accept no more calls, and drop those that have not begun."""
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
        """Note that it has not answered; return while a worker is at work or it may soon be back.

        Args:
            error: the error of the call; raised where there is nothing to wait for.
            at_work: whether any worker is at work.
        """
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            _log.warning("run %s: %s", self._run_id, error.message)
        if not at_work and (not self.was_up or now - self._down_since > _DOWN_SECS):
            raise error

    # Calls

    def capacity(self) -> tuple[int, str] | None:
        """How many jobs an array may have, and the home of jobs; None while it has not answered."""
        if self._capacity is None:
            # A scheduler that does not answer may take half a minute to say even this.
            self._capacity = self.ask(lambda: (self.cluster.max_array_size(), self.cluster.home()))
            wait([self._capacity], _MOMENT_SECS)
        if not self._capacity.done():
            return None
        capacity, self._capacity = self._capacity.result(), None
        return capacity

    def new_snapshot(self) -> Snapshot | None:
        """The new answer to `ask_about`, if there is one."""
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
        # A snapshot from before this run does not show that the scheduler answers now.
        if snapshot.known and snapshot.taken >= self._began:
            self.answered()
        return snapshot

    def ask_about(self, job_ids: Collection[str]) -> None:
        """Ask for the states of jobs, if a question is due."""
        if self._asked is None and time.monotonic() >= self._next_ask:
            self._next_ask = time.monotonic() + self._poll_secs
            self._asked = self.ask(lambda: self.cluster.jobs(job_ids))

    def ask_soon(self) -> None:
        """Let the next `ask_about` ask at once."""
        self._next_ask = 0.0

    def cancel(self, job_ids: Collection[str]) -> None:
        """Cancel jobs."""
        if job_ids:
            self._cancelling.append(self.ask(lambda: self.cluster.cancel(job_ids)))

    def collect_cancellations(self) -> None:
        """Warn of jobs that could not be cancelled."""
        for future in [future for future in self._cancelling if future.done()]:
            self._cancelling.remove(future)
            error = future.exception()
            if error is not None:
                _log.warning("jobs could not be cancelled: %s", error)
