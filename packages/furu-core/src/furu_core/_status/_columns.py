"""A stored node as a row of named columns, and conditions on them: the words that all commands share.

The columns of a config are its fields, nested ones by dotted names (``data.split.seed``, ``models[0].lr``), in the
words of the record: a renamed field has its former name. Beside them are the columns in `BUILTIN`, and ``result`` with
its parts (``result.accuracy``). Where a field has the name of one of these, that means the field, and ``furu.took`` the
other.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from furu_core._config._class_names import relpath_of
from furu_core._config._objects import short_name_of
from furu_core._settings import _settings
from furu_core._status._facts import FactReader, NodeFacts
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._text import did_you_mean
from furu_core._trust import user_name
from furu_core.errors import FuruUsageError

PREFIX: Final = "furu."  # with which a built-in column can always be named
_DEEP: Final = 6  # levels of nested configs that become columns
_WIDE: Final = 300  # columns of one node
_ABSENT: Final = object()


def _took(facts: NodeFacts) -> float | None:
    return facts.costs.get("wall_secs")


def _computed(facts: NodeFacts) -> float | None:
    took = _took(facts)
    if took is None:
        return None
    others = facts.costs.get("waited_secs", 0.0) + facts.costs.get("nested_secs", 0.0)
    return max(0.0, took - others)


def _peak(facts: NodeFacts) -> float | None:
    return facts.costs.get("peak_bytes", facts.costs.get("process_peak_bytes"))


BUILTIN: Final[Mapping[str, Callable[[NodeFacts], Any]]] = {
    "node": lambda facts: facts.node.hash,
    "class": lambda facts: facts.node.cls.name,
    "state": lambda facts: facts.state.value,
    "took": _took,  # seconds
    "computed": _computed,  # seconds, without waiting and nested nodes
    "cpu": lambda facts: facts.costs.get("cpu_secs"),  # seconds
    "peak": _peak,  # bytes
    "size": lambda facts: facts.size,  # bytes
    "started": lambda facts: facts.started,  # seconds since 1970
    "ended": lambda facts: facts.ended,  # seconds since 1970
    "host": lambda facts: facts.host or None,
    "user": lambda facts: None if facts.owner is None else user_name(facts.owner),
    "run": lambda facts: facts.run_id or None,
    "executor": lambda facts: facts.executor or None,
    "spec_key": lambda facts: facts.spec_key or None,
    "attempt": lambda facts: facts.attempt,
    "made_by": lambda facts: facts.made_by or None,
    "kind": lambda facts: facts.kind or None,
    "error": lambda facts: facts.error_type or None,
    "message": lambda facts: facts.message or None,
}


class ColumnReader:
    """Makes rows of nodes; what many configs nest is read and laid out once.

    Args:
        facts: reads the records of nested configs.
    """

    def __init__(self, facts: FactReader | None = None) -> None:
        self._facts = FactReader() if facts is None else facts
        self._nested: dict[tuple[str, int], dict[str, Any]] = {}

    def fields(self, facts: NodeFacts) -> dict[str, Any]:
        """The fields of a node's config, nested ones by dotted names."""
        held = facts.config.get("nodes") or {}
        return self._laid_out(facts.config.get("fields") or {}, held, 0)

    def row(self, facts: NodeFacts) -> dict[str, Any]:
        """All columns of a node: fields, those of the result, and the built-in ones."""
        row = self.fields(facts)
        if facts.has_result:
            _lay_out_result(facts.result, "result", row, 0)
        for name, read in BUILTIN.items():
            value = read(facts)
            row[PREFIX + name if name in row else name] = value
        return row

    def _laid_out(
        self, fields: Mapping[str, Any], held: Mapping[str, Any], depth: int
    ) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, value in fields.items():
            self._lay_out(value, name, row, held, depth)
        return row

    def _lay_out(
        self, value: Any, name: str, row: dict[str, Any], held: Mapping[str, Any], depth: int
    ) -> None:
        if len(row) >= _WIDE:
            return
        if isinstance(value, dict) and isinstance(value.get("$ref"), str):
            for below, inner in self._config(value, held, depth).items():
                if len(row) < _WIDE:
                    row[f"{name}.{below}" if below else name] = inner
            return
        plain = untagged(value)
        if isinstance(plain, list) and any(_holds_config(item) for item in plain):
            for index, item in enumerate(plain):
                self._lay_out(item, f"{name}[{index}]", row, held, depth)
        elif isinstance(plain, dict) and any(_holds_config(item) for item in plain.values()):
            for key, item in plain.items():
                self._lay_out(item, f"{name}.{key}", row, held, depth)
        else:
            row[name] = plain

    def _config(
        self, reference: Mapping[str, Any], held: Mapping[str, Any], depth: int
    ) -> dict[str, Any]:
        """The columns of a nested config, by names that are relative to it; by an empty name its short name."""
        node_hash, class_name = reference["$ref"], str(reference.get("class", ""))
        name = short_name_of(class_name.rpartition(":")[2], node_hash)
        if depth >= _DEEP:
            return {"": name}
        inside = held.get(node_hash)
        if inside is not None:
            return self._laid_out(inside.get("fields") or {}, held, depth + 1) or {"": name}
        key = (node_hash, depth)
        if key not in self._nested:
            folder = f"{_settings.settings().path}/data/{relpath_of(class_name)}"
            node = StoredNode(StoredClass(class_name, folder), node_hash)
            config = self._facts.of(node).config
            fields, theirs = config.get("fields") or {}, config.get("nodes") or {}
            self._nested[key] = self._laid_out(fields, theirs, depth + 1) or {"": name}
        return self._nested[key]


def _holds_config(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("$ref"), str) or any(map(_holds_config, value.values()))
    return isinstance(value, list) and any(map(_holds_config, value))


def untagged(value: Any) -> Any:
    """A value of tagged JSON for people: a tuple or set as a list, a path or enum as its text."""
    if isinstance(value, list):
        return [untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, payload),) = value.items()
        if tag.startswith("$") and tag != "$ref":
            if isinstance(payload, list) and len(payload) == 2 and _is_reference(payload[0]):
                payload = payload[1]  # the first one names the class of the value
            return untagged(payload)
    if "$ref" in value:
        return value
    return {key: untagged(item) for key, item in value.items()}


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and ":" in value


def _lay_out_result(value: Any, name: str, row: dict[str, Any], depth: int) -> None:
    if isinstance(value, dict) and value and depth < _DEEP:
        for key, item in value.items():
            if len(row) < _WIDE:
                _lay_out_result(item, f"{name}.{key}", row, depth + 1)
    else:
        row[name] = value


def cell_text(value: Any) -> str:
    """A cell in the words of people; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value) if value.is_integer() else f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False, default=str)


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
_CONDITION: Final = re.compile(r"\s*([^<>=!~\s]+)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)


@attrs.frozen
class Condition:
    """A condition on a column, such as ``lr>=0.01``, ``data.name=digits`` or ``message~memory``.

    Numbers are compared as numbers, all else as text; ``~`` looks for a regular expression. A node
    without the column, or without a value there, only fulfils ``!=`` and ``= none``.

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
        """Whether a row fulfils it."""
        cell = row.get(self.column, _ABSENT)
        if cell is _ABSENT and self.column.startswith(PREFIX):
            cell = row.get(self.column.removeprefix(PREFIX), _ABSENT)
        if cell is _ABSENT or cell is None:
            wants_none = self.value.casefold() == "none"
            return wants_none != (self.sign == "!=") if self.sign in {"=", "==", "!="} else False
        compare = _OPERATORS[self.sign]
        if self.sign == "~":
            return compare(cell_text(cell), self.value)
        if isinstance(cell, bool):
            return compare(str(cell).casefold(), self.value.casefold())
        if isinstance(cell, int | float):
            number = _number(self.value)
            if number is not None:
                return compare(cell, number)
        return compare(cell_text(cell), self.value)


def _number(text: str) -> float | int | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def check_columns(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Check that columns that somebody named exist in at least one of some rows.

    Raises:
        FuruUsageError: one does in none, and there are rows; the error names similar ones.
    """
    missing = dict.fromkeys(names)
    known: dict[str, None] = {}
    for row in rows:
        known |= dict.fromkeys(row)
        for name in list(missing):
            if name in row or name.removeprefix(PREFIX) in row:
                missing.pop(name)
        if not missing:
            return
    for name in missing:
        if known:
            raise FuruUsageError(
                f"no node has a column {name!r}{did_you_mean(name, known)}",
                hint=f"there are {', '.join(_first(known, 30))}",
            )


def _first(names: Iterable[str], most: int) -> Iterator[str]:
    for number, name in enumerate(names):
        if number == most:
            yield "..."
            return
        yield name
