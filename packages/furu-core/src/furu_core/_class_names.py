"""The names of classes: the one that goes into hashes, and the one that another process imports.

The name in a hash is a function of the file that holds the class, so that it is the same however the
file is started. The name to import depends on `sys.path` and may differ, most of all for the script
that is run: its module is called ``__main__`` here and something else in every other process.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import attrs

from furu_core.errors import FuruImportNameError

_MAIN = ("__main__", "__mp_main__")


@attrs.frozen
class ClassName:
    """What a class is called.

    Attributes:
        identity: module and qualified name, from the file alone: ``"exp.train:Train"``.
        importable: the same under the module name that other processes import.
        relpath: the folder of the class in the store: ``"exp/train/Train"``.
    """

    identity: str
    importable: str
    relpath: str


_names: dict[type, ClassName] = {}
_classes: dict[str, type] = {}
_files: dict[str, str] = {}  # identity of a module -> its file
_unnamed: list[type] = []
_extra_roots: list[str] = []


def is_of_script(cls: type) -> bool:
    """Whether a class is defined in ``__main__``, which is another module in other processes."""
    return cls.__module__ in _MAIN


def announce(cls: type) -> None:
    """Note a class that was just defined, to be named when somebody asks for it.

    A script's own module becomes importable under its other names at once, so that a module which
    the script imports later and which imports it back finds these classes and not second copies.
    """
    _unnamed.append(cls)
    if is_of_script(cls):
        try:
            _module_names(cls.__module__, f"the class {cls.__qualname__}")
        except FuruImportNameError:
            pass  # said when the name is needed: a class that is never hashed needs none


def name_of(cls: type) -> ClassName:
    """The names of a class.

    Raises:
        FuruImportNameError: no other process could import it: it is local to a function, or was
            defined in a notebook, at a prompt or by ``python -c``.
    """
    name = _names.get(cls)
    if name is None:
        name = _names[cls] = _make_name(cls)
        _classes[name.identity] = cls
    return name


def reference(cls: type) -> str:
    """One string that `resolve_reference` turns into the class again, in any process."""
    name = name_of(cls)
    if name.identity == name.importable:
        return name.identity
    return f"{name.identity}@{name.importable.partition(':')[0]}"


def resolve_reference(text: str) -> type:
    """The class that `reference` described."""
    identity, _, module = text.partition("@")
    if not module:
        return resolve(identity)
    return resolve(identity, f"{module}:{identity.partition(':')[2]}")


def resolve(identity: str, importable: str | None = None) -> type:
    """Find a class by its names, importing its module when nobody has yet.

    Args:
        identity: the name in hashes, ``"exp.train:Train"``.
        importable: the name to import it by, if that is another one.

    Raises:
        FuruImportNameError: there is no such class.
    """
    defined, _unnamed[:] = list(_unnamed), []
    for cls in defined:  # before looking, and the newest last: a module may have been reloaded
        try:
            name_of(cls)
        except FuruImportNameError:
            continue  # a class without a name is not what somebody asks for by name
    found = _classes.get(identity)
    if found is None:
        found = _find_loaded(identity, importable) or _import(identity, importable)
        _classes[identity] = found
    return found


def import_name_of_main() -> str:
    """The name under which other processes import the script that runs here.

    Raises:
        FuruImportNameError: there is none, as in a notebook.
    """
    return _module_names("__main__", "what runs here")[1]


def import_roots() -> list[str]:
    """What `sys.path` must hold in a process that is to import the classes of this one."""
    roots = [os.path.abspath(entry) for entry in sys.path]
    return list(dict.fromkeys([*roots, *_extra_roots]))


def _make_name(cls: type) -> ClassName:
    qualname = cls.__qualname__
    if "<" in qualname:
        raise FuruImportNameError(
            f"{cls.__module__}.{qualname} is defined inside a function, so no other process can "
            f"import it and it has no stable hash",
            hint="define the class at the top level of a module",
        )
    module_name = cls.__module__
    if module_name.partition(".")[0] in sys.stdlib_module_names and module_name not in _MAIN:
        # Python versions move classes between private modules: pathlib.Path, pathlib._local.Path.
        identity = importable = _public_module(module_name, qualname, cls)
    else:
        identity, importable = _module_names(module_name, f"the class {qualname}")
    parts = [*identity.split("."), qualname]
    relpath = "/".join(_quote(part) for part in parts)
    return ClassName(f"{identity}:{qualname}", f"{importable}:{qualname}", relpath)


def _quote(part: str) -> str:
    quoted = re.sub(r"[^\w.\- %]", lambda match: f"%{ord(match[0]):02X}", part)
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _public_module(module_name: str, qualname: str, cls: type) -> str:
    parts = module_name.split(".")
    for end, part in enumerate(parts):
        if end and part.startswith("_"):
            public = ".".join(parts[:end])
            module = sys.modules.get(public)
            if module is not None and _attribute(module, qualname) is cls:
                return public
    return module_name


def _attribute(module: ModuleType, qualname: str) -> Any:
    value: Any = module
    for part in qualname.split("."):
        value = getattr(value, part, None)
    return value


def _module_names(module_name: str, what: str) -> tuple[str, str]:
    """The module's name in hashes, and the name to import it by."""
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    if module_name in _MAIN:
        if module is None or file is None or not os.path.isfile(file):
            raise _nameless_main(what)
        identity, parts, root = file_identity(file)
        importable = _import_name_of_main(module, os.path.abspath(file), parts, root)
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


def _nameless_main(what: str) -> FuruImportNameError:
    if "ipykernel" in sys.modules:
        where = "a notebook cell"
    elif hasattr(sys, "ps1") or "IPython" in sys.modules:
        where = "the interactive prompt"
    elif sys.argv[:1] == ["-c"]:
        where = "the text after `python -c`"
    else:
        where = "a program that is no file"
    return FuruImportNameError(
        f"{what} is defined in {where}, so no other process can import it and it has "
        f"no stable hash",
        hint="move the class into a module, say train.py, and write `from train import ...`",
    )


@cache
def file_identity(file: str) -> tuple[str, tuple[str, ...], str]:
    """A module's name in hashes, by its file alone; also its parts and the folder they start from.

    A file in a regular package is named from the topmost package down; an installed one from
    ``site-packages`` down; any other from the project down, that is from the nearest parent folder
    with a ``pyproject.toml``, else with a ``.git``, leaving out a leading ``src``; and without a
    project by its own name.
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
    # A dot in a folder's name must not look like two folders.
    escaped = [part.replace("%", "%25").replace(".", "%2E") for part in parts]
    return ".".join(escaped), tuple(parts), folder


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
    while (parent := os.path.dirname(folder)) != folder:
        folders.append(parent)
        folder = parent
    return folders


def _import_name_of_main(module: ModuleType, file: str, parts: tuple[str, ...], root: str) -> str:
    spec = module.__spec__
    names = [".".join(parts[start:]) for start in range(len(parts))]
    names = [
        name
        for name in names
        if name not in _MAIN and all(part.isidentifier() for part in name.split("."))
    ]
    found = [name for name in names if _resolves(name, file, sys.path)]
    if spec is not None and spec.name not in _MAIN:
        found.insert(0, spec.name)
    if not found and names and _resolves(names[0], file, [*sys.path, root]):
        found.append(names[0])
        if root not in _extra_roots:
            _extra_roots.append(root)
    if not found:
        raise FuruImportNameError(
            f"no module name leads to {file}, so other processes cannot import its classes",
            hint="rename the file to a Python name that no other module has, or start it as "
            "`python -m package.module`",
        )
    for name in found:
        # Without this a module that imports the script back would execute it a second time.
        sys.modules.setdefault(name, module)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and not hasattr(sys.modules[parent], child):
            setattr(sys.modules[parent], child, module)
    return found[0]


def _resolves(name: str, file: str, path: list[str]) -> bool:
    """Whether importing `name` would execute `file`; nothing is imported to find out."""
    parts = name.split(".")
    if parts[0] in sys.builtin_module_names:
        return False
    search: Any = path
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), search)
        if spec is None:
            return False
        search = spec.submodule_search_locations
        if search is None and end < len(parts):
            return False
    return spec is not None and spec.origin is not None and _same_file(spec.origin, file)


def _find_loaded(identity: str, importable: str | None) -> type | None:
    """The class in a module that is loaded under whichever name."""
    module_name, _, qualname = identity.partition(":")
    likely = [sys.modules.get(name) for name in (module_name, (importable or "").partition(":")[0])]
    for module in [*likely, *list(sys.modules.values())]:
        if not isinstance(module, ModuleType):
            continue
        file = getattr(module, "__file__", None)
        if module not in likely and (
            file is None or not file.endswith(".py") or file_identity(file)[0] != module_name
        ):
            continue
        found = _attribute(module, qualname)
        if isinstance(found, type) and _is_called(found, identity):
            return found
    return None


def _is_called(cls: type, identity: str) -> bool:
    try:
        return name_of(cls).identity == identity
    except FuruImportNameError:
        return False


def _import(identity: str, importable: str | None) -> type:
    module_name, _, qualname = identity.partition(":")
    failures: list[str] = []
    cause: Exception | None = None
    candidates = [importable.partition(":")[0]] if importable else []
    for name in dict.fromkeys([*candidates, module_name]):
        try:
            module = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a module's own code may raise anything
            failures.append(f"importing {name} raised {type(error).__name__}: {error}")
            cause = error
            continue
        found = _attribute(module, qualname)
        if not isinstance(found, type):
            failures.append(f"{name} has no class {qualname}")
        elif not _is_called(found, identity):
            failures.append(f"{name}.{qualname} belongs to {getattr(module, '__file__', name)}")
        else:
            return found
    raise FuruImportNameError(
        f"the class {identity} cannot be found: {'; '.join(failures)}",
        hint="was it renamed or moved, or is its folder missing from PYTHONPATH?",
    ) from cause
