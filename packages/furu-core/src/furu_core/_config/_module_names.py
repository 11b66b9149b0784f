"""The names of a module: the one that its file gives it, and the one that other processes import.

The first is a function of the file alone, so that it is the same however the file is started. The
second depends on `sys.path`.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final

from furu_core._config._class_homes import MAIN, ClassHome, is_script, nameless
from furu_core.errors import FuruImportNameError

SNAPSHOTS: Final = "/code/snapshots"  # the folder, in a store, of snapshots of projects
# A folder of a snapshot that stands for a project, above which there is nothing of the project.
_TREE: Final = re.compile(rf".*{SNAPSHOTS}/[0-9a-f]{{32}}(?:-\d+)?/[^/]+")

_files: dict[str, str] = {}  # identity of a module -> its file

extra_roots: list[str] = []


def import_roots() -> list[str]:
    """The entries that `sys.path` needs in another process to import the classes of this one."""
    roots = []
    for entry in sys.path:
        with suppress(FileNotFoundError):  # a relative entry, and the working directory was removed
            roots.append(os.path.abspath(entry))
    return list(dict.fromkeys([*roots, *extra_roots]))


def names_of_module(home: ClassHome, module_name: str, what: str) -> tuple[str, str]:
    """The module's name in hashes, and the name to import it by."""
    file = home.file
    module = sys.modules.get(module_name)
    stands = not is_script(module_name) and getattr(module, "__dict__", None) is home.namespace
    if _is_from_text(home, stands):
        raise FuruImportNameError(
            f"{what} is defined in {home.written_in}, not in {file}, the file that its module has: "
            f"another process would not find it there",
            hint="move the class into the file; whoever executes the file's text gives its name to "
            "compile(), as in exec(compile(text, file, 'exec'), namespace)",
        )
    if not stands:
        if file is None or not os.path.isfile(file):
            raise nameless(what, module_name, home.namespace)
        identity, parts, root = file_identity(file)
        importable = _find_import_name(home.namespace, file, parts, root)
    elif file is None or not file.endswith(".py"):
        return module_name, module_name
    else:
        identity, importable = file_identity(file)[0], module_name
    first = _files.setdefault(identity, file)
    if first != file and not _same_file(first, file):
        raise FuruImportNameError(
            f"two files give their classes the same name {identity!r}: {first} and {file}",
            hint="rename one of them, or put a pyproject.toml into the folder above both",
        )
    return identity, importable


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return True  # the first one is gone: it was moved, or was a temporary copy


def _is_from_text(home: ClassHome, stands: bool) -> bool:
    """Whether a class statement was executed from text, and not from its globals' file."""
    written_in, file = home.written_in, home.file
    if written_in is None or file is None or not os.path.isfile(file):
        return False
    if written_in.startswith("<"):
        return True
    if stands or os.path.abspath(written_in) == file:
        return False  # a module's cached code may name the file from before it was moved
    return not (os.path.exists(written_in) and _same_file(written_in, file))


@cache
def file_identity(file: str) -> tuple[str, tuple[str, ...], str]:
    """A module's name in hashes, by its file alone; also its parts and the folder they start from.

    The name of a file in a regular package begins at the topmost package; of an installed file
    below ``site-packages``; of any other below the project, that is the nearest parent folder with
    a ``pyproject.toml``, else with a ``.git``, leaving out a leading ``src``. Without a project it
    is the file's own name. In a snapshot of the project, a module has the name that it has there.
    """
    folder, base = os.path.split(os.path.abspath(file))
    stem = os.path.splitext(base)[0]
    parts = [] if stem == "__init__" else [stem]
    if os.path.isfile(os.path.join(folder, "__init__.py")):
        while os.path.isfile(os.path.join(folder, "__init__.py")):
            folder, package = os.path.split(folder)
            parts.insert(0, package)
    else:
        parts, folder = _below_root(folder, parts or [stem])
    return ".".join(map(_escaped, parts)), tuple(parts), folder


def may_be_called(file: str, identity: str) -> bool:
    """Whether `file_identity` may give a file this name, as far as that is known without a look at files.

    A worker asks it of all modules that are loaded, and files on a network are slow to look at.

    Example:
        >>> may_be_called("/exp/train.py", "exp.train"), may_be_called("/exp/test.py", "exp.train")
        (True, False)
    """
    folder, base = os.path.split(os.path.abspath(file))
    stem = os.path.splitext(base)[0]
    likely = {stem, os.path.basename(folder)} if stem == "__init__" else {stem}
    return identity.rpartition(".")[2] in map(_escaped, likely)


def _escaped(part: str) -> str:
    """A part of a name, without dots: one in a folder's name would look like two folders."""
    return part.replace("%", "%25").replace(".", "%2E")


def _below_root(folder: str, parts: list[str]) -> tuple[list[str], str]:
    above = _climb(folder)
    installed = [d for d in above if os.path.basename(d) in ("site-packages", "dist-packages")]
    projects = [d for d in above if os.path.isfile(os.path.join(d, "pyproject.toml"))]
    checkouts = [d for d in above if os.path.exists(os.path.join(d, ".git"))]
    root = next(iter([*installed, *projects, *checkouts]), folder)
    if root != folder:
        parts = [*os.path.relpath(folder, root).split(os.sep), *parts]
    if parts[0] == "src" and len(parts) > 1 and not installed:
        parts, root = parts[1:], os.path.join(root, "src")
    return parts, root


def _climb(folder: str) -> list[str]:
    folders = [folder]
    tree = _TREE.match(folder)
    top = "" if tree is None else tree[0]
    while folder != top and (parent := os.path.dirname(folder)) != folder:
        folders.append(parent)
        folder = parent
    return folders


class _Stand(ModuleType):
    """Stands in as the module of globals that a launcher keeps in no module."""

    def __init__(self, name: str, namespace: dict[str, Any]) -> None:
        super().__init__(name)
        self.__dict__["_namespace"] = namespace

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_namespace"][name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def _find_import_name(
    namespace: dict[str, Any], file: str, parts: tuple[str, ...], root: str
) -> str:
    spec = namespace.get("__spec__")
    names = [".".join(parts[start:]) for start in range(len(parts))]
    names = [
        name
        for name in names
        if name not in MAIN and all(part.isidentifier() for part in name.split("."))
    ]
    found = [name for name in names if _resolves(name, file, sys.path)]
    # `python -m` used this name for the import; the name of any other spec may be made up.
    if spec is not None and spec.name not in MAIN and namespace.get("__name__") in MAIN:
        found.insert(0, spec.name)
    if not found and names and _resolves(names[0], file, [*sys.path, root]):
        found.append(names[0])
        if root not in extra_roots:
            extra_roots.append(root)
    if not found:
        raise FuruImportNameError(
            f"no module name leads to {file}, so other processes cannot import its classes",
            hint="rename the file to a Python name that no other module has, or start it as "
            "`python -m package.module`",
        )
    module = sys.modules.get(namespace["__name__"])
    for name in found:
        # Without this a module that imports the script back would execute it a second time.
        if name not in sys.modules:
            if getattr(module, "__dict__", None) is not namespace:
                module = _Stand(name, namespace)
            sys.modules[name] = module  # type: ignore[assignment]
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and not hasattr(sys.modules[parent], child):
            setattr(sys.modules[parent], child, sys.modules[name])
    return found[0]


def _resolves(name: str, file: str, path: list[str]) -> bool:
    """Whether importing `name` would execute `file`; nothing is imported to find out."""
    found = file_of(name, path)
    return found is not None and _same_file(found, file)


def file_of(name: str, path: list[str]) -> str | None:
    """The file that importing `name` would execute; nothing is imported to find out."""
    parts = name.split(".")
    if parts[0] in sys.builtin_module_names:
        return None
    search: Any = path
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), search)
        if spec is None:
            return None
        search = spec.submodule_search_locations
        if search is None and end < len(parts):
            return None
    return None if spec is None else spec.origin


def file_with_class(identity: str, qualname: str) -> str | None:
    """The file of a module whose text has a class; nothing is imported to find out.

    Args:
        identity: the module's name in hashes, which is looked for among those that can be imported.
        qualname: the class's qualified name, of which the first part is looked for.
    """
    import ast  # only where a class was renamed

    file = file_of(identity, sys.path)
    try:
        if file is None or not file.endswith(".py") or file_identity(file)[0] != identity:
            return None
        with open(file, "rb") as source:
            statements = ast.parse(source.read()).body
    except (OSError, SyntaxError, ValueError):
        return None
    first = qualname.partition(".")[0]
    found = any(isinstance(one, ast.ClassDef) and one.name == first for one in statements)
    return os.path.abspath(file) if found else None
