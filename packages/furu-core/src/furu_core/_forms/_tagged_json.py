"""Values as JSON that keeps their types.

Types that JSON has (None, bool, int, float, str, list, dict with str keys) are written as they are.
Everything else is an object with one key that begins with ``$``, such as ``{"$tuple": [1, 2]}``. A
value that could not be read back exactly is refused.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import attrs

from furu_core._config._refused import MAX_DEPTH, Refused
from furu_core._config._value_types import has_tag, put_together, value_type_of
from furu_core.errors import FuruError, FuruImportNameError, FuruValueError

Default = Callable[[Any], Any]
ObjectHook = Callable[[str, Any], Any]


class NotExact(FuruError):
    """A value that could not be read back from tagged JSON equal in value and type."""


@attrs.frozen
class Writer:
    """Turns values into tagged JSON.

    Attributes:
        config: writes a Furu object.
        default: called first for every value of a type that JSON lacks; may return NotImplemented.
        exact: refuse objects that hold more than their declared fields.
    """

    config: Callable[[Any], Any]
    default: Default | None = None
    exact: bool = True

    def write(self, value: Any, depth: int = 0) -> Any:
        """The JSON form of a value.

        Raises:
            NotExact: the value could not be read back exactly.
        """
        plain = _PLAIN.get(type(value))
        if plain is not None:
            return plain(value)
        if depth > MAX_DEPTH:
            raise NotExact(f"a value is nested more than {MAX_DEPTH} levels deep")
        if type(value) is list:
            if _is_plain(value):
                return value[:]
            return [self.write(item, depth + 1) for item in value]
        if type(value) is dict:
            return self._write_dict(value, depth)
        if self.default is not None:
            found = self.default(value)
            if found is not NotImplemented:
                return found
        if hasattr(type(value), "__furu_class__"):
            return self.config(value)
        return self._write_tagged(value, depth)

    def _write_dict(self, value: dict[Any, Any], depth: int) -> Any:
        for key in value:
            if type(key) is not str or key[:1] == "$" or not _is_text(key):
                pairs = [
                    [self.write(k, depth + 1), self.write(v, depth + 1)] for k, v in value.items()
                ]
                return {"$dict": pairs}
        return {key: self.write(item, depth + 1) for key, item in value.items()}

    def _write_tagged(self, value: Any, depth: int) -> Any:
        if type(value) is tuple:
            return {"$tuple": [self.write(item, depth + 1) for item in value]}
        if type(value) is bytes:
            return {"$bytes": base64.b64encode(value).decode()}
        if type(value) in (set, frozenset):
            items = [self.write(item, depth + 1) for item in value]
            return {f"${type(value).__name__}": sorted(items, key=json.dumps)}
        try:
            kind = value_type_of(type(value))
            payload = kind.apart(value)
            reference = None if kind.cls is None else value_type_of(type).apart(kind.cls)
        except (Refused, FuruImportNameError) as error:
            raise NotExact(f"a value {error}") from error
        if type(payload) is dict:
            if self.exact and set(getattr(value, "__dict__", ())) - payload.keys():
                raise NotExact(f"a {type(value).__name__} holds more than its declared fields")
            written: Any = {name: self.write(item, depth + 1) for name, item in payload.items()}
        elif type(payload) is list:
            written = [self.write(item, depth + 1) for item in payload]
        else:
            written = self.write(payload, depth + 1)
        return {f"${kind.tag}": written if reference is None else [reference, written]}


def read(written: Any, object_hook: ObjectHook) -> Any:
    """The value that was written.

    Args:
        written: what `Writer.write` returned.
        object_hook: called with the name and payload of tags that are not known here; the payload
            is as it was written.

    Raises:
        FuruValueError: a tag is malformed.
    """
    t = type(written)
    if t is list:
        return [read(item, object_hook) if type(item) in _NESTED else item for item in written]
    if t is not dict:
        return written
    if len(written) == 1:
        ((key, payload),) = written.items()
        if key[:1] == "$":
            return _read_tag(key[1:], payload, object_hook)
    return {
        key: read(item, object_hook) if type(item) in _NESTED else item
        for key, item in written.items()
    }


def _read_tag(tag: str, payload: Any, object_hook: ObjectHook) -> Any:
    plain = _TAGS.get(tag)
    if plain is not None:
        return plain(payload, object_hook)
    if has_tag(tag):
        try:
            return put_together(tag, read(payload, object_hook))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            if isinstance(error, FuruError):
                raise
            raise FuruValueError(
                f"the record holds a malformed ${tag}: {type(error).__name__}: {error}",
                hint="was the record edited, or the class it names?",
            ) from error
    return object_hook(tag, payload)


_NESTED = frozenset({list, dict})
_LARGE = 1 << 1000  # Python refuses to read or write decimals of more than 4,300 digits

_TAGS: dict[str, Callable[[Any, ObjectHook], Any]] = {
    "tuple": lambda payload, object_hook: tuple(read(payload, object_hook)),
    "set": lambda payload, object_hook: set(read(payload, object_hook)),
    "frozenset": lambda payload, object_hook: frozenset(read(payload, object_hook)),
    "dict": lambda payload, object_hook: dict(read(pair, object_hook) for pair in payload),
    "bytes": lambda payload, _: base64.b64decode(payload),
    "float": lambda payload, _: float(payload),
    "int": lambda payload, _: int(payload, 16),
    "str": lambda payload, _: base64.b64decode(payload).decode("utf-8", "surrogatepass"),
}


def _is_text(value: str) -> bool:
    """Whether JSON gives the string back: it joins two surrogates that follow each other."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(values: list[Any]) -> bool:
    """Whether a list of numbers or of texts needs no tags, found out without a Python loop."""
    types = set(map(type, values))
    if types == {float}:
        return all(map(math.isfinite, values))
    if types == {int}:
        return bool(min(values) > -_LARGE and max(values) < _LARGE)
    return bool(types == {str} and all(map(str.isascii, values)))


def _write_str(value: str) -> Any:
    if _is_text(value):
        return value
    return {"$str": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()}


def _write_int(value: int) -> Any:
    return value if -_LARGE < value < _LARGE else {"$int": f"{value:x}"}


def _write_float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {"$float": "nan" if value != value else str(value)}


def _same(value: Any) -> Any:
    return value


_PLAIN: dict[type, Callable[[Any], Any]] = {
    type(None): _same,
    bool: _same,
    int: _write_int,
    float: _write_float,
    str: _write_str,
}
