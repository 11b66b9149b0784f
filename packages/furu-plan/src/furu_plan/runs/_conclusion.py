"""The outcome of a run that has ended: its summary, and the error that waiting for it raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from furu_core.errors import FuruRunCancelled, FuruRunError
from furu_core.executors import Failure, FailureKind, RunState, RunStatus, count, duration
from furu_plan._node import Status
from furu_plan._plan import DependencyPlan

INTERRUPTED: Final = 130  # what shells say of a program that Ctrl-C ended
_SHOWN: Final = 20
_LOOK_SECS: Final = 1.0  # for stale results, of which `furu plan` and `furu ls` tell all


class RunInterrupted(FuruRunCancelled, SystemExit):
    """A run that a signal cancelled; a program that does not catch it ends with status 130."""

    code = INTERRUPTED


def conclude(
    run_id: str,
    status: RunStatus,
    *,
    retry_failed: bool,
    cause: Exception | str | None = None,
    interrupted: bool = False,
) -> None:
    """Return if a run has ended with the artifacts of all its roots, and else raise its error.

    Args:
        run_id: the run.
        status: its status at its end.
        retry_failed: whether it tries nodes again that failed before.
        cause: what ended it, where that was no node's failure; told where no node failed.
        interrupted: a signal cancelled it.

    Raises:
        FuruRunError: it failed.
        FuruRunCancelled: it was cancelled; `RunInterrupted` where a signal did that.

    Example:
        >>> from furu_core.executors import RunState, RunStatus
        >>> conclude("r1", RunStatus(RunState.DONE), retry_failed=True)
        >>> conclude("r1", RunStatus(RunState.CANCELLED, total=3, computed=1), retry_failed=True)
        Traceback (most recent call last):
            ...
        furu_core.errors.FuruRunCancelled: run r1 was cancelled: 1 of 3 nodes are there, 0 failed; ...
    """
    error: type[FuruRunError]
    match status.state:
        case RunState.DONE:
            return
        case RunState.CANCELLED:
            error, how = (RunInterrupted if interrupted else FuruRunCancelled), "was cancelled"
        case RunState.FAILED | RunState.RUNNING:
            error, how = FuruRunError, "failed"
    text = f"run {run_id} {how}: {_counts(status)}"
    if status.failures:
        text += f"\n{failure_text(status.failures)}"
    elif cause is not None:
        text += (
            f"; {type(cause).__name__}: {cause}" if isinstance(cause, Exception) else f"; {cause}"
        )
    mendable = status.failures if error is FuruRunError else ()
    raise error(
        text, failures=status.failures, run_id=run_id, hint=_hint(mendable, retry_failed)
    ) from (cause if isinstance(cause, Exception) else None)


def _counts(status: RunStatus) -> str:
    there = status.computed + status.loaded
    cancelled = sum(failure.kind is FailureKind.CANCELLED for failure in status.failures)
    parts = [f"{there} of {count(status.total, 'node')} are there", f"{status.failed} failed"]
    if status.blocked:
        parts.append(f"{status.blocked} never ran because of them")
    if cancelled:
        parts.append(f"{cancelled} were cancelled")
    return ", ".join(parts)


def _hint(failures: Sequence[Failure], retry_failed: bool) -> str:
    """What the user can do about a run that did not end well."""
    if not failures:
        return "run the same command again: it computes only what is not there"
    if retry_failed:
        return "read the logs, mend the cause and run the same command again: it computes only what is not there"
    return (
        "read the logs, mend the cause and run it again with FURU_RETRY_FAILED=1 (or retry_failed=True): "
        "without, nodes that failed are not tried again"
    )


def failure_text(failures: Sequence[Failure]) -> str:
    """Each failed node, its exception's last line and its log, one a line."""
    lines = [f"  {failure}" for failure in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        lines.append(f"  and {len(failures) - _SHOWN} more; `furu failures` groups them by error")
    return "\n".join(lines)


def end_line(run_id: str, status: RunStatus, seconds: float) -> str:
    """How a run ended, in one line for the console."""
    return (
        f"run {run_id} {status.state.value}: {count(status.total, 'node')}, {status.computed} "
        f"computed, {status.loaded} loaded, {status.failed} failed, in {duration(seconds)}"
    )


def stale_line(plan: DependencyPlan) -> str:
    """Which of the results that a run found are stale, in one line for the console; mostly empty.

    It ends after about a second, however many there are.
    """
    loaded = plan.with_status(Status.DONE)
    if not loaded:
        return ""
    from furu_core.planning import stale_results  # a run that computes everything needs none of it

    found = stale_results((node.obj for node in loaded), within_secs=_LOOK_SECS)
    return f"{found.sentence}; `{found.listing}` lists them" if found.sentence else ""
