"""What follows from an attempt that left no artifact: the one place that counts and decides."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import attrs

from furu_core import Settings
from furu_core import settings as current_settings
from furu_core.executors import Failure, FailureKind
from furu_core.workers import NodeResult

# Progress is told by a changed checkpoint alone, and a node may change it without getting further.
MOST_LOSSES: Final = 1000


class NextStep(StrEnum):
    """What is to become of a node whose attempt left no artifact."""

    RETRY = "retry"  # try it again; the failure was counted
    FREE = "free"  # try it again; the failure was not counted, because the node did not cause it
    GIVE_UP = "give up"  # it failed for good, and so did all that depends on it
    STOP_RUN = "stop run"  # it failed for good, and the run ends at once


@attrs.frozen(slots=True)
class Spent:
    """The failures of a node that count against its limits within one run.

    Attributes:
        compute: attempts in which its code raised.
        lost: attempts in a row whose worker was lost, without progress in `checkpoint_dir`.
        lost_in_all: attempts whose worker was lost, with or without progress.
    """

    compute: int = 0
    lost: int = 0
    lost_in_all: int = 0


@attrs.frozen(slots=True)
class Decision:
    """What follows from a failure, and why.

    Attributes:
        next_step: what is to become of the node.
        ends_run: nothing new is to be started: the node failed for good and `keep_going` is off.
        reason: one clause for logs and summaries, such as "failure 2 of at most 4".
        spent: the node's budgets, this failure included.
    """

    next_step: NextStep
    ends_run: bool
    reason: str
    spent: Spent


def failure_of(result: NodeResult, *, node: str, node_hash: str) -> Failure:
    """Why an attempt left no artifact, with the failure kind that it counts as.

    Args:
        result: what became of it: it failed, or was interrupted though its run was not cancelled.
        node: the node's short name; a worker that could not read the node does not know it.
        node_hash: its hash.

    Example:
        >>> from furu_core.workers import NodeResult, Outcome
        >>> interrupted = NodeResult("3fa9c1", Outcome.CANCELLED)
        >>> failure_of(interrupted, node="Train(3fa9c1)", node_hash="3fa9c1").kind
        <FailureKind.LOST: 'lost'>
    """
    failure = result.failure
    if failure is None:
        failure = Failure(FailureKind.LOST, "", "it gave no reason", node, node_hash)
    if failure.kind is FailureKind.CANCELLED:
        # The run was not cancelled, and a free retry would have no limit.
        failure = attrs.evolve(failure, kind=FailureKind.LOST, message="it was interrupted")
    return attrs.evolve(failure, node=node, hash=node_hash)


class RetryLedger:
    """Counts the failures of each node of one run and decides what follows from them.

    - ``compute``: tried again `max_compute_retries` times, if `retry_failed` is on.
    - ``lost``: tried again `max_lost_retries` times in a row; progress starts the count anew.
      A node that is lost 1000 times in all fails, whatever its progress.
    - ``protocol``: never tried again. It stops the run, with `keep_going` only what depends on it.
    - ``cancelled``, an invalid dependency, a node that another run computes: free, without a limit
      here. The caller that cancels, and `Frontier.reopen`, ensure that these come to an end.

    Args:
        settings: the limits. Default: the current settings.
        keep_going: a node that failed for good ends only what depends on it, not the run.
        spent: the failures counted so far, by node hash, when a run is resumed.

    Example:
        >>> from furu_core import Settings
        >>> from furu_core.executors import FailureKind
        >>> ledger = RetryLedger(Settings(path="/data/furu", max_compute_retries=1))
        >>> ledger.decide("3fa9c1", FailureKind.COMPUTE).next_step
        <NextStep.RETRY: 'retry'>
        >>> decision = ledger.decide("3fa9c1", FailureKind.COMPUTE)
        >>> decision.next_step, decision.ends_run, decision.reason
        (<NextStep.GIVE_UP: 'give up'>, True, 'failure 2 of at most 2')
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        keep_going: bool = False,
        spent: Mapping[str, Spent] | None = None,
    ) -> None:
        self._settings = current_settings() if settings is None else settings
        self._keep_going = keep_going
        self._spent: dict[str, Spent] = dict(spent or {})

    def spent(self, node_hash: str) -> Spent:
        """The failures of a node that were counted so far."""
        return self._spent.get(node_hash, Spent())

    def decide(self, node_hash: str, kind: FailureKind, *, progress: bool = False) -> Decision:
        """Count a failure and say what follows.

        Args:
            node_hash: the node that failed.
            kind: the kind of its failure.
            progress: its `checkpoint_dir` changed during the attempt.
        """
        spent = self.spent(node_hash)
        match kind:
            case FailureKind.COMPUTE:
                spent = attrs.evolve(spent, compute=spent.compute + 1)
                limit = self._settings.max_compute_retries if self._settings.retry_failed else 0
                reason = f"failure {spent.compute} of at most {limit + 1}"
                next_step = NextStep.RETRY if spent.compute <= limit else NextStep.GIVE_UP
            case FailureKind.LOST:
                spent = attrs.evolve(
                    spent,
                    lost=0 if progress else spent.lost + 1,
                    lost_in_all=spent.lost_in_all + 1,
                )
                limit = self._settings.max_lost_retries
                exhausted = spent.lost_in_all >= MOST_LOSSES
                if exhausted:
                    reason = f"lost {spent.lost_in_all} times in all, the most in one run"
                elif progress:
                    reason = "lost after progress in its checkpoint"
                else:
                    reason = (
                        f"lost {spent.lost} of at most {limit + 1} times in a row without progress"
                    )
                again = spent.lost <= limit and not exhausted
                next_step = NextStep.RETRY if again else NextStep.GIVE_UP
            case FailureKind.PROTOCOL:
                reason = "an error that trying again cannot mend"
                next_step = NextStep.GIVE_UP if self._keep_going else NextStep.STOP_RUN
            case FailureKind.CANCELLED:
                return Decision(NextStep.FREE, False, "it was cancelled", spent)
        self._spent[node_hash] = spent
        final = next_step is NextStep.GIVE_UP or next_step is NextStep.STOP_RUN
        return Decision(next_step, final and not self._keep_going, reason, spent)
