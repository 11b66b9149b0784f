"""Many values of one kind as columns, so that JSON holds what they have in common once.

===========================  ==================================================
``{"same": 3}``              all are this one
``{"keys": {"a": ..., }}``   all are dicts with these keys; of each, its column
``{"items": [{...}]}``       all are lists of this length; of each place, its column
``{"each": [1, 2]}``         one after the other
===========================  ==================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

ABSENT: Final = object()  # in place of a value, where there is none under a key
_ONCE: Final = frozenset({type(None), bool, int, str})  # types of which equal values are the same

_FEW: Final = 8  # items of lists that become columns

Packed = dict[str, Any]


def pack(values: Sequence[Any]) -> Packed:
    """Some JSON values as one column; their order of keys is kept.

    Example:
        >>> pack([{"a": 1, "b": "x"}, {"a": 2, "b": "x"}])
        {'keys': {'a': {'each': [1, 2]}, 'b': {'same': 'x'}}}
    """
    kinds = set(map(type, values))
    if kinds == {dict}:
        keys = list(values[0])
        if all(list(one) == keys for one in values):
            columns = {key: pack([one[key] for one in values]) for key in keys}
            if all("same" in column for column in columns.values()):
                return {"same": values[0]}
            return {"keys": columns}
    elif len(kinds) == 1 and kinds <= _ONCE and len(set(values)) == 1:
        return {"same": values[0]}
    elif kinds <= {list, tuple}:
        if not any(values):
            return {"same": []}
        if {len(one) for one in values} == {len(values[0])} and len(values[0]) <= _FEW:
            columns_of = [pack(column) for column in zip(*values, strict=True)]
            if all("same" in column for column in columns_of):
                return {"same": values[0]}
            return {"items": columns_of}
    return {"each": list(values)}


def unpack(packed: Packed, size: int) -> list[Any]:
    """The values that were packed.

    Args:
        packed: what `pack` returned.
        size: how many there were.
    """
    if "same" in packed:
        return [packed["same"]] * size
    if "each" in packed:
        found: list[Any] = packed["each"]
        return found
    if "items" in packed:
        places = [unpack(column, size) for column in packed["items"]]
        return list(map(list, zip(*places, strict=True)))
    keys = packed["keys"]
    columns = [unpack(column, size) for column in keys.values()]
    names = tuple(keys)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def check(packed: Packed, size: int) -> None:
    """Check that something is what `pack` returns for so many values.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not.
    """
    if "keys" in packed:
        for column in packed["keys"].values():
            check(column, size)
    elif "items" in packed:
        for column in packed["items"]:
            check(column, size)
    elif "same" not in packed and len(packed["each"]) != size:
        raise ValueError(f"there are {len(packed['each'])} values, expected {size}")


def under_key(packed: Packed, key: str) -> Packed:
    """The column of what packed dicts have under a key, None for those that lack it."""
    if "keys" in packed:
        found: Packed = packed["keys"].get(key, {"same": None})
        return found
    if "same" in packed:
        return {"same": (packed["same"] or {}).get(key)}
    if "items" in packed:
        return {"same": None}
    return {"each": [(one or {}).get(key) for one in packed["each"]]}


def by_key(packed: Packed, size: int) -> dict[str, list[Any]]:
    """What packed dicts have under each of their keys; `ABSENT` where one lacks it, or is None."""
    if "keys" in packed:
        return {key: unpack(column, size) for key, column in packed["keys"].items()}
    if "same" in packed:
        return {key: [value] * size for key, value in (packed["same"] or {}).items()}
    dicts = unpack(packed, size)
    return {key: [(one or {}).get(key, ABSENT) for one in dicts] for key in _keys(dicts)}


def _keys(dicts: Iterable[dict[str, Any] | None]) -> dict[str, None]:
    return dict.fromkeys(key for one in dicts for key in one or ())
