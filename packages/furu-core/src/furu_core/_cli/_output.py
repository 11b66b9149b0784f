"""Printing by commands, and their exit statuses."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click

from furu_core._cli import _completing

FAILED: Final = 1  # the run, or what was asked for, failed
USAGE: Final = 2  # the command line or a setting is wrong
INCOMPLETE: Final = 3  # of `furu why`: something would be computed
INTERRUPTED: Final = 128 + signal.SIGINT
BROKEN_PIPE: Final = 128 + signal.SIGPIPE  # the reader of the output closed the pipe

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
csv_option = click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV: seconds, bytes, whole hashes."
)

rerun_option = click.option(
    "--rerun",
    multiple=True,
    metavar="CLASS",
    shell_complete=_completing.a_class,
    help="Compute its nodes again, and what depends on them; may be repeated.",
)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_csv(rows: Iterable[Mapping[str, Any]], names: Iterable[str] = ()) -> None:
    """Print rows as CSV: JSON for what is nested, nothing for None.

    Args:
        rows: the rows.
        names: the columns; by default all that a row has.
    """
    kept = list(rows)
    names = list(names) or list(dict.fromkeys(name for row in kept for name in row))
    if not names:
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in kept:
        cells = (row.get(name) for name in names)
        writer.writerow(
            json.dumps(cell, ensure_ascii=False) if isinstance(cell, list | dict | tuple) else cell
            for cell in cells
        )


def refuse_csv_and_json(as_csv: bool, as_json: bool) -> None:
    """Refuse a command line that wants both.

    Raises:
        click.UsageError: it does.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")


def say_next(text: str) -> None:
    """Say what to type next, on stderr, where it is in nobody's way who reads the answer."""
    click.echo(text, err=True)


def styled(text: str, colour: str | None = None, *, bold: bool = False) -> str:
    """A text in a colour, unless NO_COLOR is set; click leaves all styles out where no terminal is."""
    colour = None if os.environ.get("NO_COLOR") else colour
    return click.style(text, fg=colour, bold=bold or None) if colour or bold else text


def say_error(message: str, hint: str) -> None:
    """Say what is wrong, and what to do about it if that is known, on stderr."""
    click.echo(f"{styled('error:', 'red', bold=True)} {message}", err=True)
    if hint:
        click.echo(f"{styled('hint:', 'cyan')} {hint}", err=True)


@contextmanager
def only_json(active: bool) -> Iterator[None]:
    """Send all other output to stderr, child processes' too, so that stdout has only JSON."""
    if not active or sys.stdout is None:
        yield
        return
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def silence_stdout() -> None:
    """Discard buffered output: at exit, Python would complain about the closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
