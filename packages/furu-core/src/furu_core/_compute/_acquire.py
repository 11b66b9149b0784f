"""Claiming the next attempt at a node, or finding out why it must not be computed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from furu_core._attempts import _attempts, _claims, _publishing
from furu_core._attempts._attempts import Attempt, LatestAttempt
from furu_core._attempts._outcomes import FailureKind
from furu_core._attempts._records import AttemptStatus
from furu_core._compute import _hit
from furu_core._config._objects import config_class, short_name
from furu_core._context import _context
from furu_core._files import store_errors
from furu_core._forms import _pack
from furu_core._output import _spool
from furu_core._settings import _settings
from furu_core._store import _published
from furu_core._store._layout import NodeRef
from furu_core.errors import FuruComputeError

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

_MISSES: Final = 3
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


def acquire(
    obj: ConfigObject,
    ref: NodeRef,
    *,
    suspect: bool = False,
    to_invalidate: bool = False,
    rerun: bool = False,
) -> Attempt | LatestAttempt | None:
    """Claim the next attempt at `obj`, unless it is computed now or there already.

    Args:
        obj: the node.
        ref: the node in the store.
        suspect: the artifact that is there was found bad. It is checked once more under the claim:
            another process that found it bad too may have replaced it, and the new one must stay.
        to_invalidate: nothing is to be computed, so it does not matter whether the node failed before.
        rerun: compute although there is an artifact; it stays until the new one replaces it.

    Returns:
        The attempt, which the caller must end; or another process's living attempt; or None when
        there is an artifact.

    Raises:
        FuruComputeError: the node failed before, and `retry_failed` is off.
        FuruStoreError: the store cannot be written.
    """
    settings = _settings.settings()
    context = _context.exec_context()
    config = _compact(_pack.shallow_dict(obj))
    newest: LatestAttempt | None = None
    misses = 0
    while True:
        with store_errors(ref.class_dir):
            output = _spool.take()
        attempt = None
        number = 1 if newest is None else newest.number + 1
        try:
            attempt = _claims.claim(
                ref,
                number,
                node=short_name(obj),
                context=context,
                lease_secs=settings.lease_secs,
                class_name=config_class(obj).identity_name,
                config=config,
                log=output.name,
            )
        finally:
            if attempt is None:
                _spool.give_back(output.name)
        if attempt is None:
            newest = _attempts.latest(ref, lease_secs=settings.lease_secs)
            if newest is None or newest.number < number:
                # Published and cleaned up in this moment; or this host's caches do not show it.
                misses += 1
                if misses > _MISSES:
                    return _attempts.unseen(ref, number)
                if newest is None:
                    continue
            if newest.alive and not _job_is_gone(newest):
                return newest
            if not (settings.retry_failed or to_invalidate):
                _refuse_failed(obj, newest)
            continue
        try:
            # Each job of a large run would list the whole class.
            if newest is not None or not context.strict:
                _publishing.sweep_once(ref, lease_secs=settings.lease_secs)
            if newest is not None:
                _claims.set_aside_dead(ref, newest)
                _publishing.put_back_replaced(ref)
            # Looked at only now: the holder of the last attempt may have published in between.
            if rerun or not _published.is_published(ref):
                return attempt
            if suspect and _hit.bad_reason(obj, ref, by_loading=True) is not None:
                _publishing.move_aside(attempt)
                return attempt
        except BaseException:
            _claims.withdraw(attempt)
            raise
        _publishing.clean_up(attempt)
        return None


def _job_is_gone(newest: LatestAttempt) -> bool:
    """Whether the scheduler says that the attempt's job ended, whatever its lease says."""
    if newest.record is None or newest.record.submission is None:
        return False
    # Imports all of `_executors`, which only an attempt of a job needs.
    from furu_core._executors import _registry

    return _registry.is_gone(newest.record.submission)


def failed_earlier(newest: LatestAttempt | None) -> bool:
    """Whether the newest attempt at a node ended because its code raised or broke a rule."""
    return (
        newest is not None
        and newest.record is not None
        and newest.record.status is AttemptStatus.FAILED
        and newest.record.ended is not None
        and newest.record.ended.kind in (FailureKind.COMPUTE, FailureKind.PROTOCOL)
    )


def _refuse_failed(obj: ConfigObject, newest: LatestAttempt) -> None:
    if not failed_earlier(newest):
        return
    assert newest.record is not None
    assert newest.record.ended is not None
    ended = newest.record.ended
    log = _attempts.log_of(newest.folder)
    raise FuruComputeError(
        f"{short_name(obj)} failed before, in attempt {newest.number}: "
        f"{ended.error_type}: {ended.message}, and FURU_RETRY_FAILED is off",
        node=short_name(obj),
        hash=obj.furu_hash,
        log=log,
        hint=f"read {log} and set FURU_RETRY_FAILED=1 to try again",
    )
