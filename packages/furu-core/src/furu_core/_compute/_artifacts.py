"""Complete results: whether one is there and good, and what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from furu_core import _codecs
from furu_core._compute import _user_methods
from furu_core._config import _identity
from furu_core._config._objects import short_name
from furu_core._context import _context
from furu_core._files import store_error
from furu_core._store import _manifest
from furu_core._store._layout import META, NodePaths
from furu_core._store._published import is_published
from furu_core.errors import FuruResultError

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

MISSING: Final = object()


class BadArtifact(Exception):
    """An artifact that is there but damaged or invalid."""


def load(obj: ConfigObject, paths: NodePaths) -> Any:
    """The result of `obj`, or `MISSING`.

    Raises:
        BadArtifact: the files do not match their manifest, or `_validate` refuses them.
        FuruResultError: it was computed with other defaults of fields that its hash leaves out.
    """
    manifest = _manifest_of(paths.artifact)
    if manifest is None:
        return MISSING
    if manifest.omitted:
        _refuse_other_defaults(obj, manifest.omitted)
    reason = _user_methods.invalid_reason(obj)
    if reason is not None:
        raise BadArtifact(reason)
    return _value(obj, manifest, paths.artifact)


def _refuse_other_defaults(obj: ConfigObject, then: _manifest.Omitted) -> None:
    for field, (digest, now) in _identity.omitted_defaults(obj).items():
        # A field that was added since has no default there, and keeps what was computed before.
        if field in then and then[field][0] != digest:
            name = short_name(obj)
            raise FuruResultError(
                f"{name} was computed when the default of {field}, which its hash leaves out, was "
                f"{then[field][1]}; now it is {now}",
                node=name,
                hash=obj.furu_hash,
                hint="put the old default back, and give the new value by name where it is meant; or give "
                f"up the old result with `furu rm {obj.furu_hash[:12]}` and compute it again; or, if it is "
                "another on each machine and no result depends on it, write exclude_from_hash=True",
            )


def load_unvalidated(obj: ConfigObject, paths: NodePaths) -> Any:
    """The result as its own `_validate` sees it: what `furu_dir` holds now."""
    active = _context.active(obj.furu_hash)
    folder = paths.artifact if active is None else active.staging
    manifest = _manifest_of(folder)
    return MISSING if manifest is None else _value(obj, manifest, folder)


def _manifest_of(
    folder: str, look: Callable[[str], _manifest.Manifest | None] = _manifest.check
) -> _manifest.Manifest | None:
    try:
        return look(folder)
    except _manifest.DamagedArtifact as damage:
        raise BadArtifact(str(damage)) from None
    except OSError as error:
        raise store_error(error, folder, doing="read") from error


def _value(obj: ConfigObject, manifest: _manifest.Manifest, folder: str) -> Any:
    if _user_methods.overrides(type(obj), "_load"):
        try:
            return obj._load()
        except Exception:  # whatever the user's own code raises when its files vanish beneath it
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


def bad_reason(obj: ConfigObject, paths: NodePaths, *, by_loading: bool = False) -> str | None:
    """What is wrong with the artifact of `obj`; None when nothing is.

    Args:
        obj: the node.
        paths: its folders.
        by_loading: load its stored value, beside asking the manifest and `_validate`: damage that
            left a file as long as it was shows in no other way.

    Raises:
        FuruResultError: it was computed with other defaults of fields that its hash leaves out.
    """
    try:
        manifest = _manifest_of(paths.artifact)
    except BadArtifact as bad:
        return str(bad)
    if manifest is None:
        return None
    _refuse_other_defaults(obj, manifest.omitted)
    try:
        reason = _user_methods.invalid_reason(obj)
        if reason is None and by_loading and not _user_methods.overrides(type(obj), "_load"):
            _value(obj, manifest, paths.artifact)
        return reason
    except BadArtifact as bad:
        return str(bad)
    except FuruResultError:
        return None  # what cannot be loaded here may be perfectly good


def folder_of(obj: ConfigObject, paths: NodePaths) -> str | None:
    """The folder of the artifact, or None where there is none.

    Raises:
        FuruResultError: it was computed with other defaults of fields that its hash leaves out.
    """
    if not is_published(paths):
        return None
    if _identity.omitted_defaults(obj):
        _refuse_other_artifact(obj, paths.artifact)
    return paths.artifact


def _refuse_other_artifact(obj: ConfigObject, folder: str) -> None:
    # Once for each artifact: a node's code may ask for its folder as often as there are files in it.
    with suppress(BadArtifact, OSError):  # which is said, and mended, when it is loaded
        found = os.stat(folder)
        which = (found.st_ino, found.st_mtime_ns)
        if obj.__dict__.get("_furu_agreeing") == which:
            return
        manifest = _manifest_of(folder, _manifest.read)
        _refuse_other_defaults(obj, {} if manifest is None else manifest.omitted)
        obj.__dict__["_furu_agreeing"] = which
