"""What a run says to people: progress, failures, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from furu_core.executors import Failure

_SHOWN: Final = 20
_NAMED: Final = 4
_ENOUGH: Final = (
    4  # nodes done by each worker, from which on their rate tells how long the rest takes
)


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


def progress_line(view: View) -> str:
    """How a run stands, in one line."""
    parts = [f"{view.done} of {count(view.total, 'node')} there", f"{len(view.running)} running"]
    if view.failed:
        parts.append(f"{view.failed} failed")
    if view.workers:
        parts.append(view.workers)
    if view.note:
        parts.append(view.note)
    elif view.left is not None:
        parts.append(f"about {duration(view.left)} left")
    return f"run {view.run_id}: {', '.join(parts)}"


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
