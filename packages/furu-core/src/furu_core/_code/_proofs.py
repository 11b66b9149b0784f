"""Which modules of the project this process has loaded, and whether it is certain from which source.

What was noted while it was loaded is certain. Of what was loaded otherwise it may be proved later: because the
file is unchanged since before, or because it is compiled to just the code that is running.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any, Final

import attrs

from furu_core import _files, _process_ids
from furu_core._code import _observer, _project
from furu_core._code._observer import SourceNote
from furu_core._config import _class_homes
from furu_core._store._by_content import content_digest

# What a file's time of change may be off by: clocks tick, and that of a file server may be wrong.
_LOCAL_MARGIN_SECS: Final = 0.05
_REMOTE_MARGIN_SECS: Final = 60.0

_reasons: dict[int, str] = {}  # order of a note -> why it is not proven; empty where it is


@attrs.frozen(eq=False)
class LoadedModule:
    """A module of the project that this process has loaded.

    Attributes:
        key: its name in this process.
        namespace: its globals.
        file: its source file, absolute.
        note: what is known of its source; None where nothing is.
        unknown: why it is not certain what was loaded; empty where it is.
    """

    key: str
    namespace: Mapping[str, Any]
    file: str
    note: SourceNote | None
    unknown: str


def loaded_modules() -> Iterator[LoadedModule]:
    """The modules of the project that this process has loaded, once each."""
    packages = _project.packages_of_classes()
    seen = set()
    for name, module in list(sys.modules.items()):
        namespace = globals_of(module)
        if namespace is None or id(namespace) in seen:
            continue
        file = namespace.get("__file__")
        if type(file) is not str or not os.path.isabs(file):
            continue
        source = file[:-1] if file.endswith(".pyc") else file
        if _project.is_project_module(name, source, packages):
            seen.add(id(namespace))
            note, unknown = _proof(name, namespace, file)
            yield LoadedModule(name, namespace, source, note, unknown)
    # A script that is executed in globals of its own, which are no module's.
    for home in list(_class_homes.homes.values()):
        if home.file is None or id(home.namespace) in seen:
            continue
        name = f"<{home.namespace.get('__name__')} of {home.file}>"
        if _project.is_project_module(name, home.file, packages):
            seen.add(id(home.namespace))
            note, unknown = _proven_by_code(home.file, home.code)
            yield LoadedModule(name, home.namespace, home.file, note, unknown)


def sources_here() -> dict[str, str]:
    """The files of the project's modules that this process has loaded, and the digests of their sources."""
    return {
        noted[-1].file: source_digest(noted[-1])
        for noted in list(_observer.notes.values())
        if noted[-1].data is not None
    }


def source_digest(note: SourceNote) -> str:
    """The digest of a source that could be read."""
    if not note.digest:
        assert note.data is not None
        note.digest = content_digest(note.data)
    return note.digest


def globals_of(module: object) -> dict[str, Any] | None:
    """The globals of what stands in `sys.modules`; None where that is no module, or was not executed yet."""
    if type(module).__name__ == "_LazyModule":  # asking for an attribute would execute it
        return None
    try:
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


# ---- what is certain ----


def _proof(name: str, namespace: Mapping[str, Any], file: str) -> tuple[SourceNote | None, str]:
    """What is known of a module's source, and why it is not certain."""
    if file.endswith(".pyc"):
        return None, "it was loaded without a source"
    noted = [one for one in _observer.notes.get(name, ()) if one.file == file]
    many = len(noted) > 1 or name in _observer.loaded_before
    while many and noted and _compiled(noted[-1]) is None:
        noted.pop()  # a reload that found a syntax error, and changed nothing
    if not noted or (noted[-1].code is None and _is_loaded_past_the_observer(namespace)):
        return _proven_otherwise(name, namespace, file)
    last = noted[-1]
    if last.order not in _reasons:
        _reasons[last.order] = _why_unproven(last)
    return last, _reasons[last.order]


def _is_loaded_past_the_observer(namespace: Mapping[str, Any]) -> bool:
    """Whether a module was loaded from a spec that somebody made, after an import that was noted perhaps."""
    loader = getattr(namespace.get("__spec__"), "loader", None)
    return type(loader) is SourceFileLoader


def _why_unproven(note: SourceNote) -> str:
    if note.proven:
        return ""
    if note.data is None:
        return "its source could not be read when it was imported"
    if note.code is not None:
        if _compiles_to(note.data, note.file, note.code):
            return ""
        return "the file was edited between the start of the program and the import of furu"
    try:
        status = os.stat(note.archive)
    except OSError:
        return "its file is gone, and what loaded it does not tell what it read"
    if _observer.state_of(status) != note.stat:
        return "its file was edited, and what loaded it does not tell what it read"
    return ""


def _proven_otherwise(
    name: str, namespace: Mapping[str, Any], file: str
) -> tuple[SourceNote | None, str]:
    """What is known of a module that the observer did not see."""
    known = _seen_later.get(id(namespace))
    if known is not None and known[0] is namespace:
        return known[1], known[2]
    note, unknown = _proven_by_age(name, file)
    if unknown:
        for home in list(_class_homes.homes.values()):
            if home.namespace is namespace and home.code is not None:
                note, unknown = _proven_by_code(file, home.code)
    _seen_later[id(namespace)] = (namespace, note, unknown)
    return note, unknown


_seen_later: dict[int, tuple[Mapping[str, Any], SourceNote | None, str]] = {}


def _proven_by_age(name: str, file: str) -> tuple[SourceNote | None, str]:
    """What is known of a module that was loaded before furu, or past the finders: its file's age may tell."""
    why = "it was loaded before furu was, and its file was changed later than the program began"
    before = _observer.began
    if name in _observer.loaded_before:
        started = _process_start()
        if started is None:
            return None, "it was loaded before furu was"
        before = started
    else:
        why = "it was loaded without Python's import, and its file was changed later than that of furu"
    try:
        stat = _observer.state_of(os.stat(file))
        data = _files.read_file(file)
        local = _files.is_local_folder(os.path.dirname(file))
        if stat != _observer.state_of(os.stat(file)):
            return None, why
    except OSError:
        return None, "its file cannot be read any more"
    margin = _LOCAL_MARGIN_SECS if local else _REMOTE_MARGIN_SECS
    if max(stat[3], stat[4]) / 1e9 >= before - margin:
        return None, why
    return SourceNote(file, data, proven=True, stat=stat), ""


def _proven_by_code(file: str, code: CodeType | None) -> tuple[SourceNote | None, str]:
    """What is known of a script of which the code that was executed is known."""
    why = "it was executed as a script, and its file was edited since"
    try:
        data = _files.read_file(file)
    except OSError:
        return None, why
    if code is None or not _compiles_to(data, code.co_filename, code):
        return None, why
    return SourceNote(file, data, proven=True), ""


def _compiles_to(data: bytes, file: str, code: CodeType) -> bool:
    """Whether a source is compiled to just the code that is running."""
    return _compiled(SourceNote(file, data)) == code


def _compiled(note: SourceNote) -> CodeType | None:
    """The code of a source; None where it is no Python."""
    try:
        compiled: CodeType = compile(note.data or b"", note.file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return compiled


def _process_start() -> float | None:
    """When this process began, in seconds since the epoch; None where that cannot be told."""
    if os.getpid() != _observer.observed_pid:
        return None  # it was forked after the modules were loaded
    told = _process_ids.this_process().start
    if told.isdigit():  # ticks since the machine began
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.time() - since_boot + int(told) / os.sysconf("SC_CLK_TCK")
    try:
        return time.mktime(time.strptime(told, "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None
