"""Conditions on columns, and the words for what columns hold: times, spans of time, sizes, names.

What is shown as ``12 s`` or ``27.6 MiB`` can be typed so, and a name in a condition means what it means elsewhere.
"""

from __future__ import annotations

import json
import math
import operator
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final

import attrs

from furu_core._store._folders import runs_called
from furu_core._tables._columns import PREFIX, cell_text
from furu_core._tables._packed import ABSENT
from furu_core._text import RUN_PREFIX, is_called
from furu_core.errors import FuruUsageError

_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
_SPANS: Final = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0,
}  # fmt: skip
_SIZES: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}{end}": 1024**power for power, letter in enumerate("KMGT", 1) for end in ("", "iB")},
}  # fmt: skip
_DATES: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


# Quantities


def time_of(text: str, now: float | None = None) -> float:
    """The time that a text tells: how long ago, or a date with or without a time of day.

    Args:
        text: such as ``2h``, ``3d``, ``2026-11-28`` or ``2026-11-28 15:30``, in the reader's time zone.
        now: seconds since 1970; default: the present.

    Raises:
        FuruUsageError: it tells none.

    Example:
        >>> time_of("2h", now=10_000.0)
        2800.0
    """
    span = _amount(text, _SPANS)
    if span is not None:
        return (time.time() if now is None else now) - span
    for form in _DATES:
        try:
            parsed = time.strptime(text.strip(), form)
        except ValueError:
            continue
        return time.mktime(parsed)
    raise FuruUsageError(
        f"{text!r} is no time", hint="write 30min, 2h, 3d, 2w, 2026-11-28 or '2026-11-28 15:30'"
    )


def span_of(text: str) -> float:
    """The seconds that a text tells, such as ``90``, ``200 ms`` or ``2h``.

    Raises:
        FuruUsageError: it tells none.

    Example:
        >>> span_of("90"), span_of("2h")
        (90, 7200.0)
    """
    return _told(text, _SPANS, "span of time", "90, 200ms, 30s, 5min, 2h or 3d")


def size_of(text: str) -> float:
    """The bytes that a text tells, such as ``4096``, ``1.5 GiB`` or ``20MB``; ``K``, ``M``, ``G`` are those of 1024.

    Raises:
        FuruUsageError: it tells none.

    Example:
        >>> size_of("2 KiB"), size_of("2KB")
        (2048.0, 2000.0)
    """
    return _told(text, _SIZES, "size", "4096, 20MB, 300KiB or 1.5G")


def _told(text: str, units: Mapping[str, float], what: str, forms: str) -> float:
    found = number_in(text)
    found = _amount(text, units) if found is None else found
    if found is None:
        raise FuruUsageError(f"{text!r} is no {what}", hint=f"write {forms}")
    return found


def _amount(text: str, units: Mapping[str, float]) -> float | None:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]]


def number_in(text: str) -> float | int | None:
    """The number that a text is; None if it is none."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


# What a column holds


@attrs.frozen
class Reading:
    """How a condition reads what is compared with the cells of a column.

    Attributes:
        number: the number that a text tells, of columns with quantities.
        names: whether a text means the thing that a cell names, of columns with names.
    """

    number: Callable[[str], float] | None = None
    names: Callable[[str, str], bool] | None = None


def _is_node(node_hash: str, name: str) -> bool:
    return bool(name) and node_hash.startswith(name)


def _is_run(run_id: str, name: str) -> bool:
    return bool(runs_called(name.removeprefix(RUN_PREFIX), [run_id]))


def _time_or_seconds(text: str) -> float:
    seconds = number_in(text)
    return time_of(text) if seconds is None else seconds


AS_FIELD: Final = Reading()
SPAN: Final = Reading(number=span_of)
SIZE: Final = Reading(number=size_of)
TIME: Final = Reading(number=_time_or_seconds)
RUN: Final = Reading(names=_is_run)

_OF_BUILTIN: Final[Mapping[str, Reading]] = {
    "node": Reading(names=_is_node),
    "class": Reading(names=is_called),
    "run": RUN,
    **dict.fromkeys(("took", "computed", "cpu"), SPAN),
    **dict.fromkeys(("peak", "size"), SIZE),
    **dict.fromkeys(("started", "ended"), TIME),
}


# Conditions


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "~": lambda cell, wanted: re.search(wanted, cell) is not None,
}
_EQUALITY: Final = frozenset({"=", "==", "!="})
_OF_EQUALS: Final = frozenset({"=", "==", "<=", ">="})  # what a value fulfils beside itself
_CONDITION: Final = re.compile(r"\s*([^<>=!~\s]+)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)


@attrs.frozen
class Condition:
    """A condition on a column, such as ``lr>=0.01``, ``data.name=digits`` or ``message~memory``.

    Numbers are compared as numbers, of which ``nan`` is one that equals itself alone, lists and dicts as JSON, all
    else as text; ``~`` looks for a regular expression. A node without the column, or without a value there, only
    fulfils ``!=`` and ``= none``. Built-in columns are compared with what they show: ``took>5min``, ``size>1GiB``,
    ``ended>2h``; and a node, a class or a run with any name of it.

    Attributes:
        column: the column's name.
        sign: the operator.
        value: what the cell is compared with, as it was typed.
    """

    column: str
    sign: str
    value: str

    @classmethod
    def of(cls, text: str) -> Condition:
        """The condition that a text tells.

        Raises:
            FuruUsageError: it is none.

        Example:
            >>> Condition.of("lr >= 0.01").matches({"lr": 0.1})
            True
            >>> Condition.of("data.name = digits").matches({"lr": 0.1})
            False
        """
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise FuruUsageError(
                f"{text!r} is no condition",
                hint="write for example lr=0.1, data.name!=digits, took>60 or message~memory",
            )
        column, sign, value = match.groups()
        if sign == "~":
            try:
                re.compile(value)
            except re.error as error:
                raise FuruUsageError(
                    f"{value!r} is no regular expression: {error}", hint="see Python's module re"
                ) from None
        return cls(column, sign, value)

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of a node fulfils it.

        Raises:
            FuruUsageError: the column has numbers, and is compared with something else.
        """
        name = self.column.removeprefix(PREFIX)
        is_builtin = self.column != name or PREFIX + name not in row
        cell = row.get(self.column, ABSENT)
        if cell is ABSENT and self.column != name:
            cell = row.get(name, ABSENT)
        return self.test(is_builtin=is_builtin)(cell)

    def test(self, *, is_builtin: bool = False) -> Callable[[Any], bool]:
        """What tells of a cell of the column whether it fulfils it; the cell is `ABSENT` for a node without the column.

        Args:
            is_builtin: whether the column is no field, should it have the name of a built-in one.

        Raises:
            FuruUsageError: also when it is called: the column has numbers, and is compared with something else.
        """
        name = self.column.removeprefix(PREFIX)
        return self.test_as(_OF_BUILTIN.get(name, AS_FIELD) if is_builtin else AS_FIELD)

    def test_as(self, reading: Reading) -> Callable[[Any], bool]:
        """As `test`, of a column that is read in some way."""
        return _test(self, reading)


def _with_one_nan(value: Any) -> Any:
    """A list or dict in which each NaN is the same object, since others are not equal to it, wherever they stand."""
    if isinstance(value, list):
        return list(map(_with_one_nan, value))
    if isinstance(value, dict):
        return {key: _with_one_nan(item) for key, item in value.items()}
    return math.nan if value != value else value


@cache  # a listing asks for each row, and to read a date takes long
def _test(condition: Condition, reading: Reading) -> Callable[[Any], bool]:
    sign, value = condition.sign, condition.value
    compare = _OPERATORS[sign]
    wants_none = value.casefold() == "none"
    if reading.number is None or sign == "~" or wants_none:
        number = number_in(value)
    else:
        number = reading.number(value)

    def holds(cell: Any) -> bool:
        if cell is ABSENT or cell is None:
            return wants_none != (sign == "!=") if sign in _EQUALITY else False
        if sign == "~":
            return compare(cell_text(cell), value)
        if reading.names is not None and sign in _EQUALITY:
            return reading.names(cell, value) != (sign == "!=")
        if isinstance(cell, bool):
            return compare(str(cell).casefold(), value.casefold())
        if isinstance(cell, int | float):
            if number is not None:
                if cell != cell and number != number:  # a NaN is the same as any other
                    return sign in _OF_EQUALS
                return compare(cell, number)
            if sign not in _EQUALITY:
                raise FuruUsageError(
                    f"{condition.column} is a number, and {value!r} is none",
                    hint=f"write for example '{condition.column}{sign}{cell_text(cell)}'",
                )
        if isinstance(cell, list | dict) and sign in _EQUALITY:
            with suppress(ValueError, RecursionError):
                return compare(_with_one_nan(cell), _with_one_nan(json.loads(value)))
        return compare(cell_text(cell), value)

    return holds
