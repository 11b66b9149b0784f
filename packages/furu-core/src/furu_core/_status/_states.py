"""How a node stands, as `_state_reader` finds it; to know the words takes no look at the store."""

from __future__ import annotations

from enum import Enum

import attrs

from furu_core._attempts._outcomes import Failure, Holder


class NodeState(Enum):
    """How a node stands in the store."""

    DONE = "done"
    RUNNING = "running"
    QUEUED = "queued"
    STALE = "stale"  # whoever computed it died
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNREADABLE = "unreadable"  # listings say so; whoever needs the node gets an error
    ABSENT = "absent"


@attrs.frozen
class NodeInfo:
    """How one node stands.

    Attributes:
        state: in a word.
        attempt: the number of the newest attempt, where one is on disk.
        holder: who computes it, or computed it last.
        failure: why it failed, for failed and cancelled nodes.
        reason: how one knows that its holder lives or died.
    """

    state: NodeState
    attempt: int | None = None
    holder: Holder | None = None
    failure: Failure | None = None
    reason: str = ""

    @property
    def told(self) -> NodeState:
        """The state as people are told it: FAILED where the death of a worker ended the node.

        To executors it is STALE as when nobody has recorded the death: they go on with it.
        """
        ended = self.state is NodeState.STALE and self.failure is not None
        return NodeState.FAILED if ended else self.state
