"""What a run says to people: progress, failures, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from furu_core.executors import Failure

_SHOWN: Final = 20
_NAMED: Final = 4


@attrs.frozen
class View:
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
    """

    run_id: str
    total: int
    done: int
    failed: int
    running: tuple[tuple[str, float], ...]
    elapsed: float
    left: float | None
    note: str = ""


def progress_line(view: View) -> str:
    """How a run stands, in one line."""
    parts = [f"{view.done} of {count(view.total, 'node')} there", f"{len(view.running)} running"]
    if view.failed:
        parts.append(f"{view.failed} failed")
    if view.note:
        parts.append(view.note)
    elif view.left is not None:
        parts.append(f"about {duration(view.left)} left")
    return f"run {view.run_id}: {', '.join(parts)}"


def running_text(running: Sequence[tuple[str, float]]) -> str:
    """The nodes that have been computed for longest, and how many more there are."""
    longest = sorted(running, key=lambda item: -item[1])
    named = [f"{name} {duration(seconds)}" for name, seconds in longest[:_NAMED]]
    if len(longest) > _NAMED:
        named.append(f"and {len(longest) - _NAMED} more")
    return ", ".join(named)


def failure_text(failures: Sequence[Failure]) -> str:
    """Each failed node, its exception's last line and its log, one a line."""
    lines = [f"  {failure}" for failure in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        lines.append(f"  and {len(failures) - _SHOWN} more; `furu ls` lists them")
    return "\n".join(lines)


def next_step(failures: Sequence[Failure], *, retry_failed: bool) -> str:
    """What to do about a run that did not end well, as the hint of an error.

    Args:
        failures: the nodes that failed; none where it was cancelled, or ended for a reason of its own.
        retry_failed: whether the run tries nodes again that failed before.
    """
    if not failures:
        return "run the same command again: it computes only what is not there"
    if retry_failed:
        return "read the logs, mend the cause and run the same command again: it computes only what is not there"
    return (
        "read the logs, mend the cause and run it again with FURU_RETRY_FAILED=1 (or retry_failed=True): "
        "without, nodes that failed are not tried again"
    )


def count(number: int, what: str) -> str:
    """A number of things.

    Example:
        >>> count(1, "node"), count(3, "node")
        ('1 node', '3 nodes')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def duration(seconds: float) -> str:
    """A time for people.

    Example:
        >>> duration(0.26), duration(75), duration(7300)
        ('0.3 s', '75 s', '2.0 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
