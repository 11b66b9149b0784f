"""Tables for people: columns in their words, aligned, and as wide as the terminal at most."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from furu_core._status._columns import PREFIX, cell_text
from furu_core._text import duration, size, when

_GAP: Final = "  "
_LONG: Final = 40  # characters of a cell
_DIGITS: Final = 12  # of a hash

_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    **dict.fromkeys(("took", "computed", "cpu"), duration),
    **dict.fromkeys(("peak", "size"), size),
    **dict.fromkeys(("started", "ended"), when),
    "node": lambda node_hash: node_hash[:_DIGITS],
}


def print_table(columns: Mapping[str, Sequence[Any]]) -> None:
    """Print a table: numbers to the right, all else to the left."""
    click.echo("\n".join(lines(columns)))


def lines(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """The lines of a table, its head first."""
    laid_out = []
    for name, cells in columns.items():
        texts = _texts(name, cells)
        width = max(map(len, [name, *texts]))
        to_right = (name in _WORDS and name != "node") or any(
            isinstance(c, int | float) for c in cells
        )
        form = f"{{:>{width}}}" if to_right else f"{{:<{width}}}"
        laid_out.append([form.format(text) for text in (name, *texts)])
    return [_GAP.join(row).rstrip() for row in zip(*laid_out, strict=True)]


def _texts(name: str, cells: Sequence[Any]) -> list[str]:
    words = _WORDS.get(name.removeprefix(PREFIX))
    if words is not None:
        return ["" if cell is None else words(cell) for cell in cells]
    return [cell_text(cell) for cell in cells]


def raw_texts(cells: Sequence[Any]) -> list[Any]:
    """Cells for a file: numbers as they are, nothing for None, JSON for what is nested."""
    return [
        json.dumps(cell, ensure_ascii=False) if isinstance(cell, list | dict) else cell
        for cell in cells
    ]
