"""Recording the death of a process that computed a node, by a process that noticed it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import attrs

from furu_core._attempts import _attempts, _claims
from furu_core._attempts._outcomes import Failure, FailureKind, NodeResult, Outcome
from furu_core._attempts._records import AttemptEnd, AttemptStatus
from furu_core._process_ids import ProcessId, this_process
from furu_core._status._state_reader import state_at
from furu_core._status._states import NodeInfo, NodeState
from furu_core._store import _published
from furu_core._store._layout import Node, ref_of


def exit_text(code: int) -> str:
    """How a process that computed a node ended, in words.

    Args:
        code: its exit status; negative for the number of a signal.

    Example:
        >>> from furu_core.workers import exit_text
        >>> exit_text(-11)
        'was killed by SIGSEGV'
    """
    if code >= 0:
        return f"ended with exit status {code} in the middle of the node"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    perhaps = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{perhaps}"


def death_result(
    node: Node, pid: int, kind: FailureKind, message: str, *, rerun: bool = False
) -> NodeResult:
    """Record the death of a process of this host in its node's attempt; the node's result.

    Args:
        node: the node that the process computed.
        pid: its process id.
        kind: `LOST`, or `CANCELLED` when it was killed on purpose.
        message: what was seen.
        rerun: the node's artifact was there before.
    """

    def is_its(info: NodeInfo) -> bool:
        return info.holder is not None and _is(info.holder.process, pid)

    return _dead(node, is_its, kind, message, rerun=rerun)


def lost_result(
    node: Node, run_id: str, kind: FailureKind, message: str, *, rerun: bool = False
) -> NodeResult:
    """As `death_result`, for a process of a run that may have been on another host, or never began.

    For executors that learn from their backend that a job or worker is gone, and have one attempt
    at a node at a time.

    Args:
        node: the node that it computed.
        run_id: the run.
        kind: `LOST`, or `CANCELLED` when it was ended on purpose.
        message: what was seen.
        rerun: the node's artifact was there before.
    """

    def is_its(info: NodeInfo) -> bool:
        going = info.state in (NodeState.RUNNING, NodeState.LOST)  # else the attempt has ended
        return going and info.holder is not None and info.holder.run_id == run_id

    return _dead(node, is_its, kind, message, rerun=rerun)


def record_death(
    node: Node, attempt: int | None, kind: FailureKind, message: str
) -> Failure | None:
    """Record that the worker of a node died, in a process that noticed it.

    Args:
        node: what the worker computed: the object, or a reference.
        attempt: the attempt's number; None for the newest that is still on disk.
        kind: `LOST`, or `CANCELLED` where the executor itself killed the worker.
        message: what was seen, for instance the signal.

    Returns:
        The failure to count; None when the node's artifact was published before the worker died.
    """
    ref = ref_of(node)
    if _published.is_published(ref):
        return None
    number = attempt
    if number is None:
        known = _attempts.numbers(ref)
        number = known[-1] if known else None
    log = None
    if number is not None:
        status = AttemptStatus.CANCELLED if kind is FailureKind.CANCELLED else AttemptStatus.LOST
        ended = AttemptEnd(time.time(), kind, "", message)
        _claims.record_end(ref, number, status, ended)
        log = _attempts.kept_log(ref.attempt(number))
    return Failure(
        kind=kind,
        error_type="",
        message=message,
        node=ref.name,
        hash=ref.hash,
        log=log,
    )


def _dead(
    node: Node,
    is_its: Callable[[NodeInfo], bool],
    kind: FailureKind,
    message: str,
    *,
    rerun: bool,
) -> NodeResult:
    info = state_at(node)
    ref = ref_of(node)
    if info.state is NodeState.DONE and not rerun:
        return NodeResult(ref.hash, Outcome.COMPUTED)  # the process died right after publishing
    failure = None
    attempt = None
    # An attempt of another run at the same node must not be ended here.
    if is_its(info):
        attempt = info.attempt
        failure = record_death(node, attempt, kind, message)
        if failure is None and not rerun:
            return NodeResult(ref.hash, Outcome.COMPUTED)
    if failure is None:
        failure = Failure(kind, "", message, ref.name, ref.hash)
    outcome = Outcome.CANCELLED if kind is FailureKind.CANCELLED else Outcome.FAILED
    return NodeResult(ref.hash, outcome, attempt, failure)


def _is(process: ProcessId | None, pid: int) -> bool:
    """Whether a process has this pid on this host; it may have ended."""
    here = this_process()
    return process is not None and attrs.evolve(process, start="") == attrs.evolve(
        here, pid=pid, start=""
    )
