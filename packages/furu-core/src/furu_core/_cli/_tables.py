"""Tables on the console."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def lined_up(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> Iterator[str]:
    """Lines in which the cells of each column stand below one another.

    Args:
        rows: the cells of each line, all equally many.
        right: the numbers of the columns whose cells end below one another, such as numbers.

    Example:
        >>> list(lined_up([["node", "size"], ["a", "12"]], right=[1]))
        ['node  size', 'a       12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
