"""Whether tagged JSON, which stores the declared fields of an object, would store all of it."""

from __future__ import annotations

import functools
import sys
from typing import Any, Final

import attrs

from furu_core._forms._tagged_json import NotExact

_HEAP_TYPE: Final = 1 << 9  # made by a class statement, so without hidden state in C


def refuse_inexact(value: object) -> None:
    """Refuse a value that has more state than its declared fields, which JSON would lose.

    Raises:
        NotExact: the value has such state, so it must be pickled.
    """
    reason = _reason(type(value))  # type: ignore[arg-type]
    if reason:
        raise NotExact(f"a {type(value).__qualname__} {reason}")


@functools.cache
def _reason(cls: Any) -> str:
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, numpy.ndarray):
        return "is an array that no array file gives back exactly"
    fields = _declared_fields(cls)
    if fields is None:
        return ""
    if issubclass(cls, tuple):
        return "" if tuple in cls.__bases__ else "may hold more than its declared fields"
    if any(base is not object and not base.__flags__ & _HEAP_TYPE for base in cls.__mro__):
        return "inherits state from a built-in class"
    slots = {name for base in cls.__mro__ for name in _slots(base)}
    if slots - fields - {"__dict__", "__weakref__"}:
        return "has slots beside its declared fields"
    if any(name in vars(base) for base in cls.__mro__[:-1] for name in _OWN_WAYS):
        return "has its own way of being pickled"
    return ""


_OWN_WAYS: Final = ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__")


def _declared_fields(cls: type[Any]) -> set[str] | None:
    if hasattr(cls, "__furu_class__"):
        return None
    if hasattr(cls, "__dataclass_fields__"):
        return set(cls.__dataclass_fields__)
    if attrs.has(cls):
        return {attribute.name for attribute in attrs.fields(cls)}
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return set(cls._fields)
    return None


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
