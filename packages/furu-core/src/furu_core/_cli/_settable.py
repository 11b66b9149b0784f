"""What ``--set`` can give: the fields of config classes and of other classes that have fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import attrs

from furu_core._config._annotations import Form, Shape, shape_of_field
from furu_core._config._objects import config_class, is_furu


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


def to_be_given(cls: type, name: str = "", *, inside: tuple[type, ...] = ()) -> Iterator[str]:
    """What must be given for an object of a class: its fields without defaults, those of nested objects with a dot.

    Args:
        cls: a class with fields.
        name: the field that the object is for, if any; of one whose fields all have defaults, the first is told.
        inside: the classes around it, which recursion would not leave.

    Example:
        >>> from typing import NamedTuple
        >>> Point = NamedTuple("Point", [("x", int), ("y", int)])
        >>> list(to_be_given(Point, "at"))
        ['at.x', 'at.y']
    """
    fields = fields_of(cls) or {}
    dot = f"{name}." if name else ""
    needed = [one for one, field in fields.items() if field.default is None]
    for one in needed or (list(fields)[:1] if name else []):
        nested = class_with_fields(fields[one].shape)
        if nested is None or nested in (*inside, cls):
            yield f"{dot}{one}"
        else:
            yield from to_be_given(nested, f"{dot}{one}", inside=(*inside, cls))


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
