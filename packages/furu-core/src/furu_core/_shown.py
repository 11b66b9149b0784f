"""A value in the words of a message: short, and never an error, whatever the value is."""

from __future__ import annotations

from typing import Any


def shown(value: object, limit: int = 60) -> str:
    """The `repr` of a value, cut; where that fails, what can be said instead.

    Args:
        value: anything.
        limit: how many characters there may be.

    Example:
        >>> shown([1, 10**5000], 40)
        '[1, 0x31e20801036510f3c591f...000000000]'
    """
    text = _text(value, 0)
    if len(text) <= limit:
        return text
    tail = min(10, limit // 4)
    return f"{text[: limit - tail - 3]}...{text[-tail:]}"


def _text(value: object, depth: int) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__ may raise anything
        if type(value) is int:
            return hex(value)  # Python refuses to write decimals of more than 4,300 digits
        part = _in_parts(value, depth + 1) if depth < 5 else None
        name = type(value).__name__
        return part or f"<{name}, whose repr raised {type(error).__name__}>"


def _in_parts(value: Any, depth: int) -> str | None:
    if type(value) is dict:
        pairs = [f"{_text(key, depth)}: {_text(item, depth)}" for key, item in value.items()]
        return f"{{{', '.join(pairs)}}}"
    brackets = _BRACKETS.get(type(value))
    if brackets is None:
        return None
    items = ", ".join(_text(item, depth) for item in value)
    comma = "," if type(value) is tuple and len(value) == 1 else ""
    return f"{brackets[0]}{items}{comma}{brackets[1]}"


_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}"}
