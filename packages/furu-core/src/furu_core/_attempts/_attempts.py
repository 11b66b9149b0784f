"""Attempts: who may compute a node, one at a time, without a lock that could be left behind.

Attempts of a node are numbered. An attempt is claimed by renaming a prepared folder, which already
holds its record, to ``.attempts/<hash>/<n>``: of two processes that try, one succeeds; and none
ever sees an attempt without a record. Taking over from a dead holder means claiming ``n + 1``,
never breaking ``n``; so a holder that was taken for dead and wakes again finds a higher number and
stops.

::

    .attempts/<hash>/<n>/lease          heartbeat of the holder
    .attempts/<hash>/<n>/record.json    who computes, how it stands or ended and why
    .attempts/<hash>/<n>/furu.log       output of the node's code
    .attempts/<hash>/<n>/files/         staging, renamed to the artifact on success
    .attempts/<hash>/<n>/checkpoint/    handed to attempt n + 1
    .attempts/<hash>/<n>/violations     rules of the executor that the node's code broke
    .attempts/<hash>/<n>/invalid/       an artifact that turned out to be bad
    .attempts/<hash>/<n>/replaced/      a good one, while another takes its place
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from furu_core._attempts import _liveness, _records
from furu_core._attempts._lease import Lease
from furu_core._attempts._liveness import Judgement, Life
from furu_core._attempts._outcomes import Holder
from furu_core._attempts._records import AttemptRecord, AttemptStatus
from furu_core._files import store_error
from furu_core._output import _logging
from furu_core._store._layout import (
    LOG_FILE,
    NodePaths,
)
from furu_core.errors import FuruDamagedRecord, FuruFormatError

STAGING: Final = "files"
INVALID: Final = "invalid"
REPLACED: Final = "replaced"
STAGED: Final = ".new-"
UNREADABLE: Final = (OSError, FuruDamagedRecord, FuruFormatError)
_UNSEEN: Final = Judgement(Life.ALIVE, "it is listed, but cannot be seen from here yet")
_log = _logging.log.getChild("attempts")


@attrs.frozen(eq=False)
class Attempt:
    """An attempt that this process holds.

    Attributes:
        paths: the node's folders.
        record: as written when the attempt was claimed.
        lease: shows other processes that this one lives.
    """

    paths: NodePaths
    record: AttemptRecord
    lease: Lease

    @property
    def folder(self) -> str:
        return f"{self.paths.attempts}/{self.record.number}"

    @property
    def staging(self) -> str:
        return f"{self.folder}/{STAGING}"

    @property
    def log(self) -> str:
        return f"{self.folder}/{LOG_FILE}"


@attrs.frozen
class LatestAttempt:
    """The newest attempt of a node, as any process sees it.

    Attributes:
        number: its number.
        folder: its folder.
        record: None when it is damaged, or cannot be seen from here yet.
        judgement: of its holder, for an attempt that has not ended; else None.
    """

    number: int
    folder: str
    record: AttemptRecord | None
    judgement: Judgement | None

    @property
    def alive(self) -> bool:
        """Whether the attempt's holder lives, so that the node is being computed."""
        return self.judgement is not None and self.judgement.life is Life.ALIVE

    @property
    def who(self) -> str:
        """The holder of the attempt, in words."""
        if self.record is not None:
            return str(self.record.holder)
        if self.judgement is _UNSEEN:
            return "a process of another host, whose record cannot be seen from here yet,"
        return "a process whose record is damaged"

    @property
    def is_kept_number(self) -> bool:
        """Whether the attempt exists only so that its number is not given out again."""
        return self.record is not None and self.record.status is AttemptStatus.PUBLISHED


def numbers(paths: NodePaths) -> list[int]:
    """The numbers of the node's attempts on disk, ascending."""
    try:
        names = os.listdir(paths.attempts)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error(error, paths.attempts, doing="read") from error
    return sorted(int(name) for name in names if name.isdecimal())


def latest(paths: NodePaths, *, lease_secs: float) -> LatestAttempt | None:
    """The newest attempt of a node, its holder judged; None when there is none.

    Args:
        paths: the node's folders.
        lease_secs: the lease to assume where a damaged record does not tell.

    Raises:
        FuruFormatError: a newer furu wrote its record.
    """
    while True:
        found = _look_at_newest(paths, lease_secs)
        # An attempt that was published and cleaned up while it was judged looks dead. Claiming the
        # number after it would leave a gap, because by then the numbers start again at 1.
        if found is None or not _is_dead(found) or not _changed_hands(found):
            return found


def _look_at_newest(paths: NodePaths, lease_secs: float) -> LatestAttempt | None:
    for number in reversed(numbers(paths)):
        folder = f"{paths.attempts}/{number}"
        try:
            record = _records.read(folder)
        except FileNotFoundError:
            if not os.path.isdir(folder):
                if number not in numbers(paths):
                    continue  # published and cleaned up in this moment
                # Another host claimed it, and this host's caches do not show it yet.
                return LatestAttempt(number, folder, None, _UNSEEN)
            return LatestAttempt(number, folder, None, _liveness.judge_unread(folder, lease_secs))
        except FuruDamagedRecord as damage:
            _log.warning("%s; it will be set aside", damage.message)
            return LatestAttempt(number, folder, None, _liveness.judge_unread(folder, lease_secs))
        except OSError as error:
            raise store_error(error, folder, doing="read") from error
        if record.status is not AttemptStatus.RUNNING:
            return LatestAttempt(number, folder, record, None)
        return LatestAttempt(number, folder, record, _liveness.judge(folder, record))
    return None


def _is_dead(found: LatestAttempt) -> bool:
    return found.judgement is not None and found.judgement.life is Life.DEAD


def _changed_hands(found: LatestAttempt) -> bool:
    """Whether an attempt's folder is gone, or belongs to another attempt with the same number."""
    try:
        return found.record is not None and not _records.holds(found.folder, found.record.token)
    except FileNotFoundError:
        return True
    except (OSError, FuruDamagedRecord, FuruFormatError):
        return False


def latest_of_any_furu(paths: NodePaths, *, lease_secs: float) -> LatestAttempt | None:
    """As `latest`, but a record of a newer furu is judged by its lease alone."""
    try:
        return latest(paths, lease_secs=lease_secs)
    except FuruFormatError:
        number = numbers(paths)[-1]
        folder = f"{paths.attempts}/{number}"
        return LatestAttempt(number, folder, None, _liveness.judge_unread(folder, lease_secs))


def holder_of(attempt: LatestAttempt) -> Holder:
    """The holder of an attempt, as far as its record tells."""
    record = attempt.record
    if record is None:
        return Holder(None)
    return Holder(record.holder, record.submission, record.executor, record.run_id, record.started)


def earlier(attempt: Attempt) -> list[AttemptRecord]:
    """The records of the attempts before `attempt`, damaged ones left out."""
    if attempt.record.number == 1:
        return []
    records = []
    for number in numbers(attempt.paths):
        if number < attempt.record.number:
            with suppress(*UNREADABLE):
                records.append(_records.read(f"{attempt.paths.attempts}/{number}"))
    return records


def log_of(folder: str) -> Path:
    """The log of the attempt in `folder`."""
    return Path(folder) / LOG_FILE


def kept_log(folder: str) -> Path | None:
    """The log of the attempt in `folder`, or None where there is none."""
    log = log_of(folder)
    return log if log.exists() else None
