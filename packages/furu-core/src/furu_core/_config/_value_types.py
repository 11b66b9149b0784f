"""Value types beyond the plain ones, and how each is encoded as plain values and decoded again.

The hash encoding and the JSON form handle plain values (None, bool, int, float, str, bytes, tuple,
list, dict, set, frozenset) themselves. Every other type is defined here once, by a tag and two
functions that turn a value into plain ones and back; both forms use that, so neither misses a type.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import importlib
import operator
import pathlib
import types
from collections import OrderedDict
from collections.abc import Callable
from functools import reduce
from typing import Any

import attrs

from furu_core._config import _class_names
from furu_core._config._refused import Refused


@attrs.frozen
class ValueType:
    """How values of one type are written with plain values.

    Attributes:
        tag: the type's name in encoded values; different types have different tags.
        apart: turns a value into its payload: a plain value, or a list or dict of values.
        together: turns a payload into the value again.
        cls: the class, named beside the payload where many classes share a tag, such as enums.
        mutable: whether a value can change after it was hashed.
        settable: whether ``object.__setattr__`` can change a value that cannot change otherwise.
        hashed: makes the payload that is hashed, if it is not the one of `apart`.
        pickles: whether pickle gives a value back as it was; None if it always does.
    """

    tag: str
    apart: Callable[[Any], Any]
    together: Callable[[Any], Any]
    cls: type | None = None
    mutable: bool = False
    settable: bool = False
    hashed: Callable[[Any], Any] | None = None
    pickles: Callable[[Any], bool] | None = None


def value_type_of(t: type) -> ValueType:
    """How values of a type are written.

    Raises:
        Refused: values of this type have no stable hash.
    """
    kind = _BY_TYPE.get(t)
    if kind is None:
        kind = _BY_TYPE[t] = _find_value_type(t)
    return kind


def put_together(tag: str, payload: Any) -> Any:
    """The value that `apart` turned into this payload.

    Raises:
        KeyError: no value type has this tag.
        TypeError: the class that it names is of another kind.
    """
    together = _BY_TAG.get(tag)
    if together is not None:
        return together(payload)
    if tag not in _BY_CLASS_TAG:
        raise KeyError(tag)
    reference, inner = payload
    kind = _kind_to_make(_class_names.resolve_reference(reference))
    # Any class could be named here, and calling `subprocess.Popen` as a named tuple would run a command.
    if kind is None or kind.tag != tag:
        raise TypeError(f"{reference} is no {tag}")
    return kind.together(inner)


def _kind_to_make(t: type) -> ValueType | None:
    """How values of a class are made of a payload; None for a class that no value is of."""
    try:
        return value_type_of(t)
    except Refused:
        return None


def reduced(value: Any) -> tuple[Any, ...] | None:
    """How to pickle a hashed value that pickle would not give back as it was; None for others."""
    kind = _BY_TYPE.get(type(value))
    if kind is None or kind.pickles is None or kind.pickles(value):
        return None
    payload = kind.apart(value)
    if kind.cls is not None:
        payload = [_class_names.reference(kind.cls), payload]
    return put_together, (kind.tag, payload)


def has_tag(tag: str) -> bool:
    """Whether `put_together` knows the tag."""
    return tag in _BY_TAG or tag in _BY_CLASS_TAG


def _find_value_type(t: type) -> ValueType:
    by_name = _BY_NAME.get(_full_name(t))
    if by_name is not None:
        return by_name
    if issubclass(t, type):
        return _CLASS
    if issubclass(t, enum.Flag):
        return _flag(t)
    if issubclass(t, enum.Enum):
        return _enum(t)
    if issubclass(t, pathlib.PurePath):
        return _subclass_of_path(t)
    if t.__module__.partition(".")[0] == "numpy":
        numpy_type = _numpy(t)
        if numpy_type is not None:
            return numpy_type
    if dataclasses.is_dataclass(t):
        return _dataclass(t)
    if attrs.has(t):
        return _attrs_class(t)
    if issubclass(t, tuple) and hasattr(t, "_fields"):
        return _namedtuple(t)
    if issubclass(t, (int, float, str, bytes)):
        return _subclass(t)
    raise _refusal(t)


def _refusal(t: type) -> Refused:
    name = t.__qualname__ if t.__module__ == "builtins" else _full_name(t)
    top = t.__module__.partition(".")[0]
    what = f"is of type {name}, which has no stable hash"
    if t in (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.LambdaType):
        return Refused(
            "is a function, which has no stable hash",
            "give its name as a string or an Enum member, or make it a method of the class",
        )
    if t is types.GeneratorType or hasattr(t, "__next__"):
        return Refused(what, "give a list or a tuple of its items")
    if t is types.ModuleType:
        return Refused(what, "give its name as a string")
    if issubclass(t, (list, dict, set, frozenset, tuple)):
        plain = next(b for b in (list, dict, set, frozenset, tuple) if issubclass(t, b))
        return Refused(what, f"give a plain {plain.__name__}")
    if top in ("pandas", "torch", "polars", "pyarrow", "jax", "tensorflow", "scipy"):
        return Refused(what, "give what makes it, or let another Furu object compute it")
    return Refused(what, "give plain values, a dataclass, an Enum member or another Furu object")


def _fixed(
    tag: str,
    apart: Callable[[Any], Any],
    together: Callable[[Any], Any],
    *,
    mutable: bool = False,
    hashed: Callable[[Any], Any] | None = None,
    pickles: Callable[[Any], bool] | None = None,
) -> ValueType:
    _BY_TAG[tag] = together
    return ValueType(tag, apart, together, mutable=mutable, hashed=hashed, pickles=pickles)


_BY_TAG: dict[str, Callable[[Any], Any]] = {}
_BY_CLASS_TAG: dict[str, Callable[[type], ValueType]] = {}


def _per_class(tag: str) -> Callable[[Callable[[Any], ValueType]], Callable[[Any], ValueType]]:
    def register(make: Callable[[Any], ValueType]) -> Callable[[Any], ValueType]:
        _BY_CLASS_TAG[tag] = make
        return make

    return register


# ---- dates ----


def _zone_apart(zone: dt.tzinfo | None) -> Any:
    if zone is None or type(zone) is dt.timezone or _full_name(type(zone)) == "zoneinfo.ZoneInfo":
        return zone
    raise Refused(
        f"has a time zone of type {type(zone).__name__}, which has no stable hash",
        "use dt.timezone or zoneinfo.ZoneInfo",
    )


def _datetime_apart(value: dt.datetime) -> list[Any]:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone_apart(value.tzinfo)]


def _datetime_together(payload: list[Any]) -> dt.datetime:
    text, fold, zone = payload
    return dt.datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _time_apart(value: dt.time) -> list[Any]:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone_apart(value.tzinfo)]


def _time_together(payload: list[Any]) -> dt.time:
    text, fold, zone = payload
    return dt.time.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _timezone_apart(value: dt.timezone) -> list[Any]:
    # Holds a name only if one was given: timezone(x) and timezone(x, "n") are not the same.
    return list(value.__getinitargs__())  # type: ignore[attr-defined]


def _zoneinfo_apart(value: Any) -> str:
    if value.key is None:
        raise Refused("is a time zone without a key", "make it as ZoneInfo('Area/City')")
    key: str = value.key
    return key


# ---- classes, and values whose class is named beside the payload ----


def _class_hashed(value: type) -> str:
    # Without the name to import it by, which depends on how the script was started.
    return _class_names.name_of(value).identity


@_per_class("enum")
def _enum(t: type[enum.Enum]) -> ValueType:
    def apart(value: Any) -> str:
        name: str = value._name_
        if t.__members__.get(name) is not value:
            raise _undeclared(value)
        return name

    # Pickle looks a member up by its value, which fails for a NaN or a partial function.
    return ValueType(
        "enum", apart, t.__members__.__getitem__, cls=t,
        pickles=lambda value: isinstance(value._value_, int | str),
    )  # fmt: skip


def _undeclared(value: enum.Enum) -> Refused:
    name = type(value).__name__
    return Refused(
        f"is {value._name_} of {name}, which is not the member of that name: `_missing_` made it, and "
        "it has no stable hash",
        f"declare it in {name}, or give its value",
    )


@_per_class("flag")
def _flag(t: type[enum.Flag]) -> ValueType:
    def apart(value: Any) -> list[Any]:
        bits = value._value_
        # Iterating over the value would skip bits that have no name of their own.
        named = {
            name: member._value_
            for name, member in t.__members__.items()
            if member._name_ == name and member._value_.bit_count() == 1 and member._value_ & bits
        }
        payload = [*sorted(named), bits & ~reduce(operator.or_, named.values(), 0)]
        try:
            same = together(payload) is value
        except ValueError:
            same = False
        if not same:
            raise _undeclared(value)
        return payload

    def together(payload: list[Any]) -> Any:
        *names, rest = payload
        return t(reduce(operator.or_, (t[name]._value_ for name in names), rest))

    return ValueType("flag", apart, together, cls=t)


@_per_class("dataclass")
def _dataclass(t: Any) -> ValueType:
    names = [field.name for field in dataclasses.fields(t)]
    frozen = t.__dataclass_params__.frozen
    return ValueType(
        "dataclass", _fields_of(names), _make(t, names), cls=t, mutable=not frozen, settable=True
    )


@_per_class("attrs")
def _attrs_class(t: Any) -> ValueType:
    names = [attribute.name for attribute in attrs.fields(t)]
    frozen = t.__setattr__ is getattr(attrs.make_class("_", [], frozen=True), "__setattr__")  # noqa: B009
    return ValueType(
        "attrs", _fields_of(names), _make(t, names), cls=t, mutable=not frozen, settable=True
    )


def _fields_of(names: list[str]) -> Callable[[Any], dict[str, Any]]:
    def apart(value: Any) -> dict[str, Any]:
        try:
            return {name: getattr(value, name) for name in names}
        except AttributeError as error:
            raise Refused(f"lacks a value: {error}") from None

    return apart


def _make(t: type, names: list[str]) -> Callable[[dict[str, Any]], Any]:
    known = frozenset(names)

    def together(payload: dict[str, Any]) -> Any:
        # `__class__` or a property among them would run code of the class, or make an object of any other.
        for name in payload.keys() - known:
            if hasattr(t, name):
                raise TypeError(f"{name} is no field of {t.__qualname__}")
        # Not through __init__, which may convert, derive or refuse; these are the final values.
        value: Any = object.__new__(t)
        for name, item in payload.items():
            object.__setattr__(value, name, item)
        return value

    return together


@_per_class("namedtuple")
def _namedtuple(t: Any) -> ValueType:
    def together(payload: dict[str, Any]) -> Any:
        told = {**t._field_defaults, **payload}
        if told.keys() != set(t._fields):
            raise TypeError(f"a {t.__qualname__} has the fields {', '.join(t._fields)}")
        return tuple.__new__(t, [told[name] for name in t._fields])  # as in `_make`

    return ValueType(
        "namedtuple", lambda value: dict(zip(t._fields, value, strict=True)), together, t
    )


@_per_class("subclass")
def _subclass(t: type) -> ValueType:
    base: Any = next(b for b in (int, float, str, bytes) if issubclass(t, b))

    def apart(value: Any) -> Any:
        if getattr(value, "__dict__", None):
            raise Refused(
                f"is a {t.__name__} with attributes of its own, which have no stable hash",
                f"give a plain {base.__name__} or a dataclass",
            )
        return base.__new__(base, base.__str__(value)) if base is str else _plain(base, value)

    def together(payload: Any) -> Any:
        return base.__new__(t, payload)

    return ValueType("subclass", apart, together, cls=t, settable=True)


def _plain(base: Any, value: Any) -> Any:
    if base is int:
        return int.__index__(value)
    return float.__float__(value) if base is float else bytes.__getitem__(value, slice(None))


def _subclass_of_path(t: type) -> ValueType:
    if issubclass(t, pathlib.Path):
        if t in (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath):
            return _PATH
    elif t is pathlib.PurePosixPath:
        return _PURE_POSIX
    elif t is pathlib.PureWindowsPath:
        return _PURE_WINDOWS
    raise Refused(f"is of type {t.__qualname__}, which has no stable hash", "give a pathlib.Path")


# ---- NumPy ----


def _numpy(t: type) -> ValueType | None:
    import numpy as np

    if t is np.ndarray:
        return _ARRAY
    if issubclass(t, np.dtype):
        return _DTYPE
    if issubclass(t, np.generic):
        return _SCALAR
    if issubclass(t, np.ndarray):
        raise Refused(
            f"is of type numpy.{t.__name__}, which has no stable hash", "give a plain array"
        )
    return None


def _dtype_apart(dtype: Any) -> Any:
    """The payload from which `_dtype_together` makes exactly the same dtype."""
    layout = _layout(dtype, exact=True)
    back = _dtype_together(layout)
    if back != dtype or repr(back) != repr(dtype):
        raise Refused(f"has the dtype {dtype}, which has no stable hash", "use plain fields")
    return layout


def _layout(dtype: Any, *, exact: bool = False) -> Any:
    """A dtype as its text, or as a list that begins with how it is made of other dtypes.

    With `exact` it also holds what no comparison of dtypes looks at: whether fields were aligned,
    which shows in their offsets, and whether items are records.
    """
    import numpy as np

    if dtype.hasobject or dtype.kind not in "biufcSUMmV" or dtype.metadata:
        raise Refused(f"has the dtype {dtype}, which has no stable hash", "use a numeric dtype")
    if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        raise Refused(f"has the dtype {dtype}, which differs between machines", "use float64")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", _layout(base, exact=exact), list(shape)]
    if dtype.names is None:
        return dtype.str
    fields = []
    for name in dtype.names:
        part, offset, *title = dtype.fields[name]
        fields.append([name, _layout(part, exact=exact), offset, title[0] if title else None])
    layout = ["fields", fields, dtype.itemsize]
    return [*layout, bool(dtype.isalignedstruct), dtype.type is np.record] if exact else layout


def _dtype_together(payload: Any) -> Any:
    import numpy as np

    if isinstance(payload, str):
        return np.dtype(payload)
    if payload[0] == "array":
        _, base, shape = payload
        return np.dtype((_dtype_together(base), tuple(shape)))
    _, fields, itemsize, aligned, record = payload
    described: dict[str, Any] = {
        "names": [name for name, *_ in fields],
        "formats": [_dtype_together(part) for _, part, *_ in fields],
        "offsets": [offset for *_, offset, _ in fields],
        "itemsize": itemsize,
    }
    if any(title is not None for *_, title in fields):
        described["titles"] = [title for *_, title in fields]
    dtype = np.dtype(described, align=aligned)  # type: ignore[call-overload]
    return np.dtype((np.record, dtype)) if record else dtype


def _same_items(array: Any) -> Any:
    """The items of an array as bytes that are the same for all arrays with equal items.

    All NaNs become one, since NaN equals NaN here whatever its bits; padding between the fields of
    structured items is left out; and True, which may be stored as any bits but zero, becomes 1.
    """
    import numpy as np

    if array.dtype.names is not None:
        return [_same_items(array[name]) for name in array.dtype.names]
    flat = np.ascontiguousarray(array).reshape(-1)
    kind = array.dtype.kind
    if kind == "c":
        return _same_items(flat.view(flat.real.dtype))
    if kind == "b":
        flat = flat.view(np.uint8) != 0
    elif kind == "f" and np.isnan(flat).any():
        flat = np.where(np.isnan(flat), np.array(np.nan, flat.dtype), flat).astype(flat.dtype)
    return flat.tobytes()


def _array_apart(value: Any) -> list[Any]:
    return [_dtype_apart(value.dtype), list(value.shape), value.tobytes()]


def _array_hashed(value: Any) -> list[Any]:
    return [_layout(value.dtype), list(value.shape), _same_items(value)]


def _array_together(payload: list[Any]) -> Any:
    import numpy as np

    descr, shape, data = payload
    dtype = _dtype_together(descr)
    if dtype.itemsize == 0:  # empty strings, which `frombuffer` refuses
        return np.zeros(shape, dtype)
    return np.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def _scalar_apart(value: Any) -> list[Any]:
    return [_dtype_apart(value.dtype), value.tobytes()]


def _scalar_hashed(value: Any) -> list[Any]:
    import numpy as np

    return [_layout(value.dtype), _same_items(np.asarray(value))]


def _scalar_together(payload: list[Any]) -> Any:
    descr, data = payload
    return _array_together([descr, [1], data])[0]


_CLASS = _fixed(
    "class", _class_names.reference, _class_names.resolve_reference, hashed=_class_hashed
)
_PATH = _fixed("path", pathlib.PurePath.as_posix, pathlib.Path)
_PURE_POSIX = _fixed("purepath", pathlib.PurePath.as_posix, pathlib.PurePosixPath)
_PURE_WINDOWS = _fixed("windowspath", str, pathlib.PureWindowsPath)
_ARRAY = _fixed(
    "ndarray",
    _array_apart,
    _array_together,
    mutable=True,
    hashed=_array_hashed,
    pickles=operator.attrgetter("dtype.isnative"),  # else NumPy gives another byte order back
)
_SCALAR = _fixed("numpy", _scalar_apart, _scalar_together, hashed=_scalar_hashed)
_DTYPE = _fixed(
    "dtype",
    lambda value: [_dtype_apart(value)],
    lambda p: _dtype_together(p[0]),
    hashed=lambda value: [_layout(value)],
)

_BY_TYPE: dict[type, ValueType] = {
    type: _CLASS,
    complex: _fixed("complex", lambda v: [v.real, v.imag], lambda p: complex(*p)),
    bytearray: _fixed("bytearray", bytes, bytearray, mutable=True),
    range: _fixed("range", lambda v: [v.start, v.stop, v.step], lambda p: range(*p)),
    slice: _fixed("slice", lambda v: [v.start, v.stop, v.step], lambda p: slice(*p)),
    type(...): _fixed("ellipsis", lambda _: [], lambda _: ...),
    OrderedDict: _fixed("ordereddict", lambda v: list(v.items()), OrderedDict, mutable=True),
    dt.date: _fixed("date", dt.date.isoformat, dt.date.fromisoformat),
    dt.datetime: _fixed("datetime", _datetime_apart, _datetime_together),
    dt.time: _fixed("time", _time_apart, _time_together),
    dt.timedelta: _fixed(
        "timedelta",
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda p: dt.timedelta(*p),
    ),
    dt.timezone: _fixed("timezone", _timezone_apart, lambda p: dt.timezone(*p)),
}


# ---- types whose modules are imported only when a value needs them ----


def _imported(module: str, name: str) -> Callable[..., Any]:
    def together(*payload: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*payload)

    return together


def _fraction_together(payload: list[int]) -> Any:
    return _imported("fractions", "Fraction")(*payload)


_BY_NAME: dict[str, ValueType] = {
    "decimal.Decimal": _fixed("decimal", str, _imported("decimal", "Decimal")),
    "fractions.Fraction": _fixed(
        "fraction", lambda v: [v.numerator, v.denominator], _fraction_together
    ),
    "uuid.UUID": _fixed("uuid", str, _imported("uuid", "UUID")),
    "zoneinfo.ZoneInfo": _fixed("zoneinfo", _zoneinfo_apart, _imported("zoneinfo", "ZoneInfo")),
}


def _full_name(t: type) -> str:
    return f"{t.__module__}.{t.__qualname__}"
