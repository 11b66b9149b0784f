"""The code that computed a node: which modules of the project this process has loaded, and from which source.

All is found out once per process, and again when further modules were imported. Nothing here fails a node: what
cannot be proved is recorded as unknown, with the reason.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import attrs

from furu_core import _text
from furu_core._code import _listings, _observer, _reloads
from furu_core._code._listings import ListedModule
from furu_core._code._project import ANY_MODULE
from furu_core._code._proofs import LoadedModule, globals_of, loaded_modules, source_digest
from furu_core._config import _class_homes, _identity
from furu_core._config._class_homes import MAIN
from furu_core._config._module_names import file_identity
from furu_core._settings import _settings

_log: Final = logging.getLogger("furu.code")


@attrs.define(eq=False)
class _Loaded:
    """What is loaded at one time, and what was found out about it."""

    names: dict[str, str]  # in listings, by the names in this process
    modules: dict[str, ListedModule]  # by their names in this process
    sources: dict[str, bytes]  # by their digests
    imports: dict[str, tuple[str, ...]]  # which of these modules each may import
    finders: frozenset[str]  # which of them import modules by names that their sources do not tell
    homes: dict[int, str]  # id of globals -> name in this process
    edited: frozenset[str]  # which the program that began the run had loaded from another source
    # By store and classes, and by store and the modules of these.
    listings: dict[tuple[str, frozenset[type] | frozenset[str]], CodeThatRan]


_known: tuple[tuple[int, int, int], _Loaded] | None = None
_classes: dict[type, frozenset[type]] = {}
_told = False  # that the code of this process cannot be recorded


class CodeThatRan(NamedTuple):
    """The code that computed a node.

    Attributes:
        listing: the digest of its listing.
        edited: the modules that the program that began the run had loaded from another source.
    """

    listing: str
    edited: tuple[str, ...]


def code_of(obj: Any) -> CodeThatRan | None:
    """The code that computed a node, just now in this process; its listing is stored.

    None where that cannot be done: a result is worth more than the record of its code.
    """
    global _told
    try:
        return _code_of(obj)
    except Exception as error:  # noqa: BLE001 - modules of others may be anything, and a disk full
        if not _told:
            _told = True
            _log.warning(
                "the code that computes here cannot be recorded: %s", _text.error_text(error)
            )
        return None


def edited_modules() -> tuple[str, ...]:
    """The modules that this process loaded from another source than the program that began the run."""
    if _known is None or not _observer.of_the_run:
        return ()
    loaded = _known[1]
    return tuple(sorted({loaded.names[key] for key in loaded.edited}))


def _code_of(obj: Any) -> CodeThatRan:
    loaded = _loaded()
    classes = _classes_of(obj)
    store = str(_settings.settings().path)
    found = loaded.listings.get((store, classes))
    if found is None:
        bases = {base for cls in classes for base in cls.__mro__}
        own = frozenset(name for base in bases if (name := _home(loaded, base)))
        found = loaded.listings.get((store, own))
        if found is None:
            found = loaded.listings[store, own] = _store(loaded, own)
        loaded.listings[store, classes] = found
    return found


def _classes_of(obj: Any) -> frozenset[type]:
    """The class of a node and those of all configs in it."""
    known: frozenset[type] | None = obj.__dict__.get("_furu_classes")
    if known is not None:
        return known
    stack = [obj]
    while stack:
        current = stack[-1]
        inner = _identity.nested(current)
        missing = [one for one in inner if "_furu_classes" not in one.__dict__]
        if missing:
            stack += missing
            continue
        stack.pop()
        cls = type(current)
        found = _classes.setdefault(cls, frozenset((cls,)))
        for one in inner:
            below = one.__dict__["_furu_classes"]
            if not below <= found:
                found = found | below
        current.__dict__["_furu_classes"] = _shared.setdefault(found, found)
    known = obj.__dict__["_furu_classes"]
    assert known is not None
    return known


_shared: dict[frozenset[type], frozenset[type]] = {}  # a chain of 10,000 would need as many sets


def _home(loaded: _Loaded, cls: type) -> str | None:
    home = _class_homes.homes.get(cls)
    if home is not None:
        return loaded.homes.get(id(home.namespace))
    return cls.__module__ if cls.__module__ in loaded.modules else None


def _store(loaded: _Loaded, own: frozenset[str]) -> CodeThatRan:
    """Store the listing of the nodes whose classes are defined in some modules."""
    used = _reached(loaded, own)
    others = {
        name
        for home in list(_class_homes.homes.values())
        if (name := loaded.homes.get(id(home.namespace)))
    }
    scripts = {key for key in loaded.modules if _is_script(key)}
    beside = _reached(loaded, (others - scripts) - used) - used
    if not used.isdisjoint(loaded.finders):
        beside = set()  # the node may have imported any of them
    asked = _reached(loaded, scripts - used) - used
    listed: dict[str, ListedModule] = {}
    for key, module in loaded.modules.items():
        if key not in beside:
            name = loaded.names[key]
            told = attrs.evolve(module, is_script=key in asked)
            listed[name] = _both(listed[name], told) if name in listed else told
    edited = {loaded.names[key] for key in loaded.edited if key not in beside}
    return CodeThatRan(_listings.store(listed, loaded.sources), tuple(sorted(edited)))


def _both(first: ListedModule, second: ListedModule) -> ListedModule:
    """A file that was loaded twice, as a script and by an import for instance."""
    unknown = first.unknown or second.unknown
    if not unknown and first.source != second.source:
        unknown = "it was loaded twice, and its file was edited in between"
    return ListedModule(
        first.path,
        first.imported or second.imported,
        "" if unknown else first.syntax,
        "" if unknown else first.source,
        unknown,
        first.is_script and second.is_script,
    )


def _reached(loaded: _Loaded, names: Iterable[str]) -> set[str]:
    """Modules and all that they import."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += loaded.imports.get(name, ())
    return found


# ---- what is loaded ----


def _loaded() -> _Loaded:
    global _known
    state = (len(_observer.noted), len(sys.modules), len(_class_homes.homes))
    if _known is None or _known[0] != state:
        _known = state, _look()
    return _known[1]


def _look() -> _Loaded:
    modules = list(loaded_modules())
    sources = {
        source_digest(one.note): one.note.data
        for one in modules
        if not one.unknown and one.note is not None and one.note.data is not None
    }
    said = _listings.parsed(sources)
    names = _names_by_key(modules)
    listed = {one.key: _listed(one, names[one.key], said) for one in modules}
    imported = {
        one.key: _absolute(one, said[listed[one.key].source].imports)
        if listed[one.key].source in said
        else []
        for one in modules
    }
    for key, reason in _reloads.held_from_before(modules, imported).items():
        listed[key] = attrs.evolve(listed[key], source="", syntax="", unknown=reason)
    keys = {id(one.namespace): one.key for one in modules}
    known_as = {
        name: keys[id(namespace)]
        for name, module in list(sys.modules.items())
        if id(namespace := globals_of(module)) in keys
    }
    finders = frozenset(key for key, told in imported.items() if ANY_MODULE in told)
    leads_to = {key: _known_among(known_as, told) for key, told in imported.items()}
    expected = _observer.of_the_run
    edited = frozenset(
        one.key
        for one in modules
        if (source := listed[one.key].source) and expected.get(one.file, source) != source
    )
    return _Loaded(names, listed, sources, leads_to, finders, keys, edited, {})


def _names_by_key(modules: Iterable[LoadedModule]) -> dict[str, str]:
    """The names that the modules have in a listing: where two files would have one, those of their imports."""
    files: dict[str, str] = {}
    found = {}
    for one in modules:
        name = file_identity(one.file)[0]
        found[one.key] = name if files.setdefault(name, one.file) == one.file else one.key
    return found


def _listed(
    module: LoadedModule, name: str, said: Mapping[str, _listings.ParsedSource]
) -> ListedModule:
    _, parts, _ = file_identity(module.file)
    is_package = os.path.basename(module.file) == "__init__.py"
    path = "/".join([*parts, "__init__.py"] if is_package else [*parts[:-1], f"{parts[-1]}.py"])
    imported = "" if _is_script(module.key) or module.key == name else module.key
    if module.unknown or module.note is None or module.note.data is None:
        return ListedModule(path, imported, unknown=module.unknown or "its source is not known")
    source = source_digest(module.note)
    if source not in said:
        return ListedModule(path, imported, unknown="its source is no plain Python")
    return ListedModule(path, imported, said[source].syntax, source)


def _is_script(key: str) -> bool:
    return key in MAIN or key.startswith("<")


def _absolute(module: LoadedModule, imports: Iterable[str]) -> list[str]:
    """The names that a module may import, and that of its package, which is imported before it."""
    package = module.namespace.get("__package__")
    parts = package.split(".") if isinstance(package, str) and package else []
    found = [".".join(parts)] if parts else []
    for one in imports:
        name = one.lstrip(".")
        level = len(one) - len(name)
        if level:
            name = ".".join([*parts[: len(parts) - level + 1], *filter(None, [name])])
        found.append(name)
    return found


def _known_among(known_as: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """Which loaded modules some names lead to, with the packages around them."""
    found: dict[str, None] = {}
    for name in names:
        while name:
            if name in known_as:
                found[known_as[name]] = None
            name = name.rpartition(".")[0]
    return tuple(found)
