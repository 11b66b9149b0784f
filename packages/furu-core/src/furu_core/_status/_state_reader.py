"""Reading the states of many nodes at once.

Because an artifact's folder exists only when it is complete, one listing of the class folder tells
the states of nearly all nodes of a class. Only for a node that has attempts and no artifact a
record must be read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from furu_core._attempts import _attempts, _submissions
from furu_core._attempts._attempts import LatestAttempt, holder_of
from furu_core._attempts._outcomes import Failure, Holder
from furu_core._attempts._records import AttemptStatus
from furu_core._executors._executor import Liveness
from furu_core._settings import _settings
from furu_core._status._states import NodeInfo, NodeState
from furu_core._store._layout import Node, NodeRef, attempted_in, class_dir, ref_of
from furu_core._store._published import listed

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject


_DONE = NodeInfo(NodeState.DONE)
_ABSENT = NodeInfo(NodeState.ABSENT)


class StateReader:
    """Reads states of many nodes at the cost of one listing per class.

    Listings are cached; `refresh` drops them. It does not guarantee that a state still holds when
    it is returned.

    Example:
        >>> from furu_core.planning import StateReader
        >>> reader = StateReader()
    """

    def __init__(self) -> None:
        self._done: dict[type, frozenset[str]] = {}
        self._attempted: dict[type, frozenset[str]] = {}

    def refresh(self) -> None:
        """Forget all listings."""
        self._done.clear()
        self._attempted.clear()

    def done(self, obj: ConfigObject) -> bool:
        """Whether the artifact of `obj` is there."""
        return obj.furu_hash in self.done_of(type(obj))

    def done_of(self, cls: type) -> frozenset[str]:
        """The hashes of all artifacts of a class."""
        try:
            return self._done[cls]
        except KeyError:
            names = listed(class_dir(cls))
            self._attempted[cls] = attempted_in(names)
            # Names of other kinds are no hashes, so they harm nothing.
            if _settings.settings().also:
                from furu_core._store import _further_stores  # few settings name further stores

                names |= _further_stores.listed_elsewhere(class_dir(cls))
            self._done[cls] = names
            return names

    def state(self, obj: ConfigObject) -> NodeInfo:
        """The state of `obj`.

        Raises:
            FuruFormatError: a newer furu wrote its record.
        """
        cls = type(obj)
        node_hash = obj.furu_hash
        if node_hash in self.done_of(cls):
            return _DONE
        if node_hash not in self._attempted[cls]:
            return _ABSENT
        return look(ref_of(obj))


def state_at(node: Node) -> NodeInfo:
    """The present state of a node, without listing its whole class.

    Args:
        node: its object, or a reference to it.

    Raises:
        FuruFormatError: a newer furu wrote its record.
    """
    ref = ref_of(node)
    if os.path.isdir(ref.artifact):
        return _DONE
    if _settings.settings().also:
        from furu_core._store import _further_stores  # as above

        if _further_stores.elsewhere(ref) is not None:
            return _DONE
    return look(ref)


def look(ref: NodeRef) -> NodeInfo:
    """The state of a node without an artifact, by its newest attempt and its submitted job."""
    newest = _attempts.latest(ref, lease_secs=_settings.settings().lease_secs)
    running = newest is not None and _runs(newest)
    if not running:
        queued = _queued(ref, attempted=newest is not None and not newest.is_kept_number)
        if queued is not None:
            return queued
    if newest is None:
        return _ABSENT
    holder = holder_of(newest)
    if newest.judgement is not None:
        state = NodeState.RUNNING if running else NodeState.LOST
        return NodeInfo(state, newest.number, holder, reason=newest.judgement.reason)
    if newest.record is None:  # a number that is kept
        return _ABSENT
    failure = _failure(newest, ref)
    return NodeInfo(_ENDED_STATES[newest.record.status], newest.number, holder, failure)


def held(ref: NodeRef) -> NodeInfo | None:
    """The state of a node that is computed now or has a queued job, also with an artifact; or None.

    A record that only a newer furu can read is judged by its lease.
    """
    newest = _attempts.latest_of_any_furu(ref, lease_secs=_settings.settings().lease_secs)
    if newest is not None and _runs(newest):
        assert newest.judgement is not None
        reason = newest.judgement.reason
        return NodeInfo(NodeState.RUNNING, newest.number, holder_of(newest), reason=reason)
    queued = _queued(ref, attempted=newest is not None and not newest.is_kept_number)
    return queued if queued is not None and queued.state is NodeState.QUEUED else None


def _runs(attempt: LatestAttempt) -> bool:
    """Whether an attempt lives; the lease is ignored if the scheduler says its job is gone."""
    submission = None if attempt.record is None else attempt.record.submission
    if submission is None or not attempt.alive:
        return attempt.alive
    from furu_core._executors import _registry  # most stores know no scheduler's job

    return not _registry.is_gone(submission)


def _queued(ref: NodeRef, *, attempted: bool) -> NodeInfo | None:
    """The state of a node without a living attempt, if a job was submitted for it; else None.

    Args:
        ref: the node.
        attempted: whether there was an attempt. Then a job that is not known to live is most likely
            the one that made it, and the attempt tells the node's state.
    """
    submission = _submissions.queued(ref)
    if submission is None:
        return None
    from furu_core._executors import _registry

    holder = Holder(None, submission)
    match _registry.liveness([submission])[submission]:
        case Liveness.ALIVE:
            return NodeInfo(NodeState.QUEUED, holder=holder)
        case Liveness.UNKNOWN:
            return None if attempted else NodeInfo(NodeState.QUEUED, holder=holder)
        case Liveness.GONE:
            reason = f"{submission.executor} job {submission.id} is gone"
            return None if attempted else NodeInfo(NodeState.LOST, holder=holder, reason=reason)


_ENDED_STATES = {
    AttemptStatus.FAILED: NodeState.FAILED,
    AttemptStatus.LOST: NodeState.LOST,
    AttemptStatus.CANCELLED: NodeState.CANCELLED,
    AttemptStatus.INVALID: NodeState.ABSENT,
    AttemptStatus.PUBLISHED: NodeState.ABSENT,  # and deleted since
}


def _failure(newest: LatestAttempt, ref: NodeRef) -> Failure | None:
    assert newest.record is not None
    ended = newest.record.ended
    if ended is None or ended.kind is None:
        return None
    return Failure(
        kind=ended.kind,
        error_type=ended.error_type,
        message=ended.message,
        node=ref.name,
        hash=ref.hash,
        log=_attempts.kept_log(newest.folder),
        at=ended.at,
    )
