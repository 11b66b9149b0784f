"""Deleting a node from the store, unless it is being computed or a scheduler's job is to do so."""

from __future__ import annotations

import os

from furu_core._attempts import _attempts, _claims, _publishing, _submissions
from furu_core._attempts._attempts import Attempt
from furu_core._context._context import ExecContext
from furu_core._files import discard_or_raise, store_error
from furu_core._settings import _settings
from furu_core._status import _state_reader
from furu_core._status._states import NodeState
from furu_core._store._layout import NodePaths
from furu_core.errors import FuruUsageError


def delete(name: str, paths: NodePaths) -> bool:
    """Remove the artifact and the ended attempts of a node; whether there was anything.

    It claims an attempt first, so that no other process computes the node meanwhile.

    Args:
        name: the node's short name.
        paths: its folders.

    Raises:
        FuruUsageError: it is being computed, or a job that is to compute it waits in a queue.
        FuruStoreError: the store cannot be written.
    """
    while True:
        there = os.path.isdir(paths.artifact)
        if not there and not _attempts.numbers(paths) and _submissions.queued(paths) is None:
            return False
        refuse_held(name, paths)
        attempt, kept_number = _claim(name, paths)
        if attempt is not None:
            break
    try:
        # What is there afterwards proves nothing: another process may have published again.
        discard_or_raise(paths.artifact)
    except OSError as error:
        _claims.withdraw(attempt)
        raise store_error(error, paths.artifact) from error
    _publishing.clean_up(attempt)
    return there or not kept_number


def refuse_held(name: str, paths: NodePaths) -> None:
    """Refuse a node that is being computed, or for which a scheduler's job is queued.

    Raises:
        FuruUsageError: it is such a node; the message names the holder or the job.
    """
    held = _state_reader.held(paths)
    if held is None:
        return
    queued = held.state is NodeState.QUEUED
    reason = f" ({held.reason})" if held.reason else ""
    raise FuruUsageError(
        f"{name} is {'queued for' if queued else 'being computed by'} "
        f"{held.holder or 'an unknown process'}{reason}",
        hint="cancel that job first, or wait until it has ended"
        if queued
        else "stop that first, or wait until it has ended",
    )


def _claim(name: str, paths: NodePaths) -> tuple[Attempt | None, bool]:
    """The next attempt, None if another process was faster; whether the last was a kept number."""
    lease_secs = _settings.settings().lease_secs
    newest = _attempts.latest_of_any_furu(paths, lease_secs=lease_secs)
    attempt = _claims.claim(
        paths,
        1 if newest is None else newest.number + 1,
        node=name,
        context=ExecContext(),
        lease_secs=lease_secs,
    )
    return attempt, newest is not None and newest.is_kept_number
