"""Attempts: who may compute a node, one at a time, without a lock that could be left behind.

Attempts of a node are numbered. An attempt is claimed by making the folder ``.<hash>.<n>`` and then
its record, both of which only one process can make. Taking over from a dead holder means claiming
``n + 1``, never breaking ``n``; so a holder that was taken for dead and wakes again finds a higher
number and stops. The numbers in use always begin at 1 and have no gap, since they are removed from
the highest down; so nothing has to be listed.

::

    .<hash>.<n>/                  what the node's code writes; renamed to the artifact on success
        .furu.json                the record: who computes, how it stands or ended and why
        .furu.log                 output of the node's code, once it has ended and if there was any
        .furu.violations          rules of the executor that the node's code broke
    .<hash>.<n>  (a file)         the number of an attempt whose holder may wake, kept from others
    .<hash>.<n>.checkpoint/       handed to attempt n + 1
    .<hash>.<n>.invalid/          an artifact that turned out to be bad
    .<hash>.<n>.replaced/         a good one, while another takes its place
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
from furu_core._settings import _settings
from furu_core._store import _record_file
from furu_core._store._layout import LOG_FILE, NodeRef
from furu_core.errors import FuruDamagedRecord, FuruFormatError

UNREADABLE: Final = (OSError, FuruDamagedRecord, FuruFormatError)
_LOOKS: Final = 5  # at attempts that end while they are looked at
_UNSEEN: Final = Judgement(Life.ALIVE, "it was claimed, but cannot be seen from here yet")
_log = _logging.log.getChild("attempts")


@attrs.frozen(eq=False)
class Attempt:
    """An attempt that this process holds.

    Attributes:
        ref: the node.
        record: as written when the attempt was claimed.
        lease: shows other processes that this one lives.
        claim: the line of the record file that was written then.
        folder: its folder, in which the node's code writes its files.
        kinds_beside: kinds of folders that may be beside the attempt's, as far as this process knows.
    """

    ref: NodeRef
    record: AttemptRecord
    lease: Lease
    claim: bytes
    folder: str
    kinds_beside: set[str] = attrs.field(factory=set)


@attrs.frozen
class LatestAttempt:
    """The newest attempt of a node, as any process sees it.

    Attributes:
        number: its number.
        folder: its folder.
        record: None when it is damaged, or cannot be seen from here yet.
        judgement: of its holder, for an attempt that has not ended; else None.
        is_kept_number: whether it exists only so that its number is not given out again.
    """

    number: int
    folder: str
    record: AttemptRecord | None
    judgement: Judgement | None
    is_kept_number: bool = False

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
        return "a process whose record cannot be read"


def numbers(ref: NodeRef) -> list[int]:
    """The numbers of the node's attempts on disk, ascending from 1.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    number = 1
    try:
        while os.lstat(ref.attempt(number)):
            number += 1
    except (FileNotFoundError, NotADirectoryError):
        return list(range(1, number))
    except OSError as error:
        raise store_error(error, ref.attempt(number), doing="read") from error


def latest(ref: NodeRef, *, lease_secs: float) -> LatestAttempt | None:
    """The newest attempt of a node, its holder judged; None when there is none.

    Args:
        ref: the node.
        lease_secs: the lease to assume where a damaged record does not tell.

    Raises:
        FuruFormatError: a newer furu wrote its record.
    """
    for _ in range(_LOOKS):
        known = numbers(ref)
        if not known:
            return None
        found = _look_at(ref, known[-1], lease_secs)
        # An attempt that was published and cleaned up while it was judged looks dead. Claiming the
        # number after it would leave a gap, because by then the numbers start again at 1.
        if found is not None and not (_is_dead(found) and _changed_hands(found)):
            return found
    return unseen(ref, known[-1])


def unseen(ref: NodeRef, number: int) -> LatestAttempt:
    """An attempt that another host claimed, and that this host's caches do not show yet."""
    return LatestAttempt(number, ref.attempt(number), None, _UNSEEN)


def _look_at(ref: NodeRef, number: int, lease_secs: float) -> LatestAttempt | None:
    """An attempt, its holder judged; None when it was published and cleaned up in this moment."""
    folder = ref.attempt(number)
    try:
        record = _records.read(folder)
    except FileNotFoundError:
        by_age = _liveness.judge_unread(folder, lease_secs)
        if not os.path.isdir(folder):  # looked at last: what is gone tells nothing of its holder
            return None
        return LatestAttempt(number, folder, None, by_age)
    except NotADirectoryError:
        return LatestAttempt(number, folder, None, None, is_kept_number=True)
    except FuruDamagedRecord as damage:
        by_age = _liveness.judge_unread(folder, lease_secs)
        if not os.path.isdir(folder):
            return None
        # A record without a whole line may be one that is written in this moment.
        if by_age.life is not Life.ALIVE or _record_file.is_claimed(folder):
            _log.warning("%s; it will be set aside", damage.message)
        return LatestAttempt(number, folder, None, by_age)
    except OSError as error:
        raise store_error(error, folder, doing="read") from error
    judgement = None if record.ended is not None else _liveness.judge(folder, record)
    return LatestAttempt(number, folder, record, judgement)


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


def latest_of_any_furu(ref: NodeRef, *, lease_secs: float) -> LatestAttempt | None:
    """As `latest`, but a record of a newer furu is judged by its lease alone."""
    try:
        return latest(ref, lease_secs=lease_secs)
    except FuruFormatError:
        number = numbers(ref)[-1]
        folder = ref.attempt(number)
        return LatestAttempt(number, folder, None, _liveness.judge_unread(folder, lease_secs))


def holder_of(attempt: LatestAttempt) -> Holder:
    """The holder of an attempt, as far as its record tells."""
    record = attempt.record
    if record is None:
        return Holder(None)
    return Holder(record.holder, record.submission, record.executor, record.run_id, record.started)


def earlier(attempt: Attempt) -> list[AttemptRecord]:
    """The records of the attempts before `attempt`, damaged ones left out."""
    records = []
    for number in range(1, attempt.record.number):
        with suppress(*UNREADABLE):
            record = _records.read(attempt.ref.attempt(number))
            if record.ended is None:  # it died, and this could not be written or was not yet
                record = attrs.evolve(record, status=AttemptStatus.LOST)
            records.append(record)
    return records


def published_log(artifact: Path) -> Path:
    """Where the log of a result is, if it has one; format 1 had it elsewhere."""
    from furu_core._store import _format1  # who computes needs it not

    published, before = artifact / LOG_FILE, artifact / _format1.LOG_FILE
    return before if not published.exists() and before.exists() else published


def log_of(folder: str) -> Path:
    """The log of the attempt in `folder`: unless its holder ended it, where its output goes to."""
    ended = Path(folder) / LOG_FILE
    if ended.exists():
        return ended
    with suppress(*UNREADABLE):
        record = _records.read(folder)
        # The output of a holder that may wake stays where it prints to.
        if record.log and (record.ended is None or record.ended.noticed):
            return Path(output_file(record))
    return ended


def output_file(record: AttemptRecord) -> str:
    """The file that the output of a running attempt goes to."""
    return f"{_settings.settings().path}/{record.log}"


def kept_log(folder: str) -> Path | None:
    """The log of the attempt in `folder`, or None where there is none."""
    log = log_of(folder)
    return log if log.exists() else None
