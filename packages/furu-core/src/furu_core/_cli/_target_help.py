"""What ``--help`` tells of a target: the fields of a class, the arguments of a function, the values of an object."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import suppress
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core._cli import _target
from furu_core._cli._assignments import named_parameters
from furu_core._cli._declared import TextField, fields_in
from furu_core._cli._module_text import text_of
from furu_core._cli._output import only_json
from furu_core._cli._settable import class_with_fields, fields_of
from furu_core._cli._tables import lined_up
from furu_core._config._annotations import Annotations, Shape
from furu_core._config._objects import is_furu
from furu_core._forms._typed_text import is_scalar
from furu_core.errors import FuruError

_WIDE: Final = 40  # characters of a type or a value
_SAID: Final = ("help", "description", "doc")


@attrs.frozen
class _Row:
    """A line of the table.

    Attributes:
        name: of a field or an argument, with dots for those of a nested object.
        shape: what its annotation asks for.
        value: its default, or what it is, as text; `required` where it must be given.
        said: what is said of it.
    """

    name: str
    shape: Shape
    value: str
    said: str

    @property
    def has_fields(self) -> bool:
        """Whether it is given field by field."""
        return class_with_fields(self.shape) is not None


def told_of(target: str, command: str) -> list[str]:
    """Lines about a target; where it cannot be imported, about why.

    Args:
        target: ``MODULE:TARGET``.
        command: the command whose help is asked for.
    """
    try:
        with only_json(active=True):  # what modules print when they are imported is not the help
            value = _target.value_called(target)
            return list(_lines(value, target, command))
    except FuruError as error:
        lines = [f"nothing can be told of {target}: {error.message}"]
        return [*lines, f"hint: {error.hint}"] if error.hint else lines


def _lines(value: Any, target: str, command: str) -> Iterator[str]:
    title, rows = "default", []
    if isinstance(value, type) and hasattr(value, "__furu_class__"):
        what = value.__dict__.get("__doc__") or "a config class"
        rows = list(_rows(value, None))
    elif is_furu(value):
        title, what = "value", f"an object of {type(value).__name__}"
        rows = list(_rows(type(value), value))
    elif callable(value) and not isinstance(value, type):
        what = inspect.getdoc(value) or "a function"
        rows = list(_arguments(value, target))
    elif isinstance(value, Sized) and not isinstance(value, (str, bytes, type)):
        what = f"a {type(value).__name__} of {_text.count(len(value), 'object')}, which --set cannot change"
    else:
        what = f"{_text.shown(value)}, which furu cannot run"
    yield f"{target}: {what.strip().partition(chr(10))[0].strip()}"
    if not rows:
        return
    table = [["--set", "type", title, ""]]
    table += [[row.name, _short(row.shape.text), row.value, row.said] for row in rows]
    yield from (f"  {line}" for line in lined_up(table))
    needed = [row for row in rows if row.value == _shown(_REQUIRED) and not row.has_fields]
    scalar = next((row for row in (*needed, *rows) if is_scalar(row.shape)), None)
    if scalar is not None:
        values = "A,B" if title == "value" or isinstance(value, type) else "A"
        given = [f"--set {row.name}=VALUE" for row in needed if row is not scalar]
        yield " ".join(["such as:", command, target, *given, f"--set {scalar.name}={values}"])


def _rows(cls: type, base: Any, inside: str = "", around: tuple[type, ...] = ()) -> Iterator[_Row]:
    """A row for each field of a class with fields, and for the fields of the objects in them.

    Of objects in these in turn only what must be given is told, since `--set` asks for it.

    Args:
        cls: the class.
        base: an object of it; None where there is none yet.
        inside: the field that it is for, with a dot.
        around: the classes around it.
    """
    around = (*around, cls)
    said = _said_of(cls)
    for name, field in (fields_of(cls) or {}).items():
        found = _REQUIRED
        if base is not None:
            found = getattr(base, field.attribute, _REQUIRED)
        elif field.default is not None:
            found = _made(field.default)
        yield _Row(f"{inside}{name}", field.shape, _shown(found), said(name, field.shape))
        nested = class_with_fields(field.shape)
        if not inside and fields_of(type(found)) is not None:
            yield from _rows(type(found), found, f"{name}.", around)
        elif nested is not None and nested not in around and (not inside or found is _REQUIRED):
            yield from _rows(nested, None, f"{inside}{name}.", around)


def _arguments(function: Any, target: str) -> Iterator[_Row]:
    annotations = Annotations(function)
    module, _, path = target.partition(":")
    said = {one.name: one.said for one in _fields_in_text(module, path)}
    for name, one in named_parameters(inspect.signature(function).parameters).items():
        value = _REQUIRED if one.default is one.empty else one.default
        shape = annotations.shape(name)
        yield _Row(name, shape, _shown(value), said.get(name) or _choices(shape))


def _said_of(cls: type) -> Callable[[str, Shape], str]:
    """What is said of a field, by its name."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    texts = {one.name: one.said for one in _fields_in_text(file, cls.__qualname__)}
    metadata: dict[str, Mapping[Any, Any]] = {}
    if attrs.has(cls):
        metadata = {one.alias or one.name: one.metadata for one in attrs.fields(cls)}

    def said(name: str, shape: Shape) -> str:
        given = metadata.get(name, {})
        told = next((str(given[key]) for key in _SAID if key in given), "")
        return told or texts.get(name) or _choices(shape)

    return said


def _fields_in_text(module: str, path: str) -> list[TextField]:
    with suppress(Exception):  # a description less is better than no help
        text = text_of(module)
        return [] if text is None else fields_in(text, path)
    return []


def _choices(shape: Shape) -> str:
    """The members of an enum that is asked for."""
    for one in shape.inner or (shape,):
        if issubclass(one.cls, Enum) and one.cls is not Enum:
            return f"one of {', '.join(one.cls.__members__)}"
    return ""


class _Required:
    """Stands for the value that somebody has to give."""

    def __repr__(self) -> str:
        return "required"


_REQUIRED: Final = _Required()


def _made(default: Callable[[], Any]) -> Any:
    try:
        return default()
    except Exception as error:  # noqa: BLE001 - the user's factory may raise anything
        return error


def _shown(value: Any) -> str:
    """A value as one types it, as far as it is typed in a word."""
    if isinstance(value, Enum):
        return value.name or str(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, PurePath):
        return _short(str(value))
    return _short(_text.shown(value, _WIDE))


def _short(text: str) -> str:
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"
