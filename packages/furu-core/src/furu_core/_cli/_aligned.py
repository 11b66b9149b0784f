"""Tables for people: columns in their words, aligned, and no wider than the terminal."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from furu_core._cli._output import is_terminal, say
from furu_core._tables._columns import BUILTIN, PREFIX, cell_text
from furu_core._text import duration, harmless, size, when

_GAP: Final = "  "
_CUT: Final = "…"
_LONG: Final = 60  # characters of a cell
_SHORT: Final = 24  # characters of a cell where there is little room
_DIGITS: Final = 12  # of a hash
_PRECISION: Final = 5  # digits of numbers with a fraction
_MANY: Final = 99  # decimals, of a number that is better written with an exponent
_STYLED: Final = 1000  # rows: styles take long

_LEADING: Final = frozenset({"class", "state"})  # built-in columns that tell what a row is
_OUTCOMES: Final = frozenset({"error", "message"})

_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    **dict.fromkeys(("took", "computed", "cpu"), duration),
    **dict.fromkeys(("peak", "size"), size),
    **dict.fromkeys(("started", "ended"), when),
    "node": lambda node_hash: node_hash[:_DIGITS],
}


def print_table(columns: Mapping[str, Sequence[Any]]) -> int:
    """Print a table: numbers to the right, all else to the left.

    Args:
        columns: the cells of each column, by its name.

    Returns:
        How many columns were left out, because the terminal has no room for them.
    """
    laid_out = [_Column.of(name, cells) for name, cells in columns.items()]
    on_terminal = is_terminal(1)
    shown = _fitted(laid_out, shutil.get_terminal_size().columns) if on_terminal else laid_out
    lines = [_GAP.join(row).rstrip() for row in zip(*(one.lines() for one in shown), strict=True)]
    if on_terminal and len(lines) <= _STYLED:
        _print_styled(lines)
    else:
        say("\n".join(lines))
    return len(laid_out) - len(shown)


@attrs.frozen
class _Column:
    """A column as it is printed.

    Attributes:
        head: its name, or the end of it.
        texts: its cells.
        is_number: whether it is aligned to the right.
        need: of how much use it is, where there is not room for all.
    """

    head: str
    texts: list[str]
    is_number: bool
    need: int

    @classmethod
    def of(cls, name: str, cells: Sequence[Any]) -> _Column:
        known = name.removeprefix(PREFIX)
        kinds = set(map(type, cells)) - {type(None)}
        words = _WORDS.get(known)
        name = _one_line(name, len(name))
        if words is not None and kinds <= ({str} if known == "node" else {int, float}):
            texts = ["" if cell is None else words(cell) for cell in cells]
            return cls(name, texts, known != "node", _need_of(name))
        if float in kinds:
            texts = _with_equal_decimals(cells)
        else:
            texts = [_one_line(text, _LONG) for text in map(cell_text, cells)]
        return cls(name, texts, bool(kinds & {int, float}), _need_of(name))

    @property
    def width(self) -> int:
        return max(map(len, [self.head, *self.texts]))

    def lines(self) -> list[str]:
        width = self.width
        if self.is_number:
            return [text.rjust(width) for text in (self.head, *self.texts)]
        return [text.ljust(width) for text in (self.head, *self.texts)]


def _with_equal_decimals(cells: Sequence[Any]) -> list[str]:
    """Numbers with equally many decimals, unless some are too small or large beside the others."""
    texts = [_one_line(cell_text(cell), _LONG) for cell in cells]
    numbers = [abs(cell) for cell in cells if isinstance(cell, float) and math.isfinite(cell)]
    before = len(str(int(max(numbers, default=0.0)))) if max(numbers, default=0.0) >= 1 else 0
    most = _PRECISION - before
    needed = max(map(_decimals_of, numbers), default=0)
    decimals = max(1, min(needed, most))
    smallest = min(filter(None, numbers), default=1.0)
    if most < 1 or (decimals < needed and smallest < 10.0 ** (1 - decimals)):
        return texts
    return [
        f"{cell:.{decimals}f}" if isinstance(cell, float) and math.isfinite(cell) else text
        for cell, text in zip(cells, texts, strict=True)
    ]


def _decimals_of(number: float) -> int:
    text = f"{number:.{_PRECISION}g}"
    return _MANY if "e-" in text else len(text.partition(".")[2])


def _one_line(text: str, longest: int) -> str:
    if len(text) <= longest and text.isprintable():
        return text
    text = harmless(" ".join(text.split()))
    return text if len(text) <= longest else text[: longest - 1] + _CUT


def _fitted(columns: list[_Column], width: int) -> list[_Column]:
    """The columns with shorter heads and cells, or fewer of them, so that they fit into a width."""
    if _width_of(columns) > width:
        heads = _short_heads([one.head for one in columns])
        columns = [
            attrs.evolve(one, head=head, texts=[_one_line(text, _SHORT) for text in one.texts])
            for one, head in zip(columns, heads, strict=True)
        ]
    while _width_of(columns) > width and len(columns) > 1:
        least = min(one.need for one in columns)
        del columns[max(place for place, one in enumerate(columns) if one.need == least)]
    return columns


def _need_of(name: str) -> int:
    """Of how much use a column is: what it took least, then parameters, then what came out, and most the hash."""
    known = name.removeprefix(PREFIX)
    if known == "node":
        return 3
    if known in _OUTCOMES or known.partition(".")[0] == "result":
        return 2
    return 0 if known in BUILTIN and known not in _LEADING else 1


def _width_of(columns: Sequence[_Column]) -> int:
    return sum(one.width for one in columns) + len(_GAP) * (len(columns) - 1)


def _short_heads(names: Sequence[str]) -> list[str]:
    """The last parts of dotted names, as many as tell each from the others."""
    found = []
    for name in names:
        parts = name.split(".")
        for start in range(len(parts) - 1, -1, -1):
            end = ".".join(parts[start:])
            if not any(other != name and f".{other}".endswith(f".{end}") for other in names):
                break
        found.append(_CUT + end if start > 0 and len(end) + 1 < len(name) else name)
    return found


def _print_styled(lines: Sequence[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    head, *rows = lines
    console.print(Text(head, style="bold"), soft_wrap=True)
    for row in rows:
        text = Text(row)
        text.highlight_regex(r"\b[0-9a-f]{12}\b", "cyan")
        text.highlight_regex(r"^(failed|lost)\b", "red")
        console.print(text, soft_wrap=True)
