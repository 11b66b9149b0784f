"""Runs the benchmarks and prints their rows: ``python tests/bench/run.py [--peers] [--json] [WORD...]``."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from bench.row import HEADINGS, Row  # noqa: E402 - the package is found by the line above


def modules() -> list[str]:
    """The names of all benchmark modules."""
    return sorted(file.stem for file in FOLDER.glob("bench_*.py"))


def rows(words: list[str]) -> Iterator[Row]:
    """The rows of all modules, or those whose module or name has one of the words."""
    named = [name for name in modules() if any(word in name for word in words)]
    for name in named or modules():
        for row in importlib.import_module(f"bench.{name}").rows():
            if not words or name in named or any(word in row.name for word in words):
                yield row


def peers_rows(words: list[str]) -> Iterator[Row]:
    """The rows of the comparison with peers, or those whose name has one of the words."""
    yield from importlib.import_module("bench.peers").rows(words)


def main(arguments: list[str]) -> int:
    """Print the table, or JSON lines with ``--json``; 1 if a target was missed."""
    as_json, with_peers = "--json" in arguments, "--peers" in arguments
    words = [argument for argument in arguments if not argument.startswith("-")]
    widths = [44, 10, 10, 8, 9, 16, 7, 0]
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # each process would compile all that it imports
    if not as_json:
        print(
            f"Python {platform.python_version()}, {os.cpu_count()} cores, "
            f"load {os.getloadavg()[0]:.1f}, in {tempfile.gettempdir()}\n"
        )
        print(_line(HEADINGS, widths))
    missed = 0
    for row in (peers_rows if with_peers else rows)(words):
        missed += row.ok is False
        if as_json:
            import attrs

            print(json.dumps({**attrs.asdict(row), "ratio": row.ratio, "ok": row.ok}), flush=True)
        else:
            print(_line(row.cells(), widths), flush=True)
    return 1 if missed else 0


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = (
        f"{cell:<{width}}" if index in (0, 5, 6, 7) else f"{cell:>{width}}"
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
