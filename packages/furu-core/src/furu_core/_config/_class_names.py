"""The names of classes: the one that goes into hashes, and the one that another process imports.

The name in a hash is a function of the file that holds the class, so that it is the same however the
file is started. The name to import depends on `sys.path` and may differ, most of all for the script
that is run: its module is called ``__main__`` here and something else in every other process.

A name is given only to the class that it leads back to. What is called ``__main__`` need not stand in
``sys.modules["__main__"]``: cProfile, trace and others execute a script in globals of their own. So a
class is looked for in its home, the globals in which its class statement was executed.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import attrs

from furu_core.errors import FuruDefinitionError, FuruImportNameError

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


@attrs.frozen(eq=False)
class _Home:
    """Globals in which a class stands, and which execution of a file filled them.

    Attributes:
        namespace: the globals.
        file: their ``__file__``, absolute.
        spec: their ``__spec__``, which is another one after a reload.
        code: the code of the file, if a class statement at its top level was seen.
        written_in: the file of the code that held the class statement, if that was seen.
    """

    namespace: dict[str, Any]
    file: str | None
    spec: object
    code: CodeType | None
    written_in: str | None = None

    def is_same_execution(self, other: _Home) -> bool:
        """Whether one execution filled both, so that neither class replaced the other by a reload."""
        if self.namespace is not other.namespace or self.spec is not other.spec:
            return False
        # A shell that runs a file again may do it in the same globals.
        return self.code is other.code or None in (self.code, other.code)


_names: dict[type, ClassName] = {}
_classes: dict[str, type] = {}
_homes: dict[type, _Home] = {}  # of config classes once defined, of others once named
_holders: dict[tuple[int, str], type] = {}  # globals and qualified name -> the class that was named
_codes: dict[int, CodeType] = {}  # globals -> the code that was executed in them last
_files: dict[str, str] = {}  # identity of a module -> its file
_unnamed: list[type] = []
_extra_roots: list[str] = []


def is_of_script(obj: type | FunctionType) -> bool:
    """Whether the module of a class or function is another one in other processes, as ``__main__`` is."""
    module: str | None = obj.__module__
    return module is not None and (_is_script(module) or module not in sys.modules)


def _is_script(module_name: str) -> bool:
    return module_name in _MAIN or module_name.startswith("<")  # runpy says "<run_path>"


def announce(cls: type) -> None:
    """Note a class that was just defined, to be named when somebody asks for it.

    A script's own module becomes importable under its other names at once, so that a module which
    the script imports later and which imports it back finds these classes and not second copies.

    Raises:
        FuruDefinitionError: the name was given to another class by the same execution of the file.
    """
    home = _home_of_statement(cls)
    if home is not None:
        _check_unused(cls, home)
        _homes[cls] = home
    _unnamed.append(cls)
    if home is not None and is_of_script(cls):
        try:
            _module_names(home, cls.__module__, f"the class {cls.__qualname__}")
        except FuruImportNameError:
            pass  # said when the name is needed: a class that is never hashed needs none


def _home_of_statement(cls: type) -> _Home | None:
    # The class does not say which globals it was made in.
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__") != cls.__module__:
        frame = frame.f_back
    if frame is None:
        return None
    code = frame.f_code
    if code.co_name == "<module>" and code.co_filename == frame.f_globals.get("__file__"):
        _codes[id(frame.f_globals)] = code
    return _home_at(frame.f_globals, code.co_filename)


def _home_at(namespace: dict[str, Any], written_in: str | None = None) -> _Home:
    said = namespace.get("__file__")
    file = os.path.abspath(said) if isinstance(said, str) else None
    code = _codes.get(id(namespace))
    return _Home(namespace, file, namespace.get("__spec__"), code, written_in)


def _check_unused(cls: type, home: _Home) -> None:
    """Refuse a second class of a name whose first one has been hashed already."""
    held = _holders.get((id(home.namespace), cls.__qualname__))
    if held is None:
        return
    first = _homes[held]
    if first.written_in == home.written_in and first.is_same_execution(home):
        raise FuruDefinitionError(
            f"the class {cls.__qualname__} is defined a second time in {home.file or cls.__module__}, "
            f"after objects of the first were hashed: one name would mean both",
            hint="give one of the two classes another name",
        )


def name_of(cls: type) -> ClassName:
    """The names of a class.

    Raises:
        FuruImportNameError: no other process could import it: it is local to a function, or was
            defined in a notebook, at a prompt or by ``python -c``, or its name leads elsewhere.
    """
    name = _names.get(cls)
    if name is None:
        home = _find_home(cls)
        name = _make_name(cls, home)
        held = _classes.get(name.identity)
        if held is not None and held is not cls and _homes[held].is_same_execution(home):
            raise FuruImportNameError(
                f"two classes are called {name.identity}, and the first has been hashed already",
                hint="give one of them another name",
            )
        _homes[cls] = home
        _holders[id(home.namespace), cls.__qualname__] = cls
        _classes[name.identity] = cls
        _names[cls] = name
    return name


def import_module_of(obj: type | FunctionType) -> str:
    """The name of the module from which other processes import a class or function.

    Raises:
        FuruImportNameError: there is none, as in a notebook, or its name leads elsewhere.
    """
    if isinstance(obj, type):
        return name_of(obj).importable.partition(":")[0]
    home = _home_at(obj.__globals__)
    what = f"the function {obj.__qualname__}"
    importable = _module_names(home, obj.__module__, what)[1]
    found = _attribute(home.namespace, obj.__qualname__)
    if found is not obj:
        raise _leads_elsewhere(what, obj.__module__, obj.__qualname__, [found])
    return importable


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
    if found is None or _attribute(_homes[found].namespace, found.__qualname__) is not found:
        found = _find_loaded(identity, importable) or _import(identity, importable)
    return found


def known_identities() -> set[str]:
    """The names in hashes of all config classes that this process has defined.

    None is noted as given by this: a class that was not hashed may still be defined again.
    """
    found = {name.identity for cls, name in list(_names.items()) if hasattr(cls, "__furu_class__")}
    for cls in _unnamed.copy():  # another thread may define more
        with suppress(FuruImportNameError):
            found.add(_identity(cls))
    return found


def namespace_of(cls: type) -> dict[str, Any]:
    """The globals in which the class statement was executed, also while it still is."""
    home = _homes.get(cls) or _home_of_statement(cls)
    if home is not None:
        return home.namespace
    return getattr(sys.modules.get(cls.__module__), "__dict__", {})


def are_one(first: type, second: type) -> bool:
    """Whether two classes are one to the user: a module was loaded again, or is the script as well."""
    if first.__qualname__ != second.__qualname__ or "<" in first.__qualname__:
        return False
    if first.__module__ == second.__module__:
        return True
    try:
        return _identity(first) == _identity(second)
    except FuruImportNameError:
        return False


def _identity(cls: type) -> str:
    """A class's name in hashes; it is not noted as given by this."""
    return (_names.get(cls) or _make_name(cls, _find_home(cls))).identity


def import_roots() -> list[str]:
    """What `sys.path` must hold in a process that is to import the classes of this one."""
    roots = []
    for entry in sys.path:
        with suppress(FileNotFoundError):  # it counts from a working directory that was removed
            roots.append(os.path.abspath(entry))
    return list(dict.fromkeys([*roots, *_extra_roots]))


def _find_home(cls: type) -> _Home:
    """Globals in which the class's name leads to the class."""
    what = f"the class {cls.__qualname__}"
    if "<" in cls.__qualname__:
        raise FuruImportNameError(
            f"{cls.__module__}.{cls.__qualname__} is defined inside a function, so no other process "
            f"can import it and it has no stable hash",
            hint="define the class at the top level of a module",
        )
    others = []
    fitting = []
    for home in _possible_homes(cls):
        found = _attribute(home.namespace, cls.__qualname__)
        if found is not cls:
            others.append(found)
        elif home.file is not None:
            return home
        else:  # a shell also keeps the classes of the scripts that it ran, in globals without a file
            fitting.append(home)
    if fitting:
        return fitting[0]
    main = sys.modules.get(cls.__module__)
    if cls.__module__ in _MAIN and getattr(main, "__file__", None) is None:
        raise _nameless(what, cls.__module__, getattr(main, "__dict__", {}))
    raise _leads_elsewhere(what, cls.__module__, cls.__qualname__, others)


def _possible_homes(cls: type) -> Iterator[_Home]:
    noted = _homes.get(cls)
    if noted is not None and noted.namespace.get("__name__") == cls.__module__:
        yield noted
    module = sys.modules.get(cls.__module__)
    if module is not None:
        getattr(module, cls.__qualname__.partition(".")[0], None)  # a lazy module loads it
        yield _home_at(getattr(module, "__dict__", {}))
    for namespace in _other_globals(cls):
        if namespace.get("__name__") == cls.__module__:
            yield _home_at(namespace)


def _other_globals(cls: type) -> Iterator[dict[str, Any]]:
    """Globals that may stand in no module, which launchers execute a script in."""
    for value in list(vars(cls).values()):
        if isinstance(value, FunctionType):
            yield value.__globals__
    for home in list(_homes.values()):
        yield home.namespace
    # A script's enum has no functions, and the config class that holds it may be another module's.
    for top in sys._current_frames().values():  # noqa: SLF001 - another thread may run the script
        frame: FrameType | None = top
        while frame is not None:
            yield frame.f_globals
            frame = frame.f_back


def _leads_elsewhere(
    what: str, module_name: str, qualname: str, found: list[Any]
) -> FuruImportNameError:
    other = next((repr(value) for value in found if value is not None), "nothing")
    return FuruImportNameError(
        f"{what} cannot be found by its name: {module_name}.{qualname} is {other[:200]}, so another "
        f"process would import that, and two classes could have one hash",
        hint=f"define it at the top level of its module and leave it there as {qualname}; a class "
        f"that a function makes needs a name of its own there",
    )


def _make_name(cls: type, home: _Home) -> ClassName:
    qualname = cls.__qualname__
    module_name = cls.__module__
    if module_name.partition(".")[0] in sys.stdlib_module_names and _is_of_python(home):
        # Python versions move classes between private modules: pathlib.Path, pathlib._local.Path.
        identity = importable = _public_module(module_name, qualname, cls)
    else:
        identity, importable = _module_names(home, module_name, f"the class {qualname}")
    parts = [*identity.split("."), qualname]
    relpath = "/".join(_quote(part) for part in parts)
    return ClassName(f"{identity}:{qualname}", f"{importable}:{qualname}", relpath)


def _is_of_python(home: _Home) -> bool:
    """Whether Python brought the module, and not a user who gave it the name of one of Python's."""
    return home.file is None or home.file.startswith(os.path.dirname(os.__file__) + os.sep)


def _quote(part: str) -> str:
    quoted = re.sub(r"[^\w.\- %]", lambda match: f"%{ord(match[0]):02X}", part)
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _public_module(module_name: str, qualname: str, cls: type) -> str:
    parts = module_name.split(".")
    for end, part in enumerate(parts):
        if end and part.startswith("_"):
            public = ".".join(parts[:end])
            module = sys.modules.get(public)
            if module is not None and _attribute(vars(module), qualname) is cls:
                return public
    return module_name


def _attribute(namespace: dict[str, Any], qualname: str) -> Any:
    first, *rest = qualname.split(".")
    value = namespace.get(first)
    for part in rest:
        value = getattr(value, part, None)
    return value


def _module_names(home: _Home, module_name: str, what: str) -> tuple[str, str]:
    """The module's name in hashes, and the name to import it by."""
    file = home.file
    module = sys.modules.get(module_name)
    stands = not _is_script(module_name) and getattr(module, "__dict__", None) is home.namespace
    if _is_from_text(home, stands):
        raise FuruImportNameError(
            f"{what} is defined in {home.written_in}, not in {file}, the file that its module has: "
            f"another process would not find it there",
            hint="move the class into the file; whoever executes the file's text gives its name to "
            "compile(), as in exec(compile(text, file, 'exec'), namespace)",
        )
    if not stands:
        if file is None or not os.path.isfile(file):
            raise _nameless(what, module_name, home.namespace)
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


def _is_from_text(home: _Home, stands: bool) -> bool:
    """Whether a class statement was executed that its globals' file does not hold."""
    written_in, file = home.written_in, home.file
    if written_in is None or file is None or not os.path.isfile(file):
        return False
    if written_in.startswith("<"):
        return True
    if stands or os.path.abspath(written_in) == file:
        return False  # a module's cached code may name the file from before it was moved
    return not (os.path.exists(written_in) and _same_file(written_in, file))


def _nameless(what: str, module_name: str, namespace: dict[str, Any]) -> FuruImportNameError:
    if module_name not in _MAIN:
        where = f"the module {module_name!r}, which is not in sys.modules and has no file"
    elif getattr(sys.modules.get(module_name), "__dict__", None) is not namespace:
        where = "text that was executed without saying its file (`__file__`)"
    elif "ipykernel" in sys.modules:
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


class _Stand(ModuleType):
    """A module for globals that a launcher keeps in no module."""

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
        if name not in _MAIN and all(part.isidentifier() for part in name.split("."))
    ]
    found = [name for name in names if _resolves(name, file, sys.path)]
    # `python -m` imported by this name; any other may be one that somebody made up.
    if spec is not None and spec.name not in _MAIN and namespace.get("__name__") in _MAIN:
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
    namespaces = [vars(module) for module in likely if isinstance(module, ModuleType)]
    loaded: list[object] = list(sys.modules.values())  # anything may stand there
    others = [vars(module) for module in loaded if isinstance(module, ModuleType)]
    others += [home.namespace for home in list(_homes.values())]
    for namespace in [*namespaces, *others]:
        file = namespace.get("__file__")
        if not any(namespace is one for one in namespaces) and (
            not isinstance(file, str)
            or not file.endswith(".py")
            or file_identity(file)[0] != module_name
        ):
            continue
        found = _attribute(namespace, qualname)
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
        getattr(module, qualname.partition(".")[0], None)  # a lazy module loads it
        found = _attribute(vars(module), qualname)
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
