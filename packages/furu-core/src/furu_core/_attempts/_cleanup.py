"""Removing attempts of published or deleted nodes, and the leftovers of killed processes.

While an attempt is prepared or removed, its folder has a temporary name. When the process is killed
meanwhile, nothing but the sweep here would ever remove that folder.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

import attrs

from furu_core import _process_ids
from furu_core._attempts import _attempts, _checkpoints, _liveness, _records
from furu_core._attempts._attempts import (
    INVALID,
    REPLACED,
    STAGED,
    STAGING,
    Attempt,
    earlier,
    numbers,
)
from furu_core._attempts._claims import is_still_ours, release
from furu_core._attempts._records import AttemptRecord, AttemptStatus
from furu_core._files import PROBE, TRASH, discard, hide, remove_tree
from furu_core._store._layout import CHECKPOINT, SUBMISSION, NodePaths
from furu_core.errors import FuruFormatError

_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST)
# Preparing a folder takes milliseconds, but the machine may be suspended for hours meanwhile.
_OLD_SECS: Final = 24 * 3600.0
_swept: set[str] = set()


def clean_up(attempt: Attempt) -> None:
    """Remove the attempts of a node up to this one, after its artifact was published or deleted.

    A later attempt keeps its folder, also one that is claimed in this moment: its holder finds the
    artifact by itself. Of an earlier attempt whose holder may still wake up, the folder stays with
    its record, so that its number is not given out again.
    """
    release(attempt)
    if not is_still_ours(attempt):
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
    """Whether the holder of an attempt, or of an earlier one, may still believe to hold it."""
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
    """Remove all attempts of a node, of which none has a living holder."""
    _remove_numbers(paths, numbers(paths))


def _remove_numbers(paths: NodePaths, which: list[int]) -> None:
    for number in which:
        hidden = hide(f"{paths.attempts}/{number}", paths.class_attempts)
        if hidden is not None:
            _empty(hidden)
    try:
        os.rmdir(paths.attempts)  # never with another attempt in it
    except OSError as error:
        if error.errno not in _TAKEN:
            return
        with suppress(OSError):
            if not numbers(paths):
                os.unlink(f"{paths.attempts}/{SUBMISSION}")  # obsolete now
                # `rmdir` fails when a submitter is just writing a new note, which needs the folder.
                os.rmdir(paths.attempts)


def _empty(hidden: str) -> None:
    try:  # a first attempt leaves only this file; a walk would cost a dozen system calls
        os.unlink(f"{hidden}/{_records.RECORD_FILE}")
        os.rmdir(hidden)
    except OSError:
        remove_tree(hidden)


def sweep_once(paths: NodePaths, *, lease_secs: float) -> None:
    """Remove old leftovers in the class folder of a node, once per process and class.

    Leftovers are folders that were being prepared or removed a day ago, and attempts at published
    nodes whose holder is dead.
    """
    folder = paths.class_attempts
    if folder in _swept:
        return
    _swept.add(folder)
    try:
        names = os.listdir(folder)
    except OSError:
        return  # there is none yet
    attempted = set()
    for name in names:
        if not name.startswith((STAGED, TRASH, PROBE)):
            attempted.add(name)
        elif _is_old(f"{folder}/{name}"):
            if name.startswith(PROBE):
                with suppress(OSError):
                    os.unlink(f"{folder}/{name}")
            else:
                discard(f"{folder}/{name}")
    attempted.discard(paths.hash)
    if attempted:
        for name in attempted.intersection(os.listdir(paths.class_dir)):
            _clean_up_dead(NodePaths(paths.class_dir, name), lease_secs=lease_secs)


def _clean_up_dead(paths: NodePaths, *, lease_secs: float) -> None:
    """Remove the attempts of a published node whose holder died and will not come back.

    The holder died between publishing and cleaning up; or while it computed the node once more, and
    then the attempt is kept for a day, and for good where it left a checkpoint to go on from.
    """
    try:
        newest = _attempts.latest(paths, lease_secs=lease_secs)
    except FuruFormatError:
        return  # only the furu that wrote the record can judge it
    if newest is None:
        _remove_old_notes(paths.attempts)
        remove_all(paths)
        return
    record = newest.record
    if record is None or record.status is not AttemptStatus.RUNNING:
        return  # its record and log may still be worth reading
    if newest.alive or may_wake(record):
        return
    published = not os.path.isdir(f"{newest.folder}/{STAGING}")
    resumable = _checkpoints.checkpoint_before(paths, newest.number + 1) is not None
    if published or (_is_old(newest.folder) and not resumable):
        remove_all(paths)


def _remove_old_notes(folder: str) -> None:
    """Remove half-written notes of submitters that were killed while writing."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(f"{SUBMISSION}.") and _is_old(f"{folder}/{name}"):
                os.unlink(f"{folder}/{name}")


def _is_old(folder: str) -> bool:
    age = _liveness.lease_age(folder)
    return age is not None and age > _OLD_SECS
