"""One node of a plan, and its status."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs

from furu_core import Furu
from furu_core.executors import Failure
from furu_core.planning import Holder, NodeInfo, NodeState, short_name


class Status(StrEnum):
    """The status of a node when the plan is made.

    Example:
        >>> from furu_plan import Status
        >>> Status.TODO == "TODO", Status.IN_PROGRESS.words
        (True, 'in progress')
    """

    DONE = "DONE"
    IN_PROGRESS = "IN_PROGRESS"
    TODO = "TODO"
    FAILED = "FAILED"

    @property
    def words(self) -> str:
        """The status in plain words."""
        return self.value.lower().replace("_", " ")


@attrs.frozen(slots=True)
class PlanNode:
    """A node of the graph, as the store showed it when the plan was made.

    Attributes:
        obj: the Furu object.
        hash: its hash.
        status: DONE, IN_PROGRESS, TODO or FAILED.
        spec_key: the spec key of the worker that it asks for.
        dependencies: hashes of what it depends on, in the order of the fields; empty for nodes that
            are not TODO, because a plan does not look below them.
        dependents: hashes of the nodes of this plan that depend on it.
        info: what the store says of it: state, holder, failure, number of the attempt.
        rerun: it has an artifact and is to be computed again all the same (`FURU_ALWAYS_RERUN`).
    """

    obj: Furu[Any] = attrs.field(repr=False)
    hash: str
    status: Status
    spec_key: str
    dependencies: tuple[str, ...] = attrs.field(repr=False)
    dependents: tuple[str, ...] = attrs.field(repr=False)
    info: NodeInfo = attrs.field(repr=False)
    rerun: bool = False

    @property
    def name(self) -> str:
        """The short name, such as ``Train(3fa9c1)``."""
        return short_name(self.obj)

    @property
    def class_name(self) -> str:
        """The name of the class, without its module."""
        return type(self.obj).__qualname__

    @property
    def holder(self) -> Holder | None:
        """The process that computes it, if one does."""
        return self.info.holder

    @property
    def failure(self) -> Failure | None:
        """How its last attempt failed, if it did; a TODO node may have one, it is tried again."""
        return self.info.failure


def statuses(*, retry_failed: bool, compute_queued: bool = False) -> dict[NodeState, Status]:
    """The status that a plan gives a node for each state in the store; all plans use it.

    Args:
        retry_failed: nodes that failed before are to be computed again.
        compute_queued: nodes that only wait in a scheduler's queue are to be computed here.
    """
    return {
        NodeState.DONE: Status.DONE,
        NodeState.RUNNING: Status.IN_PROGRESS,
        NodeState.QUEUED: Status.TODO if compute_queued else Status.IN_PROGRESS,
        NodeState.LOST: Status.TODO,
        NodeState.FAILED: Status.TODO if retry_failed else Status.FAILED,
        NodeState.CANCELLED: Status.TODO,
        NodeState.UNREADABLE: Status.FAILED,  # only listings have it: for a plan it is an error
        NodeState.ABSENT: Status.TODO,
    }
