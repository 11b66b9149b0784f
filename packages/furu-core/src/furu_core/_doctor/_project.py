"""Whether the project in the working directory can be imported, as far as that can be told without importing it."""

from __future__ import annotations

import ast
import importlib.util
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import PathFinder
from typing import Final

from furu_core._doctor._results import CheckResult, note, ok, problem, warning
from furu_core._files import read_file
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._text import count

_HARMLESS: Final = frozenset({"antigravity", "test", "this"})
_MOST: Final = 500  # files that are parsed
_SHOWN: Final = 3


def project() -> Iterator[CheckResult]:
    """Files of the working directory, from which `furu run` imports, that hide modules of Python or cannot be parsed.

    Raises:
        OSError: it may not be read.
    """
    folder = _here()
    if folder is None:
        yield problem("project", "the working directory was removed", 'cd "$HOME"')
        return
    files = _modules(folder)
    found = 0
    for name, path in files.items():
        if name in sys.stdlib_module_names - _HARMLESS:
            found += 1
            yield warning(
                "project",
                f"{path} hides Python's own module `{name}` in programs that start in this folder",
                f"git mv {shlex.quote(path)} ... (give it another name)",
            )
        wrong = _wrong(path)
        if wrong:
            found += 1
            yield problem("project", f"{path} cannot be imported: {wrong}", f"mend {path}")
    if not found:
        yield ok(
            "project", f"{count(len(files), 'module')} in {folder} can be imported, by their syntax"
        )


def _here() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _modules(folder: str) -> dict[str, str]:
    """The files of modules and packages in a folder, by name; their paths start from it."""
    found: dict[str, str] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name, _, ending = entry.name.partition(".")
        if not name.isidentifier():
            continue
        if ending == "py" and entry.is_file():
            found[name] = entry.name
        elif not ending and entry.is_dir() and os.path.isfile(f"{entry.path}/__init__.py"):
            found[name] = f"{entry.name}/__init__.py"
        if len(found) == _MOST:
            break
    return found


def _wrong(path: str) -> str:
    """Why a file cannot be parsed; empty where it can."""
    try:
        with warnings.catch_warnings(action="ignore"):  # which the project's own tools tell
            ast.parse(read_file(path), path)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return str(error)
    return ""


def classes() -> Iterator[CheckResult]:
    """Which classes that have results in the store can be imported from the working directory."""
    folder = _here()
    path = [*([] if folder is None else [folder]), *sys.path]
    missing: dict[str, list[str]] = {}
    known = 0
    for cls in _stored_nodes.classes():
        module = cls.name.partition(":")[0]
        if _is_found(module, path):
            known += 1
        else:
            missing.setdefault(module, []).append(cls.name)
    if missing:
        names = ", ".join(sorted(missing)[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        total = sum(map(len, missing.values()))
        yield note(
            "classes",
            f"{count(total, 'class').replace('classs', 'classes')} of the store cannot be imported from here "
            f"(modules {names}); their results are kept",
            "cd to the project that has them; if they were renamed: furu adopt OLD NEW",
        )
    if known or not missing:
        yield ok(
            "classes",
            f"{count(known, 'class').replace('classs', 'classes')} of the store {_settings.settings().path} "
            "found from here",
        )


def _is_found(module: str, path: list[str]) -> bool:
    """Whether there is a module, looked up without importing the packages that it is in."""
    where: list[str] | None = path
    for part in module.split("."):
        if where is None:
            return False
        try:
            spec = PathFinder.find_spec(part, where)
            if spec is None and where is path:  # installed as editable, by a finder of its own
                spec = importlib.util.find_spec(part)
        except (ImportError, ValueError):
            return False
        if spec is None:
            return False
        where = (
            None
            if spec.submodule_search_locations is None
            else list(spec.submodule_search_locations)
        )
    return True
