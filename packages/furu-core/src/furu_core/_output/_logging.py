"""furu's logger and its console handler.

All of furu logs to the standard library's logger ``furu``: INFO when something is computed, DEBUG
when it was only loaded, WARNING when the user should look. The console shows one compact line per
record, with rich on a terminal. An application that has handlers of its own on the root logger gets
the records there, and the console shows nothing twice.

A program that only loads logs nothing, so it imports neither this module nor `logging`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from furu_core._settings import _settings

log: Final = logging.getLogger("furu")

_level_by_furu: int = logging.NOTSET
_writer: Callable[[str], None] | None = None


def event(verb: str, node: str, state: str, action: str, level: int = logging.INFO) -> None:
    """Log in one line what is done about a node, such as ``get Train(3fa9c1) missing -> create``.

    Args:
        verb: what was asked, such as ``get``.
        node: the node's short name.
        state: how the node was found.
        action: what is done.
        level: ``logging.DEBUG`` for cheap events, such as a hit.
    """
    if log.isEnabledFor(level):
        log.log(level, "%s %s %s -> %s", verb, node, state, action)


@contextmanager
def console_through(write: Callable[[str], None]) -> Iterator[None]:
    """Pass the console's lines to `write` one by one, while a progress display has the screen."""
    global _writer
    before, _writer = _writer, write
    try:
        yield
    finally:
        _writer = before


class ConsoleHandler(logging.Handler):
    """Writes furu's records to the console, past the capture of a node's output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one compact line, an exception below it."""
        from furu_core._output import _console_lines  # a program that only loads logs nothing

        try:
            _console_lines.show(record, _writer)
        except Exception:  # noqa: BLE001 - a console that cannot be written to must not fail a node
            self.handleError(record)


def _follow_settings(settings: _settings.Settings) -> None:
    global _level_by_furu
    if log.level in {logging.NOTSET, _level_by_furu}:  # else the application set the level itself
        _level_by_furu = logging.getLevelNamesMapping()[settings.log_level]
        log.setLevel(_level_by_furu)


log.addHandler(ConsoleHandler())
_settings.on_change(_follow_settings)
