"""Publishing an artifact, replacing it, moving a bad one aside, and removing ended attempts.

While something is removed, its folder has a temporary name. When the process is killed meanwhile,
nothing but the sweep here would ever remove that folder.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Final

from furu_core._attempts import _attempts, _checkpoints, _liveness, _records
from furu_core._attempts._attempts import UNREADABLE, Attempt
from furu_core._attempts._claims import keep_output, release
from furu_core._files import HIDDEN, PROBE, discard, hide, remove_tree
from furu_core._store import _record_file
from furu_core._store._layout import (
    CHECKPOINT,
    INVALID,
    REPLACED,
    NodeRef,
    attempted_in,
    beside_of,
    is_half_a_note,
    is_hash,
)
from furu_core._store._published import is_published
from furu_core.errors import FuruDamagedRecord, FuruFormatError

# Preparing a folder takes milliseconds, but the machine may be suspended for hours meanwhile.
_OLD_SECS: Final = 24 * 3600.0
_KEEP: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_swept: set[str] = set()


def publish(attempt: Attempt, *, replace: bool) -> bool:
    """Rename an attempt's folder to the artifact; False when another attempt's is there already.

    Args:
        attempt: the attempt; its folder is complete.
        replace: move an artifact that is there aside first.
    """
    ref, number = attempt.ref, attempt.record.number
    if replace:
        attempt.kinds_beside.add(REPLACED)
        with suppress(FileNotFoundError):
            os.rename(ref.artifact, ref.beside(number, REPLACED))
    return move_into_place(
        attempt.folder,
        ref,
        is_ours=lambda: _records.holds(ref.artifact, attempt.record.token),
        failed=(lambda: put_back_replaced(ref)) if replace else None,
    )


def move_into_place(
    folder: str,
    ref: NodeRef,
    *,
    is_ours: Callable[[], bool],
    failed: Callable[[], object] | None = None,
) -> bool:
    """Rename a complete folder to the artifact; False when another one is there already.

    Args:
        folder: the folder.
        ref: the node's folders.
        is_ours: whether the artifact that is there now was this folder.
        failed: called first where that fails.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        # The slashes keep it from renaming a file: another process may have put one in its place.
        os.rename(f"{folder}/", f"{ref.artifact}/")
    except OSError as error:
        if failed is not None:
            failed()
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        if error.errno == errno.ENOTDIR and os.path.isfile(ref.artifact):
            raise  # nothing of furu's stands where the artifact should
        # Over a network the rename may be done and its reply lost: then its repetition fails.
        if os.path.isdir(folder) or not is_published(ref):
            raise
        with suppress(*UNREADABLE):
            return is_ours()
        return False
    return True


def put_back_replaced(ref: NodeRef) -> None:
    """Put back an artifact that was moved away by a holder that died before publishing its own."""
    for folder in _replaced(ref):
        with suppress(OSError):  # another artifact is there, or another process put this one back
            os.rename(folder, ref.artifact)


def is_being_replaced(ref: NodeRef) -> bool:
    """Whether an attempt is replacing the artifact, which is absent for a moment meanwhile."""
    return bool(_replaced(ref))


def _replaced(ref: NodeRef) -> list[str]:
    folders = [ref.beside(n, REPLACED) for n in _attempts.numbers(ref)]
    return [folder for folder in reversed(folders) if os.path.isdir(folder)]


def move_aside(attempt: Attempt) -> None:
    """Move the artifact of a node beside an attempt at it."""
    aside = attempt.ref.beside(attempt.record.number, INVALID)
    attempt.kinds_beside.add(INVALID)
    with suppress(FileNotFoundError):
        try:
            os.rename(attempt.ref.artifact, aside)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            discard(aside)  # of an earlier attempt with this number
            os.rename(attempt.ref.artifact, aside)


# Removing ended attempts


def clean_up(
    attempt: Attempt, *, published: bool = False, keep: Callable[[str], str | None] | None = None
) -> None:
    """Remove the attempts of a node up to this one, after its artifact was published or deleted.

    A later attempt keeps its folder, also one that is claimed in this moment: its holder finds the
    artifact by itself. It may have a lower number, because those begin at 1 again once an artifact
    is there. Of an earlier attempt whose holder may still wake up, the number stays, so that it is
    not given out again.

    Args:
        attempt: the attempt, which ends with this.
        published: whether its folder has become the artifact.
        keep: moves the folder of an earlier attempt, or of its checkpoint, away and returns its new
            path, or None where it is gone; without it they are removed.

    Raises:
        OSError: from `keep`.
    """
    release(attempt)
    ref, number = attempt.ref, attempt.record.number
    if keep is not None:
        _checkpoints.hand_back(ref, number)
    if not published:
        attempt.kinds_beside.add(CHECKPOINT)
        with suppress(OSError):  # its folder is gone, or is another's by now
            if _records.holds(attempt.folder, attempt.record.token):
                discard(attempt.folder)
    for kind in attempt.kinds_beside:
        discard(ref.beside(number, kind))
    if number > 1:
        _remove(ref, number - 1, keep)
    try:
        os.unlink(ref.submission)  # obsolete now
    except OSError:
        pass  # nearly always, and `suppress` would take as long as the call itself


def remove_all(ref: NodeRef) -> None:
    """Remove all attempts of a node, of which none has a living holder."""
    known = _attempts.numbers(ref)
    if known:
        _remove(ref, known[-1])
    with suppress(OSError):
        os.unlink(ref.submission)


def _remove(ref: NodeRef, last: int, keep: Callable[[str], str | None] | None = None) -> None:
    """Remove the attempts up to a number, from the highest down; keep numbers that may be needed.

    Below a number that is kept all are, because those in use must have no gap.

    Raises:
        OSError: from `keep`.
    """
    kept = False
    for number in range(last, 0, -1):
        folder = ref.attempt(number)
        if _is_held(folder):
            kept = True  # with what is beside it, such as the artifact that its holder replaces
            continue
        for kind in (CHECKPOINT, INVALID, REPLACED):
            beside = ref.beside(number, kind)
            if keep is not None and kind == CHECKPOINT and os.path.isdir(beside):
                keep(beside)
            discard(beside)
        if os.path.isfile(folder):
            kept = True
            continue
        # Nobody can claim it once it is away; so what is read then does not change any more.
        away = hide(folder) if keep is None else keep(folder)
        kept = kept or _may_wake(away or folder)
        if kept:
            with suppress(OSError):
                os.close(os.open(folder, _KEEP, 0o666))
        if away is not None:
            with suppress(*UNREADABLE):
                keep_output(away, _records.read(away))
        if away is not None and keep is None:
            remove_tree(away)


def _is_held(folder: str) -> bool:
    """Whether the holder of the attempt in a folder lives, and nobody took over from it."""
    with suppress(*UNREADABLE):
        record = _records.read(folder)
        return record.ended is None and _liveness.judge(folder, record).life is _liveness.Life.ALIVE
    return False


def _may_wake(folder: str) -> bool:
    """Whether the holder of the attempt in a folder may still believe to hold it."""
    try:
        return _liveness.may_wake(_records.read(folder))
    except FileNotFoundError:
        return False  # without a record nobody holds it
    except FuruDamagedRecord:
        return _record_file.is_claimed(folder)
    except (OSError, FuruFormatError):
        return True


def sweep_once(ref: NodeRef, *, lease_secs: float) -> None:
    """Remove old leftovers in the class folder of a node, once per process and class.

    Leftovers are what was being removed a day ago, and attempts at published nodes whose holder is
    dead.
    """
    folder = ref.class_dir
    if folder in _swept:
        return
    _swept.add(folder)
    try:
        names = frozenset(os.listdir(folder))
    except OSError:
        return  # there is none yet
    for left in leftovers(folder, names):
        if os.path.isdir(left):
            discard(left)
        else:
            with suppress(OSError):
                os.unlink(left)
    published = {name for name in names if is_hash(name)}
    attempted = attempted_in(names) - {ref.hash}
    for name in attempted & published:
        _clean_up_dead(NodeRef(folder, name), lease_secs=lease_secs)


def leftovers(folder: str, names: Collection[str]) -> Iterator[str]:
    """What lies in a class's folder that nobody needs or removes: what is more than a day old.

    It is what was being removed or written when a process died, and what a holder that died after
    publishing had put beside its attempt.

    Args:
        folder: the folder of a class.
        names: the names in it.
    """
    published = frozenset(filter(is_hash, names))
    for name in names:
        # While there is an attempt, what lies beside it belongs to it.
        node_hash, number, _ = beside_of(name)
        left = node_hash in published and f".{node_hash}.{number}" not in names
        passing = name.startswith((HIDDEN, PROBE)) or is_half_a_note(name)
        if (left or passing) and _is_old(f"{folder}/{name}"):
            yield f"{folder}/{name}"


def _clean_up_dead(ref: NodeRef, *, lease_secs: float) -> None:
    """Remove the attempts of a published node whose holder died and will not come back.

    The holder died between publishing and cleaning up; or while it computed the node once more, and
    then the attempt is kept for a day, and for good where it left a checkpoint to go on from.
    """
    try:
        newest = _attempts.latest(ref, lease_secs=lease_secs)
    except FuruFormatError:
        return  # only the furu that wrote the record can judge it
    if newest is None:
        if _is_old(ref.submission):
            remove_all(ref)
        return
    if newest.alive or newest.is_kept_number or (newest.record and newest.record.ended):
        return  # its record and log may still be worth reading
    if _may_wake(newest.folder) or not _is_old(newest.folder):
        return
    if _checkpoints.checkpoint_before(ref, newest.number + 1) is None:
        remove_all(ref)


def _is_old(path: str) -> bool:
    try:
        age = _liveness.lease_age(path)
    except OSError:
        return False  # another user's, which does not show its age
    return age is not None and age > _OLD_SECS
