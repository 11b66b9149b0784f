"""What a controller takes over from those before it: tasks that workers have, and untold reports."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import attrs

from furu_core import NodeState
from furu_core.errors import FuruStoreError
from furu_core.planning import NodeInfo, StateReader
from furu_slurm_pool._queue import _reports, _tasks
from furu_slurm_pool._queue._reports import TaskEnd, TaskReport, WorkerReport
from furu_slurm_pool._queue._run_folder import queues

_log = logging.getLogger("furu.pool")


@attrs.define
class Recovered:
    """What goes on although its controller ended.

    Attributes:
        claimed: hash to the name of the task that a worker has.
        reported: hash to a report that nobody has heard, and who told it.
        files: the report files that these are from.
    """

    claimed: dict[str, str] = attrs.field(factory=dict)
    reported: dict[str, tuple[TaskReport, str]] = attrs.field(factory=dict)
    files: list[str] = attrs.field(factory=list)

    def holds(self, node_hash: str) -> bool:
        """Whether a node's attempt goes on, or has ended and nobody heard."""
        return node_hash in self.claimed or node_hash in self.reported

    def add(self, report: TaskReport, worker: str) -> None:
        """A worker has reported what became of a claimed task, before anybody took the task up."""
        node_hash = _tasks.hash_of(report.task)
        if self.claimed.get(node_hash) == report.task:
            del self.claimed[node_hash]
            if report.kind is not TaskEnd.GIVEN_BACK:
                self.reported[node_hash] = (report, worker)


def recover(run_folder: str, workers: Collection[str], counted: Collection[str]) -> Recovered:
    """Take stock of a queue that was left behind.

    Tasks that wait are taken back, for the new plan knows them.

    Args:
        run_folder: the run's.
        workers: the names of those that may live.
        counted: tasks whose failures have been counted.
    """
    found = Recovered()
    for queue in queues(run_folder):
        for name in _tasks.waiting(queue):
            _tasks.withdraw(queue, name)
        for worker, names in _tasks.claimed_by(queue).items():
            if worker not in workers:
                _tasks.revoke(queue, worker)
                continue
            found.claimed.update((_tasks.hash_of(name), name) for name in names)
    # Afterwards, because a worker tells before it clears its task away.
    for file in _reports.names(run_folder):
        found.files.append(file)
        told = read_report(run_folder, file)
        for report in told.tasks:
            node_hash = _tasks.hash_of(report.task)
            if found.claimed.get(node_hash) == report.task:
                del found.claimed[node_hash]
            if report.kind is not TaskEnd.GIVEN_BACK and report.task not in counted:
                found.reported[node_hash] = (report, told.worker)
    for node_hash in found.claimed:  # a later attempt than the one that was told
        found.reported.pop(node_hash, None)
    return found


def tasks_left_in(run_folder: str) -> Recovered:
    """The tasks that stand in a queue, which nothing is done to: for a look before anybody controls it."""
    found = Recovered()
    for queue in queues(run_folder):
        for names in (_tasks.waiting(queue), *_tasks.claimed_by(queue).values()):
            found.claimed.update((_tasks.hash_of(name), name) for name in names)
    return found


def read_report(run_folder: str, file: str) -> WorkerReport:
    """What a report file says; nothing when it is gone or damaged."""
    path = f"{_reports.folder_of(run_folder)}/{file}"
    try:
        return _reports.REPORT.read(path)
    except FileNotFoundError:
        pass  # a controller before this one had heard it, and was about to remove it
    except FuruStoreError as error:
        # What it told is found out by looking for tasks that are nowhere.
        _log.warning("%s", error)
    return WorkerReport(_reports.worker_of(file), ())


class RecoveryReader(StateReader):
    """Says that nodes whose attempts go on in the run are to be computed: by those who are at it.

    Args:
        recovered: says which they are.
    """

    def __init__(self, recovered: Recovered) -> None:
        super().__init__()
        self._recovered = recovered

    def state(self, obj: Any) -> NodeInfo:
        # First, because the scheduler would be asked about its holder, and may be slow or down.
        if self._recovered.holds(obj.furu_hash) and not self.done(obj):
            return NodeInfo(NodeState.ABSENT)
        return super().state(obj)
