"""What furu says on the console, and how.

All of furu logs to the standard library's logger ``furu``: INFO when something is computed, DEBUG
when it was only loaded, WARNING when somebody should look. The console shows one compact line a
record, on rich where a person looks at a terminal. An application that has handlers of its own on
the root logger gets the records there, and the console shows nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from furu_core import _capture, _settings
from furu_core._console import console

log: Final = logging.getLogger("furu")

_level_by_furu: int = logging.NOTSET
_writer: Callable[[str], None] | None = None


def event(verb: str, node: str, state: str, action: str, level: int = logging.INFO) -> None:
    """Say in one line what is done about a node, such as ``get Train(3fa9c1) missing -> create``.

    Args:
        verb: what was asked, such as ``get``.
        node: the node's short name.
        state: how the node was found.
        action: what follows from that.
        level: ``logging.DEBUG`` for what costs nothing, such as a hit.
    """
    if log.isEnabledFor(level):
        log.log(level, "%s %s %s -> %s", verb, node, state, action)


@contextmanager
def console_through(write: Callable[[str], None]) -> Iterator[None]:
    """Give the console's lines to `write`, one at a time, while a progress display has the screen."""
    global _writer
    before, _writer = _writer, write
    try:
        yield
    finally:
        _writer = before


class ConsoleHandler(logging.Handler):
    """Writes furu's records to the console, past whatever captures a node's output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one compact line, an exception below it."""
        if _capture.has_other_handlers() or not _capture.console_is_open():
            return
        try:
            _write(_line(record), record.levelno)
        except Exception:  # noqa: BLE001 - a console that cannot be written to must not fail a node
            self.handleError(record)


def _line(record: logging.LogRecord) -> str:
    line = record.getMessage()
    if record.levelno >= logging.WARNING:
        line = f"{record.levelname.lower()}: {line}"
    if record.exc_info:
        line = f"{line}\n{logging.Formatter().formatException(record.exc_info)}"
    return line


def _write(line: str, level: int) -> None:
    if _writer is not None:
        _writer(line)
    elif console.isatty():
        _rich_console().print(_styled(line, level), soft_wrap=True)
    else:
        console.write(line + "\n")


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


def _follow_settings(settings: _settings.Settings) -> None:
    global _level_by_furu
    if log.level in {logging.NOTSET, _level_by_furu}:  # else the application chose one itself
        _level_by_furu = logging.getLevelNamesMapping()[settings.log_level]
        log.setLevel(_level_by_furu)


log.addHandler(ConsoleHandler())
_settings.on_change(_follow_settings)
