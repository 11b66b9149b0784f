"""Tagged JSON of any value, which is read back equal in value and type, or an error."""

from __future__ import annotations

import json
from typing import Any, Final

from furu_core._forms._pack import from_dict, to_dict
from furu_core._forms._tagged_json import Default, NotExact, ObjectHook, Writer, read
from furu_core.errors import FuruValueError

__all__ = ["NotExact", "dumps", "from_json", "loads", "to_json"]


def to_json(value: Any, *, default: Default | None = None) -> Any:
    """The JSON form of a value, with types kept by tags.

    Args:
        value: any value; Furu objects may be nested in it.
        default: called first for every value of a type that JSON lacks (so not for None, bool, int,
            float, str, list and dict); returns the JSON to write for it, or NotImplemented.

    Raises:
        NotExact: the value could not be read back exactly.

    Example:
        >>> to_json({"shape": (2, 3)})
        {'shape': {'$tuple': [2, 3]}}
    """
    return Writer(lambda obj: {"$furu": to_dict(obj)}, default).write(value)


def from_json(written: Any, *, object_hook: ObjectHook | None = None) -> Any:
    """The value that `to_json` wrote.

    Args:
        written: the JSON value.
        object_hook: called as ``object_hook(tag, payload)`` for tags that are not furu's own,
            without their ``$``; returns the value.

    Raises:
        FuruValueError: a tag is unknown or malformed.
    """

    def read_tag(tag: str, payload: Any) -> Any:
        if tag == "furu":
            return from_dict(payload)
        found = NotImplemented if object_hook is None else object_hook(tag, payload)
        if found is NotImplemented:
            raise FuruValueError(
                f"the record holds an unknown tag ${tag}", hint="it may be the work of a newer furu"
            )
        return found

    return read(written, read_tag)


def dumps(value: Any, *, default: Default | None = None) -> str:
    """`to_json` as compact text."""
    return _compact(to_json(value, default=default))


_compact: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def loads(text: str | bytes, *, object_hook: ObjectHook | None = None) -> Any:
    """The value that `dumps` wrote."""
    written = json.loads(text)
    # Most results are plain JSON, without any tag to decode.
    mark: Any = b'"$' if isinstance(text, bytes) else '"$'
    return from_json(written, object_hook=object_hook) if mark in text else written
