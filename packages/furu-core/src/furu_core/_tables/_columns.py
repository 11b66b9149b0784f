"""A stored node as a row of named columns: the words that all commands share.

The columns of a config are its fields, nested ones by dotted names (``data.split.seed``, ``models[0].lr``), and so are
those of dataclasses, attrs classes and named tuples in it, and the keys of dicts; all in the words of the record: a
renamed field has its former name. Beside them are the columns in `BUILTIN`, and ``result`` with its parts
(``result.accuracy``). Where a field has the name of one of these, that means the field, and ``furu.took`` the other.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeVar

import attrs

from furu_core._config._objects import short_name_of
from furu_core._status import _stored_nodes
from furu_core._status._stored_nodes import StoredNode
from furu_core._tables import _gone_configs
from furu_core._tables._facts import FactColumns, FactReader, NodeFacts, config_in
from furu_core._tables._packed import ABSENT, Packed, by_key, unpack
from furu_core._text import did_you_mean, writable
from furu_core._trust import user_name
from furu_core.errors import FuruUsageError

T = TypeVar("T")
PREFIX: Final = "furu."  # with which a built-in column can always be named
_DEEP: Final = 6  # levels of nested configs that become columns
_LONG: Final = 20  # items of a tuple in a result that become columns
_WIDE: Final = 300  # columns of one node
_MANY_BITS: Final = 14_000  # of a whole number that Python refuses to write in decimal digits


@attrs.frozen
class BuiltinColumn:
    """A column that every node has: what facts it is made of, and how.

    Attributes:
        parts: attributes of `NodeFacts`, or keys in one: ``costs.wall_secs``.
        make: makes a cell of these; None for the first one as it is.
    """

    parts: tuple[str, ...]
    make: Callable[..., Any] | None = None

    def __call__(self, facts: NodeFacts) -> Any:
        """The cell of a node."""
        found = [facts.part(*part.split(".")) for part in self.parts]
        return found[0] if self.make is None else self.make(*found)

    def column(self, facts: FactColumns) -> list[Any]:
        """The cells of some nodes."""
        found = [facts.column(*part.split(".")) for part in self.parts]
        return found[0] if self.make is None else list(map(self.make, *found))


def _computed(took: float | None, waited: float | None, nested: float | None) -> float | None:
    return None if took is None else max(0.0, took - (waited or 0.0) - (nested or 0.0))


def _peak(of_node: float | None, of_process: float | None) -> float | None:
    return of_process if of_node is None else of_node


def _or_none(text: str) -> str | None:
    return text or None


@cache
def _user(owner: int | None) -> str | None:
    return None if owner is None else user_name(owner)


BUILTIN: Final[Mapping[str, BuiltinColumn]] = {
    "node": BuiltinColumn(("hash",)),
    "class": BuiltinColumn(("class",)),
    "state": BuiltinColumn(("state",)),
    "took": BuiltinColumn(("costs.wall_secs",)),  # seconds
    "computed": BuiltinColumn(  # seconds, without waiting and nested nodes
        ("costs.wall_secs", "costs.waited_secs", "costs.nested_secs"), _computed
    ),
    "cpu": BuiltinColumn(("costs.cpu_secs",)),  # seconds
    "peak": BuiltinColumn(("costs.peak_bytes", "costs.process_peak_bytes"), _peak),
    "size": BuiltinColumn(("size",)),  # bytes
    "started": BuiltinColumn(("started",)),  # seconds since 1970
    "ended": BuiltinColumn(("ended",)),  # seconds since 1970
    "host": BuiltinColumn(("host",), _or_none),
    "user": BuiltinColumn(("owner",), _user),
    "run": BuiltinColumn(("run_id",), _or_none),
    "executor": BuiltinColumn(("executor",), _or_none),
    "spec_key": BuiltinColumn(("spec_key",), _or_none),
    "attempt": BuiltinColumn(("attempt",)),
    "made_by": BuiltinColumn(("made_by",), _or_none),
    "kind": BuiltinColumn(("kind",), _or_none),
    "error": BuiltinColumn(("error_type",), _or_none),
    "message": BuiltinColumn(("message",), _or_none),
}


@attrs.frozen
class _Nesting:
    """A node whose config nests others.

    Attributes:
        node: the node.
        held: the configs in its record, which have no results of their own, by their hashes.
        folder: where its record is; empty for where it belongs.
    """

    node: StoredNode
    held: Mapping[str, Any]
    folder: str = ""


class ColumnReader:
    """Makes rows of nodes; what many configs nest is read and laid out once.

    Args:
        facts: reads the records of nested configs.
    """

    def __init__(self, facts: FactReader | None = None) -> None:
        self._facts = FactReader() if facts is None else facts
        self._nested: dict[tuple[str, int], dict[str, Any]] = {}
        self._trash = _gone_configs.Trash()

    def fields(self, facts: NodeFacts) -> dict[str, Any]:
        """The fields of a node's config, nested ones by dotted names."""
        around = _Nesting(facts.node, facts.config.get("nodes") or {})
        return self._laid_out(facts.config.get("fields") or {}, around, 0)

    def row(self, facts: NodeFacts) -> dict[str, Any]:
        """All columns of a node: fields, those of the result, and the built-in ones."""
        row = self.fields(facts)
        row |= result_columns(facts.result, has_result=facts.has_result, stored_as=facts.stored_as)
        for name, read in BUILTIN.items():
            value = read(facts)
            row[PREFIX + name if name in row else name] = value
        return row

    def fields_of_many(self, facts: FactColumns) -> dict[str, list[Any]]:
        """The fields of some nodes, column by column; `ABSENT` where a node has no such field."""
        columns: dict[str, list[Any]] = {}
        held, hashes = facts.column("config", "nodes"), facts.column("hash")
        for name, values in facts.by_key("config", "fields").items():
            if {dict, list}.isdisjoint(map(type, values)):
                columns[name] = values
                continue
            rows: list[dict[str, Any]] = []
            known: dict[Any, dict[str, Any]] = {}
            for value, inside, node_hash in zip(values, held, hashes, strict=True):
                # Equal references of many nodes, and one value of all nodes, are laid out once.
                nested = isinstance(value, dict) and not inside and value.get("$ref")
                key = nested or (id(value), id(inside))
                if key not in known:
                    row: dict[str, Any] = {}
                    if value is not ABSENT:
                        around = _Nesting(StoredNode(facts.cls, node_hash), inside or {})
                        self._lay_out(value, name, row, around, 0)
                    known[key] = row
                rows.append(known[key])
            columns |= by_key({"each": rows}, len(rows))
        return columns

    def results_of_many(self, facts: FactColumns) -> dict[str, list[Any]]:
        """The columns of the results of some nodes, as `fields_of_many`."""
        has_result, others = facts.column("has_result"), facts.column("stored_as")
        if all(has_result):
            columns: dict[str, list[Any]] = {}
            _lay_out_results(facts.packed("result"), len(facts), "result", columns, 0)
            return columns
        values = facts.column("result")
        cells = zip(values, has_result, others, strict=True)
        rows = [
            result_columns(value, has_result=is_one, stored_as=other)
            for value, is_one, other in cells
        ]
        return by_key({"each": rows}, len(rows))

    def _laid_out(self, fields: Mapping[str, Any], around: _Nesting, depth: int) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, value in fields.items():
            self._lay_out(value, name, row, around, depth)
        return row

    def _lay_out(
        self, value: Any, name: str, row: dict[str, Any], around: _Nesting, depth: int
    ) -> None:
        if len(row) >= _WIDE:
            return
        if isinstance(value, dict) and isinstance(value.get("$ref"), str):
            for below, inner in self._config(value, around, depth).items():
                if len(row) < _WIDE:
                    row[f"{name}.{below}" if below else name] = inner
            return
        # A tuple of a config is one value, unless it holds configs: it has as many items as it likes.
        parts = _parts(value) if isinstance(value, dict) and "$tuple" not in value else None
        if parts:
            for key, item in parts.items():
                self._lay_out(item, f"{name}.{key}", row, around, depth)
            return
        plain = untagged(value)
        if isinstance(plain, list) and any(_holds_config(item) for item in plain):
            for index, item in enumerate(plain):
                self._lay_out(item, f"{name}[{index}]", row, around, depth)
        else:
            row[name] = plain

    def _config(self, reference: Mapping[str, Any], around: _Nesting, depth: int) -> dict[str, Any]:
        """The columns of a nested config, by names that are relative to it; by an empty name its short name."""
        node_hash, class_name = reference["$ref"], str(reference.get("class", ""))
        name = short_name_of(class_name.rpartition(":")[2], node_hash)
        if depth >= _DEEP:
            return {"": name}
        inside = around.held.get(node_hash, reference)
        if _gone_configs.FIELDS in inside:
            return self._laid_out(inside[_gone_configs.FIELDS], around, depth + 1) or {"": name}
        key = (node_hash, depth)
        if key not in self._nested:
            found = self._in_own_record(class_name, node_hash, depth)
            found = found or self._in_other_record(around, node_hash, depth)
            if not found:
                return {"": name}
            self._nested[key] = found
        return self._nested[key]

    def _in_own_record(self, class_name: str, node_hash: str, depth: int) -> dict[str, Any]:
        """The columns of a nested config by its own record, which may be in the trash."""
        node = _stored_nodes.node_called(class_name, node_hash)
        config, place = self._facts.of(node).config, ""
        if not config:
            place = self._trash.folder_of(class_name, node_hash) or ""
            config = config_in(place) if place else {}
        around = _Nesting(node, config.get("nodes") or {}, place)
        return self._laid_out(config.get("fields") or {}, around, depth + 1)

    def _in_other_record(self, around: _Nesting, node_hash: str, depth: int) -> dict[str, Any]:
        """The columns of a nested config of which only the node that nests it tells."""
        fields = _gone_configs.fields_in_expression(around.folder or around.node.folder)
        return self._laid_out(fields.get(node_hash, {}), around, depth + 1)


def _holds_config(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("$ref"), str) or any(map(_holds_config, value.values()))
    return isinstance(value, list) and any(map(_holds_config, value))


# Tags whose payload is the name of a class and the value's parts.
CLASS_TAGS: Final = frozenset({"enum", "flag", "dataclass", "attrs", "namedtuple", "subclass"})


def untagged(value: Any) -> Any:
    """A value of tagged JSON for people: a tuple or set as a list, a path or enum as its text."""
    if isinstance(value, list):
        is_plain = {dict, list}.isdisjoint(map(type, value))
        return value if is_plain else [untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, payload),) = value.items()
        if tag.startswith("$") and tag != "$ref":
            with suppress(ValueError, TypeError, LookupError, struct.error):  # a damaged record
                return _untagged(tag[1:], payload)
            return str(payload)
    if "$ref" in value:
        return value
    return {key: untagged(item) for key, item in value.items()}


def _untagged(tag: str, payload: Any) -> Any:
    match tag:
        case "float":
            return float(payload)
        case "int":
            number = int(payload, 16)
            return number if number.bit_length() < _MANY_BITS else hex(number)
        case "str":
            return writable(b64decode(payload).decode("utf-8", "surrogatepass"))
        case "numpy":
            return _numpy_number(*payload)
        case "dict":
            pairs = [(untagged(key), untagged(item)) for key, item in payload]
            found = {cell_text(key): item for key, item in pairs}
            return found if len(found) == len(pairs) else list(map(list, pairs))
        case "file":
            return f"<{payload['codec']}>"
        case "furu":
            return "<config>"
        case _:
            return untagged(payload[1] if tag in CLASS_TAGS else payload)


def _numpy_number(dtype: Any, data: Mapping[str, str]) -> Any:
    """A NumPy scalar as Python's number, without NumPy; others as the text of their type."""
    form = _NUMBERS.get(dtype[1:] if isinstance(dtype, str) else "")
    if form is None:
        return f"<{dtype}>"
    order = ">" if dtype[0] == ">" else "<"
    return struct.unpack(f"{order}{form}", b64decode(data["$bytes"]))[0]


_NUMBERS: Final[Mapping[str, str]] = {
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
}


def result_columns(value: Any, *, has_result: bool, stored_as: str) -> dict[str, Any]:
    """The columns of a result: `result`, or its parts where it has some.

    Args:
        value: the result in tagged JSON.
        has_result: whether there is one.
        stored_as: the codec of one that is not read.
    """
    row: dict[str, Any] = {}
    if has_result:
        _lay_out_result(value, "result", row, 0)
    elif stored_as:
        row["result"] = f"<{stored_as}>"
    return row


def _lay_out_result(value: Any, name: str, row: dict[str, Any], depth: int) -> None:
    parts = _parts(value) if isinstance(value, dict) and depth < _DEEP else None
    if not parts:
        row[name] = untagged(value)
        return
    for key, item in parts.items():
        if len(row) < _WIDE:
            _lay_out_result(item, f"{name}.{key}", row, depth + 1)


def _lay_out_results(
    packed: Packed, size: int, name: str, columns: dict[str, list[Any]], depth: int
) -> None:
    """`_lay_out_result` of many results at once, as far as they have the same parts."""
    parts = None if depth >= _DEEP else _packed_parts(packed)
    if parts and len(columns) + len(parts) < _WIDE:
        for key, part in parts.items():
            _lay_out_results(part, size, f"{name}.{key}", columns, depth + 1)
        return
    values = unpack(packed, size)
    if {dict, list}.isdisjoint(map(type, values)):
        columns[name] = values
        return
    rows: list[dict[str, Any]] = [{} for _ in values]
    for value, row in zip(values, rows, strict=True):
        _lay_out_result(value, name, row, depth)
    columns |= by_key({"each": rows}, size)


def _apart(parts: Mapping[Any, T] | None, nests: Callable[[T], bool]) -> Mapping[Any, T] | None:
    """Some parts if each has a column of its own, as those of ``{"a.b": 1, "a": {"b": 2}}`` do not; else None."""
    known = parts or {}
    for key in known:
        words = key.split(".") if isinstance(key, str) else ()
        for end in range(1, len(words)):
            if (above := ".".join(words[:end])) in known and nests(known[above]):
                return None
    return parts


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _has_dicts(packed: Packed) -> bool:
    if "each" in packed:
        return any(map(_is_dict, packed["each"]))
    return "keys" in packed or _is_dict(packed.get("same"))


def _packed_parts(packed: Packed) -> Mapping[Any, Packed] | None:
    """`_parts` of many values that were packed together; None where they have to be looked at singly."""
    return _apart(_packed_held(packed), _has_dicts)


def _packed_held(packed: Packed) -> Mapping[Any, Packed] | None:
    keys: dict[str, Packed] = packed.get("keys", {})
    if len(keys) != 1:
        return keys or None
    ((tag, payload),) = keys.items()
    items: list[Packed] = payload.get("items", [])
    match tag:
        case "$dataclass" | "$attrs" | "$namedtuple":
            found: Mapping[str, Packed] | None = items[1].get("keys") if len(items) == 2 else None
            return found
        case "$tuple":
            return dict(enumerate(items)) or None
        case _:
            return None if tag.startswith("$") else keys


def _parts(value: dict[str, Any]) -> Mapping[Any, Any] | None:
    """What a dict, dataclass, named tuple or short tuple in tagged JSON holds; None for all else."""
    return _apart(_held(value), _is_dict)


def _held(value: dict[str, Any]) -> Mapping[Any, Any] | None:
    if len(value) == 1:
        ((tag, payload),) = value.items()
        match tag:
            case "$dataclass" | "$attrs" | "$namedtuple":
                # In a damaged record anything may stand there.
                is_whole = isinstance(payload, list) and isinstance(payload[-1], dict)
                return payload[-1] if is_whole else None
            case "$tuple":
                return dict(enumerate(payload)) if len(payload) <= _LONG else None
            case "$dict":
                found = {cell_text(untagged(key)): item for key, item in payload}
                return found if len(found) == len(payload) else None
            case _ if tag.startswith("$"):
                return None
            case _:
                return value
    return value


def cell_text(value: Any) -> str:
    """A cell in the words of people; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value) if value.is_integer() else f"{value:.6g}"
    if type(value) is int:
        return str(value)
    return _json(value)


_json: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode


# Names of columns


def is_builtin(name: str) -> bool:
    """Whether a name always means a built-in column, or does where no field has it."""
    return name.removeprefix(PREFIX) in BUILTIN


def check_columns(
    names: Iterable[str], rows: Iterable[Mapping[str, Any]], what: str = "node"
) -> None:
    """Check that columns that somebody named exist in at least one of some rows.

    Args:
        names: the columns.
        rows: the rows.
        what: what a row is of, in the singular.

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
                f"no {what} has a column {name!r}{did_you_mean(name, known)}",
                hint=f"there are {', '.join(_first(known, 30))}",
            )


def _first(names: Iterable[str], most: int) -> Iterator[str]:
    for number, name in enumerate(names):
        if number == most:
            yield "..."
            return
        yield name
