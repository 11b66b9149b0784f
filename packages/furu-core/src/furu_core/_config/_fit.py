"""Fitting values to annotations: whether a value fits, and the value that is kept.

A value that fits is kept as it is. One that fits after a lossless conversion is converted: a list
to a tuple and back, a set to a frozenset and back, an int to a float, a NumPy scalar to the number,
bool or text that it is. Any other value is an error.
"""

from __future__ import annotations

import collections.abc
import inspect
import operator
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs

from furu_core._config import _class_names
from furu_core._config._annotations import Annotations, Form, Shape
from furu_core._text import shown
from furu_core.errors import FuruValueError

Convert = Callable[[Any], Any]


class Misfit(Exception):
    """A value that does not fit, and its place in the value of the field."""

    def __init__(self, value: object, shape: Shape, got: str = "", hint: str = "") -> None:
        super().__init__(value, shape)
        self.value = value
        self.shape = shape
        self.got = got or ("None" if value is None else f"{shown(value)} ({type(value).__name__})")
        self.hint = hint
        self.steps: list[str] = []

    def within(self, step: str) -> Misfit:
        """The same misfit, with `step` put before its place: one container further out."""
        self.steps.insert(0, step)
        return self


@attrs.frozen(eq=False)
class Fit:
    """How values are fitted to one shape; compiled once.

    Attributes:
        unseen: types whose values are kept without a look at them.
        convert: for all others, returns the value to keep or raises `Misfit`; None if all fit.
    """

    unseen: frozenset[type]
    convert: Convert | None


def field_fitter(cls: type, name: str, annotations: Annotations) -> Convert:
    """A function that turns a value given for a field into the one to keep.

    Annotations may name what the module defines further down, so they are read when the first
    object is made; and again when the module has defined more, as long as a name was not found.

    Raises (the returned function):
        FuruValueError: the value does not fit.
    """
    unseen: frozenset[type] = frozenset()
    convert: Convert = _same

    def read(value: Any) -> Any:
        nonlocal unseen, convert
        size = len(annotations.namespace)
        shape, is_complete = annotations.shape_so_far(name)
        fit = compile_fit(shape)
        known = fit.convert or _same

        def reread(value: Any) -> Any:
            return known(value) if len(annotations.namespace) == size else read(value)

        unseen, convert = fit.unseen, known if is_complete else reread
        return _fit(fit, value)

    convert = read

    def fitted(value: Any) -> Any:
        if type(value) in unseen:
            return value
        try:
            return convert(value)
        except Misfit as misfit:
            raise _error(f"{cls.__name__}.{name}", misfit) from None
        except RecursionError:
            return value  # it contains itself, for which hashing has a better error

    # attrs annotates the constructor's parameter with this, which `help` shows. Letting attrs find
    # it out itself takes longer than the rest of its work.
    fitted.__signature__ = _taking(annotations.raw.get(name, Any))  # type: ignore[attr-defined]
    return fitted


def _taking(annotation: Any) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_ONLY
    return inspect.Signature([inspect.Parameter("value", kind, annotation=annotation)])


def _same(value: Any) -> Any:
    return value


def compile_fit(shape: Shape) -> Fit:
    """How values are fitted to a shape."""
    match shape.form:
        case Form.ANYTHING | Form.UNKNOWN:
            return Fit(frozenset(), None)
        case Form.INSTANCE:
            return Fit(frozenset({shape.cls}), _instance(shape))
        case Form.CHOICE:
            return Fit(frozenset(), _choice(shape))
        case Form.UNION:
            return _union(shape)
        case Form.ITEMS:
            return _items(shape)
        case Form.PLACES:
            return Fit(frozenset(), _places(shape))
        case Form.PAIRS:
            return _pairs(shape)
        case Form.KEYS:
            return Fit(frozenset(), _keys(shape))
        case Form.CLASS:
            return Fit(frozenset(), _class(shape))
        case Form.ARRAY:
            return Fit(frozenset(), _array(shape))
        case Form.NAMED:
            return Fit(frozenset(), _named(shape))


# ---- single values ----


def _instance(shape: Shape) -> Convert:
    cls = shape.cls
    by_number = _NUMBERS.get(cls)

    def convert(value: Any) -> Any:
        if by_number is not None:
            return by_number(value, shape)
        return value if _is_a(value, cls) else _misfit(value, shape)

    return convert


def _misfit(value: Any, shape: Shape) -> Any:
    raise Misfit(value, shape)


def _is_a(value: Any, cls: type) -> bool:
    try:
        if isinstance(value, cls):
            return True
    except TypeError:  # a class that `isinstance` refuses
        return True
    return any(_class_names.are_one(base, cls) for base in type(value).__mro__)


def _numpy_kind(value: Any) -> str:
    """The kind of a NumPy scalar, as in its dtype; empty for everything else."""
    if type(value).__module__ != "numpy":
        return ""
    numpy: Any = sys.modules["numpy"]
    return str(value.dtype.kind) if isinstance(value, numpy.generic) else ""


def _plain(cls: Any, kind: str) -> Callable[[Any, Shape], Any]:
    def convert(value: Any, shape: Shape) -> Any:
        if _numpy_kind(value) == kind:
            return cls(value)
        # To Python a bool is an int, but where a number is asked for it is most likely a mistake.
        if isinstance(value, cls) and (cls is bool or not isinstance(value, bool)):
            return value
        raise Misfit(value, shape)

    return convert


def _int(value: Any, shape: Shape) -> Any:
    if _numpy_kind(value) in ("i", "u"):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Misfit(value, shape)


def _float(value: Any, shape: Shape) -> Any:
    kind = _numpy_kind(value)
    if not kind and isinstance(value, float):
        return value
    if kind in ("i", "u", "f") or (isinstance(value, int) and not isinstance(value, bool)):
        return _exactly(float, value if kind == "f" else int(value), shape)
    raise Misfit(value, shape)


def _complex(value: Any, shape: Shape) -> Any:
    kind = _numpy_kind(value)
    if not kind and isinstance(value, complex):
        return value
    if kind == "c":
        return _exactly(complex, value, shape)
    return _exactly(complex, _float(value, shape), shape)


def _exactly(cls: Any, value: Any, shape: Shape) -> Any:
    try:
        converted = cls(value)
    except OverflowError:
        converted = float("inf")
    # Two NaNs count as equal.
    if converted != value and not (converted != converted and value != value):
        number = f"{value:#x}" if isinstance(value, int) else shown(value)
        hint = (
            f"write the {cls.__name__} you mean, or annotate the field with {type(value).__name__}"
        )
        raise Misfit(value, shape, f"{number}, which no {cls.__name__} equals", hint)
    return converted


_NUMBERS: dict[type, Callable[[Any, Shape], Any]] = {
    bool: _plain(bool, "b"),
    int: _int,
    float: _float,
    complex: _complex,
    str: _plain(str, "U"),
    bytes: _plain(bytes, "S"),
}


def _choice(shape: Shape) -> Convert:
    table = {(type(option), option): option for option in shape.options}

    def convert(value: Any) -> Any:
        given = value.item() if _numpy_kind(value) in ("i", "u", "b", "U", "S") else value
        try:
            return table[type(given), given]
        except (KeyError, TypeError):  # TypeError: an unhashable value, such as a list
            raise Misfit(value, shape) from None

    return convert


def _class(shape: Shape) -> Convert:
    def convert(value: Any) -> Any:
        if isinstance(value, type) and (
            issubclass(value, shape.cls)
            or any(_class_names.are_one(base, shape.cls) for base in value.__mro__)
        ):
            return value
        raise Misfit(value, shape)

    return convert


def _array(shape: Shape) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, shape.cls):
            raise Misfit(value, shape)
        dtype: Any = value.dtype  # type: ignore[attr-defined]
        if shape.options and not issubclass(dtype.type, shape.options):
            raise Misfit(value, shape, f"an array of {dtype}", "convert it with .astype(...)")
        return value

    return convert


def _named(shape: Shape) -> Convert:
    compiled: list[Fit] = []

    def convert(value: Any) -> Any:
        if not compiled:
            assert shape.target is not None
            compiled.append(compile_fit(shape.target()))
        return _fit(compiled[0], value)

    return convert


def _fit(fit: Fit, value: Any) -> Any:
    return value if fit.convert is None or type(value) in fit.unseen else fit.convert(value)


# ---- choices between annotations ----

# In a union, the nearest type is tried first: ``float | int`` takes a NumPy integer as an int.
_NEARNESS = {bool: 0, int: 1, float: 2, complex: 3}


def _nearness(shape: Shape) -> int:
    if shape.form is Form.UNKNOWN:
        return 4  # it takes anything, so it comes after all types that are known
    return _NEARNESS.get(shape.cls, 0) if shape.form is Form.INSTANCE else 0


def _union(shape: Shape) -> Fit:
    if any(choice.form is Form.ANYTHING for choice in shape.inner):
        return Fit(frozenset(), None)
    fits = [compile_fit(choice) for choice in sorted(shape.inner, key=_nearness)]

    def convert(value: Any) -> Any:
        converted: list[Any] = []
        deepest = Misfit(value, shape)
        for fit in fits:
            try:
                found = _fit(fit, value)
            except Misfit as misfit:
                if (len(misfit.steps), misfit.hint) > (len(deepest.steps), deepest.hint):
                    deepest = misfit
                continue
            if found is value:
                if fit.convert is not None or not converted:
                    return value
            else:
                converted.append(found)
        if not converted:
            raise deepest
        return converted[0]

    return Fit(frozenset().union(*(fit.unseen for fit in fits)), convert)


# ---- containers ----

_TWINS: dict[type, type] = {list: tuple, tuple: list, set: frozenset, frozenset: set}


def _maker(value: Any, shape: Shape) -> Convert | None:
    """A function that makes the container for fitted items; None if the items are not looked at."""
    t = type(value)
    if t in _TWINS:
        if issubclass(t, shape.cls):
            return t
        if issubclass(_TWINS[t], shape.cls):
            return _TWINS[t]
    elif isinstance(value, shape.cls) and not isinstance(value, (str, bytes)):
        if isinstance(value, tuple) and hasattr(t, "_make"):
            made: Convert = t._make
            return made
        return tuple if t is range else None
    raise Misfit(value, shape)


def _items(shape: Shape) -> Fit:
    item = compile_fit(shape.inner[0])
    are_unseen = item.unseen.issuperset
    own: Any = shape.cls
    unseen = frozenset({own}) if item.convert is None else frozenset()

    def convert(value: Any) -> Any:
        if type(value) is own and are_unseen(map(type, value)):
            return value
        make = _maker(value, shape)
        if make is None:
            return value
        if item.convert is None or are_unseen(map(type, value)):
            return value if make is type(value) or type(value) not in _TWINS else make(value)
        numbered = enumerate(value)
        places = isinstance(value, collections.abc.Sequence)
        items = [_part(item, part, f"[{i}]" if places else "{...}") for i, part in numbered]
        return _rebuilt(value, value, items, make)

    return Fit(unseen, convert)


def _places(shape: Shape) -> Convert:
    fits = list(map(compile_fit, shape.inner))

    def convert(value: Any) -> Any:
        make = _maker(value, shape)
        if make is None:
            return value
        if len(value) != len(fits):
            raise Misfit(value, shape, f"{shown(value)} ({len(value)} long instead of {len(fits)})")
        items = [_part(fits[i], part, f"[{i}]") for i, part in enumerate(value)]
        return _rebuilt(value, value, items, make)

    return convert


def _part(fit: Fit, value: Any, step: str) -> Any:
    if fit.convert is None or type(value) in fit.unseen:
        return value
    try:
        return fit.convert(value)
    except Misfit as misfit:
        raise misfit.within(step) from None


def _rebuilt(value: Any, before: Iterable[Any], items: list[Any], make: Convert) -> Any:
    # The given value itself is kept where no item changes: users expect no copy of their list.
    same = all(map(operator.is_, items, before))
    converts = type(value) in _TWINS and make is not type(value)
    return value if same and not converts else make(items)


def _pairs(shape: Shape) -> Fit:
    keys, values = map(compile_fit, shape.inner)
    open_ = keys.convert is None and values.convert is None

    def convert(value: Any) -> Any:
        if not isinstance(value, shape.cls):
            raise Misfit(value, shape)
        if open_ or not isinstance(value, dict) or type(value) not in (dict, OrderedDict):
            return value
        items = [
            (_part(keys, key, f" key {shown(key)}"), _part(values, item, f"[{shown(key)}]"))
            for key, item in value.items()
        ]
        same = all(k is a and v is b for (k, v), (a, b) in zip(items, value.items(), strict=True))
        return value if same else type(value)(items)

    return Fit(frozenset({shape.cls}) if open_ else frozenset(), convert)


def _keys(shape: Shape) -> Convert:
    fits = dict(zip(shape.options, map(compile_fit, shape.inner), strict=True))

    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise Misfit(value, shape)
        for key in fits.keys() - value.keys() - shape.optional:
            raise Misfit(value, shape, f"{shown(value)} (it lacks {key!r})")
        for key in value.keys() - fits.keys():
            raise Misfit(value, shape, f"{shown(value)} (it has {shown(key)})")
        items = {key: _part(fits[key], item, f"[{key!r}]") for key, item in value.items()}
        return value if all(map(operator.is_, items.values(), value.values())) else items

    return convert


# ---- what to say ----


def _error(where: str, misfit: Misfit) -> FuruValueError:
    place = where + "".join(misfit.steps)
    hint = misfit.hint or _hint(misfit.value, misfit.shape)
    return FuruValueError(f"{place[:200]} is {misfit.got}, expected {misfit.shape.text}", hint=hint)


def _hint(value: Any, shape: Shape) -> str:
    """What to write instead."""
    wanted = [choice.cls for choice in (shape, *shape.inner) if choice.form is Form.INSTANCE]
    for cls in wanted:
        if isinstance(value, str) and issubclass(cls, Enum):
            return f"write {_member(value, cls)}"
        if isinstance(value, str) and issubclass(cls, PurePath):
            return f"write {cls.__name__}({shown(value)})"
        if isinstance(value, type) and issubclass(value, cls):
            return f"make an object of it: {value.__name__}(...)"
    if value is None:
        return f"give one, or annotate the field with `{shape.text} | None`"
    if isinstance(value, bool):
        return f"write {int(value)}, or annotate the field with bool"
    if isinstance(value, str) and shape.form is Form.ITEMS:
        return f"write [{shown(value)}] for one item, list({shown(value)}) for its letters"
    if _is_array(value):
        return "write .item() behind a single value, .tolist() behind many"
    if isinstance(value, (set, frozenset)) and shape.form in (Form.ITEMS, Form.PLACES):
        return "give its items an order: sorted(...)"
    return "give a value that fits, or correct the annotation"


def _member(text: str, cls: type[Enum]) -> str:
    members = cls.__members__
    named = [name for name, member in members.items() if text in (name, member.value)]
    names = named[:1] or list(members)[:6]
    return " or ".join(f"{cls.__name__}.{name}" for name in names)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, type)
