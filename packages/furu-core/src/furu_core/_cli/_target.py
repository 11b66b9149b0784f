"""``MODULE:TARGET`` and ``--set FIELD=VALUE``: importing the module, and making roots of the target."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core._cli._assignments import Assignments
from furu_core._cli._user_code import called, user_error
from furu_core._compute import _process_state
from furu_core._config import _class_names, _module_names
from furu_core._config._grid import Roots, named_roots
from furu_core._config._objects import is_furu
from furu_core._context import _context
from furu_core._settings import _settings
from furu_core.errors import FuruDependencyError, FuruError, FuruUsageError, FuruValueError

_FEW: Final = 8  # targets of a module that an error names


def resolve_roots(target: str, assignments: Sequence[str]) -> Roots:
    """The roots that a target on the command line stands for.

    Args:
        target: ``exp.train:Train`` or ``exp/train.py:roots``.
        assignments: texts such as ``lr=0.1``: fields of a class or an object, arguments of a
            function. ``data.seed=3`` sets a field of the object in field ``data``. Of a class or an
            object, ``lr=0.1,0.2`` makes a root for each value.

    Raises:
        FuruUsageError: there is no such module, target or field, or a value does not fit.
        UserCodeError: the user's code raised.
    """
    given = Assignments(assignments, target)
    return roots_of(value_called(target), given, target)


def value_called(target: str) -> Any:
    """What a target on the command line is, in its module.

    Raises:
        FuruUsageError: there is no such module or target.
        UserCodeError: the user's code raised.
    """
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path:
        raise FuruUsageError(
            f"{target!r} is no MODULE:TARGET",
            hint="write for example exp.train:Train or exp/train.py:roots",
        )
    return _attribute(import_module(module_name), path, module_name)


def class_called(target: str) -> type:
    """The config class that ``MODULE:CLASS`` on the command line stands for.

    Raises:
        FuruUsageError: there is no such module or class.
        UserCodeError: the user's code raised.
    """
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise FuruUsageError(
            f"{target!r} is no MODULE:CLASS", hint="write for example exp.train:Train"
        )
    value = _attribute(import_module(module_name), path, module_name)
    if isinstance(value, type) and hasattr(value, "__furu_class__"):
        return value
    raise FuruUsageError(f"{target} is no config class", hint="name a subclass of Furu")


def import_from_working_directory() -> str | None:
    """Put the working directory on `sys.path`, and return it; None where it was removed."""
    cwd = _process_state.working_directory()
    if cwd is not None and cwd not in sys.path:
        sys.path.insert(0, cwd)
    return cwd


def import_module(name: str) -> ModuleType:
    """Import a module by its name, or by its path where that ends in ``.py``."""
    cwd = import_from_working_directory()
    if name.endswith(".py") or os.sep in name:
        file, name = name, _module_of_file(name)
        _settings.refuse_other_store(file)
    with _context.session(attrs.evolve(_context.exec_context(), importing=True), process_wide=True):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise user_error(f"importing {name}", error) from error
            raise FuruUsageError(
                f"there is no module {error.name!r} in {cwd or 'the working directory, which was removed,'} "
                "and on the rest of sys.path",
                hint="start furu in the folder of the project, or write the file's path: "
                "exp/train.py:target",
            ) from None
        except FuruError:
            raise
        except (Exception, SystemExit) as error:
            raise user_error(f"importing {name}", error) from error


def roots_of(value: Any, assignments: Assignments, target: str) -> Roots:
    """The roots that a value stands for: objects, a class or a function with arguments."""
    if isinstance(value, type):
        if not hasattr(value, "__furu_class__"):
            raise FuruUsageError(
                f"{target} is the class {value.__name__}, which is no subclass of Furu",
                hint="name a Furu class, an object, a list or dict of objects, or a function",
            )
        value = assignments.objects(value)
    elif is_furu(value):
        if assignments:
            value = assignments.objects(type(value), value)
    elif callable(value):
        arguments = assignments.arguments(value)
        value = called(target, lambda: value(**arguments))
    elif assignments:
        raise FuruUsageError(
            f"{target} is a {type(value).__name__}, whose objects --set cannot change",
            hint="use --set with a class, an object or a function",
        )
    try:
        roots: Roots = called(target, lambda: named_roots(value))
    except (FuruDependencyError, FuruValueError) as error:
        raise FuruUsageError(f"{target} gives no roots: {error.message}", hint=error.hint) from None
    return roots


def rerunning(names: Sequence[str]) -> AbstractContextManager[object]:
    """Settings for a run that computes all nodes of some classes again, beside those of the setting.

    Args:
        names: of classes, with as much of their modules as is needed.

    Raises:
        FuruUsageError: the program has defined no such class.
    """
    if not names:
        return nullcontext()
    known = _class_names.known_identities()
    for name in names:
        if name.casefold() != "all" and not _text.meant(name, known):
            raise FuruUsageError(
                f"--rerun names {name}, but this program has defined no such class"
                + _text.did_you_mean_class(name, known),
                hint="write a class as `furu ls` shows it, or ALL",
            )
    wanted = _settings.settings().always_rerun
    return _settings.use_settings(always_rerun=[*wanted, *names])


def _attribute(module: ModuleType, path: str, module_name: str) -> Any:
    value: Any = module
    for part in path.split("."):
        if not hasattr(value, part):
            names = list(_targets_in(value))
            there = f"{module_name} is {getattr(module, '__file__', 'built in')}"
            if value is module and names:
                there += f", and has {', '.join(names[:_FEW])}"
                there += f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
            raise FuruUsageError(
                f"{module_name} has no {path!r}{_text.did_you_mean(part, names)}", hint=there
            )
        value = getattr(value, part)
    return value


def _targets_in(value: Any) -> Iterator[str]:
    """The names of what can be run in a module or a class, without what it only imports."""
    for name, one in vars(value).items():
        if name.startswith("_"):
            continue
        is_class = isinstance(one, type)
        if is_class or inspect.isroutine(one):
            is_own = getattr(one, "__module__", None) == getattr(value, "__name__", None)
            if is_own and (not is_class or hasattr(one, "__furu_class__")):
                yield name
        elif isinstance(one, (list, tuple, dict)):
            if is_furu(next(iter(one.values() if isinstance(one, dict) else one), None)):
                yield name
        elif is_furu(one):
            yield name


def _module_of_file(path: str) -> str:
    """The module name of a file; puts its folder on `sys.path` where the import needs that."""
    if not os.path.isfile(path):
        raise FuruUsageError(f"there is no file {path}", hint="write MODULE:TARGET or PATH:TARGET")
    _, parts, root = _module_names.file_identity(os.path.abspath(path))
    for start in range(len(parts)):
        if all(part.isidentifier() for part in parts[start:]):
            folder = os.path.join(root, *parts[:start])
            if folder not in sys.path:
                sys.path.insert(0, folder)
            return ".".join(parts[start:])
    raise FuruUsageError(
        f"{path} cannot be imported, because {parts[-1]!r} is no Python name",
        hint="rename the file to letters, digits and underscores",
    )
