"""Whether the holder of an attempt lives: judged by its process, or by the age of its lease."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from enum import Enum
from typing import Final

import attrs

from furu_core import _process_ids
from furu_core._attempts._records import AttemptRecord
from furu_core._context import _context
from furu_core._files import filesystem_time, is_local_folder
from furu_core._store._layout import RECORD_FILE

_CLAIM_SECS: Final = 2.0  # between making an attempt's folder and its record
held: dict[str, int] = {}  # tokens of this process's attempts, and the threads that hold them


class Life(Enum):
    """Whether the holder of a running attempt lives."""

    ALIVE = "alive"
    DEAD = "dead"


@attrs.frozen
class Judgement:
    """Whether a holder lives, and why it is thought so.

    Attributes:
        life: alive or dead; a holder of which nothing is known is alive until its lease ends.
        reason: why, in words.
    """

    life: Life
    reason: str


def judge(folder: str, record: AttemptRecord) -> Judgement:
    """Judge the holder of the running attempt in `folder`.

    It is dead when its process can be looked up from here and is gone, or when its lease is older
    than the duration written in its record, by the filesystem's own clock.
    """
    me = threading.get_ident()
    # When a thread could not write how its attempt ended (a full disk, Ctrl-C in the wrong moment),
    # the record still says running; waiting for that thread, or in it, would never end.
    if (
        record.holder == _process_ids.this_process()
        and held.get(record.token, me) == me
        and not _context.runs_here(folder)
    ):
        return Judgement(Life.DEAD, "it has ended in this process")
    if _process_ids.process_is_gone(record.holder):
        return Judgement(Life.DEAD, f"{record.holder} has ended")
    return _judge_age(folder, record.lease_secs, str(record.holder))


def judge_unread(folder: str, lease_secs: float) -> Judgement:
    """Judge the holder of an attempt whose record is missing or cannot be read."""
    # A holder keeps its lease fresh although something damaged its record.
    if os.path.exists(f"{folder}/{RECORD_FILE}"):
        return _judge_age(folder, lease_secs, "the holder of a damaged record")
    # Whoever sleeps longer than this between the claim's two steps finds that the folder is gone, or
    # a higher number, and does not publish. Caches may hide a record for longer than it takes to
    # make one.
    if is_local_folder(folder):
        lease_secs = min(lease_secs, _CLAIM_SECS)
    return _judge_age(folder, lease_secs, "whoever was just claiming it")


def may_wake(record: AttemptRecord) -> bool:
    """Whether the holder of an attempt may still believe to hold it, and publish."""
    if record.ended is not None and not record.ended.noticed:
        return False  # the holder itself wrote so
    if record.holder == _process_ids.this_process():
        return record.token in held
    return _process_ids.process_is_gone(record.holder) is not True


def _judge_age(folder: str, lease_secs: float, holder: str) -> Judgement:
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


def is_fresh(*paths: str, lease_secs: float) -> bool:
    """Whether the first of some files that is there was touched within the lease."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            touched = os.stat(path)
            now = _filesystem_now(path, touched.st_dev)
            return now is not None and now - touched.st_mtime <= lease_secs
    return False


def lease_age(folder: str) -> float | None:
    """Seconds since the last heartbeat in an attempt's folder; None when the folder is gone.

    The age is the difference of two times that the same filesystem wrote, so the clocks of the
    holder's host and of this one are never compared.
    """
    touched = _last_touched(folder)
    if touched is None:
        return None
    now = _filesystem_now(folder, touched.st_dev)
    return None if now is None else now - touched.st_mtime


def _last_touched(folder: str) -> os.stat_result | None:
    for path in (f"{folder}/{RECORD_FILE}", folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.stat(path)
    return None


_OFFSET_SECS: Final = 30.0
_offsets: dict[int, tuple[float, float]] = {}  # device: when measured, filesystem minus monotonic


def _filesystem_now(folder: str, device: int) -> float | None:
    """The filesystem's time, derived from a probe that is at most half a minute old.

    A waiter that polls, or a plan that judges thousands of attempts, must not make a file each time.
    """
    measured, offset = _offsets.get(device, (-_OFFSET_SECS, 0.0))
    if time.monotonic() - measured >= _OFFSET_SECS:
        now = _probe(os.path.dirname(folder))
        if now is None:
            return None
        measured, offset = time.monotonic(), now - time.monotonic()
        _offsets[device] = (measured, offset)
    return time.monotonic() + offset


def _probe(folder: str) -> float | None:
    try:
        return filesystem_time(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return time.time()  # a read-only or full store can still be looked at
