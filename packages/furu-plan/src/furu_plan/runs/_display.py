"""The progress of a run on the console: a live display on a terminal, a line now and then elsewhere.

Nothing here has a thread or a timer: the run's own loop calls `update`, and asks `due_in` how long it
may wait. Standard output stays free for results.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from typing import Any, Final, Protocol

from furu_core.executors import console, console_through
from furu_plan.runs._report import View, duration, progress_line, running_text

_log = logging.getLogger("furu.run")

_FIRST_SCREEN_SECS: Final = 0.3  # a run that is over by then needs no display
_SCREEN_SECS: Final = 0.125
_FIRST_LINE_SECS: Final = 10.0
_LINE_SECS: Final = 60.0


class Display(Protocol):
    """Shows how a run stands."""

    def due_in(self) -> float | None:
        """Seconds until the next `update`; None for never."""

    def update(self, view: View) -> None:
        """Show how the run stands now."""

    def close(self) -> None:
        """Leave the console as it was."""


def choose_display(*, wanted: bool | None, live: bool) -> Display:
    """The display that fits the console.

    Args:
        wanted: False for none at all.
        live: whether the run comes back to its loop while nodes are computed.
    """
    if wanted is False:
        return NoDisplay()
    if live and console.isatty() and os.environ.get("TERM") != "dumb":
        return Screen()
    return Lines()


class NoDisplay:
    """Shows nothing."""

    def due_in(self) -> float | None:
        """Never."""
        return None

    def update(self, view: View) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing is left."""


class Lines(NoDisplay):
    """One line now and then, through logging."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _FIRST_LINE_SECS

    def due_in(self) -> float | None:
        """Seconds until the next line."""
        return self._next - time.monotonic()

    def update(self, view: View) -> None:
        """Say how the run stands, if it is time to."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECS
            _log.info("%s", progress_line(view))


class Screen:
    """A live display at the end of the terminal; log records appear above it."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _FIRST_SCREEN_SECS
        self._live: Any = None
        self._stack = ExitStack()

    def due_in(self) -> float | None:
        """Seconds until the display is drawn again."""
        return self._next - time.monotonic()

    def update(self, view: View) -> None:
        """Draw the display, if it is time to."""
        if time.monotonic() < self._next:
            return
        if self._live is None:
            self._open()
        self._live.update(_drawn(view), refresh=True)
        self._next = time.monotonic() + _SCREEN_SECS

    def close(self) -> None:
        """Remove the display."""
        self._stack.close()
        self._live = None

    def _open(self) -> None:
        from rich.console import Console
        from rich.live import Live

        screen = Console(file=console, force_terminal=True, highlight=False)  # type: ignore[arg-type]
        self._live = Live(
            console=screen,
            auto_refresh=False,
            transient=True,
            # Results that the program prints go where its standard output leads.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stack.enter_context(self._live)
        self._stack.enter_context(
            console_through(lambda line: screen.print(line, markup=False, soft_wrap=True))
        )


def _drawn(view: View) -> Any:
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    facts = [f"{view.done}/{view.total} done"]
    if view.failed:
        facts.append(f"[red]{view.failed} failed[/red]")
    facts.append(duration(view.elapsed))
    if view.workers:
        facts.append(escape(view.workers))
    if view.note:
        facts.append(view.note)
    elif view.left is not None:
        facts.append(f"about {duration(view.left)} left")
    line = Table.grid(padding=(0, 1))
    line.add_row(
        ProgressBar(total=max(view.total, 1), completed=view.done, width=30),
        Text.from_markup(", ".join(facts), overflow="ellipsis"),
    )
    whole = Table.grid()
    whole.add_row(line)
    if view.running:
        text = Text(f"computing {running_text(view.running)}", style="dim", overflow="ellipsis")
        text.no_wrap = True
        whole.add_row(text)
    return whole
