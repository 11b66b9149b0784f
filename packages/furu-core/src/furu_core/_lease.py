"""The sign of life that the holder of an attempt gives, and how others judge it.

An attempt begins with its record, which is fresh. One that lasts longer than a fraction of its lease
is given filelock's `SoftFileLease`, whose heartbeat touches a file of its own from then on; so the
many short nodes of a graph pay for neither a thread nor a file each. A holder never contends for
another's lease. Of that library only the heartbeat is used: its takeover differs between releases,
refuses some network filesystems, and cannot tell two containers of one host name apart.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

import attrs

from furu_core import _process, _records
from furu_core._layout import ATTEMPTS
from furu_core._records import AttemptRecord

if TYPE_CHECKING:
    from filelock import LeaseCompromise, SoftFileLease

LEASE_FILE: Final = "lease"
PROBE: Final = ".probe-"
_YOUNG_FRACTION: Final = 0.2  # of its duration, until which the record's own age shows life
_log = logging.getLogger("furu.lease")


class Lease:
    """The sign of life of one attempt, from `hold` to `release`.

    Losing it does not stop the holder: whether it may publish is decided when it publishes, by
    whether a later attempt exists.

    Args:
        folder: the attempt's folder, whose record was written just now.
        duration: seconds without a sign of life after which others may take over.
    """

    def __init__(self, folder: str, duration: float) -> None:
        self.due = time.monotonic() + _YOUNG_FRACTION * duration
        self._folder = folder
        self._duration = duration
        self._mutex = threading.Lock()
        self._released = False
        self._beating: SoftFileLease | None = None

    def begin_beating(self) -> None:
        """Start the heartbeat, unless the lease was released meanwhile."""
        from furu_core import _forks

        _forks.prepare_for_filelock()
        from filelock import SoftFileLease  # costs 60 ms, which short nodes need not pay

        with self._mutex:
            if self._released:
                return
            lease = SoftFileLease(
                f"{self._folder}/{LEASE_FILE}",
                lease_duration=self._duration,
                on_compromise=_report,
                thread_local=False,  # an attempt may be ended by another thread than began it
                blocking=False,
            )
            try:
                lease.acquire()
            except (OSError, TimeoutError) as error:
                _log.warning("%s has no heartbeat: %s", self._folder, error)
            else:
                self._beating = lease

    def release(self) -> None:
        """Stop the heartbeat, if it has begun."""
        _keeper.forget(self)
        with self._mutex:
            self._released = True
            if self._beating is not None:
                with suppress(OSError):
                    self._beating.release()


def hold(folder: str, duration: float) -> Lease:
    """Give signs of life in an attempt's folder until the returned lease is released."""
    lease = Lease(folder, duration)
    _keeper.watch(lease)
    return lease


def _report(loss: LeaseCompromise) -> None:
    _log.warning("the lease %s cannot be kept up any more: %s", loss.lock_file, loss.reason)


class _Keeper:
    """One thread that starts the heartbeats of all attempts of this process when they are due."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._young: set[Lease] = set()
        self._running = False
        self._wakes_at = math.inf

    def watch(self, lease: Lease) -> None:
        with self._condition:
            self._young.add(lease)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="furu-leases", daemon=True).start()
            elif lease.due < self._wakes_at:
                self._condition.notify()

    def forget(self, lease: Lease) -> None:
        with self._condition:
            self._young.discard(lease)

    def _run(self) -> None:
        while True:
            for lease in self._wait_for_due():
                lease.begin_beating()

    def _wait_for_due(self) -> list[Lease]:
        with self._condition:
            now = time.monotonic()
            due = [lease for lease in self._young if lease.due <= now]
            self._young.difference_update(due)
            if not due:
                self._wakes_at = min((lease.due for lease in self._young), default=math.inf)
                self._condition.wait(None if self._wakes_at == math.inf else self._wakes_at - now)
                self._wakes_at = -math.inf  # awake: it looks at all leases before it waits again
            return due


_keeper = _Keeper()


def _after_fork() -> None:
    # The thread and the attempts stayed with the parent.
    global _keeper
    _keeper = _Keeper()


os.register_at_fork(after_in_child=_after_fork)


class Life(Enum):
    """Whether the holder of a running attempt lives."""

    ALIVE = "alive"
    DEAD = "dead"


@attrs.frozen
class Judgement:
    """Whether a holder lives, and how one knows.

    Attributes:
        life: alive or dead; a holder of which nothing is known is alive until its lease ends.
        reason: in words.
    """

    life: Life
    reason: str


def judge(folder: str, record: AttemptRecord) -> Judgement:
    """Judge the holder of the running attempt in `folder`.

    It is dead when its process can be looked up from here and is gone, or when its lease is older
    than the duration written in its record, by the filesystem's own clock.
    """
    if _process.is_gone(record.holder):
        return Judgement(Life.DEAD, f"{record.holder} has ended")
    return judge_age(folder, record.lease_secs, str(record.holder))


def judge_age(folder: str, lease_secs: float, holder: str) -> Judgement:
    """Judge a holder by the age of its lease alone."""
    age = lease_age(folder)
    if age is None:
        return Judgement(Life.DEAD, "its folder is gone")
    if age > lease_secs:
        return Judgement(
            Life.DEAD,
            f"{holder} gave no sign of life for {age:.0f} s (its lease: {lease_secs:g} s)",
        )
    return Judgement(Life.ALIVE, f"{holder} gave a sign of life {age:.0f} s ago")


def lease_age(folder: str) -> float | None:
    """Seconds since the last sign of life in an attempt's folder; None when the folder is gone.

    The age is the difference of two times that the same filesystem wrote, so the clocks of the
    holder's host and of this one are never compared.
    """
    touched = _last_touched(folder)
    if touched is None:
        return None
    now = _filesystem_now(folder, touched.st_dev)
    return None if now is None else now - touched.st_mtime


def _last_touched(folder: str) -> os.stat_result | None:
    # Right after its claim an attempt has a record but no lease yet.
    for name in (LEASE_FILE, _records.RECORD_FILE, ""):
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.stat(f"{folder}/{name}" if name else folder)
    return None


_OFFSET_SECS: Final = 30.0
_offsets: dict[int, tuple[float, float]] = {}  # device: when measured, filesystem minus monotonic


def _filesystem_now(folder: str, device: int) -> float | None:
    """The filesystem's time, derived from a probe that is at most half a minute old.

    A waiter that polls, or a plan that judges thousands of attempts, must not make a file each time.
    """
    measured, offset = _offsets.get(device, (-_OFFSET_SECS, 0.0))
    if time.monotonic() - measured >= _OFFSET_SECS:
        # In the folder of all attempts, which is never removed while somebody looks.
        now = _probe(folder[: folder.rindex(f"/{ATTEMPTS}/") + len(ATTEMPTS) + 1])
        if now is None:
            return None
        measured, offset = time.monotonic(), now - time.monotonic()
        _offsets[device] = (measured, offset)
    return time.monotonic() + offset


def _probe(folder: str) -> float | None:
    path = f"{folder}/{PROBE}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return time.time()  # a read-only or full store can still be looked at
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(path)
