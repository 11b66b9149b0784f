"""Claiming attempts, holding them and ending them.

Of two processes that claim one number, the rename of a prepared folder lets one succeed. Only the
holder of an attempt writes its record; once the holder is dead, the process that saw it die does.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from typing import Final

import attrs

from furu_core import _process_ids
from furu_core._attempts import _checkpoints, _lease, _liveness, _records
from furu_core._attempts._attempts import (
    STAGED,
    STAGING,
    UNREADABLE,
    Attempt,
    LatestAttempt,
    numbers,
)
from furu_core._attempts._outcomes import FailureKind
from furu_core._attempts._records import AttemptEnd, AttemptRecord, AttemptStatus
from furu_core._context._context import ExecContext
from furu_core._files import discard, remove_tree, store_error, write_file
from furu_core._output import _logging
from furu_core._store import _format
from furu_core._store._layout import (
    CHECKPOINT,
    LOG_FILE,
    META,
    NodePaths,
)
from furu_core.errors import FuruDamagedRecord, FuruFormatError

_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST)
_log = _logging.log.getChild("attempts")


def claim(
    paths: NodePaths, number: int, *, node: str, context: ExecContext, lease_secs: float
) -> Attempt | None:
    """Claim attempt `number` of a node; None when another process claimed it first.

    Args:
        paths: the node's folders.
        number: one more than the newest attempt's.
        node: the node's short name.
        context: for which executor, run and spec key the attempt is made.
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
        checkpoint=_checkpoints.fingerprint_before(paths, number),
        executor=context.executor,
        run_id=context.run_id,
        spec_key=context.spec_key,
        submission=context.submission,
    )
    _liveness.held[record.token] = threading.get_ident()
    try:
        if not _claim_folder(paths, record):
            _liveness.held.pop(record.token, None)
            return None
        folder = f"{paths.attempts}/{number}"
        try:
            _checkpoints.hand_over(paths, number)
            return Attempt(paths, record, _lease.hold(folder, record.token, lease_secs))
        except BaseException:
            # Other processes would take the claimed attempt for running while this process lives.
            if not os.path.isdir(f"{folder}/{CHECKPOINT}"):
                discard(folder, paths.class_attempts)
            raise
    except OSError as error:
        _liveness.held.pop(record.token, None)
        raise store_error(error, paths.attempts) from error
    except BaseException:
        _liveness.held.pop(record.token, None)
        raise


def _claim_folder(paths: NodePaths, record: AttemptRecord) -> bool:
    _format.refuse_newer()
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
                # The faster process may be done by now, so whether `target` exists tells nothing.
                remove_tree(staged)
                return False
    except OSError:
        remove_tree(staged)
        raise


def _is_ours(target: str, record: AttemptRecord) -> bool:
    with suppress(*UNREADABLE):
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

    Numbers start again at 1 once a node's folder was removed, so only the record tells to which
    attempt a folder belongs.
    """
    known = numbers(attempt.paths)
    newest = known[-1] if known else 0
    return newest != attempt.record.number or not is_still_ours(attempt)


def is_still_ours(attempt: Attempt) -> bool:
    """Whether an attempt's folder is still its own, not that of a later one of the same number."""
    try:
        return _records.holds(attempt.folder, attempt.record.token)
    except FuruDamagedRecord:
        return True  # every claim brings a whole record, so it is ours that was damaged
    except (OSError, FuruFormatError):
        return False


def end(attempt: Attempt, status: AttemptStatus, ended: AttemptEnd) -> None:
    """Record how an attempt ended, drop its staging folder and release its lease."""
    if not is_still_ours(attempt):
        release(attempt)  # the folder there now belongs to another attempt
        return
    discard(attempt.staging)  # first, because on a full disk the record needs the room
    record = attrs.evolve(attempt.record, status=status, ended=ended)
    try:
        _records.replace(attempt.folder, record)
    except OSError as error:
        # The attempt must not stay behind as running, or others would wait for this process.
        # Without record and lease it counts as dead; its log and checkpoint are worth keeping.
        _log.warning("%s cannot be recorded: %s", attempt.folder, error)
        with suppress(OSError):
            os.unlink(f"{attempt.folder}/{_records.RECORD_FILE}")
    release(attempt)


def release(attempt: Attempt) -> None:
    """Stop the heartbeat of an attempt."""
    _liveness.held.pop(attempt.record.token, None)
    attempt.lease.release()


def withdraw(attempt: Attempt) -> None:
    """Give an attempt back as if it had never been claimed."""
    if os.path.isdir(f"{attempt.folder}/{CHECKPOINT}"):  # the next attempt goes on from it
        ended = AttemptEnd(
            time.time(), FailureKind.CANCELLED, "", "it was interrupted before it began"
        )
        end(attempt, AttemptStatus.CANCELLED, ended)
        return
    release(attempt)
    discard(attempt.folder, attempt.paths.class_attempts)


def record_end(
    paths: NodePaths,
    number: int,
    status: AttemptStatus,
    ended: AttemptEnd,
) -> None:
    """Record the end of another process's attempt, after seeing that process die.

    As its holder is dead, the record still has one writer. An attempt that has ended already, or is
    gone, stays as it is.
    """
    folder = f"{paths.attempts}/{number}"
    try:
        record = _records.read(folder)
    except UNREADABLE:
        return
    if record.status is not AttemptStatus.RUNNING:
        return
    keep_log(folder)
    discard(f"{folder}/{STAGING}")
    with suppress(OSError):
        _records.replace(folder, attrs.evolve(record, status=status, ended=ended))
        os.unlink(f"{folder}/{_lease.LEASE_FILE}")


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


def keep_log(folder: str) -> None:
    """Move the log of an attempt out of its staging folder, where a failed publishing leaves it."""
    if not os.path.exists(f"{folder}/{LOG_FILE}"):
        with suppress(OSError):
            os.rename(f"{folder}/{STAGING}/{META}/{LOG_FILE}", f"{folder}/{LOG_FILE}")
