"""How complete results appear and go: publishing, replacing, moving a bad one aside, deleting."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from furu_core import _attempts
from furu_core._artifacts import is_published
from furu_core._attempts import Attempt, Origin
from furu_core._layout import NodePaths
from furu_core._store_errors import store_error
from furu_core.errors import FuruUsageError


def publish(attempt: Attempt, *, replace: bool) -> bool:
    """Let the staged result appear as the artifact; False when somebody else's is there already.

    Args:
        attempt: whose staging folder is complete.
        replace: move an artifact that is there into the attempt's folder first.
    """
    artifact = attempt.paths.artifact
    if replace:
        with suppress(FileNotFoundError):
            os.rename(artifact, f"{attempt.folder}/{_attempts.REPLACED}")
    try:
        os.rename(attempt.staging, artifact)
    except OSError as error:
        if replace:
            put_back_replaced(attempt.paths)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        # Over a network the rename may be done and its reply lost: then its repetition fails.
        if os.path.isdir(attempt.staging) or not is_published(attempt.paths):
            raise
        return False
    return True


def put_back_replaced(paths: NodePaths) -> None:
    """Put an artifact back that a holder had moved away when it died, before its new one was there."""
    for folder in _replaced(paths):
        with suppress(OSError):  # another one is there, or others put it back
            os.rename(folder, paths.artifact)


def is_being_replaced(paths: NodePaths) -> bool:
    """Whether somebody is replacing the artifact, which makes it absent for a moment."""
    return bool(_replaced(paths))


def _replaced(paths: NodePaths) -> list[str]:
    folders = [f"{paths.attempts}/{n}/{_attempts.REPLACED}" for n in _attempts.numbers(paths)]
    return [folder for folder in reversed(folders) if os.path.isdir(folder)]


def move_aside(attempt: Attempt) -> None:
    """Move the artifact of a node into the folder of an attempt at it."""
    with suppress(FileNotFoundError):
        os.rename(attempt.paths.artifact, f"{attempt.folder}/{_attempts.INVALID}")


def delete(name: str, paths: NodePaths, *, lease_secs: float) -> bool:
    """Remove the artifact and the ended attempts of a node; whether there was anything.

    It claims an attempt for that, so that nobody computes the node meanwhile.

    Args:
        name: the node's short name.
        paths: its folders.
        lease_secs: seconds without a sign of life after which others may take over.

    Raises:
        FuruUsageError: somebody computes it now.
        FuruStoreError: the store cannot be written.
    """
    while True:
        there = os.path.isdir(paths.artifact)
        if not there and not os.path.isdir(paths.attempts):
            return False
        newest = _attempts.latest_of_any_furu(paths, lease_secs=lease_secs)
        if newest is not None and newest.alive:
            assert newest.judgement is not None
            raise FuruUsageError(
                f"{name} is being computed: {newest.judgement.reason}",
                hint="stop that process first, or wait until it has ended",
            )
        attempt = _attempts.claim(
            paths,
            1 if newest is None else newest.number + 1,
            node=name,
            origin=Origin(),
            lease_secs=lease_secs,
        )
        if attempt is not None:
            break
    try:
        # Nothing is concluded from what stands there afterwards: somebody may have published anew.
        _attempts.discard_or_raise(paths.artifact, paths.class_attempts)
    except OSError as error:
        _attempts.withdraw(attempt)
        raise store_error(error, paths.artifact) from error
    _attempts.clean_up(attempt)
    kept_number = newest is not None and newest.is_kept_number
    return there or not kept_number
