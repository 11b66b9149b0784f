"""Stored nodes as one table: the columns worth showing, in an order, or averaged over some fields."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from furu_core._status._states import NodeState
from furu_core._tables._columns import BUILTIN, PREFIX, cell_text, check_columns
from furu_core._tables._facts import FactReader
from furu_core._tables._node_columns import NodeColumns
from furu_core._tables._packed import ABSENT
from furu_core._tables._selection import Selection

_ALWAYS: Final = ("took", "peak", "node")  # built-in columns of each table
_OF_FAILURES: Final = ("error", "message")  # of tables that have any
_COUNT: Final = "nodes"  # the column with the number of nodes that were averaged
_INDEX: Final = re.compile(r"\[\d+\]")  # in the name of a field of an item of a list
_KEYS: Final = 8  # columns by which rows are sorted if nothing else is said


@attrs.frozen
class TableOptions:
    """What a table of nodes has.

    Attributes:
        columns: its columns; by default the fields that vary, the parts of results that are no
            lists or dicts, time, memory and hash.
        sort: columns to sort by; those with a minus before their name from the highest down. By
            default rows are sorted by class and fields.
        in_order: hashes in whose order the rows are, if nothing is said in `sort`.
        top: at most so many rows.
        mean_over: fields over which results are averaged: a row is a group of nodes that have all
            other fields in common.
        everything: also fields that are the same in all rows, all of the result, and all built-in
            columns.
    """

    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    in_order: tuple[str, ...] = ()
    top: int | None = None
    mean_over: tuple[str, ...] = ()
    everything: bool = False


@attrs.frozen
class NodeTable:
    """Nodes as a table.

    Attributes:
        columns: the cells of each column, in the order of rows; None where a node lacks it.
        rows: how many rows there are.
        left_out: how many further rows `TableOptions.top` left out.
        states: how many nodes are in each state, of all that were asked for; not all are rows,
            where nothing is said of states: only those with results.
        constant: the fields that are the same in all rows, and no columns.
        repeated: fields of items of a list that have in each row what another item has there, and are no columns.
        nodes: class and hash of each node that is a row or in one.
    """

    columns: dict[str, list[Any]]
    rows: int
    left_out: int
    states: Counter[str]
    constant: dict[str, Any]
    repeated: list[str]
    nodes: list[tuple[str, str]]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows, each as a dict."""
        names = list(self.columns)
        return [
            dict(zip(names, row, strict=True)) for row in zip(*self.columns.values(), strict=True)
        ]


def table_of(
    selection: Selection, options: TableOptions, facts: FactReader | None = None
) -> NodeTable:
    """The table of some nodes.

    Args:
        selection: which; if nothing is said of states, those that have results.
        options: what the table has.
        facts: reads the nodes.

    Raises:
        FuruUsageError: no node has a column that somebody named.
        FuruStoreError: the store cannot be read.
    """
    parts = attrs.evolve(selection, states=frozenset()).columns(facts)
    states: Counter[str] = Counter()
    for part in parts:
        states.update(part.builtin("state"))
    wanted = selection.states or {NodeState.DONE.value}
    chosen = [part.where([one in wanted for one in part.builtin("state")]) for part in parts]
    nodes = _Nodes([part for part in chosen if len(part)])
    check_columns(options.mean_over, [dict.fromkeys(nodes.names())])
    source = _Groups(nodes, options.mean_over) if options.mean_over else nodes
    sort = [direction_of(one) for one in options.sort]
    named = [*options.columns, *(name for name, _ in sort)]
    check_columns(named, [dict.fromkeys(source.names())])
    order = list(range(source.size))
    if options.in_order and isinstance(source, _Nodes):
        places = {node_hash: place for place, node_hash in enumerate(options.in_order)}
        hashes = source.builtin("node")
        order.sort(key=lambda index: places.get(hashes[index], len(places)))
    else:
        for name in reversed(source.keys[:_KEYS]):
            order = in_order_of(order, source.column(name))
    for name, is_descending in reversed(sort):
        order = in_order_of(order, source.column(name), is_descending=is_descending)
    shown = options.columns or source.shown(everything=options.everything)
    is_open = not options.columns and not options.everything
    repeated = list(_repeated(shown, source.column)) if is_open else []
    kept = order[: options.top]
    columns = {name: _cells(source.column(name), kept) for name in dict.fromkeys(shown)}
    for name in repeated:
        del columns[name]
    constant = {name: cell for name, cell in nodes.constant.items() if name not in columns}
    shown_nodes = list(zip(nodes.builtin("class"), nodes.builtin("node"), strict=True))
    if source is nodes and options.top is not None:
        shown_nodes = [shown_nodes[index] for index in kept]
    left_out = len(order) - len(kept)
    return NodeTable(columns, len(kept), left_out, states, constant, repeated, shown_nodes)


def _repeated(names: Iterable[str], cells_of: Callable[[str], list[Any]]) -> Iterator[str]:
    """The columns of items of a list that tell what that of another item tells, in each row.

    Of a report on 36 models with one seed, that of the first model is enough.
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        pattern, number = _INDEX.subn("[]", name)
        if number:
            alike.setdefault(pattern, []).append(name)
    for members in alike.values():
        told: list[list[Any]] = []
        for name in members if len(members) > 1 else ():
            cells = cells_of(name)
            if any(_are_equal(cells, others) for others in told):
                yield name
            else:
                told.append(cells)


def _are_equal(cells: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(
        one is other or _cell_key(one) == _cell_key(other)
        for one, other in zip(cells, others, strict=True)
    )


class _Nodes:
    """The columns of nodes of several classes."""

    def __init__(self, parts: Sequence[NodeColumns]) -> None:
        self._parts = parts
        self.size = sum(map(len, parts))
        self.varying: list[str] = []
        self.constant: dict[str, Any] = {}
        self._fields = dict.fromkeys(name for part in parts for name in part.fields)
        for name in self._fields:
            first = self._only(name)
            if first is ABSENT:
                self.varying.append(name)
            else:
                self.constant[name] = first
        several = [name for name in ("class", "state") if self._varies(self.builtin(name))]
        self._leading = [self._label(name) for name in several]
        self.keys = [*self._leading, *self.varying]

    def names(self) -> list[str]:
        """The names of all columns."""
        return list(dict.fromkeys(name for part in self._parts for name in part.names()))

    def column(self, name: str) -> list[Any]:
        """The cells of a column."""
        if name in self._fields:
            return self._joined(lambda part: part.fields.get(name) or [ABSENT] * len(part))
        return self._joined(lambda part: part.column(name))

    def builtin(self, name: str) -> list[Any]:
        """The cells of a built-in column."""
        return self._joined(lambda part: part.builtin(name))

    def results(self) -> list[str]:
        """The names of the columns of results."""
        return list(dict.fromkeys(name for part in self._parts for name in part.results))

    def shown(self, *, everything: bool) -> list[str]:
        """The columns of a table of which nobody said which it has."""
        if everything:
            return [*self._fields, *self.results(), *map(self._label, BUILTIN)]
        fields = self.varying if self.size > 1 else list(self._fields)
        scalars = [name for name in self.results() if _is_scalar(self.column(name))]
        failures = [name for name in _OF_FAILURES if any(self.builtin(name))]
        others = map(self._label, [*_ALWAYS, *failures])
        return list(dict.fromkeys([*self._leading, *fields, *scalars, *others]))

    def _joined(self, cells: Callable[[NodeColumns], list[Any]]) -> list[Any]:
        if len(self._parts) == 1:
            return cells(self._parts[0])
        return [cell for part in self._parts for cell in cells(part)]

    def _label(self, name: str) -> str:
        return PREFIX + name if name in self._fields else name

    def _only(self, name: str) -> Any:
        """The value that all nodes with a field have there; `ABSENT` if they differ.

        That other classes lack the field is no difference; that nodes of the same class do is one.
        """
        having = {part.cls for part in self._parts if name in part.fields}
        cells = [
            cell
            for part in self._parts
            if part.cls in having
            for cell in part.fields.get(name) or [ABSENT]
        ]
        return ABSENT if self._varies(cells) else cells[0]

    @staticmethod
    def _varies(cells: Sequence[Any]) -> bool:
        first = cells[0] if cells else None
        key = _cell_key(first)
        return any(cell is not first and _cell_key(cell) != key for cell in cells)


class _Groups:
    """Nodes in groups that differ in some fields only, and the means of their results.

    Args:
        nodes: the nodes.
        over: those fields.
    """

    def __init__(self, nodes: _Nodes, over: Sequence[str]) -> None:
        self.keys = [name for name in nodes.keys if name not in over]
        columns = [list(map(_cell_key, nodes.column(name))) for name in self.keys]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index in range(nodes.size):
            groups.setdefault(tuple(column[index] for column in columns), []).append(index)
        self.size = len(groups)
        members = list(groups.values())
        self._columns: dict[str, list[Any]] = {}
        for name in self.keys:
            cells = nodes.column(name)
            self._columns[name] = [cells[indices[0]] for indices in members]
        results = nodes.results()
        for name in results:
            cells = nodes.column(name)
            if not any(_is_number(cell) for cell in cells):
                continue
            numbers = [[cells[i] for i in indices if _is_number(cells[i])] for indices in members]
            found = list(map(_mean_and_deviation, numbers))
            self._columns[name] = [mean for mean, _ in found]
            told = {"std": [deviation for _, deviation in found]}
            if any(len(one) < len(indices) for one, indices in zip(numbers, members, strict=True)):
                told["count"] = list(map(len, numbers))
            for what, column in told.items():
                label = f"{name}.{what}"
                self._columns[PREFIX + label if label in results else label] = column
        count = PREFIX + _COUNT if _COUNT in self._columns else _COUNT
        self._columns[count] = list(map(len, members))

    def names(self) -> list[str]:
        """The names of all columns."""
        return list(self._columns)

    def column(self, name: str) -> list[Any]:
        """The cells of a column."""
        return self._columns[name]

    def shown(self, *, everything: bool) -> list[str]:
        """The columns of a table of which nobody said which it has: all that there are."""
        del everything
        return list(self._columns)


def _mean_and_deviation(numbers: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation of some numbers; None for too few."""
    if not numbers:
        return None, None
    try:
        mean = math.fsum(numbers) / len(numbers)
        squares = math.fsum((number - mean) ** 2 for number in numbers)
    except (OverflowError, ValueError):  # infinite, or nearly
        return math.nan, math.nan
    return mean, math.sqrt(squares / (len(numbers) - 1)) if len(numbers) > 1 else None


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float)


def _is_scalar(cells: Iterable[Any]) -> bool:
    return any(cell is not ABSENT and not isinstance(cell, list | dict) for cell in cells)


def direction_of(text: str) -> tuple[str, bool]:
    """The column that a word of `--sort` names, and whether the highest come first."""
    return text.removeprefix("-"), text.startswith("-")


def in_order_of(
    order: list[int], cells: Sequence[Any], *, is_descending: bool = False
) -> list[int]:
    """Some positions in the order of their cells: numbers, then texts; those without any last."""
    missing: list[int] = []
    if not set(map(type, cells)) <= {int, bool, str}:
        missing = [index for index in order if _is_missing(cells[index])]
        order = [index for index in order if not _is_missing(cells[index])]
    kinds = set(map(type, map(cells.__getitem__, order)))
    if kinds <= {int, float, bool} or kinds == {str}:
        return sorted(order, key=cells.__getitem__, reverse=is_descending) + missing
    keys = {index: _sort_key(cells[index]) for index in order}
    return sorted(order, key=keys.__getitem__, reverse=is_descending) + missing


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is ABSENT or cell != cell  # the last for NaN


def _sort_key(cell: Any) -> tuple[int, Any]:
    return (0, cell) if _is_number(cell) else (1, cell_text(cell))


def _cell_key(cell: Any) -> Any:
    """What tells a cell from others, as a key of dicts: of fields what makes another config, and nothing else."""
    if isinstance(cell, list | dict):
        return type(cell), json.dumps(cell, sort_keys=True, default=str)
    if type(cell) is float:  # NaN is one value, and -0.0 another than 0.0
        return float, repr(cell)
    return type(cell), cell


def _cells(cells: Sequence[Any], order: Sequence[int]) -> list[Any]:
    return [None if (cell := cells[index]) is ABSENT else cell for index in order]
