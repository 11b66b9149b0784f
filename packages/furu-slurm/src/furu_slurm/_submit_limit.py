"""How many jobs are submitted at once, where Slurm limits the number of a user's jobs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from furu_slurm._states import Snapshot
from furu_slurm.errors import FuruSubmitLimit, FuruSubmitRefused

LIMIT_PAUSE_SECS: Final = 10.0
ALONE_SECS: Final = 90.0  # before it is renewed, a listing without jobs proves nothing
# Limits that jobs of others have used up: those of a group, or the number of jobs in the whole cluster.
_OF_OTHERS: Final = re.compile("Grp|temporarily unable to accept job|MaxJobCount")


class SubmitLimit:
    """How many jobs of a spec key may be submitted at once, where the scheduler limits jobs.

    Each time the scheduler refuses, half as many jobs are tried, and the number is remembered: after it
    refused a single job, the next try is for one. When it has not refused for a while, each try is for
    twice as many.

    Args:
        pause_secs: how long nothing is tried after it refused a single job, and how long no more jobs
            are tried at once than it accepted after a refusal; default: 10.
        clock: seconds, for tests.

    Example:
        >>> from furu_slurm import SubmitLimit
        >>> limit = SubmitLimit(pause_secs=30.0)
        >>> limit.refused("gpu", 8), limit.allows("gpu", 8), limit.allows("cpu", 8)
        (True, 4, 8)
    """

    def __init__(
        self, pause_secs: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause_secs = LIMIT_PAUSE_SECS if pause_secs is None else pause_secs
        self._clock = clock
        self._most: dict[str, int] = {}
        self._from: dict[str, float] = {}
        self._refused: dict[str, float] = {}  # when it refused last
        self._resumes = clock()
        self._alone: float | None = None  # since when it refuses though the user has no job

    def allows(self, key: str, wanted: int) -> int:
        """How many of the wanted jobs to submit; 0 while none is to be tried."""
        if self._clock() < max(self._resumes, self._from.get(key, 0.0)):
            return 0
        return min(wanted, self._most.get(key, wanted))

    def taken(self, key: str, count: int) -> None:
        """Note that the scheduler accepted so many jobs."""
        self._alone = None
        if key in self._most:
            lately = self._clock() - self._refused[key] < self._pause_secs
            self._most[key] = count if lately else 2 * count

    def refused(self, key: str, count: int) -> bool:
        """Note that it refused so many jobs; return whether to try fewer at once."""
        self._most[key] = max(1, count // 2)
        self._refused[key] = self._clock()
        if count == 1:
            self._from[key] = self._clock() + self._pause_secs
        return count > 1

    def pause(self) -> None:
        """Try nothing for a while, because the scheduler does not answer."""
        self._resumes = self._clock() + self._pause_secs

    def check(self, error: FuruSubmitLimit, snapshot: Snapshot) -> None:
        """Check that there is something to wait for: a job of this user, or others' where they count.

        Args:
            error: of a submission of a single job.
            snapshot: the states of the user's jobs after that.

        Raises:
            FuruSubmitRefused: there has been nothing for long.
        """
        lives = any(info.state.live for info in snapshot.found.values())
        if lives or not snapshot.known or _OF_OTHERS.search(error.said):
            self._alone = None
            return
        now = self._clock()
        self._alone = now if self._alone is None else self._alone
        if now - self._alone > ALONE_SECS:
            raise FuruSubmitRefused(
                f"Slurm takes no job at all, though none of this user's is in its queue: {error.said}",
                token=error.token,
                said=error.said,
                hint="ask for the limits of your account: sacctmgr show assoc where user=$USER",
            ) from error
