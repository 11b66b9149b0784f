"""What a controller takes over from earlier ones: tasks that workers have, and unread reports."""

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
    """Tasks that go on, or have ended unnoticed, since their controller ended.

    Attributes:
        claimed: hash to the name of the task that a worker has.
        reported: hash to a report that no controller has read, and the worker that wrote it.
        files: the files of these reports.
    """

    claimed: dict[str, str] = attrs.field(factory=dict)
    reported: dict[str, tuple[TaskReport, str]] = attrs.field(factory=dict)
    files: list[str] = attrs.field(factory=list)

    def holds(self, node_hash: str) -> bool:
        """Whether a node's attempt goes on, or has ended with an unread report."""
        return node_hash in self.claimed or node_hash in self.reported

    def add(self, report: TaskReport, worker: str) -> None:
        """Note a worker's report on a claimed task that this controller has not taken up yet."""
        node_hash = _tasks.hash_of(report.task)
        if self.claimed.get(node_hash) == report.task:
            del self.claimed[node_hash]
            if report.kind is not TaskEnd.GIVEN_BACK:
                self.reported[node_hash] = (report, worker)


def recover(run_folder: str, workers: Collection[str], counted: Collection[str]) -> Recovered:
    """Take over the queue of an earlier controller.

    Waiting tasks are taken back, because the new plan has their nodes.

    Args:
        run_folder: the run's folder.
        workers: the names of workers that may live.
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
    # After the claims, because a worker writes its report before it removes its task.
    for file in _reports.names(run_folder):
        found.files.append(file)
        told = read_report(run_folder, file)
        for report in told.tasks:
            node_hash = _tasks.hash_of(report.task)
            if found.claimed.get(node_hash) == report.task:
                del found.claimed[node_hash]
            if report.kind is not TaskEnd.GIVEN_BACK and report.task not in counted:
                found.reported[node_hash] = (report, told.worker)
    for node_hash in found.claimed:  # a later attempt than the reported one
        found.reported.pop(node_hash, None)
    return found


def tasks_left_in(run_folder: str) -> Recovered:
    """The tasks in a queue, which is not changed: for a look before a process claims the run."""
    found = Recovered()
    for queue in queues(run_folder):
        for names in (_tasks.waiting(queue), *_tasks.claimed_by(queue).values()):
            found.claimed.update((_tasks.hash_of(name), name) for name in names)
    return found


def read_report(run_folder: str, file: str) -> WorkerReport:
    """Read a report file; the report is empty when the file is gone or damaged."""
    path = f"{_reports.folder_of(run_folder)}/{file}"
    try:
        return _reports.REPORT.read(path)
    except FileNotFoundError:
        pass  # an earlier controller had read it, and was about to remove it
    except FuruStoreError as error:
        # Its tasks are found later, as tasks that are neither waiting nor claimed.
        _log.warning("%s", error)
    return WorkerReport(_reports.worker_of(file), ())


class RecoveryReader(StateReader):
    """Reports nodes whose attempts go on in the run as to be computed, so that the run keeps them.

    Args:
        recovered: tells which nodes these are.
    """

    def __init__(self, recovered: Recovered) -> None:
        super().__init__()
        self._recovered = recovered

    def state(self, obj: Any) -> NodeInfo:
        # First, because otherwise the scheduler, which may be slow or down, is asked about the worker.
        if self._recovered.holds(obj.furu_hash) and not self.done(obj):
            return NodeInfo(NodeState.ABSENT)
        return super().state(obj)
