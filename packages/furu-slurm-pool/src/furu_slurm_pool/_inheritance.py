"""What a controller takes over from those before it: tasks that workers have, and untold verdicts."""

from __future__ import annotations

import logging
from collections.abc import Collection

import attrs

from furu_core import Furu, NodeState
from furu_core.executors import NodeInfo, StateReader
from furu_slurm_pool import _queue, _tasks, _verdicts
from furu_slurm_pool._folders import queues
from furu_slurm_pool._verdicts import Kind, TaskVerdict, UnreadableVerdict, Verdicts

_log = logging.getLogger("furu.pool")


@attrs.define
class Inheritance:
    """What goes on although its controller ended.

    Attributes:
        claimed: hash to the name of the task that a worker has.
        told: hash to a verdict that nobody has heard, and who told it.
        files: the verdict files that these are from.
    """

    claimed: dict[str, str] = attrs.field(factory=dict)
    told: dict[str, tuple[TaskVerdict, str]] = attrs.field(factory=dict)
    files: list[str] = attrs.field(factory=list)

    def holds(self, node_hash: str) -> bool:
        """Whether a node's attempt goes on, or has ended and nobody heard."""
        return node_hash in self.claimed or node_hash in self.told


def inherit(run_folder: str, workers: Collection[str], counted: Collection[str]) -> Inheritance:
    """Take stock of a queue that was left behind.

    Tasks that wait are taken back, for the new plan knows them.

    Args:
        run_folder: the run's.
        workers: the names of those that may live.
        counted: tasks whose failures have been counted.
    """
    found = Inheritance()
    for queue in queues(run_folder):
        for name in _queue.waiting(queue):
            _queue.withdraw(queue, name)
        for worker, names in _queue.claimed_by(queue).items():
            if worker not in workers:
                _queue.declare_dead(queue, worker)
                continue
            found.claimed.update((_tasks.hash_of(name), name) for name in names)
    # Afterwards, because a worker tells before it clears its task away.
    for file in _verdicts.names(run_folder):
        found.files.append(file)
        verdicts = read_verdicts(run_folder, file)
        for verdict in () if verdicts is None else verdicts.tasks:
            node_hash = _tasks.hash_of(verdict.task)
            if found.claimed.get(node_hash) == verdict.task:
                del found.claimed[node_hash]
            if verdict.kind is not Kind.GIVEN_BACK and verdict.task not in counted:
                assert verdicts is not None
                found.told[node_hash] = (verdict, verdicts.worker)
    for node_hash in found.claimed:  # a later attempt than the one that was told
        found.told.pop(node_hash, None)
    return found


def left_in_queue(run_folder: str) -> Inheritance:
    """The tasks that stand in a queue, which nothing is done to: for a look before anybody controls it."""
    found = Inheritance()
    for queue in queues(run_folder):
        for names in (_queue.waiting(queue), *_queue.claimed_by(queue).values()):
            found.claimed.update((_tasks.hash_of(name), name) for name in names)
    return found


def read_verdicts(run_folder: str, file: str) -> Verdicts | None:
    """What a verdict file says; None when it is gone or damaged."""
    path = f"{_verdicts.folder_of(run_folder)}/{file}"
    try:
        with open(path, "rb", buffering=0) as opened:
            return _verdicts.parse(opened.read())
    except FileNotFoundError:
        pass  # a controller before this one had heard it, and was about to remove it
    except (OSError, UnreadableVerdict) as error:
        # What it told is found out by looking for tasks that are nowhere.
        _log.warning("%s cannot be read: %s", path, error)
    return None


class HeirsReader(StateReader):
    """Says that nodes whose attempts go on in the run are to be computed: by those who are at it.

    Args:
        inherited: says which they are.
    """

    def __init__(self, inherited: Inheritance) -> None:
        super().__init__()
        self._inherited = inherited

    def state(self, obj: Furu[object]) -> NodeInfo:
        # First, because the scheduler would be asked about its holder, and may be slow or down.
        if self._inherited.holds(obj.furu_hash) and not self.done(obj):
            return NodeInfo(NodeState.ABSENT)
        return super().state(obj)
