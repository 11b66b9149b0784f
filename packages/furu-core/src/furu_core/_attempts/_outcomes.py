"""Records of what became of a node: its holder, its failure, the result of one attempt."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import attrs

from furu_core import _text
from furu_core._context._submission import Submission
from furu_core._process_ids import ProcessId
from furu_core.errors import FuruError


@attrs.frozen
class Holder:
    """The process or job that computes a node.

    Attributes:
        process: the process, or None where only a scheduler's job is known.
        submission: the scheduler's job, where there is one.
        executor: the executor's name, empty for an interactive `get()`.
        run_id: the executor's run.
        started: seconds since the epoch, by the holder's clock.
    """

    process: ProcessId | None
    submission: Submission | None = None
    executor: str = ""
    run_id: str = ""
    started: float = 0.0

    def __str__(self) -> str:
        who = "an unknown process" if self.process is None else str(self.process)
        if self.submission is not None:
            who = f"{self.submission.executor} job {self.submission.id}"
        return f"{who} of run {self.run_id}" if self.run_id else who


class FailureKind(Enum):
    """Why a node has no result; retries are counted by it."""

    COMPUTE = "compute"
    LOST = "lost"
    PROTOCOL = "protocol"
    CANCELLED = "cancelled"


@attrs.frozen
class Failure:
    """Why a node has no result.

    Attributes:
        kind: the kind, by which retries are counted.
        error_type: the exception's class name.
        message: the exception's last line.
        node: short name of the node.
        hash: its full hash.
        log: the log of the attempt, where there is one.
        at: file and line of the user's code that raised, where they are known.
    """

    kind: FailureKind
    error_type: str
    message: str = attrs.field(converter=_text.writable)
    node: str
    hash: str
    log: Path | None = None
    at: str = ""

    @classmethod
    def of(
        cls,
        kind: FailureKind,
        error: BaseException,
        *,
        node: str = "",
        hash: str = "",
        log: Path | None = None,
    ) -> Failure:
        """The failure that an exception means; made even where the exception's own text cannot be.

        Args:
            kind: by which retries are counted.
            error: what was raised; one of furu's is quoted whole, of others the last line.
            node: short name of the node.
            hash: its full hash.
            log: the log of the attempt, where there is one.

        Example:
            >>> from furu_core.executors import Failure, FailureKind
            >>> str(Failure.of(FailureKind.COMPUTE, ValueError("bad"), node="Train(3fa9c1)"))
            'Train(3fa9c1) ValueError: bad'
        """
        say = _text.error_text if isinstance(error, FuruError) else _text.last_line
        at = _text.error_place(error)
        return cls(kind, type(error).__name__, say(error), node, hash, log, at)

    @property
    def reason(self) -> str:
        """The error in a line, without the node and the place."""
        return f"{self.error_type}: {self.message}" if self.error_type else self.message

    def __str__(self) -> str:
        reason = self.reason
        if self.at:
            reason += f" at {self.at}"
        return f"{self.node} {reason}" + (f" (log: {self.log})" if self.log else "")


class Outcome(Enum):
    """How one attempt of an executor at a node ended."""

    COMPUTED = "computed"
    LOADED = "loaded"  # it was there already
    BUSY = "busy"  # another process computes it
    FAILED = "failed"
    CANCELLED = "cancelled"
    INVALID_DEPENDENCY = "invalid dependency"


@attrs.frozen
class NodeResult:
    """The result of one attempt at a node, for the executor.

    Attributes:
        hash: the node's hash.
        outcome: how the attempt ended.
        attempt: the attempt's number, where one was claimed.
        failure: why it failed or was cancelled.
        seconds: how long it took, by the worker's clock.
        culprit: hash of the dependency whose artifact was bad.
        holder: the process or job that computes the node, when busy.
        edited: modules that the worker loaded from another source than the program that began the run.
    """

    hash: str
    outcome: Outcome
    attempt: int | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    culprit: str | None = None
    holder: Holder | None = None
    edited: tuple[str, ...] = ()
