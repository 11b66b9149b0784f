"""Stored nodes as a data frame."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from furu_core import _text
from furu_core._config._objects import config_class, is_furu
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import classes_named, including_further, node_of
from furu_core._store._folders import with_run_prefix
from furu_core._tables._columns import cell_text
from furu_core._tables._selection import Selection
from furu_core._tables._table import NodeTable, TableOptions, table_of
from furu_core.errors import FuruUsageError

FrameKind = Literal["pandas", "polars", "dicts"]

_KINDS: Final = ("pandas", "polars", "dicts")
_STATES: Final = tuple(state.value for state in NodeState)


def frame(
    what: Any = None,
    *,
    where: str | Sequence[str] = (),
    state: str | Sequence[str] = (),
    run: str | Sequence[str] = (),
    since: str | None = None,
    columns: str | Sequence[str] = (),
    sort: str | Sequence[str] = (),
    top: int | None = None,
    mean_over: str | Sequence[str] = (),
    everything: bool = False,
    also: bool = False,
    as_: FrameKind | None = None,
) -> Any:
    """Results in the store as a data frame with the columns of ``furu table``.

    There is a row for each node that has a result: the fields that vary, with dotted names where
    configs nest, the parts of the result that stand in its record, ``took`` in seconds, ``peak`` in
    bytes, and ``node``, the hash. Nothing is computed or loaded, and no code of a class is needed; a
    result that stands in a file of its own is told by its form only, such as ``<pickle>``.

    Args:
        what: objects, in any shape that a run takes, or one; a class; the name of a class, a hash,
            or the id of a run; None for all that there is. Rows of objects are in their order.
        where: conditions such as ``"data.name=digits"``, all of which rows fulfil.
        state: states of nodes; default: those that are done.
        run: the beginnings or ends of ids of runs of which one computed a node.
        since: only what ended since, such as ``"2h"`` or ``"2026-11-28"``.
        columns: the columns; default: as above.
        sort: columns to sort by, with a minus before the name from the highest down.
        top: at most so many rows.
        mean_over: fields over which results are averaged: rows are groups of nodes that have all
            other fields in common, with mean and sample standard deviation (``.std``) of each number
            in the result, and how many nodes there are (``nodes``); where some of these have no such number, also
            how many have one (``.count``).
        everything: also fields that are the same in all rows, and all else that is known.
        also: results in the stores of `FURU_ALSO`, too, each once; those of objects are found there anyway.
        as_: what to return; default: a pandas data frame if pandas is installed, else one of polars
            if that is, else a list of dicts.

    Raises:
        FuruUsageError: a name, column or condition means nothing, or `as_` is not installed.
        FuruStoreError: the store cannot be read.

    Example:
        >>> from furu_testing.nodes import Leaf
        >>> sum(Leaf(x=x).get() for x in (3, 4))
        7
        >>> frame(Leaf, columns=["x", "result"], sort="-x", as_="dicts")
        [{'x': 4, 'result': 4}, {'x': 3, 'result': 3}]
    """
    if as_ is not None and as_ not in _KINDS:
        raise FuruUsageError(
            f"as_ is {as_!r}{_text.did_you_mean(str(as_), _KINDS)}",
            hint=f"give one of {', '.join(_KINDS)}",
        )
    kind = _installed() if as_ is None else as_
    if kind != "dicts" and importlib.util.find_spec(kind) is None:
        raise FuruUsageError(
            f"{kind} is not installed", hint=f"`pip install {kind}`, or give as_='dicts'"
        )
    states = _several(state)
    for one in states:
        if one not in _STATES:
            raise FuruUsageError(
                f"there is no state {one!r}{_text.did_you_mean(one, _STATES)}",
                hint=f"give one of {', '.join(_STATES)}",
            )
    with including_further(also):
        chosen = Selection.of(
            names=[with_run_prefix(what)] if isinstance(what, str) else (),
            where=_several(where),
            states=states,
            runs=_several(run),
            since=since,
        )
        in_order: tuple[str, ...] = ()
        if isinstance(what, type) and hasattr(what, "__furu_class__"):
            identity = config_class(what).identity_name
            chosen = attrs.evolve(chosen, classes=tuple(classes_named(identity)))
        elif what is not None and not isinstance(what, str):
            nodes = tuple(map(node_of, dict.fromkeys(_objects(what))))
            in_order = tuple(node.hash for node in nodes)
            chosen = attrs.evolve(chosen, nodes=nodes, classes=())
        options = TableOptions(
            columns=_several(columns),
            sort=_several(sort),
            in_order=in_order,
            top=top,
            mean_over=_several(mean_over),
            everything=everything,
        )
        return _MAKERS[kind](table_of(chosen, options))


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _objects(what: Any) -> Iterator[Any]:
    """The Furu objects in lists, dicts and other collections."""
    if is_furu(what):
        yield what
    elif isinstance(what, Mapping):
        for one in what.values():
            yield from _objects(one)
    elif isinstance(what, Iterable) and not isinstance(what, str | bytes | type):
        for one in what:
            yield from _objects(one)
    else:
        raise FuruUsageError(
            f"{_text.shown(what)} is no Furu object",
            hint="give objects, a Furu class, or the name of a class or run",
        )


def _installed() -> FrameKind:
    for kind in ("pandas", "polars"):
        if importlib.util.find_spec(kind) is not None:
            return "pandas" if kind == "pandas" else "polars"
    return "dicts"


def _pandas(found: NodeTable) -> Any:
    pandas = importlib.import_module("pandas")
    columns = {}
    for name, cells in found.columns.items():
        kinds = {type(cell) for cell in cells if cell is not None}
        # Else numbers without a fraction would become some with one where one is missing.
        nullable = {frozenset({int}): "Int64", frozenset({bool}): "boolean"}
        form = nullable.get(frozenset(kinds)) if None in cells else None
        try:
            columns[name] = pandas.Series(cells, dtype=form)
        except (OverflowError, TypeError):  # a number of more than 64 bits
            columns[name] = pandas.Series(cells, dtype=object)
    return pandas.DataFrame(columns)


def _polars(found: NodeTable) -> Any:
    polars = importlib.import_module("polars")
    columns = []
    for name, cells in found.columns.items():
        try:
            kinds = set(map(type, _leaves(cells))) - {type(None)}
            numbers = list(map(_with_floats, cells)) if kinds == {int, float} else cells
            series = polars.Series(name, numbers)
            if kinds & {bool, dict} or list in set(map(type, cells)):
                # The type of the first ones is forced upon the others, which lose fractions, keys and types.
                _refuse_changed(series.to_list(), numbers)
        except (OverflowError, TypeError, polars.exceptions.PolarsError):  # of several types
            texts = [None if cell is None else cell_text(cell) for cell in cells]
            series = polars.Series(name, texts)
        columns.append(series)
    return polars.DataFrame(columns)


def _leaves(cells: Sequence[Any]) -> Iterator[Any]:
    """What stands in some cells, and in lists there."""
    for cell in cells:
        if isinstance(cell, list):
            yield from _leaves(cell)
        else:
            yield cell


def _with_floats(cell: Any) -> Any:
    """A number, or lists of such, with a fraction."""
    if isinstance(cell, list):
        return list(map(_with_floats, cell))
    return float(cell) if type(cell) is int else cell


def _refuse_changed(made: list[Any], cells: list[Any]) -> None:
    first, second = (json.dumps(one, sort_keys=True, default=str) for one in (made, cells))
    if first != second:
        raise TypeError("of several types")


_MAKERS: Final = {"pandas": _pandas, "polars": _polars, "dicts": NodeTable.dicts}
