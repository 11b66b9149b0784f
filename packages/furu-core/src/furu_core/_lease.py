"""The lease by which the holder of an attempt shows that it lives, and how others judge it.

The holder keeps filelock's `SoftFileLease` on a file of its own and never contends for another's, so
of that library only the heartbeat is used: its takeover differs between releases, refuses some
network filesystems, and cannot tell two containers of one host name apart.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

import attrs

from furu_core import _process, _records
from furu_core._records import AttemptRecord

if TYPE_CHECKING:
    from filelock import LeaseCompromise, SoftFileLease

LEASE_FILE: Final = "lease"
_log = logging.getLogger("furu.lease")


def hold(folder: str, duration: float) -> SoftFileLease:
    """Start a heartbeat in an attempt's folder; `release()` of the returned lease ends it.

    Losing the lease does not stop the holder: whether it may publish is decided when it publishes,
    by whether a later attempt exists.
    """
    from filelock import SoftFileLease  # costs 60 ms, which a cache hit must not pay

    def report(loss: LeaseCompromise) -> None:
        _log.warning("the lease %s cannot be kept up any more: %s", loss.lock_file, loss.reason)

    lease = SoftFileLease(
        f"{folder}/{LEASE_FILE}",
        lease_duration=duration,
        on_compromise=report,
        thread_local=False,  # an attempt may be ended by another thread than began it
        blocking=False,
    )
    lease.acquire()
    return lease


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
            return os.stat(f"{folder}/{name}")
    return None


_OFFSET_SECS: Final = 30.0
_offsets: dict[int, tuple[float, float]] = {}  # device: when measured, filesystem minus monotonic


def _filesystem_now(folder: str, device: int) -> float | None:
    """The filesystem's time, derived from a probe that is at most half a minute old.

    A waiter that polls, or a plan that judges thousands of attempts, must not make a file each time.
    """
    measured, offset = _offsets.get(device, (-_OFFSET_SECS, 0.0))
    if time.monotonic() - measured >= _OFFSET_SECS:
        now = _probe(folder)
        if now is None:
            return None
        measured, offset = time.monotonic(), now - time.monotonic()
        _offsets[device] = (measured, offset)
    return time.monotonic() + offset


def _probe(folder: str) -> float | None:
    path = f"{folder}/.probe-{os.getpid()}-{os.urandom(4).hex()}"
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
