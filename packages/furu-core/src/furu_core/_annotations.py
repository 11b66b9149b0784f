"""Reading a class's annotations: which are class variables, and where a float is meant.

An annotation may be a string, and may name what does not exist yet or only for type checkers. Such
names are put up with: they stand for something that is no float.
"""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from furu_core.errors import FuruValueError

Convert = Callable[[Any], Any]


class _Unknown:
    """Stands for a name that cannot be resolved; survives what annotations do with names."""

    def __getattr__(self, name: str) -> _Unknown:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, item: object) -> _Unknown:
        return self

    def __call__(self, *_args: object, **_kwargs: object) -> _Unknown:
        return self

    def __or__(self, other: Any) -> Any:
        return typing.Union[_Unknown, other]  # noqa: UP007 - `other` may be a string or None

    __ror__ = __or__


class _Names(dict[str, Any]):
    """The names an annotation can see; unknown ones are put up with."""

    def __init__(self, cls: type) -> None:
        module = sys.modules.get(cls.__module__)
        super().__init__(vars(builtins))
        self.update(vars(module) if module is not None else {})
        for parameter in getattr(cls, "__type_params__", ()):
            self[parameter.__name__] = parameter
        self[cls.__name__] = cls

    def __missing__(self, name: str) -> _Unknown:
        return _Unknown()


class Annotations:
    """The own annotations of one class, evaluated as far as they can be."""

    def __init__(self, cls: type) -> None:
        self.raw: dict[str, Any] = dict(inspect.get_annotations(cls))
        self._cls = cls
        self._names: _Names | None = None

    def evaluated(self, name: str) -> Any:
        """The annotation of `name`, with strings evaluated."""
        return self._evaluate(self.raw[name])

    def is_class_variable(self, name: str) -> bool:
        """Whether the annotation is a ClassVar."""
        annotation = self.raw[name]
        if isinstance(annotation, str) and "ClassVar" not in annotation:
            return False
        value = self.evaluated(name)
        return value is typing.ClassVar or typing.get_origin(value) is typing.ClassVar

    def _evaluate(self, annotation: Any) -> Any:
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        if not isinstance(annotation, str):
            return annotation
        if self._names is None:
            self._names = _Names(self._cls)
        try:
            return eval(annotation, {"__builtins__": {}}, self._names)
        except Exception:  # noqa: BLE001 - an annotation that makes no sense is not ours to judge
            return _Unknown

    def float_converter(self, name: str, where: str) -> Convert | None:
        """What turns ints into floats wherever the annotation says float, or None."""
        annotation = self.raw[name]
        if isinstance(annotation, str) and self._names is None and annotation in _FLOATLESS:
            return None
        return _float_converter(self.evaluated(name), where, self._evaluate)


_FLOATLESS = frozenset({"int", "str", "bool", "bytes", "Path", "object", "Any", "tuple", "list"})

_SEQUENCES: dict[Any, tuple[type, ...]] = {
    list: (list,),
    set: (set,),
    frozenset: (frozenset,),
    collections.abc.Sequence: (list, tuple),
    collections.abc.MutableSequence: (list,),
    collections.abc.Collection: (list, tuple, set, frozenset),
    collections.abc.Iterable: (list, tuple, set, frozenset),
    collections.abc.Set: (set, frozenset),
    collections.abc.MutableSet: (set,),
}
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _float_converter(annotation: Any, where: str, evaluate: Callable[[Any], Any]) -> Convert | None:
    by_type = _conversions(evaluate(annotation), where, evaluate, 0)
    if not by_type:
        return None
    if len(by_type) == 1 and int in by_type:
        to_float = by_type[int]

        def convert_scalar(value: Any) -> Any:
            return to_float(value) if type(value) is int else value

        return convert_scalar

    def convert(value: Any) -> Any:
        conversion = by_type.get(type(value))
        return value if conversion is None else conversion(value)

    return convert


def _conversions(
    annotation: Any, where: str, evaluate: Callable[[Any], Any], depth: int
) -> dict[type, Convert]:
    """For each type of value that the annotation would have changed, how."""
    if depth > 50:  # a type alias that contains itself
        return {}
    annotation = evaluate(annotation)
    if annotation is float:
        return {int: _to_float(where)}
    alias = getattr(annotation, "__value__", None) or getattr(annotation, "__supertype__", None)
    if alias is not None:  # `type Rate = float`, NewType
        return _conversions(alias, where, evaluate, depth + 1)
    if isinstance(annotation, typing.TypeVar):
        bound = annotation.__bound__
        return {} if bound is None else _conversions(bound, where, evaluate, depth + 1)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Annotated, typing.Final):
        return _conversions(args[0], where, evaluate, depth + 1)
    if origin is typing.Union or origin is types.UnionType:
        return _union([_conversions(a, where, evaluate, depth + 1) for a in args], args)
    inner = [_as_converter(_conversions(a, where, evaluate, depth + 1)) for a in args]
    if not any(inner):
        return {}
    if origin is tuple:
        return {tuple: _tuple_converter(args, inner)}
    if origin in _SEQUENCES and inner[0] is not None:
        return {kind: _sequence_converter(kind, inner[0]) for kind in _SEQUENCES[origin]}
    if origin in _MAPPINGS and len(inner) == 2:
        return {dict: _dict_converter(inner[0] or _same, inner[1] or _same)}
    return {}


def _union(choices: list[dict[type, Convert]], args: tuple[Any, ...]) -> dict[type, Convert]:
    merged: dict[type, Convert] = {}
    taken = {
        a if isinstance(a, type) else typing.get_origin(a)
        for a, c in zip(args, choices, strict=True)
        if not c
    }
    for choice in choices:
        for kind, convert in choice.items():
            if kind in merged or kind in taken or taken & {object, Any}:
                # `int | float` takes an int as it is; `list[int] | list[float]` decides nothing.
                merged[kind] = _same
            else:
                merged[kind] = convert
    return {kind: convert for kind, convert in merged.items() if convert is not _same}


def _same(value: Any) -> Any:
    return value


def _to_float(where: str) -> Convert:
    def to_float(value: int) -> float:
        try:
            converted = float(value)
        except OverflowError:
            converted = float("inf")
        if converted != value:
            raise FuruValueError(
                f"{where} is a float, and no float equals the int {value:#x}",
                hint="write the float you mean, or annotate the field with int",
            )
        return converted

    return to_float


def _as_converter(by_type: dict[type, Convert]) -> Convert | None:
    if not by_type:
        return None

    def convert(value: Any) -> Any:
        conversion = by_type.get(type(value))
        return value if conversion is None else conversion(value)

    return convert


def _sequence_converter(kind: type, convert: Convert) -> Convert:
    def convert_items(values: Any) -> Any:
        converted = [convert(value) for value in values]
        # The value given is kept where nothing changes: nobody expects a copy of a list.
        if all(map(_is, converted, values)):
            return values
        return kind(converted)

    return convert_items


def _tuple_converter(args: tuple[Any, ...], inner: list[Convert | None]) -> Convert:
    if len(args) == 2 and args[1] is Ellipsis:
        return _sequence_converter(tuple, inner[0] or _same)
    converters = [convert or _same for convert in inner]

    def convert_items(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(values) != len(converters):
            return values
        return tuple(convert(v) for convert, v in zip(converters, values, strict=True))

    return convert_items


def _dict_converter(convert_key: Convert, convert_value: Convert) -> Convert:
    def convert_items(values: Mapping[Any, Any]) -> Any:
        converted = {convert_key(k): convert_value(v) for k, v in values.items()}
        if all(map(_is, converted.keys(), values.keys())) and all(
            map(_is, converted.values(), values.values())
        ):
            return values
        return converted

    return convert_items


def _is(first: object, second: object) -> bool:
    return first is second
