"""Attempts: who may compute a node, one at a time, without a lock that could be left behind.

Attempts of a node are numbered. An attempt is claimed by renaming a prepared folder, which already
holds its record, to ``.attempts/<hash>/<n>``: of two that try, one succeeds, and nobody ever sees an
attempt without a record. Taking over from a dead holder means claiming ``n + 1``, never breaking
``n``; so a holder that was given up for dead and wakes again finds a higher number and steps back.

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

import errno
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from furu_core import _process_ids
from furu_core._attempts import _lease, _records
from furu_core._attempts._lease import Judgement, Lease, Life
from furu_core._attempts._outcomes import FailureKind, Holder
from furu_core._attempts._records import AttemptEnd, AttemptRecord, AttemptStatus
from furu_core._context import _context
from furu_core._context._submission import Submission
from furu_core._files import store_error, write_file
from furu_core._output import _logging
from furu_core._store._layout import CHECKPOINT, LOG_FILE, META, SUBMISSION, TRASH, NodePaths
from furu_core.errors import FuruDamagedRecord, FuruFormatError

STAGING: Final = "files"
INVALID: Final = "invalid"
REPLACED: Final = "replaced"
STAGED: Final = ".new-"
_UNREADABLE: Final = (OSError, FuruDamagedRecord, FuruFormatError)
_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST)
_UNSEEN: Final = Judgement(Life.ALIVE, "it is listed, but cannot be seen from here yet")
_log = _logging.log.getChild("attempts")


@attrs.frozen
class Requester:
    """On whose behalf an attempt is made; goes into its record.

    Attributes:
        executor: the executor's name, empty for an interactive `get()`.
        run_id: the executor's run.
        spec_key: the worker's spec key.
        submission: the scheduler's job, where there is one.
    """

    executor: str = ""
    run_id: str = ""
    spec_key: str = ""
    submission: Submission | None = None


@attrs.frozen(eq=False)
class Attempt:
    """An attempt that this process holds.

    Attributes:
        paths: the node's folders.
        record: as written when the attempt was claimed.
        lease: its sign of life.
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
    """The newest attempt of a node, as anyone sees it.

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
        """Whether somebody computes the node."""
        return self.judgement is not None and self.judgement.life is Life.ALIVE

    @property
    def who(self) -> str:
        """Who computes the node, in words."""
        if self.record is not None:
            return str(self.record.holder)
        if self.judgement is _UNSEEN:
            return "a process of another host, whose record cannot be seen from here yet,"
        return "a process whose record is damaged"

    @property
    def is_kept_number(self) -> bool:
        """Whether it only keeps its number from being given out again."""
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
        # An attempt that was published and cleaned up while it was judged looks dead. Whoever counted
        # on from it would leave a number behind: the numbers begin anew by then.
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
            return LatestAttempt(number, folder, None, _judge_unread(folder, lease_secs))
        except FuruDamagedRecord as damage:
            _log.warning("%s; it will be set aside", damage.message)
            return LatestAttempt(number, folder, None, _judge_unread(folder, lease_secs))
        except OSError as error:
            raise store_error(error, folder, doing="read") from error
        if record.status is not AttemptStatus.RUNNING:
            return LatestAttempt(number, folder, record, None)
        return LatestAttempt(number, folder, record, _judge(folder, record))
    return None


def _is_dead(found: LatestAttempt) -> bool:
    return found.judgement is not None and found.judgement.life is Life.DEAD


def _changed_hands(found: LatestAttempt) -> bool:
    """Whether an attempt is gone, or its number was given out anew."""
    try:
        return found.record is not None and not _records.holds(found.folder, found.record.token)
    except FileNotFoundError:
        return True
    except (OSError, FuruDamagedRecord, FuruFormatError):
        return False


def holder_of(attempt: LatestAttempt) -> Holder:
    """Who holds an attempt, as far as its record tells."""
    record = attempt.record
    if record is None:
        return Holder(None)
    return Holder(record.holder, record.submission, record.executor, record.run_id, record.started)


def latest_of_any_furu(paths: NodePaths, *, lease_secs: float) -> LatestAttempt | None:
    """As `latest`, but a record of a newer furu is judged by its lease alone."""
    try:
        return latest(paths, lease_secs=lease_secs)
    except FuruFormatError:
        number = numbers(paths)[-1]
        folder = f"{paths.attempts}/{number}"
        return LatestAttempt(number, folder, None, _judge_unread(folder, lease_secs))


_held: dict[str, int] = {}  # tokens of this process's attempts, and the threads that hold them


def _judge(folder: str, record: AttemptRecord) -> Judgement:
    me = threading.get_ident()
    # A thread that could not write how its attempt ended, because the disk was full or Ctrl-C came
    # in the wrong moment, must not be waited for; least of all by itself.
    if (
        record.holder == _process_ids.this_process()
        and _held.get(record.token, me) == me
        and not _context.runs_here(folder)
    ):
        return Judgement(Life.DEAD, "it has ended in this process")
    return _lease.judge(folder, record)


def _judge_unread(folder: str, lease_secs: float) -> Judgement:
    # A holder whose record was damaged by others may still beat on its lease.
    if not os.path.exists(f"{folder}/{_lease.LEASE_FILE}"):
        return Judgement(Life.DEAD, "its record is damaged and it has no lease")
    return _lease.judge_age(folder, lease_secs, "the holder of a damaged record")


def claim(
    paths: NodePaths, number: int, *, node: str, requester: Requester, lease_secs: float
) -> Attempt | None:
    """Claim attempt `number` of a node; None when somebody else did first.

    Args:
        paths: the node's folders.
        number: one more than the newest attempt's.
        node: the node's short name.
        requester: on whose behalf.
        lease_secs: seconds without a heartbeat after which others may take over.

    Raises:
        FuruStoreError: the store cannot be written.
    """
    record = AttemptRecord(
        number=number,
        token=os.urandom(8).hex(),
        node=node,
        status=AttemptStatus.RUNNING,
        holder=_process_ids.this_process(),
        started=time.time(),
        lease_secs=lease_secs,
        checkpoint=_last_checkpoint(paths, number),
        executor=requester.executor,
        run_id=requester.run_id,
        spec_key=requester.spec_key,
        submission=requester.submission,
    )
    _held[record.token] = threading.get_ident()
    try:
        if not _claim_folder(paths, record):
            _held.pop(record.token, None)
            return None
        folder = f"{paths.attempts}/{number}"
        try:
            _hand_over_checkpoint(paths, number)
            return Attempt(paths, record, _lease.hold(folder, record.token, lease_secs))
        except BaseException:
            # Others would take what was claimed for running, as long as this process lives.
            if not os.path.isdir(f"{folder}/{CHECKPOINT}"):
                discard(folder, paths.class_attempts)
            raise
    except OSError as error:
        _held.pop(record.token, None)
        raise store_error(error, paths.attempts) from error
    except BaseException:
        _held.pop(record.token, None)
        raise


def _claim_folder(paths: NodePaths, record: AttemptRecord) -> bool:
    staged = f"{paths.class_attempts}/{STAGED}{record.token}"
    target = f"{paths.attempts}/{record.number}"
    try:
        _make_dir(paths.attempts)
        os.mkdir(staged)
        os.mkdir(f"{staged}/{STAGING}")
        os.mkdir(f"{staged}/{STAGING}/{META}")
        write_file(f"{staged}/{_records.RECORD_FILE}", _records.RECORD.to_bytes(record))
        while True:
            try:
                os.rename(staged, target)
                return True
            except FileNotFoundError:
                # The node's folder was cleaned up in this moment; or, on a network filesystem, the
                # rename was done and its reply lost, so that the repeated request found nothing.
                if not os.path.isdir(staged):
                    return _is_ours(target, record)
                _make_dir(paths.attempts)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                _remove(staged)  # who was faster may be done by now, so `target` tells nothing
                return False
    except OSError:
        _remove(staged)
        raise


def _is_ours(target: str, record: AttemptRecord) -> bool:
    with suppress(*_UNREADABLE):
        return _records.read(target).token == record.token
    return False


def _make_dir(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)


def is_superseded(attempt: Attempt) -> bool:
    """Whether another attempt took over from `attempt`, or its folder was removed.

    Numbers start again once a node's folder was removed, so the record tells whose folder it is.
    """
    known = numbers(attempt.paths)
    newest = known[-1] if known else 0
    return newest != attempt.record.number or not _still_ours(attempt)


def _still_ours(attempt: Attempt) -> bool:
    try:
        return _records.holds(attempt.folder, attempt.record.token)
    except FuruDamagedRecord:
        return True  # nobody claims without a whole record, so it is ours that was damaged
    except (OSError, FuruFormatError):
        return False


def end(attempt: Attempt, status: AttemptStatus, ended: AttemptEnd) -> None:
    """Record how an attempt ended, drop its staging folder and release its lease."""
    if not _still_ours(attempt):
        release(attempt)  # what stands there now is somebody else's
        return
    discard(attempt.staging)  # first, because on a full disk the record needs the room
    record = attrs.evolve(attempt.record, status=status, ended=ended)
    try:
        _records.replace(attempt.folder, record)
    except OSError as error:
        # Then the attempt must not stay behind as running, or waiters would wait for this process.
        # Its log and its checkpoint are worth keeping; without a record and a lease it is dead.
        _log.warning("%s cannot be recorded: %s", attempt.folder, error)
        with suppress(OSError):
            os.unlink(f"{attempt.folder}/{_records.RECORD_FILE}")
    release(attempt)


def release(attempt: Attempt) -> None:
    """Stop the heartbeat of an attempt."""
    _held.pop(attempt.record.token, None)
    attempt.lease.release()


def withdraw(attempt: Attempt) -> None:
    """Give an attempt back as if it had never been claimed."""
    if os.path.isdir(f"{attempt.folder}/{CHECKPOINT}"):  # which is work to go on from
        ended = AttemptEnd(
            time.time(), FailureKind.CANCELLED, "", "it was interrupted before it began"
        )
        end(attempt, AttemptStatus.CANCELLED, ended)
        return
    release(attempt)
    discard(attempt.folder, attempt.paths.class_attempts)


def clean_up(attempt: Attempt) -> None:
    """Remove the attempts of a node up to this one, after its artifact was published or deleted.

    A later attempt keeps its folder, also one that is claimed in this moment: its holder finds the
    artifact by itself. An earlier one whose holder may still wake up keeps its number from being
    given out again.
    """
    release(attempt)
    if not _still_ours(attempt):
        return
    number = attempt.record.number
    known = [1] if number == 1 else numbers(attempt.paths)  # the first has none before it
    if known[-1:] != [number]:
        _remove_numbers(attempt.paths, [number])
    elif any(may_wake(past) for past in earlier(attempt)):
        _leave_only_number(attempt)
        _remove_numbers(attempt.paths, known[:-1])
    else:
        _remove_numbers(attempt.paths, known)


def may_wake(record: AttemptRecord) -> bool:
    """Whether the holder of an attempt, or of one before it, may still believe to hold it."""
    if record.status is AttemptStatus.RUNNING:
        return _process_ids.process_is_gone(record.holder) is not True
    return record.status is AttemptStatus.PUBLISHED


def _leave_only_number(attempt: Attempt) -> None:
    for name in (STAGING, CHECKPOINT, INVALID, REPLACED):
        discard(f"{attempt.folder}/{name}", attempt.paths.class_attempts)
    with suppress(OSError):
        _records.replace(
            attempt.folder, attrs.evolve(attempt.record, status=AttemptStatus.PUBLISHED)
        )


def remove_all(paths: NodePaths) -> None:
    """Remove the attempts of a node that nobody holds any more."""
    _remove_numbers(paths, numbers(paths))


def _remove_numbers(paths: NodePaths, which: list[int]) -> None:
    for number in which:
        hidden = _hide(f"{paths.attempts}/{number}", paths.class_attempts)
        if hidden is not None:
            _empty(hidden)
    try:
        os.rmdir(paths.attempts)  # never with another attempt in it
    except OSError as error:
        if error.errno not in _TAKEN:
            return
        with suppress(OSError):
            if not numbers(paths):
                os.unlink(f"{paths.attempts}/{SUBMISSION}")  # which is obsolete now
                # Not with the note in it that somebody is just writing, who needs both.
                os.rmdir(paths.attempts)


def _empty(hidden: str) -> None:
    try:  # what a first attempt leaves, without the dozen system calls that a walk costs
        os.unlink(f"{hidden}/{_records.RECORD_FILE}")
        os.rmdir(hidden)
    except OSError:
        _remove(hidden)


def discard(folder: str, hide_in: str | None = None) -> None:
    """Remove a folder as far as that is possible."""
    with suppress(OSError):  # the store is read-only, for instance
        discard_or_raise(folder, hide_in)


def discard_or_raise(folder: str, hide_in: str | None = None) -> None:
    """Remove a folder, first out of everybody's sight and then from the disk.

    Raises:
        OSError: it is there and cannot be removed.
    """
    try:
        hidden = _renamed(folder, hide_in)
    except FileNotFoundError:
        return  # somebody else removed it
    _remove(hidden)


def _hide(folder: str, where: str | None = None) -> str | None:
    try:
        return _renamed(folder, where)
    except OSError:
        return None  # somebody else removed it, or the store is read-only


def _renamed(folder: str, where: str | None) -> str:
    parent, _, name = folder.rpartition("/")
    hidden = f"{where or parent}/{TRASH}{name}-{os.urandom(4).hex()}"
    os.rename(folder, hidden)
    return hidden


def _remove(folder: str) -> None:
    import shutil  # which imports compressors, and a node that ends well needs none

    shutil.rmtree(folder, ignore_errors=True)


def earlier(attempt: Attempt) -> list[AttemptRecord]:
    """The records of the attempts before `attempt`, damaged ones left out."""
    if attempt.record.number == 1:
        return []
    records = []
    for number in numbers(attempt.paths):
        if number < attempt.record.number:
            with suppress(*_UNREADABLE):
                records.append(_records.read(f"{attempt.paths.attempts}/{number}"))
    return records


def record_end(
    paths: NodePaths,
    number: int,
    status: AttemptStatus,
    ended: AttemptEnd,
    *,
    token: str | None = None,
) -> None:
    """Record the end of another process's attempt, by whoever saw that process die.

    Its holder being dead, the record still has one writer. An attempt that has ended already, or is
    gone, stays as it is.
    """
    folder = f"{paths.attempts}/{number}"
    try:
        record = _records.read(folder)
    except _UNREADABLE:
        return
    if record.status is not AttemptStatus.RUNNING or token not in (None, record.token):
        return
    keep_log(folder)
    discard(f"{folder}/{STAGING}")
    with suppress(OSError):
        _records.replace(folder, attrs.evolve(record, status=status, ended=ended))
        os.unlink(f"{folder}/{_lease.LEASE_FILE}")


def log_of(folder: str) -> Path:
    """The log of the attempt in `folder`."""
    return Path(folder) / LOG_FILE


def keep_log(folder: str) -> None:
    """Take the log of an attempt out of its staging folder, where it stands when publishing fails."""
    if not os.path.exists(f"{folder}/{LOG_FILE}"):
        with suppress(OSError):
            os.rename(f"{folder}/{STAGING}/{META}/{LOG_FILE}", f"{folder}/{LOG_FILE}")


def set_aside_dead(attempt: LatestAttempt) -> None:
    """Drop the staging folder of an attempt that died, once its successor is claimed."""
    keep_log(attempt.folder)
    discard(f"{attempt.folder}/{STAGING}")
    if attempt.record is None:
        with suppress(OSError):
            os.rename(
                f"{attempt.folder}/{_records.RECORD_FILE}",
                f"{attempt.folder}/{_records.RECORD_FILE}.damaged",
            )


def made_progress(paths: NodePaths, number: int) -> bool:
    """Whether an attempt changed its checkpoint folder since it started."""
    folder = f"{paths.attempts}/{number}"
    try:
        started_with = _records.read(folder).checkpoint
    except _UNREADABLE:
        return False
    from furu_core._attempts import _checkpoints  # few nodes leave one

    return _checkpoints.fingerprint(f"{folder}/{CHECKPOINT}") != started_with


def _last_checkpoint(paths: NodePaths, number: int) -> str:
    folder = checkpoint_before(paths, number)
    if folder is None:
        return ""
    from furu_core._attempts import _checkpoints  # few nodes leave one

    return _checkpoints.fingerprint(folder)


def checkpoint_before(paths: NodePaths, number: int) -> str | None:
    """The newest checkpoint folder of the attempts before `number`."""
    if number == 1:
        return None
    for earlier in reversed(numbers(paths)):
        folder = f"{paths.attempts}/{earlier}/{CHECKPOINT}"
        if earlier < number and os.path.isdir(folder):
            return folder
    return None


def _hand_over_checkpoint(paths: NodePaths, number: int) -> None:
    folder = checkpoint_before(paths, number)
    if folder is not None:
        os.rename(folder, f"{paths.attempts}/{number}/{CHECKPOINT}")
