"""What becomes of a node whose worker died."""

from __future__ import annotations

import signal
from typing import Final

from furu_core.executors import (
    Failure,
    FailureKind,
    NodeResult,
    NodeState,
    Outcome,
    StateReader,
    record_death,
)
from furu_local._wire import ExitCode
from furu_plan import PlanNode

_OWN_ENDS: Final = {
    ExitCode.FORKED: "after a fork in the node's code returned from it",
    ExitCode.NO_CONNECTION: "because the node's code closed file descriptors that are not its own",
}


def described_exit(pid: int, code: int | None) -> str:
    """How a worker process ended, in words.

    Args:
        pid: its process id.
        code: the exit status; negative for the number of a signal; None for one that did not end
            although it had closed its connection.
    """
    who = f"worker process {pid}"
    if code is None:
        return f"{who} closed its connection {_OWN_ENDS[ExitCode.NO_CONNECTION]}"
    if code in _OWN_ENDS:
        return f"{who} ended {_OWN_ENDS[ExitCode(code)]}"
    if code >= 0:
        return f"{who} ended with exit status {code} in the middle of the node"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    perhaps = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
    return f"{who} was killed by {name}{perhaps}"


def death_result(node: PlanNode, pid: int, kind: FailureKind, message: str) -> NodeResult:
    """Record the death of a worker with its node's attempt, and what that means for the node.

    Args:
        node: what the worker was at.
        pid: the worker's process id.
        kind: `LOST`, or `CANCELLED` when the worker was killed on purpose.
        message: what was seen.
    """
    info = StateReader().state(node.obj)
    if info.state is NodeState.DONE and not node.rerun:
        return NodeResult(node.hash, Outcome.COMPUTED)  # it died right after publishing
    failure = None
    attempt = None
    process = None if info.holder is None else info.holder.process
    # Another run's attempt at the same node is not ours to end.
    if process is not None and process.pid == pid:
        attempt = info.attempt
        failure = record_death(node.obj, attempt, kind, message)
        if failure is None and not node.rerun:
            return NodeResult(node.hash, Outcome.COMPUTED)
    if failure is None:
        failure = Failure(kind, "", message, node.name, node.hash)
    outcome = Outcome.CANCELLED if kind is FailureKind.CANCELLED else Outcome.FAILED
    return NodeResult(node.hash, outcome, attempt, failure)
