"""A note where results seem to be there under another name, or with other fields, when a node is computed.

A class that was renamed or moved, or whose fields changed, would be computed anew in silence. The
note has the line that keeps the results. It is told once for each class and process, never in a
worker, and costs 20 ms at most, once. `FURU_LOG_LEVEL=WARNING` silences it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import attrs

from furu_core import _text
from furu_core._config._class_names import known_identities, name_of
from furu_core._config._class_record import Rule
from furu_core._config._module_names import file_with_class
from furu_core._config._objects import config_class
from furu_core._context import _context
from furu_core._output import _logging
from furu_core._settings import _settings
from furu_core._store import _record_file
from furu_core._store._layout import class_dir, is_hash

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

_SECS: Final = 0.02  # of looking through the store
_SAMPLES: Final = 4  # results of the class itself
_NAMES: Final = 100  # of its folder that are looked at
_CHECKED: Final = 3  # relatives of which it is found out whether they are gone

_noted: set[type] = set()


@attrs.frozen
class _Relative:
    """A class with results.

    Attributes:
        name: its name in hashes.
        fields: those in the record of one result, as JSON.
    """

    name: str
    fields: dict[str, Any]


def note_relatives(objects: Iterable[ConfigObject]) -> None:
    """Tell of results that these nodes, which are to be computed, may have under another name.

    Args:
        objects: one of each class is enough.
    """
    new = {type(obj) for obj in objects} - _noted
    if not new or _context.exec_context().strict:
        return
    _noted.update(new)
    try:
        if _logging.log.isEnabledFor(logging.INFO):
            for cls in sorted(new, key=lambda one: one.__qualname__):
                note = _note(cls)
                if note:
                    _logging.log.info("%s", note)
    except Exception:  # noqa: BLE001 - whatever is wrong, the node is computed all the same
        _logging.log.debug("looking for relatives failed", exc_info=True)


def _note(cls: type) -> str:
    own = list(islice(_samples(class_dir(cls)), _SAMPLES))
    if own:
        found = [_differences(cls, one) for one in own]
        return _changed(cls, own[0], *found[0]) if all(map(any, found)) else ""
    near = sorted(_relatives(cls), key=lambda pair: (-pair[0], pair[1].name))
    for _, relative in near[:_CHECKED]:
        if is_gone(relative.name):
            return _renamed(cls, relative)
    return ""


def _differences(cls: type, relative: _Relative) -> tuple[list[str], list[str]]:
    """The fields that results have and the class lacks, and those that it has and its hash needs."""
    compiled = config_class(cls)
    known = {field.key for field in compiled.fields} | compiled.removed.keys()
    needed = {field.key for field in compiled.fields if field.rule is Rule.ALWAYS}
    theirs = relative.fields.keys()
    return sorted(theirs - known), sorted((needed | compiled.removed.keys()) - theirs)


def _samples(folder: str) -> Iterator[_Relative]:
    """Some results of a class."""
    try:
        with os.scandir(folder) as scan:
            names = [entry.name for entry in islice(scan, _NAMES)]
    except OSError:
        return
    for name in filter(is_hash, names):
        try:
            record = _record_file.read(f"{folder}/{name}")
            config = json.loads(record.claim)["config"]
            omitted = json.loads(record.manifest).get("omitted", {})  # by the hash
            fields = {
                key: value
                for key, value in config["fields"].items()
                if f"{config['class']}.{key}" not in omitted
            }
            relative = _Relative(config["class"], fields)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        yield relative


def _relatives(cls: type) -> Iterator[tuple[int, _Relative]]:
    """Classes with the same fields, or with the same name and nearly the same, and how near they are."""
    short = name_of(cls).identity.partition(":")[2]
    for relative in _all():
        same_name = relative.name.partition(":")[2] == short
        apart = sum(map(len, _differences(cls, relative)))
        # One field, `seed` say, is what classes of all kinds have in common.
        if not apart and (same_name or len(relative.fields) > 1):
            yield 2 + same_name, relative
        elif same_name and apart <= 2 < len(relative.fields) + apart:
            yield 1, relative


def _all() -> list[_Relative]:
    """One result of each class in the store, as far as the time allows; looked for once."""
    global _found
    root = f"{_settings.settings().path}/data"
    if _found is not None and _found[0] == root:
        return _found[1]
    deadline = time.monotonic() + _SECS
    found: list[_Relative] = []
    pending = [root]
    while pending and time.monotonic() < deadline:
        folder = pending.pop()
        try:
            with os.scandir(folder) as scan:
                entries = list(islice(scan, _NAMES))
        except OSError:
            continue
        if any(is_hash(entry.name) for entry in entries):
            found += islice(_samples(folder), 1)
        pending += [
            entry.path
            for entry in entries
            if not is_hash(entry.name) and not entry.name.startswith(".") and entry.is_dir()
        ]
    _found = root, found
    return found


_found: tuple[str, list[_Relative]] | None = None


def is_gone(identity: str) -> bool:
    """Whether no module has a class of this name, as far as is seen without importing one."""
    if identity in known_identities():
        return False
    module, _, qualname = identity.partition(":")
    return file_with_class(module, qualname) is None


def _renamed(cls: type, relative: _Relative) -> str:
    name = name_of(cls)
    old, new = _differences(cls, relative)
    options = _options(relative, old, new)
    said = f"class {cls.__name__}(Furu[...], formerly={relative.name!r})"
    same = "nearly the same fields" if old or new else "the same fields"
    return (
        f"note: {name.identity} has no results, and {relative.name}, which is gone and had {same}, has "
        f"some. If it was renamed, they are kept by `{said}` or by "
        f"`furu adopt {relative.name} {name.importable}{options}`"
    )


def _changed(cls: type, relative: _Relative, old: list[str], new: list[str]) -> str:
    name = name_of(cls)
    if len(old) == 1 and len(new) == 1:
        how = f"{new[0]}: ... = field(formerly={old[0]!r})"
    elif old:
        how = f"class {cls.__name__}(Furu[...], removed={{{old[0]!r}: {_text.shown(relative.fields[old[0]])}}})"
    else:
        how = f"{new[0]}: ... = field(default=..., omit_default_from_hash=True)"
    fields = [f"the field {field!r}, which is gone" for field in old]
    fields += [f"no field {field!r}" for field in new]
    return (
        f"note: results of {relative.name} that are there have {', '.join(fields)}. They are kept by "
        f"`{how}` or by `furu adopt {relative.name} {name.importable}{_options(relative, old, new)}`"
    )


def _options(relative: _Relative, old: list[str], new: list[str]) -> str:
    """What `furu adopt` is to be told of fields that differ."""
    if len(old) == 1 and len(new) == 1:
        return f" --map {old[0]}={new[0]}"
    import shlex  # few programs come here

    drops = []
    for field in old:
        value = relative.fields[field]
        plain = not isinstance(value, dict | list)
        drops.append(f"{field}={json.dumps(value) if plain else 'VALUE'}")
    return "".join(f" --drop {shlex.quote(drop)}" for drop in drops)
