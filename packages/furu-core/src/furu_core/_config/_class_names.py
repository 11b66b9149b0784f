"""The names of classes: the one that goes into hashes, and the one that another process imports.

The name in a hash is a function of the file that holds the class, so that it is the same however
the file is started. The name to import depends on `sys.path` and may differ, above all for the
script being run: its module is called ``__main__`` here and something else in every other process.

A class gets a name only if the name leads back to it. A class of ``__main__`` need not be in
``sys.modules["__main__"]``: cProfile, trace and others execute a script in globals of their own. So
a class is looked for in its home, the globals in which its class statement was executed.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import Any, Final

import attrs

from furu_core._config._class_homes import (
    ClassHome,
    attribute,
    find_home,
    home_at,
    home_of_statement,
    homes,
    is_script,
    leads_elsewhere,
)
from furu_core._config._module_names import (
    file_identity,
    file_with_class,
    may_be_called,
    names_of_module,
)
from furu_core._text import shown
from furu_core.errors import FuruDefinitionError, FuruImportNameError


@attrs.frozen
class ClassName:
    """The names of a class.

    Attributes:
        identity: module and qualified name, from the file alone: ``"exp.train:Train"``; or those
            that the class formerly had, where it says so.
        importable: the name under which other processes import it.
        relpath: the folder of the class in the store: ``"exp/train/Train"``.
    """

    identity: str
    importable: str
    relpath: str


FORMERLY: Final = "__furu_formerly__"  # the attribute of a class with the name that it formerly had
_PART: Final = r"[^\s.:@/\\][^.:@/\\]*"
_FORMER_NAME: Final = re.compile(rf"{_PART}(\.{_PART})*:[^\W\d]\w*(\.[^\W\d]\w*)*")

_names: dict[type, ClassName] = {}
_classes: dict[str, type] = {}
_holders: dict[tuple[int, str], type] = {}  # globals and qualified name -> the class that was named

_claims: dict[str, type] = {}  # names that classes formerly had -> those config classes
_unnamed: list[type] = []

# Told of a class that cannot be found: names to import that may be what it became. Set by `_furu`.
successors: list[Callable[[str], Iterable[str]]] = []
# Told of a config that cannot be made, its class's name and its fields: what it has become in the class
# that took over its class's results; None where there is none. Set by `_furu`.
adopters: list[Callable[[str, Mapping[str, Any]], tuple[type, Mapping[str, Any]] | None]] = []


def is_of_script(obj: type | FunctionType) -> bool:
    """Whether a class or function is the script's, whose module others import by another name."""
    module: str | None = obj.__module__
    return module is not None and (is_script(module) or module not in sys.modules)


def announce(cls: type) -> None:
    """Note a class that was just defined; its name is made when it is first needed.

    A script's own module becomes importable under its other names at once, so that a module which
    the script imports later and which imports it back finds these classes and not second copies.

    Raises:
        FuruDefinitionError: the name was given to another class by the same execution of the file;
            or another class had formerly the same name, or it is none.
    """
    home = home_of_statement(cls)
    if home is not None:
        _check_unused(cls, home)
        homes[cls] = home
    if FORMERLY in cls.__dict__:
        _claim_former_name(cls)
    _unnamed.append(cls)
    if home is not None and is_of_script(cls):
        try:
            names_of_module(home, cls.__module__, f"the class {cls.__qualname__}")
        except FuruImportNameError:
            pass  # raised when the name is needed: a class that is never hashed needs none


def _check_unused(cls: type, home: ClassHome) -> None:
    """Refuse a second class with the name of a class that has been hashed already."""
    held = _holders.get((id(home.namespace), cls.__qualname__))
    if held is None:
        return
    first = homes[held]
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
        home = find_home(cls)
        homes[cls] = home
        name = _make_name(cls, home)
        held = _classes.get(name.identity)
        if _claims:
            _refuse_second_claim(cls, name, held)
        if held is not None and held is not cls and homes[held].is_same_execution(home):
            raise FuruImportNameError(
                f"two classes are called {name.identity}, and the first has been hashed already",
                hint="give one of them another name",
            )
        _holders[id(home.namespace), cls.__qualname__] = cls
        _classes[name.identity] = cls
        _names[cls] = name
    return name


def _former_name(cls: type) -> str | None:
    """The name that a class says it formerly had."""
    said = cls.__dict__.get(FORMERLY)
    if said is None or (isinstance(said, str) and _FORMER_NAME.fullmatch(said)):
        return said
    raise FuruDefinitionError(
        f"{cls.__qualname__} says that it was formerly {shown(said)}, which is no name of a class",
        hint="write module:Class, as `furu ls` has it: formerly='exp.train:Train'",
    )


def _claim_former_name(cls: type) -> None:
    """Note the name that a config class formerly had.

    Raises:
        FuruDefinitionError: another class says that it had the same.
    """
    identity = _former_name(cls)
    assert identity is not None
    held = _claims.get(identity)
    if held is not None and _are_two(held, cls):
        raise FuruDefinitionError(_two_claims(identity, held, cls), hint=_ONE_CLAIM)
    _claims[identity] = cls


def _are_two(first: type, second: type) -> bool:
    """Whether two classes are both there, so that the second is not the first, loaded once more."""
    if first is second or first not in homes:
        return False
    home, other = homes[first], homes.get(second)
    module = sys.modules.get(first.__module__)
    replaced = (
        not is_script(first.__module__) and getattr(module, "__dict__", None) is not home.namespace
    )
    if replaced or home.namespace.get("__spec__") is not home.spec:
        return False  # its module was loaded again since
    if attribute(home.namespace, first.__qualname__) is not first:
        return False
    return first.__qualname__ != second.__qualname__ or other is None or home.file != other.file


def _refuse_second_claim(cls: type, name: ClassName, held: type | None) -> None:
    """Refuse a class whose name in hashes is the one that another class has or formerly had."""
    identity, claimant = name.identity, _claims.get(name.identity)
    if claimant is None:
        return
    others = [held, claimant]
    module, _, short = identity.partition(":")
    if claimant is cls:
        others += [other for other in _unnamed if other.__qualname__ == short]
    for other in others:
        if other is not None and _are_two(other, cls) and _has_identity(other, identity):
            raise FuruImportNameError(_two_claims(identity, other, cls), hint=_ONE_CLAIM)
    if claimant is cls and (file := file_with_class(module, short)) not in (None, homes[cls].file):
        raise FuruImportNameError(
            f"{cls.__qualname__} ({_place(cls)}) says that it was formerly {identity}, and {file} has that "
            "class still",
            hint=_ONE_CLAIM,
        )


def _has_identity(cls: type, identity: str) -> bool:
    try:
        return _identity(cls) == identity
    except (FuruImportNameError, FuruDefinitionError):
        return False  # it has no name at all


_ONE_CLAIM: Final = (
    "formerly= takes the name of a class that is gone: leave it out, or remove the other class (in a "
    "notebook, start Python anew after that)"
)


def _two_claims(identity: str, first: type, second: type) -> str:
    which = " and ".join(f"{cls.__qualname__} ({_place(cls)})" for cls in (first, second))
    return (
        f"two classes claim the name {identity} in hashes, so their results would be one: {which}"
    )


def _place(cls: type) -> str:
    home = homes.get(cls)
    file = cls.__module__ if home is None or home.file is None else home.file
    return file if home is None or home.line is None else f"{file}:{home.line}"


def successor_of(cls: type) -> type:
    """The class that today has, in hashes, the name that an older pickle means by a class's place.

    Pickles of an older furu name classes by module and name, and where two classes have swapped
    names, another one stands there today.
    """
    if not _claims or FORMERLY not in cls.__dict__:
        return cls
    with suppress(FuruImportNameError):
        return _claims.get(_own_identity(cls), cls)
    return cls


def import_module_of(obj: type | FunctionType) -> str:
    """The name of the module from which other processes import a class or function.

    Raises:
        FuruImportNameError: there is none, as in a notebook, or its name leads elsewhere.
    """
    if isinstance(obj, type):
        return name_of(obj).importable.partition(":")[0]
    home = home_at(obj.__globals__)
    what = f"the function {obj.__qualname__}"
    importable = names_of_module(home, obj.__module__, what)[1]
    found = attribute(home.namespace, obj.__qualname__)
    if found is not obj:
        raise leads_elsewhere(what, obj.__module__, obj.__qualname__, [found])
    return importable


def reference(cls: type) -> str:
    """A string that `resolve_reference` turns into the class again, in any process."""
    name = name_of(cls)
    if name.identity == name.importable:
        return name.identity
    module, _, qualname = name.importable.partition(":")
    return (
        f"{name.identity}@{module if name.identity.endswith(f':{qualname}') else name.importable}"
    )


def resolve_reference(text: str) -> type:
    """The class that `reference` described."""
    identity, _, module = text.partition("@")
    if not module:
        return resolve(identity)
    return resolve(identity, module if ":" in module else f"{module}:{identity.partition(':')[2]}")


def resolve(identity: str, importable: str | None = None) -> type:
    """Find a class by its names, importing its module if necessary.

    Args:
        identity: the name in hashes, ``"exp.train:Train"``.
        importable: the name to import it by, if that is another one: module and qualified name.

    Raises:
        FuruImportNameError: there is no such class.
    """
    defined, _unnamed[:] = list(_unnamed), []
    for cls in defined:  # named before the lookup, newest last: a module may have been reloaded
        try:
            name_of(cls)
        except FuruImportNameError:
            continue  # a class that can have no name cannot be the one that is looked for
    found = _classes.get(identity)
    if found is None or attribute(homes[found].namespace, found.__qualname__) is not found:
        found = _find_loaded(identity, importable) or _import(identity, importable)
    return found


def known_identities() -> set[str]:
    """The names in hashes of all config classes that this process has defined, and today's of renamed ones.

    The names are not recorded as used: a class that was not hashed may still be defined again.
    """
    found: set[str] = set()
    for cls in list(_names):
        if hasattr(cls, "__furu_class__"):
            found |= names_to_call(cls)
    for cls in _unnamed.copy():  # another thread may define more
        with suppress(FuruImportNameError):
            found |= {_identity(cls)} | (
                {_own_identity(cls)} if FORMERLY in cls.__dict__ else set()
            )
    return found


def names_to_call(cls: type) -> set[str]:
    """The names by which users may call a class: that in hashes and, if it was renamed, today's."""
    name = name_of(cls)
    return {name.identity, name.importable} if FORMERLY in cls.__dict__ else {name.identity}


def namespace_of(cls: type) -> dict[str, Any]:
    """The globals in which the class statement was executed, also while it still is."""
    home = homes.get(cls) or home_of_statement(cls)
    if home is not None:
        return home.namespace
    return getattr(sys.modules.get(cls.__module__), "__dict__", {})


def are_one(first: type, second: type) -> bool:
    """Whether two classes are the same to the user: their module was loaded twice, for instance."""
    if first.__qualname__ != second.__qualname__ or "<" in first.__qualname__:
        return False
    if first.__module__ == second.__module__:
        return True
    try:
        return _identity(first) == _identity(second)
    except FuruImportNameError:
        return False


def _identity(cls: type) -> str:
    """A class's name in hashes; this does not record it as used."""
    return (_names.get(cls) or _make_name(cls, find_home(cls))).identity


def _make_name(cls: type, home: ClassHome) -> ClassName:
    qualname = cls.__qualname__
    module_name = cls.__module__
    if module_name.partition(".")[0] in sys.stdlib_module_names and _is_of_python(home):
        # Python's versions move classes between private modules: pathlib.Path, pathlib._local.Path.
        identity = importable = _public_module(module_name, qualname, cls)
    else:
        identity, importable = names_of_module(home, module_name, f"the class {qualname}")
    identity = _former_name(cls) or f"{identity}:{qualname}"
    return ClassName(identity, f"{importable}:{qualname}", relpath_of(identity))


def relpath_of(identity: str) -> str:
    """The folder in the store of a class, by its name in hashes.

    Example:
        >>> relpath_of("exp.train:Train")
        'exp/train/Train'
    """
    module, _, qualname = identity.partition(":")
    return "/".join(_quote(part) for part in [*module.split("."), qualname])


def _own_identity(cls: type) -> str:
    """The name that a class has by its file, whatever it formerly had."""
    home = find_home(cls)
    return f"{names_of_module(home, cls.__module__, f'the class {cls.__qualname__}')[0]}:{cls.__qualname__}"


def _is_of_python(home: ClassHome) -> bool:
    """Whether the module is Python's own, and not a user's of the same name."""
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
            if module is not None and attribute(vars(module), qualname) is cls:
                return public
    return module_name


def _find_loaded(identity: str, importable: str | None) -> type | None:
    """The class with a name, in any loaded module."""
    module_name, _, qualname = identity.partition(":")
    for name in (identity, importable or identity):
        module = sys.modules.get(name.partition(":")[0])
        if isinstance(module, ModuleType):
            found = attribute(vars(module), name.partition(":")[2])
            if isinstance(found, type) and _is_called(found, identity):
                return found
    loaded: list[object] = list(sys.modules.values())  # anything may stand there
    namespaces = [vars(module) for module in loaded if isinstance(module, ModuleType)]
    for namespace in [*namespaces, *(home.namespace for home in list(homes.values()))]:
        file = namespace.get("__file__")
        if (
            not isinstance(file, str)
            or not file.endswith(".py")
            or not may_be_called(file, module_name)
            or file_identity(file)[0] != module_name
        ):
            continue
        found = attribute(namespace, qualname)
        if isinstance(found, type) and _is_called(found, identity):
            return found
    # A class that is no config class tells nobody what it formerly was.
    for namespace in namespaces:
        for found in list(namespace.values()):
            said = found.__dict__.get(FORMERLY) if isinstance(found, type) else None
            if said == identity and _is_called(found, identity):
                return found  # type: ignore[no-any-return]
    return None


def _is_called(cls: type, identity: str) -> bool:
    try:
        return name_of(cls).identity == identity
    except FuruImportNameError:
        return False


def _import(identity: str, importable: str | None) -> type:
    failures: list[str] = []
    cause: BaseException | None = None
    for place in _places(identity, importable):
        name, _, qualname = place.partition(":")
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a module's own code may raise anything
            # A script that ends with sys.exit() must not end who loads a result that names it.
            failures.append(f"importing {name} raised {type(error).__name__}: {error}")
            cause = error
            continue
        getattr(module, qualname.partition(".")[0], None)  # a lazy module loads it
        found = attribute(vars(module), qualname)
        if not isinstance(found, type):
            failures.append(f"{name} has no class {qualname}")
        elif not _is_called(found, identity):
            failures.append(f"{name}.{qualname} belongs to {getattr(module, '__file__', name)}")
        else:
            return found
    raise FuruImportNameError(
        f"the class {identity} cannot be found: {'; '.join(failures)}",
        hint="is its folder missing from PYTHONPATH? If it was renamed or moved, say so in the class "
        f"that it became: class New(Furu[...], formerly={identity!r}), and import its module; or "
        f"`furu adopt {identity} NEW`",
    ) from cause


def _places(identity: str, importable: str | None) -> Iterator[str]:
    """Where a class may be: module and qualified name, the likeliest first."""
    likely = dict.fromkeys([importable or identity, identity])
    yield from likely
    for ask in successors:
        yield from (name for name in ask(identity) if name not in likely)
