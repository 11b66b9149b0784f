"""Complete results: loading, publishing, moving a bad one aside, deleting."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from furu_core import _attempts, _codecs, _context, _hooks, _manifest, _mounts
from furu_core._attempts import Attempt, Origin
from furu_core._layout import META, NodePaths, short_name
from furu_core.errors import FuruResultError, FuruUsageError

if TYPE_CHECKING:
    from furu_core._furu import Furu

MISSING: Final = object()


class BadArtifact(Exception):
    """An artifact that is there but damaged or invalid."""


def load(obj: Furu[Any], paths: NodePaths) -> Any:
    """The result of `obj`, or `MISSING`.

    Raises:
        BadArtifact: the files do not match their manifest, or `_validate` refuses them.
    """
    manifest = _manifest_of(paths.artifact)
    if manifest is None:
        return MISSING
    reason = _hooks.invalid_reason(obj)
    if reason is not None:
        raise BadArtifact(reason)
    return _value(obj, manifest, paths.artifact)


def load_unvalidated(obj: Furu[Any], paths: NodePaths) -> Any:
    """The result as its own `_validate` sees it: what `furu_dir` holds now."""
    active = _context.active(obj.furu_hash)
    folder = paths.artifact if active is None else active.staging
    manifest = _manifest_of(folder)
    return MISSING if manifest is None else _value(obj, manifest, folder)


def _manifest_of(folder: str) -> _manifest.Manifest | None:
    try:
        return _manifest.check(folder)
    except _manifest.DamagedArtifact as damage:
        raise BadArtifact(str(damage)) from None
    except OSError as error:
        raise _attempts.store_error(error, folder, doing="read") from error


def _value(obj: Furu[Any], manifest: _manifest.Manifest, folder: str) -> Any:
    if _hooks.overrides(type(obj), "_load"):
        try:
            return obj._load()
        except Exception:
            if not os.path.isdir(folder):
                return MISSING  # deleted in this moment
            raise
    if manifest.result is None:
        raise BadArtifact("its manifest names no result")
    try:
        return _codecs.load(manifest.result, f"{folder}/{META}", folder)
    except _manifest.DamagedArtifact as damage:
        raise BadArtifact(str(damage)) from None
    except FuruResultError as error:
        error.node, error.hash = short_name(obj), obj.furu_hash
        raise


def bad_reason(obj: Furu[Any], paths: NodePaths) -> str | None:
    """What is wrong with the artifact of `obj`, by manifest and `_validate`; None when nothing is."""
    try:
        return None if _manifest_of(paths.artifact) is None else _hooks.invalid_reason(obj)
    except BadArtifact as bad:
        return str(bad)


def is_published(paths: NodePaths) -> bool:
    """Whether the artifact exists, also when this host's cache still says that it does not."""
    if os.path.isdir(paths.artifact):
        return True
    # Listing a class of many artifacts is dear, and on a local disk `stat` is never behind.
    return not _mounts.is_local(paths.class_dir) and is_listed(paths)


def is_listed(paths: NodePaths) -> bool:
    """Whether a listing of the class folder shows the artifact.

    On network filesystems a listing is fresher than a `stat` of a name that was absent before.
    """
    try:
        return paths.hash in os.listdir(paths.class_dir)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _attempts.store_error(error, paths.class_dir, doing="read") from error


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
        raise _attempts.store_error(error, paths.artifact) from error
    _attempts.clean_up(attempt)
    kept_number = newest is not None and newest.is_kept_number
    return there or not kept_number
