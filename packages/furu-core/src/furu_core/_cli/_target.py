"""``MODULE:TARGET`` and ``--set FIELD=VALUE``: importing the module, and making roots of the target."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from functools import partial
from types import ModuleType
from typing import Any

import attrs
import click

from furu_core import _text
from furu_core._compute import _process_state
from furu_core._config import _class_names, _module_names
from furu_core._config._annotations import Annotations, Form, Shape, shape_of_field
from furu_core._config._grid import Roots, named_roots
from furu_core._config._objects import config_class, is_furu
from furu_core._context import _context
from furu_core._forms._typed_text import convert
from furu_core._settings import _settings
from furu_core.errors import FuruDependencyError, FuruError, FuruUsageError, FuruValueError


class UserCodeError(FuruError):
    """The user's own code raised; its traceback was shown."""


def resolve_roots(target: str, assignments: Sequence[str]) -> Roots:
    """The roots that a target on the command line stands for.

    Args:
        target: ``exp.train:Train`` or ``exp/train.py:roots``.
        assignments: texts such as ``lr=0.1``: fields of a class or an object, arguments of a
            function. ``data.seed=3`` sets a field of the object in field ``data``.

    Raises:
        FuruUsageError: there is no such module, target or field, or a value does not fit.
        UserCodeError: the user's code raised.
    """
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path:
        raise FuruUsageError(
            f"{target!r} is no MODULE:TARGET",
            hint="write for example exp.train:Train or exp/train.py:roots",
        )
    module = import_module(module_name)
    value = _attribute(module, path, module_name)
    return roots_of(value, parse_assignments(assignments), target)


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
                raise _user_error(f"importing {name}", error) from error
            raise FuruUsageError(
                f"there is no module {error.name!r} in {cwd or 'the working directory, which was removed,'} "
                "and on the rest of sys.path",
                hint="start furu in the folder of the project, or write the file's path: "
                "exp/train.py:target",
            ) from None
        except FuruError:
            raise
        except (Exception, SystemExit) as error:
            raise _user_error(f"importing {name}", error) from error


def roots_of(value: Any, assignments: Mapping[str, Any], target: str) -> Roots:
    """The roots that a value stands for: objects, a class or a function with arguments."""
    if isinstance(value, type):
        if not hasattr(value, "__furu_class__"):
            raise FuruUsageError(
                f"{target} is the class {value.__name__}, which is no subclass of Furu",
                hint="name a Furu class, an object, a list or dict of objects, or a function",
            )
        value = _called(target, lambda: value(**_fields(value, None, assignments, target)))
    elif is_furu(value):
        if assignments:
            fields = _fields(type(value), value, assignments, target)
            value = _called(target, lambda: attrs.evolve(value, **fields))
    elif callable(value):
        arguments = _arguments(value, assignments, target)
        value = _called(target, lambda: value(**arguments))
    elif assignments:
        raise FuruUsageError(
            f"{target} is a {type(value).__name__}, whose objects --set cannot change",
            hint="use --set with a class, an object or a function",
        )
    try:
        roots: Roots = _called(target, lambda: named_roots(value))
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


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """``["lr=0.1", "data.seed=3"]`` as ``{"lr": "0.1", "data": {"seed": "3"}}``."""
    parsed: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(part.isidentifier() for part in parts):
            raise FuruUsageError(f"--set {text!r} is no field=value", hint="write --set lr=0.1")
        where = parsed
        for part in parts[:-1]:
            where = where.setdefault(part, {})
            if not isinstance(where, dict):
                raise FuruUsageError(f"--set gives {part!r} twice", hint="leave one of them out")
        if parts[-1] in where:
            raise FuruUsageError(f"--set gives {name!r} twice", hint="leave one of them out")
        where[parts[-1]] = value
    return parsed


def _fields(cls: type, base: Any, assignments: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Constructor arguments for a class with fields, from texts."""
    known = fields_of(cls)
    assert known is not None
    values: dict[str, Any] = {}
    for name, given in assignments.items():
        if name not in known:
            raise _unknown(f"{cls.__name__} has no field", name, list(known))
        field = known[name]
        default = field.default
        if base is not None:
            default = partial(getattr, base, field.attribute)
        values[name] = _value(name, given, field.shape, default, target)
    if base is None:
        missing = [name for name, field in known.items() if not field.default]
        _require(f"{cls.__name__} needs", [name for name in missing if name not in values])
    return values


def _arguments(function: Any, assignments: Mapping[str, Any], target: str) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    }
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    annotations = Annotations(function)
    values: dict[str, Any] = {}
    for name, given in assignments.items():
        if name not in named and not takes_any:
            raise _unknown(f"{target} takes no argument", name, list(named))
        default = None
        if name in named and named[name].default is not inspect.Parameter.empty:
            default = partial(getattr, named[name], "default")
        values[name] = _value(name, given, annotations.shape(name), default, target)
    _require(
        f"{target} needs",
        [name for name, p in named.items() if p.default is p.empty and name not in values],
    )
    return values


def _value(
    name: str, given: Any, shape: Shape, default: Callable[[], Any] | None, target: str
) -> Any:
    """The value for a field or an argument, from its text, or from texts for its own fields."""
    if isinstance(given, str):
        return _converted(name, given, shape)
    base = default() if default is not None else None
    if fields_of(type(base)) is not None:
        nested = _fields(type(base), base, given, target)
        return _called(target, lambda: changed(base, nested))
    cls = class_with_fields(shape)
    if cls is None:
        raise FuruUsageError(
            f"--set {name}.{next(iter(given))}: {name} holds no object with fields",
            hint="with a dot, fields of Furu objects, dataclasses, attrs classes and named tuples can be set",
        )
    nested = _fields(cls, None, given, target)
    return _called(target, lambda: cls(**nested))


def _converted(name: str, text: str, shape: Shape) -> Any:
    try:
        return convert(text, shape)
    except ValueError as error:
        part = f" ({error})" if repr(text) not in str(error) else ""
        raise FuruUsageError(
            f"--set {name}={text}: expected {shape.text}{part}", hint=_how_to_write(name, shape)
        ) from None


def _how_to_write(name: str, shape: Shape) -> str:
    """How a value of a shape is written on the command line."""
    cls = class_with_fields(shape)
    if cls is not None and (known := fields_of(cls)):
        return f"set its fields: --set {name}.{next(iter(known))}=VALUE"
    for choice in shape.inner if shape.form is Form.UNION else (shape,):
        match choice.form:
            case Form.INSTANCE if issubclass(choice.cls, Enum):
                return f"write one of {', '.join(choice.cls.__members__)}"
            case Form.CHOICE:
                return f"write one of {', '.join(map(str, choice.options))}"
            case Form.ITEMS:
                return f"write --set {name}=a,b or --set '{name}=[a, b]'"
            case Form.PLACES:
                return f"write {len(choice.inner)} values with commas between them"
            case Form.PAIRS | Form.KEYS:
                return f"write --set '{name}={{key: value}}'"
            case Form.ARRAY | Form.CLASS:
                return "no text means one: let the target be a function that makes it"
            case _:
                pass
    return "correct the value; what no text means, a function can make that is the target"


def _require(needs: str, missing: list[str]) -> None:
    if missing:
        raise FuruUsageError(
            f"{needs} {', '.join(missing)}",
            hint=f"give {'it' if len(missing) == 1 else 'them'}: --set {missing[0]}=VALUE",
        )


def _unknown(says: str, name: str, known: list[str]) -> FuruUsageError:
    return FuruUsageError(
        f"{says} {name!r}{_text.did_you_mean(name, known, cutoff=0.5)}",
        hint=f"known: {', '.join(known) or 'none'}",
    )


def _attribute(module: ModuleType, path: str, module_name: str) -> Any:
    value: Any = module
    for part in path.split("."):
        if not hasattr(value, part):
            names = [name for name in vars(value) if not name.startswith("_")]
            raise FuruUsageError(
                f"{module_name} has no {path!r}{_text.did_you_mean(part, names, cutoff=0.5)}",
                hint=f"{module_name} is {getattr(module, '__file__', 'built in')}",
            )
        value = getattr(value, part)
    return value


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


def _called(target: str, call: Any) -> Any:
    try:
        return call()
    except FuruError:
        raise
    except Exception as error:  # the user's constructor or function may raise anything
        raise _user_error(target, error) from error


def _user_error(what: str, error: BaseException) -> UserCodeError:
    """Show the traceback of the user's code, without the frames of furu and of the import system."""
    frame = error.__traceback__
    while frame is not None and _is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    lines = traceback.format_exception(type(error), error, frame)
    click.echo("".join(lines).rstrip(), err=True)
    last = traceback.format_exception_only(error)[-1].strip()
    return UserCodeError(f"{what} raised {last}", hint="correct that code; nothing was computed")


def _is_ours(file: str) -> bool:
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return file.startswith((here, "<frozen importlib", os.path.dirname(importlib.__file__)))


@attrs.frozen
class SettableField:
    """A field that ``--set`` can give, or an argument of a function.

    Attributes:
        attribute: its name as an attribute of objects.
        shape: what its annotation asks for.
        default: makes its default value; None if it must be given.
    """

    attribute: str
    shape: Shape
    default: Callable[[], Any] | None


def fields_of(cls: type) -> dict[str, SettableField] | None:
    """The fields of a class, by the names that its constructor takes; None for classes without any."""
    if hasattr(cls, "__furu_class__"):
        return {
            f.alias: SettableField(f.name, f.shape(), f.make_default)
            for f in config_class(cls).fields
        }
    defaults: dict[str, tuple[str, Callable[[], Any] | None]]
    if attrs.has(cls):
        defaults = {f.alias: (f.name, _attrs_default(f)) for f in attrs.fields(cls) if f.init}
    elif dataclasses.is_dataclass(cls):
        defaults = {f.name: (f.name, _default(f)) for f in dataclasses.fields(cls) if f.init}
    elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
        given = getattr(cls, "_field_defaults", {})
        defaults = {
            name: (name, partial(given.__getitem__, name) if name in given else None)
            for name in cls._fields
        }
    else:
        return None
    return {
        alias: SettableField(name, shape_of_field(cls, name), default)
        for alias, (name, default) in defaults.items()
    }


def class_with_fields(shape: Shape) -> type | None:
    """The class whose fields can be set for a shape; None unless there is exactly one."""
    choices = shape.inner if shape.form is Form.UNION else (shape,)
    found = [
        choice.cls
        for choice in choices
        if choice.form is Form.INSTANCE and fields_of(choice.cls) is not None
    ]
    return found[0] if len(found) == 1 else None


def changed(base: Any, values: Mapping[str, Any]) -> Any:
    """A copy of an object with other values in some of its fields."""
    if is_furu(base) or attrs.has(type(base)):
        return attrs.evolve(base, **values)
    if dataclasses.is_dataclass(base) and not isinstance(base, type):
        return dataclasses.replace(base, **values)
    return base._replace(**values)


def _default(field: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    return None if field.default is dataclasses.MISSING else lambda: field.default


def _attrs_default(field: attrs.Attribute[Any]) -> Callable[[], Any] | None:
    default: Any = field.default
    if default is attrs.NOTHING:
        return None
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        # Only the constructor can call a factory that takes the object.
        return (lambda: None) if default.takes_self else default.factory
    return lambda: default
