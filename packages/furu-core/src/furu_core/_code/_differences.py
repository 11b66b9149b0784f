"""What differs between the code that made a result and the code that is there now; nothing is imported for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from enum import Enum
from importlib.machinery import PathFinder
from typing import Any, Final

import attrs

from furu_core import _files
from furu_core._code import _listings, _syntax
from furu_core._code._listings import CodeListing, ListedModule
from furu_core._code._project import INSTALLED, SUFFIX
from furu_core._settings._settings import project_root
from furu_core._store._by_content import content_digest


class ModuleChange(Enum):
    """How a module differs from what made a result."""

    CHANGED = "changed"
    GONE = "gone"
    UNKNOWN = "unknown"


@attrs.frozen
class ModuleDifference:
    """A module that differs from what made a result, or may.

    Attributes:
        name: its name in the listing.
        change: how.
        module: what the listing says of it.
        file: its file now; empty where it is gone.
        syntax: the digest of its syntax tree now; empty where it is gone, or no Python.
    """

    name: str
    change: ModuleChange
    module: ListedModule
    file: str = ""
    syntax: str = ""

    def definitions(self) -> tuple[str, ...]:
        """The functions and classes that changed, by qualified names, and ``<module>`` for the rest of the file.

        Empty where the source of then is not kept, or there is none now.
        """
        before = _listings.source_of(self.module)
        try:
            now = _files.read_file(self.file) if self.file else None
            return () if before is None or now is None else _syntax.changes(before, now)
        except (OSError, ValueError):
            return ()


@attrs.frozen
class _FoundModule:
    file: str
    source: str
    syntax: str  # empty where it is no Python


class CurrentCode:
    """The code of the project as it is now: each module is looked for and read once.

    Args:
        folder: the project's folder; default: that of the working directory.
    """

    def __init__(self, folder: str | None = None) -> None:
        if folder is None:
            folder = str(project_root(_working_directory()))
        self._roots: Final = (folder, os.path.join(folder, "src"))
        self._found: dict[tuple[str, str, str], _FoundModule | None] = {}
        self._specs: dict[str, Any] = {}

    def differences(
        self, listing: CodeListing, *, scripts: bool = False
    ) -> tuple[ModuleDifference, ...]:
        """The modules that differ from those of a listing, or may; in the order of their names.

        Args:
            listing: the code that made a result.
            scripts: look also at those that only the program that asked for the node imported.
        """
        found = []
        for name, module in listing.modules.items():
            if module.is_script and not scripts:
                continue
            now = self._now(name, module)
            if now is None:
                found.append(ModuleDifference(name, ModuleChange.GONE, module))
            elif module.unknown:
                found.append(
                    ModuleDifference(name, ModuleChange.UNKNOWN, module, now.file, now.syntax)
                )
            elif now.source != module.source and now.syntax != module.syntax:
                found.append(
                    ModuleDifference(name, ModuleChange.CHANGED, module, now.file, now.syntax)
                )
        return tuple(found)

    def file_of(self, name: str, module: ListedModule) -> str | None:
        """The file that a module of a listing has now; None where there is none."""
        now = self._now(name, module)
        return None if now is None else now.file

    def _now(self, name: str, module: ListedModule) -> _FoundModule | None:
        key = (name, module.imported, module.path)
        if key not in self._found:
            self._found[key] = self._look(name, module)
        return self._found[key]

    def _look(self, name: str, module: ListedModule) -> _FoundModule | None:
        for file in self._candidates(name, module):
            try:
                data = _files.read_file(file)
            except OSError:
                continue
            source = content_digest(data)
            if source == module.source:
                return _FoundModule(file, source, module.syntax)
            said = _listings.parsed({source: data}).get(source)
            return _FoundModule(file, source, "" if said is None else said.syntax)
        return None

    def _candidates(self, name: str, module: ListedModule) -> Iterator[str]:
        """Where its file may be: where an import would find it, and below the project and `sys.path`."""
        for imported in filter(None, dict.fromkeys((module.imported, name))):
            loaded = getattr(sys.modules.get(imported), "__file__", None)
            for file in (loaded, self._origin(imported)):
                # A script `test.py`, say, has the name of a module of Python.
                if isinstance(file, str) and file.endswith(SUFFIX) and not _is_pythons(file):
                    yield file
        for root in dict.fromkeys((*self._roots, *sys.path)):
            yield os.path.join(root or os.curdir, module.path)

    def _origin(self, name: str) -> str | None:
        spec = self._spec(name)
        return None if spec is None or not isinstance(spec.origin, str) else spec.origin

    def _spec(self, name: str) -> Any:
        if name not in self._specs:
            self._specs[name] = self._found_spec(name)
        return self._specs[name]

    def _found_spec(self, name: str) -> Any:
        parent = name.rpartition(".")[0]
        try:
            if not parent:
                for finder in sys.meta_path:  # that of an editable install among them
                    find = getattr(finder, "find_spec", None)
                    if find is not None and (spec := find(name, None)) is not None:
                        return spec
                return PathFinder.find_spec(name, list(self._roots))
            above = self._spec(parent)
            locations = None if above is None else above.submodule_search_locations
            return None if locations is None else PathFinder.find_spec(name, list(locations))
        except Exception:  # noqa: BLE001 - finders of others may raise anything
            return None


def _is_pythons(file: str) -> bool:
    """Whether a file is of the standard library."""
    folder = f"{os.path.dirname(os.__file__)}{os.sep}"
    return file.startswith(folder) and not file[len(folder) :].startswith(INSTALLED)


def _working_directory() -> Any:
    from pathlib import Path

    try:
        return Path.cwd()
    except OSError:  # it was deleted
        return Path("/")
