"""The sign of life that the holder of an attempt gives, and how others judge it.

An attempt begins with its record, which is fresh. One that lasts longer than a fraction of its lease
gets a file of its own, which one thread for all attempts of the process touches from then on; so the
many short nodes of a graph pay for neither a thread nor a file each. A holder never contends for
another's lease.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import threading
import time
from contextlib import suppress
from enum import Enum
from typing import Final

import attrs

from furu_core import _process_ids
from furu_core._attempts import _records
from furu_core._attempts._records import AttemptRecord
from furu_core._background import Background
from furu_core._store._layout import ATTEMPTS
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruStoreError

LEASE_FILE: Final = "lease"
PROBE: Final = ".probe-"
# Of its duration; the first time the record's own age shows life until then.
_BEAT_FRACTION: Final = 0.2
_TROUBLE_SECS: Final = 0.1
_log = logging.getLogger("furu.lease")


class Lease:
    """The sign of life of one attempt, from `hold` to `release`.

    Losing it does not stop the holder: whether it may publish is decided when it publishes, by
    whether a later attempt exists.

    Args:
        folder: the attempt's folder, whose record was written just now.
        token: the attempt's, which tells its folder from a later one of the same name.
        duration: seconds without a sign of life after which others may take over.
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
        """Give a sign of life, unless the lease was released meanwhile; when that fails, say so once."""
        self.due = time.monotonic() + self._pause
        with self._mutex:
            if self._released:
                return
            try:
                self._touch()
            except (OSError, FuruFormatError) as error:
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
            if self._fd is not None:
                path = f"{self.folder}/{LEASE_FILE}"
                with suppress(OSError):
                    if os.path.samestat(os.stat(path), os.fstat(self._fd)):
                        os.unlink(path)
                self._close()

    def after_fork(self) -> None:
        """Let a forked child, which does not hold the attempt, keep nothing of it open."""
        self._mutex = threading.Lock()
        self._released = True
        self._close()

    def _touch(self) -> None:
        # Numbers begin anew once a node's folder was removed, so the folder may be another's by now,
        # whom signs of life that are none of its own would show as living for ever.
        if self._fd is None:
            if not self._is_ours():
                raise FileNotFoundError(errno.ENOENT, "it was removed", self.folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(f"{self.folder}/{LEASE_FILE}", flags, 0o666)
        try:
            os.utime(self._fd)
        except OSError:
            self._close()  # of a network filesystem that came back, it may be stale
            raise

    def _is_ours(self) -> bool:
        try:
            return _records.holds(self.folder, self._token)
        except FuruDamagedRecord:
            return True  # nobody claims without a whole record, so it is ours that was damaged

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


def hold(folder: str, token: str, duration: float) -> Lease:
    """Give signs of life in an attempt's folder until the returned lease is released.

    Raises:
        FuruStoreError: no thread can be started that gives them.
    """
    lease = Lease(folder, token, duration)
    _keeper.watch(lease)
    return lease


class _Keeper:
    """One thread that gives the signs of life of all attempts of this process when they are due."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._leases: set[Lease] = set()
        self._wakes_at = math.inf
        self._thread = Background(self._run, "furu-leases")

    def watch(self, lease: Lease) -> None:
        # Whoever computes without a heartbeat is taken for dead while it works.
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
                self._wakes_at = -math.inf  # awake: it looks at all leases before it waits again
            return due


_keeper = _Keeper()


def _after_fork() -> None:
    # The thread and the attempts stayed with the parent.
    global _keeper
    _keeper.after_fork()
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
    if _process_ids.process_is_gone(record.holder):
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
