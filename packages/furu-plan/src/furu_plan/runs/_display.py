"""Showing the progress of a run: a live display on a terminal, a line now and then elsewhere.

Nothing here has a thread or a timer: the run's own loop calls `update`, and asks `due_in` how long it
may wait. Nothing is written to standard output, which is for results.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final, Protocol

import attrs

from furu_core.executors import console, console_through, count, duration, harmless

_log = logging.getLogger("furu.run")

_FIRST_SCREEN_SECS: Final = 0.3  # a run that is over by then needs no display
_SCREEN_SECS: Final = 0.125
_FIRST_LINE_SECS: Final = 10.0
_LINE_SECS: Final = 60.0
_NAMED: Final = 4
# How many nodes each worker must have done before their rate tells how long the rest takes.
_ENOUGH: Final = 4


@attrs.frozen
class RunProgress:
    """The progress of a run at one moment.

    Attributes:
        run_id: the run.
        total: nodes of its graph.
        done: how many of them are done.
        failed: how many of them failed for good.
        running: names of those being computed, and for how many seconds.
        elapsed: seconds since the run began.
        left: seconds that the rest may take; None while that cannot be told.
        note: what the run is doing besides computing, such as stopping.
        workers: what keeps its workers from working, such as a scheduler's queue; empty for nothing.
    """

    run_id: str
    total: int
    done: int
    failed: int
    running: tuple[tuple[str, float], ...]
    elapsed: float
    left: float | None
    note: str = ""
    workers: str = ""


def progress_line(progress: RunProgress) -> str:
    """The progress of a run, in one line."""
    parts = [
        f"{progress.done} of {count(progress.total, 'node')} there",
        f"{len(progress.running)} running",
    ]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.workers:
        parts.append(progress.workers)
    if progress.note:
        parts.append(progress.note)
    elif progress.left is not None:
        parts.append(f"about {duration(progress.left)} left")
    return f"run {progress.run_id}: {', '.join(parts)}"


def time_left(
    rest: int, *, elapsed: float, done: int, node_secs: float, running: Sequence[float]
) -> float | None:
    """Estimate the seconds that a run will still take; None while that cannot be told.

    The rate so far is used only once many nodes are done: when the first node ends, those that run
    beside it are nearly done as well, and the time that starting took will not come again.

    Args:
        rest: how many nodes are not done yet, running ones included.
        elapsed: seconds since the run began.
        done: nodes that were done since then.
        node_secs: what a node took on average; 0 if that is not known.
        running: for each node that runs, the seconds since it began.

    Example:
        >>> time_left(39, elapsed=3.0, done=1, node_secs=2.0, running=[2.0, 1.0, 0.0])
        25.0
    """
    if done <= 0:
        return None
    if node_secs <= 0 or done >= _ENOUGH * max(1, len(running)):
        return elapsed / done * rest
    work = (rest - len(running)) * node_secs + sum(max(0.0, node_secs - s) for s in running)
    return max(0.0, work) / max(1, len(running))


def running_text(running: Sequence[tuple[str, float]]) -> str:
    """The nodes that have been computed for longest, and how many more there are."""
    longest = sorted(running, key=lambda item: -item[1])
    named = [f"{name} {duration(seconds)}" for name, seconds in longest[:_NAMED]]
    if len(longest) > _NAMED:
        named.append(f"and {len(longest) - _NAMED} more")
    return ", ".join(named)


class Display(Protocol):
    """Shows the progress of a run."""

    def due_in(self) -> float | None:
        """Seconds until the next `update`; None for never."""

    def update(self, progress: RunProgress) -> None:
        """Show the progress of the run."""

    def close(self) -> None:
        """Leave the console as it was."""


def choose_display(*, wanted: bool | None, live: bool) -> Display:
    """Choose the display that fits the console.

    Args:
        wanted: False for none at all.
        live: whether the loop of the run goes on while nodes are computed.
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

    def update(self, progress: RunProgress) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines(NoDisplay):
    """Logs one line now and then."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _FIRST_LINE_SECS

    def due_in(self) -> float | None:
        """Seconds until the next line."""
        return self._next - time.monotonic()

    def update(self, progress: RunProgress) -> None:
        """Log the progress of the run, if a line is due."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECS
            _log.info("%s", progress_line(progress))


class Screen:
    """A live display at the end of the terminal; log records appear above it."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _FIRST_SCREEN_SECS
        self._live: Any = None
        self._stack = ExitStack()

    def due_in(self) -> float | None:
        """Seconds until the display is drawn again."""
        return self._next - time.monotonic()

    def update(self, progress: RunProgress) -> None:
        """Draw the display, if it is due."""
        if time.monotonic() < self._next:
            return
        if self._live is None:
            self._open()
        self._live.update(_drawn(progress), refresh=True)
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
            # What the program prints must go to its standard output, not to the display.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stack.enter_context(self._live)
        self._stack.enter_context(
            console_through(lambda line: screen.print(line, markup=False, soft_wrap=True))
        )


def _drawn(progress: RunProgress) -> Any:
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    facts = [f"{progress.done}/{progress.total} done"]
    if progress.failed:
        facts.append(f"[red]{progress.failed} failed[/red]")
    facts.append(duration(progress.elapsed))
    if progress.workers:
        facts.append(escape(harmless(progress.workers)))
    if progress.note:
        facts.append(progress.note)
    elif progress.left is not None:
        facts.append(f"about {duration(progress.left)} left")
    line = Table.grid(padding=(0, 1))
    line.add_row(
        ProgressBar(total=max(progress.total, 1), completed=progress.done, width=30),
        Text.from_markup(", ".join(facts), overflow="ellipsis"),
    )
    whole = Table.grid()
    whole.add_row(line)
    if progress.running:
        text = Text(
            f"computing {harmless(running_text(progress.running))}",
            style="dim",
            overflow="ellipsis",
        )
        text.no_wrap = True
        whole.add_row(text)
    return whole
