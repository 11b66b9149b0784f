"""A hit of `get()`: loading a result that is there. `_compute_or_wait` handles a miss.

A hit asks the store where the artifact is and whether it is complete (`_store._layout`,
`_store._manifest`), the class's `_validate` whether it is good, and a codec for the value
(`_codecs._load`). It imports nothing that only a miss needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from furu_core._codecs import _load
from furu_core._config import _identity
from furu_core._config._objects import ConfigObject, short_name
from furu_core._context import _context
from furu_core._files import store_error
from furu_core._settings import _settings
from furu_core._store import _manifest
from furu_core._store._layout import RECORD_FILE, RESULT_PREFIX, NodeRef, ref_of
from furu_core._store._published import found_ref
from furu_core._text import error_text
from furu_core.errors import (
    FuruInvalidDependency,
    FuruMissingArtifact,
    FuruProtocolError,
    FuruResultError,
    FuruUntrustedFile,
)

F = TypeVar("F", bound=Callable[..., object])

MISSING: Final = object()
# By the folders of attempts: manifests of results that are validated before they are published.
fresh: dict[str, _manifest.Manifest] = {}


class Miss:
    """What `hit` found for a node whose result it could not load.

    Attributes:
        ref: the node.
        bad: what is wrong with the artifact that is there; None where there is none.
        rerun: whether it is computed again although there may be an artifact.
    """

    __slots__ = ("bad", "ref", "rerun")

    def __init__(self, ref: NodeRef, bad: str | None, *, rerun: bool) -> None:
        self.ref = ref
        self.bad = bad
        self.rerun = rerun


def hit(obj: ConfigObject) -> Any:
    """The result of `obj`, or a `Miss` where it cannot be loaded."""
    ref = ref_of(obj)
    settings = _settings.settings()
    if obj.furu_hash in _context.being_validated.get():
        value = load_unvalidated(obj, ref)
        if value is not MISSING:
            return value
    if settings.always_rerun and _is_due(obj):
        return Miss(ref, None, rerun=True)
    try:
        value = load(obj, ref)
        if value is MISSING and settings.also:
            value = load_elsewhere(obj, ref)
    except BadArtifact as found:
        return Miss(ref, str(found), rerun=False)
    if value is MISSING:
        return Miss(ref, None, rerun=False)
    if "logging" in sys.modules or settings.log_level == "DEBUG":
        _say_hit(obj)  # only when hits are logged
    return value


def _is_due(obj: ConfigObject) -> bool:
    from furu_core._compute import _reruns  # reruns are rare

    return _reruns.is_due(obj)


def _say_hit(obj: ConfigObject) -> None:
    import logging

    from furu_core._output import _logging

    if _logging.log.isEnabledFor(logging.DEBUG):
        _logging.event("get", short_name(obj), "done", "load", logging.DEBUG)


class BadArtifact(Exception):
    """An artifact that is there but damaged or invalid."""


def load_elsewhere(obj: ConfigObject, ref: NodeRef) -> Any:
    """The result of `obj` in a store that is only read, or `MISSING`.

    Raises:
        BadArtifact, FuruResultError: as for `load`.
    """
    from furu_core._store import _further_stores  # few settings name further stores

    found = _further_stores.elsewhere(ref)
    return MISSING if found is None else load(obj, found)


def _ref_to_load(ref: NodeRef) -> NodeRef:
    """The node in the store that has its result; in the current one if none has."""
    return (found_ref(ref) or ref) if _settings.settings().also else ref


def load(obj: ConfigObject, ref: NodeRef) -> Any:
    """The result of `obj`, or `MISSING`.

    Raises:
        BadArtifact: the files do not match their manifest, or `_validate` refuses them.
        FuruResultError: it was computed with other defaults of fields that its hash leaves out.
    """
    manifest = _manifest_of(ref.artifact)
    if manifest is None:
        return MISSING
    if manifest.omitted:
        _refuse_other_defaults(obj, manifest.omitted)
    reason = invalid_reason(obj)
    if reason is not None:
        raise BadArtifact(reason)
    try:
        value = _value(obj, manifest, ref.artifact)
    except BadArtifact:
        if manifest.prefix != RESULT_PREFIX and os.path.exists(f"{ref.artifact}/{RECORD_FILE}"):
            return load(obj, ref)  # it was upgraded in this moment
        raise
    if _context.exec_context().hash:
        _context.note_used(obj.furu_hash, manifest.digest or manifest.stand_in)
    return value


def load_existing(obj: ConfigObject) -> Any:
    """The result of `obj`, which is not computed.

    Raises:
        FuruMissingArtifact: it is not there, or damaged or invalid.
    """
    ref = ref_of(obj)
    why = "is not there"
    try:
        value = load(obj, _ref_to_load(ref))
    except BadArtifact as bad:
        value, why = MISSING, f"is there, but bad: {bad}"
    if value is not MISSING:
        return value
    name = short_name(obj)
    raise FuruMissingArtifact(
        f"the result of {name} {why}",
        asker=_context.exec_context().who,
        node=name,
        hash=obj.furu_hash,
        hint="load_existing() never computes; get() does",
    )


def _refuse_other_defaults(obj: ConfigObject, then: _manifest.Omitted) -> None:
    for field, (digest, now) in _identity.omitted_defaults(obj).items():
        # A field that was added since has no default there: the older artifact stays valid.
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


def load_unvalidated(obj: ConfigObject, ref: NodeRef) -> Any:
    """The result in `furu_dir`, for `_validate` itself to load: not validated."""
    active = _context.active(obj.furu_hash)
    folder = _ref_to_load(ref).artifact if active is None else active.folder
    manifest = fresh.get(folder) or _manifest_of(folder)
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
    if overrides(type(obj), "_load"):
        try:
            return obj._load()
        except Exception:  # the user's code may raise anything when its files vanish
            if not os.path.isdir(folder):
                return MISSING  # deleted in this moment
            raise
    if manifest.result is None:
        raise BadArtifact("its manifest names no result")
    try:
        return _load.load(manifest.result, f"{folder}/{manifest.prefix}", folder, manifest.value)
    except _manifest.DamagedArtifact as damage:
        raise BadArtifact(str(damage)) from None
    except FuruResultError as error:
        error.node, error.hash = short_name(obj), obj.furu_hash
        raise


def bad_reason(obj: ConfigObject, ref: NodeRef, *, by_loading: bool = False) -> str | None:
    """What is wrong with the artifact of `obj`; None when nothing is.

    Args:
        obj: the node.
        ref: the node in the store.
        by_loading: also load the stored value, beside asking the manifest and `_validate`: damage
            that did not change a file's size shows in no other way.

    Raises:
        FuruResultError: it was computed with other defaults of fields that its hash leaves out.
    """
    try:
        manifest = _manifest_of(ref.artifact)
    except BadArtifact as bad:
        return str(bad)
    if manifest is None:
        return None
    _refuse_other_defaults(obj, manifest.omitted)
    try:
        reason = invalid_reason(obj)
        if reason is None and by_loading and not overrides(type(obj), "_load"):
            _value(obj, manifest, ref.artifact)
        return reason
    except BadArtifact as bad:
        return str(bad)
    except FuruResultError:
        return None  # an artifact that cannot be loaded here may still be good


def folder_of(obj: ConfigObject, ref: NodeRef) -> str | None:
    """The folder of the artifact, or None where there is none.

    Raises:
        FuruResultError: it was computed with other defaults of fields that its hash leaves out.
    """
    found = found_ref(ref)
    if found is None:
        return None
    if _identity.omitted_defaults(obj):
        _refuse_other_artifact(obj, found.artifact)
    return found.artifact


def _refuse_other_artifact(obj: ConfigObject, folder: str) -> None:
    # Once for each artifact: a node's code may ask for the folder once per file in it.
    with suppress(BadArtifact, OSError):  # reported and repaired when it is loaded
        found = os.stat(folder)
        which = (found.st_ino, found.st_mtime_ns)
        if obj.__dict__.get("_furu_agreeing") == which:
            return
        manifest = _manifest_of(folder, _manifest.read)
        _refuse_other_defaults(obj, {} if manifest is None else manifest.omitted)
        obj.__dict__["_furu_agreeing"] = which


# The methods that a user may override


def default(method: F) -> F:
    """Mark a method of `Furu` itself, to tell it from one that a class overrides."""
    method.__furu_default__ = True  # type: ignore[attr-defined]
    return method


def overrides(cls: type, name: str) -> bool:
    """Whether a config class overrides the method `name`."""
    return not getattr(getattr(cls, name), "__furu_default__", False)


def invalid_reason(obj: ConfigObject) -> str | None:
    """Why `_validate` finds the files in `furu_dir` invalid; None when it finds them valid.

    Any exception from `_validate` means invalid, except a violation, which says nothing about the
    artifact.

    Raises:
        FuruResultError: `_validate` met a file of somebody whose pickles are not loaded.
    """
    if not overrides(type(obj), "_validate"):
        return None
    from furu_core import _trust  # few classes validate

    with _context.validating(obj.furu_hash):
        try:
            with _trust.no_refusal_swallowed():
                verdict = obj._validate()
        except FuruUntrustedFile as error:  # which says nothing about the artifact either
            raise FuruResultError(
                error.message, node=short_name(obj), hash=obj.furu_hash, hint=error.hint
            ) from error
        except (FuruProtocolError, FuruInvalidDependency):
            raise
        except Exception as error:  # noqa: BLE001 - any exception of the user's check means invalid
            _warn("_validate of %s raised", short_name(obj), exc_info=True)
            return f"_validate raised {type(error).__name__}: {error_text(error)}"
    if verdict is None or verdict:
        return None
    _warn("_validate of %s returned %r", short_name(obj), verdict)
    return f"_validate returned {verdict!r}"


def _warn(message: str, *values: object, exc_info: bool = False) -> None:
    from furu_core._output import _logging  # a hit of a good artifact logs nothing

    _logging.log.getChild("validate").warning(message, *values, exc_info=exc_info)
