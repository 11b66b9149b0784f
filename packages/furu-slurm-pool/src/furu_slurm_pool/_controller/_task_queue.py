"""A controller's side of the queue on disk: queueing tasks, seeing who has them, reading reports."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from furu_core.executors import list_folder
from furu_core.workers import GraphWriter
from furu_plan import PlanNode
from furu_plan.runs import Task
from furu_slurm_pool._controller._recovery import read_report
from furu_slurm_pool._controller._workers import Worker
from furu_slurm_pool._queue import _heartbeats, _reports, _tasks
from furu_slurm_pool._queue._reports import WorkerReport
from furu_slurm_pool._queue._run_folder import graph_file, open_queue, unwritable
from furu_slurm_pool._queue._tasks import QueuedTask, QueueFolder

_MOST_REMEMBERED: Final = (
    10_000  # names of report files, after which those that are gone are forgotten
)


@attrs.define(eq=False)
class OpenTask:
    """A task in the queue, or with a worker.

    Attributes:
        task: the task in the run's controller.
        name: the name of its file.
        queue: of its spec key.
        queued: the content of its file.
        since: when it was queued or, once begun, when a worker was first seen to have it.
        begun: whether a worker had it at the last look.
    """

    task: Task
    name: str
    queue: QueueFolder
    queued: QueuedTask
    since: float
    begun: bool = False

    @property
    def node(self) -> PlanNode:
        """The node that it computes."""
        return self.task.node


@attrs.define
class _NodeRecord:
    """What is known of one node's tasks."""

    graph: str
    offset: int
    attempts: int = 0
    last_task: str = ""


class TaskQueue:
    """The open tasks of a run, and their files.

    Args:
        run_folder: the run's folder.
        term: the number of this controller's term, part of the names of the files that it writes.
        nodes: written to the first graph file, before any worker reads it.
        code: the digest of the snapshot whose code is to compute nodes; empty for none.
        heard: report files that need not be read again.
        lease_secs: how many seconds a task may be neither waiting nor claimed.

    Attributes:
        open: the tasks whose ends no worker has reported, by name.
    """

    def __init__(
        self,
        run_folder: str,
        term: int,
        nodes: Iterable[PlanNode],
        *,
        code: str,
        heard: Sequence[str],
        lease_secs: float,
    ) -> None:
        self.open: dict[str, OpenTask] = {}
        self._run_folder = run_folder
        self._term = term
        self._code = code
        self._lease_secs = lease_secs
        self._nodes: dict[str, _NodeRecord] = {}
        self._queues: dict[str, QueueFolder] = {}
        self._numbers = self._graphs = 0
        self._heard = list(heard)  # report files whose reports have been dealt with
        self._seen = set(heard)
        self._revoked: list[Worker] = []
        self._next_stray = time.monotonic() + lease_secs
        self._strays: set[str] = set()
        self._write_graph(nodes)

    def last_task(self, node_hash: str) -> str:
        """The name of a node's latest task; empty for none."""
        record = self._nodes.get(node_hash)
        return "" if record is None else record.last_task

    def demand(self) -> Counter[str]:
        """How many tasks are open, by spec key."""
        return Counter(one.node.spec_key for one in self.open.values())

    # Queueing

    def describe(self, nodes: Iterable[PlanNode]) -> None:
        """Write the configs of nodes to a new graph file, except those that are in one already."""
        late = [node for node in nodes if node.hash not in self._nodes]
        if late:
            self._write_graph(late)

    def enqueue(self, task: Task, *, again: bool = False) -> None:
        """Put a task into the queue.

        Args:
            task: the task.
            again: it was queued before, and not begun.

        Raises:
            FuruStoreError: the run's folder cannot be written.
        """
        self._numbers += 1
        name = _tasks.task_name(self._numbers, self._term, task.node.hash)
        made = self.resume(task, name, again=again)
        try:
            _tasks.enqueue(made.queue, name, made.queued)
        except OSError as error:
            raise unwritable(self._run_folder, error) from error
        self.open[name] = made

    def resume(self, task: Task, name: str, *, again: bool = False) -> OpenTask:
        """Count an attempt that has, or had, a file in the queue; the caller adds it to `open`."""
        key = task.node.spec_key
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = open_queue(self._run_folder, key)
        record = self._nodes[task.node.hash]
        record.attempts += not again
        record.last_task = name
        queued = QueuedTask(
            *(task.node.hash, record.graph, record.offset, task.node.rerun, record.attempts),
            code=self._code,
        )
        return OpenTask(task, name, queue, queued, time.monotonic())

    def withdraw_waiting(self) -> list[OpenTask]:
        """Take all tasks back that no worker has."""
        waiting = [one for one in self.open.values() if not one.begun]
        return [self.open.pop(one.name) for one in waiting if _tasks.withdraw(one.queue, one.name)]

    def _write_graph(self, nodes: Iterable[PlanNode]) -> None:
        # A new file each time: a network filesystem may show the new end of a grown file late.
        self._graphs += 1
        name = f"{self._term:03d}-{self._graphs:04d}.jsonl"
        with GraphWriter(Path(graph_file(self._run_folder, name))) as writer:
            for node in nodes:
                self._nodes[node.hash] = _NodeRecord(name, writer.add(node.obj))

    # Looking

    def new_reports(self) -> Iterator[WorkerReport]:
        """The new reports of workers; each report's file stays until `settle`."""
        for file in _reports.names(self._run_folder):
            if file not in self._seen:
                self._seen.add(file)
                yield read_report(self._run_folder, file)
                self._heard.append(file)

    def look(self) -> tuple[list[OpenTask], list[OpenTask]]:
        """The tasks that workers have newly claimed, and the lost ones: neither waiting nor claimed."""
        waiting: set[str] = set()
        claimed: set[str] = set()
        for queue in self._queues.values():
            waiting.update(list_folder(queue.todo))
            for names in _tasks.claimed_by(queue).values():
                claimed.update(names)
        begun = [one for name, one in self.open.items() if name in claimed and not one.begun]
        now = time.monotonic()
        if now < self._next_stray:
            return begun, []
        # A worker removes a task after its report is written, so a task that stays missing is lost, for
        # instance because a controller that had been given up for dead woke and removed the report.
        self._next_stray = now + self._lease_secs
        before, self._strays = self._strays, self.open.keys() - claimed - waiting
        return begun, [self.open[name] for name in before & self._strays]

    def revoke(self, worker: Worker) -> list[str]:
        """Take a dead worker's tasks away, or keep it from claiming any; return their names."""
        queue = _tasks.queue_folder(self._run_folder, worker.spec_key)
        names = _tasks.revoke(queue, worker.name)
        with suppress(OSError):
            os.makedirs(f"{queue.orphaned}/{worker.name}", exist_ok=True)
        self._revoked.append(worker)
        return names

    def settle(self) -> list[Worker]:
        """Remove reports and orphans that were dealt with; return the workers revoked since last time."""
        folder = _reports.folder_of(self._run_folder)
        for file in self._heard:
            with suppress(OSError):
                os.unlink(f"{folder}/{file}")
        self._heard.clear()
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.intersection_update(list_folder(folder))
        for worker in self._revoked:
            # The name of a worker that has not begun stays among the orphans, in case its job starts.
            if worker.health.begun:
                _tasks.remove_orphans(open_queue(self._run_folder, worker.spec_key), worker.name)
                _heartbeats.remove(self._run_folder, worker.name)
        revoked, self._revoked = self._revoked, []
        return revoked
