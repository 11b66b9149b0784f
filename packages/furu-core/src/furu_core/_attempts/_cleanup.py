"""Removing attempts: those of a published or deleted node, and what killed processes left in a class's folder.

Nobody else would remove that: who prepares or removes an attempt gives its folder a name that no one
asks for.
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
# Preparing a folder takes milliseconds. It is left alone for as long as a machine may be suspended.
_OLD_SECS: Final = 24 * 3600.0
_swept: set[str] = set()


def clean_up(attempt: Attempt) -> None:
    """Remove the attempts of a node up to this one, after its artifact was published or deleted.

    A later attempt keeps its folder, also one that is claimed in this moment: its holder finds the
    artifact by itself. An earlier one whose holder may still wake up keeps its number from being
    given out again.
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
                os.unlink(f"{paths.attempts}/{SUBMISSION}")  # which is obsolete now
                # Not with the note in it that somebody is just writing, who needs both.
                os.rmdir(paths.attempts)


def _empty(hidden: str) -> None:
    try:  # what a first attempt leaves, without the dozen system calls that a walk costs
        os.unlink(f"{hidden}/{_records.RECORD_FILE}")
        os.rmdir(hidden)
    except OSError:
        remove_tree(hidden)


def sweep_once(paths: NodePaths, *, lease_secs: float) -> None:
    """Remove old leftovers of the class of a node, once per process and class.

    They are folders that were being prepared or removed a day ago, and attempts at published nodes
    whose holder is dead.
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

    It died between publishing and cleaning up; or while it computed the node once more, which is
    kept for a day, and for good where it left a checkpoint to go on from.
    """
    try:
        newest = _attempts.latest(paths, lease_secs=lease_secs)
    except FuruFormatError:
        return  # to be judged by the furu that wrote it
    if newest is None:
        _remove_old_notes(paths.attempts)
        remove_all(paths)
        return
    record = newest.record
    if record is None or record.status is not AttemptStatus.RUNNING:
        return  # what it says may still be worth reading
    if newest.alive or may_wake(record):
        return
    published = not os.path.isdir(f"{newest.folder}/{STAGING}")
    resumable = _checkpoints.checkpoint_before(paths, newest.number + 1) is not None
    if published or (_is_old(newest.folder) and not resumable):
        remove_all(paths)


def _remove_old_notes(folder: str) -> None:
    """Remove what submitters left that were killed while they wrote a note."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(f"{SUBMISSION}.") and _is_old(f"{folder}/{name}"):
                os.unlink(f"{folder}/{name}")


def _is_old(folder: str) -> bool:
    age = _liveness.lease_age(folder)
    return age is not None and age > _OLD_SECS
