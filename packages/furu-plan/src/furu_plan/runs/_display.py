"""How far a run is, and showing that on the console: a live display on a terminal, a line now and then elsewhere.

Nothing here has a thread or a timer: the run's own loop calls `update`, and asks `due_in` how long it
may wait. Standard output stays free for results.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final, Protocol

import attrs

from furu_core.executors import console, console_through, count, duration

_log = logging.getLogger("furu.run")

_FIRST_SCREEN_SECS: Final = 0.3  # a run that is over by then needs no display
_SCREEN_SECS: Final = 0.125
_FIRST_LINE_SECS: Final = 10.0
_LINE_SECS: Final = 60.0
_NAMED: Final = 4
# Nodes done by each worker, from which on their rate tells how long the rest takes.
_ENOUGH: Final = 4


@attrs.frozen
class RunProgress:
    """How a run stands at one moment.

    Attributes:
        run_id: the run.
        total: nodes of its graph.
        done: those that are there.
        failed: those that failed for good.
        running: names of those being computed, and for how many seconds.
        elapsed: seconds since the run began.
        left: seconds that the rest may take; None while nobody can tell.
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
    """How a run stands, in one line."""
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
    """Seconds that a run will still take; None while nothing tells.

    What was done so far tells only when it is much: with the first node the others that run beside it
    are nearly done as well, and whatever it took to start is past.

    Args:
        rest: nodes that are to be there and are not, those that run among them.
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
    """Shows how a run stands."""

    def due_in(self) -> float | None:
        """Seconds until the next `update`; None for never."""

    def update(self, progress: RunProgress) -> None:
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

    def update(self, progress: RunProgress) -> None:
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

    def update(self, progress: RunProgress) -> None:
        """Say how the run stands, if it is time to."""
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
        """Draw the display, if it is time to."""
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
            # Results that the program prints go where its standard output leads.
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
        facts.append(escape(progress.workers))
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
        text = Text(f"computing {running_text(progress.running)}", style="dim", overflow="ellipsis")
        text.no_wrap = True
        whole.add_row(text)
    return whole
