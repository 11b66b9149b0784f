"""Printing by commands, and their exit statuses.

All that a command prints goes through `say` and what is built on it, `print_table` for tables, or, for what nodes
printed, `NodeOutput`: so a terminal gets no escape sequence from a store but those that set colours.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self, TextIO

import click

from furu_core._cli import _completing
from furu_core._output._console import stream
from furu_core._text import harmless, json_text, leaves_colours, without_open_colours
from furu_core.errors import FuruUsageError

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

# The first half of a sequence for a colour, perhaps, at the end of what came so far.
_BEGUN: Final = re.compile("\x1b(\\[[0-9;:]{0,64})?\\Z")


def say(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text of furu or of a store; on a terminal it can set colours until its line ends, and nothing else.

    Example:
        >>> from furu_core.command import say
        >>> say("3 results")
        3 results

    Args:
        text: it, of one line or several.
        err: print it on stderr.
        nl: end the line.
    """
    said = str(text)
    if not said.isprintable() and is_terminal(2 if err else 1):
        said = without_open_colours(harmless(said, colours=True))
    click.echo(said, err=err, nl=nl)  # noqa: TID251


def say_exactly(text: str) -> None:
    """Print text of the user's, such as code, to which nothing is added; elsewhere than on a terminal as it is."""
    if is_terminal(1):
        say(text, nl=False)
    else:
        click.echo(text, nl=False, color=True)  # noqa: TID251 - else click leaves colours out


def is_terminal(number: int) -> bool:
    """Whether stdout (1) or stderr (2) is there, and is a terminal."""
    return stream(number) is not None and bool(stream(number).isatty())


def show_progress(text: str = "") -> None:
    """Show on stderr, which is a terminal, how far the command is, in place of what it showed before.

    Args:
        text: it; empty to show nothing any more.
    """
    click.echo(f"\r\x1b[K{harmless(text)}", nl=False, err=True)  # noqa: TID251


class NodeOutput:
    """Prints what nodes printed, byte for byte; for a terminal, see `say`, and what returns to the line's begin.

    Progress bars do that, and change no line but their own. Colours may stay set from one line to the next,
    until the output ends.
    """

    def __init__(self) -> None:
        self._is_shown = is_terminal(1)
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""
        self._has_colour = False

    def __enter__(self) -> Self:
        if sys.stdout is not None:
            sys.stdout.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_shown:
            self._show(self._held + self._decoder.decode(b"", final=True))
            if self._has_colour:
                self._show("\x1b[0m")

    def write(self, data: bytes) -> None:
        """Print what comes next."""
        if not self._is_shown:
            self._write(data)
            return
        text = self._held + self._decoder.decode(data)
        begun = _BEGUN.search(text)
        self._held = begun[0] if begun else ""
        self._show(text.removesuffix(self._held))

    def _show(self, text: str) -> None:
        self._has_colour = leaves_colours(text, before=self._has_colour)
        shown = "\r".join(harmless(part, colours=True) for part in text.split("\r"))
        self._write(shown.encode(sys.stdout.encoding, "backslashreplace"))

    @staticmethod
    def _write(data: bytes) -> None:
        if data and sys.stdout is not None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    say(json_line(value, indent=2))


def print_json_line(value: Any) -> None:
    """Print a JSON document in a line, of several that are printed as they are found."""
    say(json_line(value))


def json_line(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON that the output can have all of: in other encodings than UTF-8 characters are escaped."""
    return json_text(value, indent, only_ascii=sys.stdout is not None and not _is_utf8(sys.stdout))


def _is_utf8(stream: TextIO) -> bool:
    """Whether a stream can have any text written to it."""
    return codecs.lookup(stream.encoding or "ascii").name == "utf-8"


def accept_all_text() -> None:
    """Have what an encoding such as Latin-1 lacks written as `\\u2192`, where Python would end with an error.

    So are bytes of paths that are no text. In place of ASCII, in which Python believes where nobody set a locale, it
    is UTF-8, as click has it.
    """
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):
            encoding = codecs.lookup(file.encoding).name
            if encoding != "utf-8" or file.errors == "strict":
                file.reconfigure(
                    encoding="utf-8" if encoding == "ascii" else None, errors="backslashreplace"
                )


def print_csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Print rows as CSV: JSON for what is nested, nothing for None.

    Args:
        rows: the rows.
        columns: the columns that each row has, which are named also where there is no row; those that only some
            rows have come after them.
    """
    kept = list(rows)
    names = list(dict.fromkeys([*columns, *(name for row in kept for name in row)]))
    text = io.StringIO()
    # A carriage return is quoted only where it ends lines, and readers take one that is not for the end of a row.
    writer = csv.writer(_UnixLines(text), lineterminator="\r\n")
    writer.writerow(names)
    for row in kept:
        cells = (row.get(name) for name in names)
        writer.writerow(
            json_text(cell) if isinstance(cell, list | dict | tuple) else cell for cell in cells
        )
    say_exactly(text.getvalue())


class _UnixLines:
    """A file for lines that end as those of text files do."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(line.removesuffix("\r\n") + "\n")


def refuse_csv_and_json(as_csv: bool, as_json: bool) -> None:
    """Refuse a command line that wants both.

    Raises:
        click.UsageError: it does.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")


def confirmed(question: str) -> bool:
    """Whether somebody agrees.

    Raises:
        FuruUsageError: nobody is there to answer.
    """
    try:
        return click.confirm(question, err=True)
    except click.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise
        say(err=True)
        raise FuruUsageError(
            "there was no answer, so nothing was removed", hint="a script gives --yes"
        ) from None


def say_next(text: str) -> None:
    """Say what to type next, on stderr, where it is in nobody's way who reads the answer."""
    say(text, err=True)


def styled(text: str, colour: str | None = None, *, bold: bool = False) -> str:
    """A text in a colour, unless NO_COLOR is set; click leaves all styles out where no terminal is."""
    colour = None if os.environ.get("NO_COLOR") else colour
    return click.style(text, fg=colour, bold=bold or None) if colour or bold else text


def say_error(message: str, hint: str) -> None:
    """Say what is wrong, and what to do about it if that is known, on stderr."""
    say(f"{styled('error:', 'red', bold=True)} {message}", err=True)
    if hint:
        say(f"{styled('hint:', 'cyan')} {hint}", err=True)


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
