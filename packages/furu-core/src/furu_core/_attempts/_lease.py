"""Leases: the heartbeat by which an attempt's holder shows that it lives; `_liveness` judges it.

The time of the attempt's record is the heartbeat. One thread for all attempts of the process
touches those that last longer than a fraction of their lease; so the many short nodes of a graph pay
nothing. A holder never contends for the lease of another one.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import threading
import time
from contextlib import suppress
from typing import Final

from furu_core._attempts import _records
from furu_core._background import Background
from furu_core._store._layout import RECORD_FILE
from furu_core.errors import FuruStoreError

# The time between two touches, as a part of the lease's duration; at first the record's age counts.
_BEAT_FRACTION: Final = 0.2
_TROUBLE_SECS: Final = 0.1
_log = logging.getLogger("furu.lease")


class Lease:
    """The lease of one attempt, from `hold` to `release`.

    Losing it does not stop the holder: when it publishes, it is refused if a later attempt exists.

    Args:
        folder: the attempt's folder, whose record was written just now.
        token: the attempt's, which tells its folder from a later one of the same name.
        duration: seconds without a heartbeat after which others may take over.
    """

    def __init__(self, folder: str, token: str, duration: float) -> None:
        self.folder = folder
        self._token = token
        self._pause = _BEAT_FRACTION * duration
        self.due = time.monotonic() + self._pause
        self._mutex = threading.Lock()
        self._released = False
        self._fd: int | None = None
        self._in_trouble = False

    def beat(self) -> None:
        """Touch the record, unless the lease was released; warn the first time this fails."""
        self.due = time.monotonic() + self._pause
        with self._mutex:
            if self._released:
                return
            try:
                self._touch()
            except OSError as error:
                trouble = error
            else:
                self._in_trouble = False
                return
        if not self._in_trouble:
            self._in_trouble = True
            _log.warning("the lease in %s cannot be kept up: %s", self.folder, trouble)

    def release(self) -> None:
        """Stop the heartbeat, if it has begun."""
        _keeper.forget(self)
        with self._mutex:
            self._released = True
            self._close()

    def after_fork(self) -> None:
        """Close the record in a forked child, which does not hold the attempt."""
        self._mutex = threading.Lock()
        self._released = True
        self._close()

    def _touch(self) -> None:
        # Numbers start again at 1 once a node's folder was removed, so the folder may belong to
        # another attempt by now; touching its lease would show its holder as alive for ever.
        if self._fd is None:
            if not self._is_ours():
                raise FileNotFoundError(errno.ENOENT, "it was removed", self.folder)
            self._fd = os.open(f"{self.folder}/{RECORD_FILE}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.utime(self._fd)
        except OSError:
            self._close()  # the handle may be stale, when a network filesystem was away
            raise

    def _is_ours(self) -> bool:
        return _records.is_of(self.folder, self._token)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


def hold(folder: str, token: str, duration: float) -> Lease:
    """Keep the lease of an attempt fresh until the returned `Lease` is released.

    Raises:
        FuruStoreError: the heartbeat thread cannot be started.
    """
    lease = Lease(folder, token, duration)
    _keeper.watch(lease)
    return lease


class _Keeper:
    """One thread that touches the leases of all attempts of this process when they are due."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._leases: set[Lease] = set()
        self._wakes_at = math.inf
        self._thread = Background(self._run, "furu-leases")

    def watch(self, lease: Lease) -> None:
        # A holder without a heartbeat would be taken for dead while it computes.
        try:
            self._thread.ensure()
        except RuntimeError as error:
            raise FuruStoreError(
                f"the lease in {lease.folder} cannot be kept up: {error}",
                path=lease.folder,
                hint="the threads and processes that you may have here are used up (`ulimit -u`): end "
                "some or raise the limit, and run the same command again",
            ) from error
        with self._condition:
            self._leases.add(lease)
            if lease.due < self._wakes_at:
                self._condition.notify()

    def forget(self, lease: Lease) -> None:
        with self._condition:
            self._leases.discard(lease)

    def after_fork(self) -> None:
        for lease in list(self._leases):
            lease.after_fork()

    def _run(self) -> None:
        while True:
            try:
                for lease in self._wait_for_due():
                    lease.beat()
            except Exception:  # noqa: BLE001 - such as MemoryError; without this thread nothing beats
                _log.warning("a lease could not be kept up", exc_info=True)
                time.sleep(_TROUBLE_SECS)

    def _wait_for_due(self) -> list[Lease]:
        with self._condition:
            now = time.monotonic()
            due = [lease for lease in self._leases if lease.due <= now]
            if not due:
                self._wakes_at = min((lease.due for lease in self._leases), default=math.inf)
                self._condition.wait(None if self._wakes_at == math.inf else self._wakes_at - now)
                # Awake: the thread looks at all leases before it waits again.
                self._wakes_at = -math.inf
            return due


_keeper = _Keeper()


def _after_fork() -> None:
    # A fork copies neither the thread nor the right to the attempts: both stay with the parent.
    global _keeper
    _keeper.after_fork()
    _keeper = _Keeper()


os.register_at_fork(after_in_child=_after_fork)
