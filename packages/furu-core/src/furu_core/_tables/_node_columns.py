"""Nodes of one class as columns, each made when it is asked for: what tables of many nodes are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from furu_core._status._stored_nodes import StoredClass
from furu_core._tables._columns import BUILTIN, PREFIX, ColumnReader
from furu_core._tables._facts import FactColumns
from furu_core._tables._packed import ABSENT


class NodeColumns:
    """Some nodes of one class, column by column, as `ColumnReader.row` has them row by row.

    Args:
        facts: of the nodes.
        reader: lays out their configs.
    """

    def __init__(self, facts: FactColumns, reader: ColumnReader) -> None:
        self._facts = facts
        self._reader = reader
        self._of: NodeColumns | None = None
        self._chosen: list[int] = []

    def where(self, fits: Sequence[bool]) -> NodeColumns:
        """Those of the nodes that fit, given whether each does."""
        if all(fits):
            return self
        made = NodeColumns(self._facts, self._reader)
        made._of = self
        made._chosen = [index for index, one in enumerate(fits) if one]
        return made

    @property
    def cls(self) -> StoredClass:
        """Their class."""
        return self._facts.cls

    def __len__(self) -> int:
        return len(self._facts) if self._of is None else len(self._chosen)

    @cached_property
    def fields(self) -> dict[str, list[Any]]:
        """The fields of their configs, by name; `ABSENT` where a node has no such field."""
        if self._of is None:
            return self._reader.fields_of_many(self._facts)
        return self._taken(self._of.fields)

    @cached_property
    def results(self) -> dict[str, list[Any]]:
        """Their results and the parts of these, by name."""
        if self._of is None:
            return self._reader.results_of_many(self._facts)
        return self._taken(self._of.results)

    def column(self, name: str) -> list[Any]:
        """The cells of a column, `ABSENT` where a node lacks it."""
        if name in self.fields:
            return self.fields[name]
        if name.partition(".")[0] == "result":
            return self.results.get(name) or [ABSENT] * len(self)
        return self.builtin(name)

    def builtin(self, name: str) -> list[Any]:
        """The cells of a built-in column, `ABSENT` where there is none of this name."""
        found = BUILTIN.get(name.removeprefix(PREFIX))
        if found is None:
            return [ABSENT] * len(self)
        if self._of is None:
            return found.column(self._facts)
        cells = self._of.builtin(name)
        return [cells[index] for index in self._chosen]

    def names(self) -> list[str]:
        """The names of all columns."""
        builtin = [PREFIX + name if name in self.fields else name for name in BUILTIN]
        return [*self.fields, *self.results, *builtin]

    def _taken(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        taken = {name: [all_[i] for i in self._chosen] for name, all_ in columns.items()}
        return {
            name: cells
            for name, cells in taken.items()
            if any(cell is not ABSENT for cell in cells)
        }
