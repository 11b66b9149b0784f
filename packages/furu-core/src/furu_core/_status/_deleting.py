"""Deleting a node from the store, unless it is being computed or a scheduler's job is to do so."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from furu_core._attempts import _attempts, _claims, _publishing, _submissions
from furu_core._attempts._attempts import Attempt
from furu_core._context._context import ExecContext
from furu_core._files import discard_or_raise, store_error
from furu_core._settings import _settings
from furu_core._status import _state_reader, _trash
from furu_core._status._states import NodeState
from furu_core._store import _further_stores
from furu_core._store._layout import NodeRef
from furu_core.errors import FuruStoreError, FuruUsageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def delete(
    ref: NodeRef,
    *,
    for_good: bool = False,
    still: Callable[[], bool] | None = None,
) -> bool:
    """Move the artifact and the ended attempts of a node to the trash; whether there was anything.

    It claims an attempt first, so that no other process computes the node meanwhile.

    Args:
        ref: the node.
        for_good: remove them instead, which needs no room: on a full disk an artifact is removed
            even where no attempt can be claimed.
        still: asked once nobody else computes the node: whether it is what shall be deleted.

    Raises:
        FuruUsageError: it is being computed, or a job that is to compute it waits in a queue.
        FuruStoreError: the store cannot be written, or the node is another user's.
    """
    refuse_further(ref)
    for_good = for_good or not _settings.settings().trash_days
    while True:
        there = os.path.isdir(ref.artifact)
        if not there and not _attempts.numbers(ref) and _submissions.queued(ref) is None:
            return False
        refuse_held(ref)
        try:
            attempt, kept_number = _claim(ref)
        except FuruStoreError as error:
            if not _is_full(error):
                raise
            if not for_good:
                raise _full(error) from error
            if not there:
                raise  # what attempts left needs a claim to be removed; the error says to make room
            # Its attempts stay: without a claim they may get a successor in this moment.
            _take(ref.artifact, for_good=True)
            return True
        if attempt is not None:
            break
    if still is not None and not still():
        _claims.withdraw(attempt)
        return False
    try:
        # What is there afterwards proves nothing: another process may have published again.
        _take(ref.artifact, for_good=for_good)
    except BaseException:
        _claims.withdraw(attempt)
        raise
    keep = None if for_good else _to_trash
    _publishing.clean_up(attempt, keep=keep)
    if not for_good:
        _trash.empty_old()
    return there or not kept_number


def refuse_further(ref: NodeRef) -> None:
    """Refuse to change a node of a store that is only read.

    Raises:
        FuruUsageError: it is in one.
    """
    if not _further_stores.is_own(ref.class_dir):
        raise FuruUsageError(
            f"{ref.name} is in another store, which is only read: {ref.artifact}",
            hint="whose store it is may change it, with FURU_PATH set to it",
        )


def _take(folder: str, *, for_good: bool) -> None:
    if not for_good:
        _to_trash(folder)
        return
    try:
        discard_or_raise(folder)
    except OSError as error:
        raise store_error(error, folder) from error


def _to_trash(folder: str) -> str | None:
    try:
        return _trash.move_here(folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        refused = store_error(error, folder, doing="move to the trash of")
        if error.errno in _FULL:
            raise _full(refused) from error
        if error.errno == errno.EXDEV:
            refused.hint = "the trash is on another filesystem; `furu rm --forever` removes at once"
        raise refused from error


def _is_full(error: FuruStoreError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL


def _full(error: FuruStoreError) -> FuruStoreError:
    error.hint = (
        "moving to the trash needs some room: `furu rm --empty` frees what is in it, and "
        "`furu rm --forever` removes at once"
    )
    return error


def refuse_held(ref: NodeRef) -> None:
    """Refuse a node that is being computed, or for which a scheduler's job is queued.

    Raises:
        FuruUsageError: it is such a node; the message names the holder or the job.
    """
    held = _state_reader.held(ref)
    if held is None:
        return
    queued = held.state is NodeState.QUEUED
    reason = f" ({held.reason})" if held.reason else ""
    raise FuruUsageError(
        f"{ref.name} is {'queued for' if queued else 'being computed by'} "
        f"{held.holder or 'an unknown process'}{reason}",
        hint="cancel that job first, or wait until it has ended"
        if queued
        else "stop that first, or wait until it has ended",
    )


def _claim(ref: NodeRef) -> tuple[Attempt | None, bool]:
    """The next attempt, None if another process was faster; whether the last was a kept number."""
    lease_secs = _settings.settings().lease_secs
    newest = _attempts.latest_of_any_furu(ref, lease_secs=lease_secs)
    attempt = _claims.claim(
        ref,
        1 if newest is None else newest.number + 1,
        node=ref.name,
        context=ExecContext(),
        lease_secs=lease_secs,
    )
    return attempt, newest is not None and newest.is_kept_number
