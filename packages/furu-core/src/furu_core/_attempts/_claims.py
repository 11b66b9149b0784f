"""Claiming attempts, holding them and ending them.

Of two processes that claim one number, one succeeds in making the attempt's folder, and one in
making its record. Only the holder of an attempt writes its record; once the holder is dead, the
process that saw it die does.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from contextlib import suppress
from typing import Final

import attrs

from furu_core import _process_ids
from furu_core._attempts import _attempts, _checkpoints, _lease, _liveness, _records
from furu_core._attempts._attempts import UNREADABLE, Attempt, LatestAttempt
from furu_core._attempts._outcomes import FailureKind
from furu_core._attempts._records import AttemptEnd, AttemptRecord, AttemptStatus
from furu_core._context._context import ExecContext
from furu_core._files import discard, remove_tree, store_error
from furu_core._output import _logging, _spool
from furu_core._store import _format, _record_file
from furu_core._store._layout import CHECKPOINT, LOG_FILE, RECORD_FILE, NodeRef

_log = _logging.log.getChild("attempts")
_secret = os.urandom(8).hex()
_claims: Final = itertools.count(1)


def claim(
    ref: NodeRef,
    number: int,
    *,
    node: str,
    context: ExecContext,
    lease_secs: float,
    class_name: str = "",
    config: str = "null",
    log: str = "",
) -> Attempt | None:
    """Claim attempt `number` of a node; None when another process claimed it first.

    Args:
        ref: the node.
        number: one more than the newest attempt's.
        node: the node's short name.
        context: for which executor, run and spec key the attempt is made.
        lease_secs: seconds without a heartbeat after which others may take over.
        class_name: the name of the node's class in the hash.
        config: the JSON of the node's config.
        log: the file that will have the output, below the store.

    Raises:
        FuruStoreError: the store cannot be written.
    """
    folder = ref.attempt(number)
    try:
        _format.enter()
        if not _make_folder(folder):
            return None
        checkpoint = _checkpoints.fingerprint_before(ref, number)
    except OSError as error:
        raise store_error(error, folder) from error
    record = AttemptRecord(
        number=number,
        token=f"{_secret}-{next(_claims)}",
        node=node,
        class_name=class_name,
        hash=ref.hash,
        holder=_process_ids.this_process(),
        started=time.time(),
        lease_secs=lease_secs,
        log=log,
        checkpoint=checkpoint,
        executor=context.executor,
        run_id=context.run_id,
        spec_key=context.spec_key,
        submission=context.submission,
        job_times=context.job_times,
    )
    line = _records.claim_bytes(record, config)
    _liveness.held[record.token] = threading.get_ident()
    try:
        if not _record_file.create(folder, line):
            _liveness.held.pop(record.token, None)
            return None  # this process slept for so long that another one took the folder
        try:
            _checkpoints.hand_over(ref, number)
            lease = _lease.hold(folder, record.token, lease_secs)
            return Attempt(ref, record, lease, line, folder)
        except BaseException:
            # Other processes would take the claimed attempt for running while this process lives.
            if not os.path.isdir(ref.beside(number, CHECKPOINT)):
                discard(folder)
            raise
    except OSError as error:
        _liveness.held.pop(record.token, None)
        with suppress(OSError):
            os.rmdir(folder)
        raise store_error(error, folder) from error
    except BaseException:
        _liveness.held.pop(record.token, None)
        raise


def _make_folder(folder: str) -> bool:
    """Make the folder of an attempt; False where there is one."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        try:
            os.mkdir(folder)
        except FileExistsError:
            return False
    return True


def is_superseded(attempt: Attempt) -> bool:
    """Whether another attempt took over from `attempt`, or its folder was removed."""
    after = attempt.ref.attempt(attempt.record.number + 1)
    return os.path.lexists(after) or not is_still_ours(attempt)


def is_still_ours(attempt: Attempt) -> bool:
    """Whether an attempt's folder is still its own, not that of a later one of the same number."""
    try:
        return _records.is_of(attempt.folder, attempt.record.token)
    except OSError:
        return False


def append(attempt: Attempt, manifest: bytes, story: bytes, *, sync: bool = False) -> bool:
    """Append to an attempt's record how it ended.

    Returns:
        Whether that counts. False where its folder is not its own any more, and where another
        process took it for dead and wrote that first.

    Raises:
        OSError: it cannot be written.
    """
    if _record_file.append(attempt.folder, attempt.record.token, manifest, story, sync=sync):
        return True
    if not is_still_ours(attempt) or _record_file.read(attempt.folder).story:
        return False
    _record_file.rewrite(attempt.folder, attempt.claim, manifest, story)  # something damaged it
    return True


def end(attempt: Attempt, status: AttemptStatus, ended: AttemptEnd) -> None:
    """Record how an attempt ended, drop the files of the node's code, and stop the heartbeat."""
    if not is_still_ours(attempt):
        release(attempt)  # the folder there now belongs to another attempt
        return
    drop_files(attempt.folder)  # first, because on a full disk the record needs the room
    try:
        story = _records.story_bytes(status, ended, {})
        if _record_file.read(attempt.folder).story:  # it was about to publish
            _record_file.rewrite(attempt.folder, attempt.claim, b"", story)
        else:
            append(attempt, b"", story)
    except OSError as error:
        # The attempt must not stay behind as running, or others would wait for this process.
        # Without a record it counts as dead; its log and checkpoint are worth keeping.
        _log.warning("%s cannot be recorded: %s", attempt.folder, error)
        with suppress(OSError):
            os.unlink(f"{attempt.folder}/{RECORD_FILE}")
        _spool.retire(attempt.record.log)
    release(attempt)


def drop_files(folder: str) -> None:
    """Remove what the node's code wrote in an attempt's folder; its record and log stay."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.name in (RECORD_FILE, LOG_FILE):
                continue
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)


def release(attempt: Attempt) -> None:
    """Stop the heartbeat of an attempt."""
    _liveness.held.pop(attempt.record.token, None)
    attempt.lease.release()
    _spool.give_back(attempt.record.log)


def withdraw(attempt: Attempt) -> None:
    """Give an attempt back as if it had never been claimed."""
    if os.path.isdir(attempt.ref.beside(attempt.record.number, CHECKPOINT)):
        # The next attempt goes on from the checkpoint.
        ended = AttemptEnd(
            time.time(), FailureKind.CANCELLED, "", "it was interrupted before it began"
        )
        end(attempt, AttemptStatus.CANCELLED, ended)
        return
    release(attempt)
    if is_still_ours(attempt):
        discard(attempt.folder)


def record_end(
    ref: NodeRef, number: int, status: AttemptStatus, ended: AttemptEnd, *, token: str = ""
) -> None:
    """Record the end of another process's attempt, after seeing that process die.

    An attempt that has ended already, or is gone, stays as it is. A holder that may wake after all
    keeps its files, and finds in its record that it must not publish; one that was about to is not
    disturbed.

    Args:
        ref: the node.
        number: the attempt's.
        status: how it stands now.
        ended: how it ended.
        token: the attempt's, so that another one that has its number by now stays as it is.
    """
    folder = ref.attempt(number)
    ended = attrs.evolve(ended, noticed=True)
    with suppress(*UNREADABLE):
        record = _records.read(folder)
        if record.ended is not None or token not in ("", record.token):
            return
        awake = _liveness.may_wake(record)
        written = _record_file.read(folder)
        story = _records.story_bytes(status, ended, {})
        if not awake:
            keep_output(folder, record)
            drop_files(folder)
            # Where its holder died between its last line and the rename, that line must not count.
            _record_file.rewrite(folder, written.claim, b"", story)
        elif not written.story:
            _record_file.append(folder, record.token, b"", story)


def set_aside_dead(ref: NodeRef, attempt: LatestAttempt) -> None:
    """Record that an attempt died, once its successor is claimed.

    Args:
        ref: the node.
        attempt: the attempt, as it was judged. One that has ended stays as it is; so does one whose
            record is damaged, as its holder may be anybody.
    """
    if attempt.record is None or attempt.record.ended is not None:
        return
    why = attempt.judgement.reason if attempt.judgement and not attempt.alive else "its job is gone"
    ended = AttemptEnd(time.time(), FailureKind.LOST, "", f"it was taken for dead: {why}")
    record_end(ref, attempt.number, AttemptStatus.LOST, ended, token=attempt.record.token)


def keep_output(folder: str, record: AttemptRecord) -> None:
    """Move the output of a dead attempt from where running nodes print to into its folder."""
    if not record.log or (record.ended is not None and not record.ended.noticed):
        return  # its holder did so
    output, log = _attempts.output_file(record), f"{folder}/{LOG_FILE}"
    with suppress(OSError):
        if not os.path.getsize(output):
            os.unlink(output)
        elif not os.path.exists(log):
            os.rename(output, log)


def _after_fork() -> None:
    global _secret
    _secret = os.urandom(8).hex()


os.register_at_fork(after_in_child=_after_fork)
