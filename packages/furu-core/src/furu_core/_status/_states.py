"""The states of nodes, as `_state_reader` reads them from the store."""

from __future__ import annotations

from enum import Enum

import attrs

from furu_core._attempts._outcomes import Failure, Holder


class NodeState(Enum):
    """The state of a node in the store."""

    DONE = "done"
    RUNNING = "running"
    QUEUED = "queued"
    LOST = "lost"  # the process that computed it died
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNREADABLE = "unreadable"  # in listings only; a program that needs the node gets an error
    ABSENT = "absent"


@attrs.frozen
class NodeInfo:
    """The state of one node, with its newest attempt.

    Attributes:
        state: the state.
        attempt: the number of the newest attempt, where one is on disk.
        holder: the process or job that computes it, or computed it last.
        failure: why it failed, for failed and cancelled nodes.
        reason: why its holder is thought to live or to be dead.
    """

    state: NodeState
    attempt: int | None = None
    holder: Holder | None = None
    failure: Failure | None = None
    reason: str = ""

    @property
    def told(self) -> NodeState:
        """The state for people: FAILED where a recorded death of its worker ended the attempt.

        For executors it is LOST, as when the death is not recorded: they go on with the node.
        """
        ended = self.state is NodeState.LOST and self.failure is not None
        return NodeState.FAILED if ended else self.state
