"""Workers that end before they can do anything: how often in a row, and when that is too often."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from furu_slurm import JobInfo
from furu_slurm.errors import FuruSubmitRefused
from furu_slurm_pool._workers import Worker

_log = logging.getLogger("furu.pool")

_STARTS: Final = 3  # workers in a row that die before they can do anything
_TAKEN_STARTS: Final = 30  # the same, where somebody or something else ended them
_TAKEN: Final = frozenset({"CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED"})


class StartsFail(Exception):
    """Workers end again and again before they can do anything.

    Attributes:
        worker: the last of them.
    """

    def __init__(self, message: str, worker: Worker) -> None:
        super().__init__(message)
        self.worker = worker


class Starts:
    """How often in a row workers of each spec key have failed to start."""

    def __init__(self) -> None:
        self._failed: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()

    def begun(self, key: str) -> None:
        """Note that a worker has begun."""
        self._failed[key] = self._taken[key] = 0

    def failed(self, worker: Worker, why: str) -> None:
        """Note that one ended before that.

        Raises:
            StartsFail: so did too many before it.
        """
        state = "" if worker.info is None else worker.info.state.value
        # A scheduler that was killed forgets what it had just been told: all jobs of a moment at once.
        forgotten = worker.denied and worker.pending
        counter, limit = (self._failed, _STARTS)
        if state in _TAKEN or forgotten:
            counter, limit = (self._taken, _TAKEN_STARTS)
        counter[worker.spec_key] += 1
        if counter[worker.spec_key] >= limit:
            raise StartsFail(f"{worker}: {why}; so did {limit - 1} before it", worker)
        _log.warning("worker %s ended before it began: %s (log: %s)", worker, why, worker.log)


def hopeless(worker: Worker, info: JobInfo) -> FuruSubmitRefused:
    """The error about a worker that waits for what will not come by itself."""
    return FuruSubmitRefused(
        f"the workers for spec key {worker.spec_key!r} would wait for ever: job {info.job_id} "
        f"is pending because of {info.reason}",
        token=worker.token,
        said=info.reason,
        hint=f"mend specs[{worker.spec_key!r}]: it asks for more than its partition has, or than your "
        "account may have",
    )
