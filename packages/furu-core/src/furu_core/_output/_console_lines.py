"""The format of furu's log records on the console."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from furu_core._output import _capture
from furu_core._output._console import console
from furu_core._text import harmless


def show(record: logging.LogRecord, write: Callable[[str], None] | None) -> None:
    """Show a record, unless the application's handlers or the log of a worker's node do.

    Args:
        record: the record.
        write: writes a line for a progress display that has the screen; None without one.
    """
    if _capture.has_other_handlers() or not _capture.console_is_open():
        return
    line = _line(record)
    if write is not None:
        write(harmless(line))
    elif console.isatty():
        _rich_console().print(_styled(harmless(line), record.levelno), soft_wrap=True)
    else:
        console.write(line + "\n")


def _line(record: logging.LogRecord) -> str:
    line = record.getMessage()
    if record.levelno >= logging.WARNING:
        line = f"{record.levelname.lower()}: {line}"
    if record.exc_info:
        line = f"{line}\n{logging.Formatter().formatException(record.exc_info)}"
    return line


@cache
def _rich_console() -> Any:
    from rich.console import Console

    return Console(file=console, highlight=False)  # type: ignore[arg-type]


_STYLES: Final = {logging.DEBUG: "dim", logging.WARNING: "yellow", logging.ERROR: "red"}


def _styled(line: str, level: int) -> Any:
    from rich.text import Text

    text = Text(line, style=_STYLES.get(min(level, logging.ERROR), ""))
    text.highlight_regex(r"^\w+(?= \S+\()", "dim")
    text.highlight_regex(r"\w+(?=\([0-9a-f]{6}\))", "bold")
    text.highlight_regex(r"\([0-9a-f]{6}\)", "cyan")
    return text
