"""Removing what killed processes left in a class's folder of attempts, so that it does not grow.

Nobody else would: who prepares or removes an attempt gives its folder a name that no one asks for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from furu_core._attempts import _attempts, _lease
from furu_core._attempts._records import AttemptStatus
from furu_core._store._layout import SUBMISSION, TRASH, NodePaths
from furu_core.errors import FuruFormatError

# Preparing a folder takes milliseconds. It is left alone for as long as a machine may be suspended.
_OLD_SECS: Final = 24 * 3600.0
_swept: set[str] = set()


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
        if not name.startswith((_attempts.STAGED, TRASH, _lease.PROBE)):
            attempted.add(name)
        elif _is_old(f"{folder}/{name}"):
            if name.startswith(_lease.PROBE):
                with suppress(OSError):
                    os.unlink(f"{folder}/{name}")
            else:
                _attempts.discard(f"{folder}/{name}")
    attempted.discard(paths.hash)
    if attempted:
        for name in attempted.intersection(os.listdir(paths.class_dir)):
            _clean_up(NodePaths(paths.class_dir, name), lease_secs=lease_secs)


def _clean_up(paths: NodePaths, *, lease_secs: float) -> None:
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
        _attempts.remove_all(paths)
        return
    record = newest.record
    if record is None or record.status is not AttemptStatus.RUNNING:
        return  # what it says may still be worth reading
    if newest.alive or _attempts.may_wake(record):
        return
    published = not os.path.isdir(f"{newest.folder}/{_attempts.STAGING}")
    resumable = _attempts.checkpoint_before(paths, newest.number + 1) is not None
    if published or (_is_old(newest.folder) and not resumable):
        _attempts.remove_all(paths)


def _remove_old_notes(folder: str) -> None:
    """Remove what submitters left that were killed while they wrote a note."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(f"{SUBMISSION}.") and _is_old(f"{folder}/{name}"):
                os.unlink(f"{folder}/{name}")


def _is_old(folder: str) -> bool:
    age = _lease.lease_age(folder)
    return age is not None and age > _OLD_SECS
