"""The queue of one spec key: a folder in which tasks are files and are claimed by renaming them.

::

    runs/<run id>/queue/<spec key>/todo/<task>               waits
                                   claimed/<worker>/<task>   a worker has it; the folder is the worker's
                                   dead/<worker>/<task>      left by a worker that died
                                   withdrawn/<task>          the controller took it back

Only the controller makes tasks and takes them back; a worker moves them into its own folder, and
removes them from there once its report is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import attrs

from furu_core.executors import (
    OWNER_WRITES,
    RecordFormat,
    list_folder,
    move_file,
    read_trusted,
    replace_file,
)

_MISSES: Final = 16  # after so many names in a row that others took, a listing is too old
_READINGS: Final = 3  # listings in one call; after that other workers are simply faster


@attrs.frozen
class QueuedTask:
    """One attempt at one node, as it waits in the queue.

    Attributes:
        hash: the node's.
        graph: name of the graph file in the run's folder.
        offset: of the node in that file.
        rerun: whether the node is computed although it has an artifact.
        attempt: counts the node's attempts in this run from 1.
        code: the digest of the snapshot whose code is to compute it; empty where workers import the
            project as it is.
    """

    hash: str
    graph: str
    offset: int
    rerun: bool = False
    attempt: int = 1
    code: str = ""


TASK: Final = RecordFormat(QueuedTask, "a task of the run", version=1)


def task_name(number: int, controller: int, node_hash: str) -> str:
    """The name of a task's file: never used twice in a run, and sorted in the order of queueing.

    Args:
        number: counts the tasks that a controller queued.
        controller: counts the controllers of the run.
        node_hash: the node's hash.
    """
    return f"{controller:03d}-{number:08d}.{node_hash}"


def hash_of(name: str) -> str:
    """The hash of the node that the task with this name is for."""
    return name.partition(".")[2]


@attrs.frozen
class QueueFolder:
    """The folders of one spec key's queue.

    Attributes:
        path: the queue's folder.
    """

    path: str

    @property
    def todo(self) -> str:
        return f"{self.path}/todo"

    @property
    def claimed(self) -> str:
        return f"{self.path}/claimed"

    @property
    def orphaned(self) -> str:
        return f"{self.path}/orphaned"

    @property
    def withdrawn(self) -> str:
        return f"{self.path}/withdrawn"

    def make(self) -> None:
        """Make the folders, as far as they are missing."""
        for folder in (self.todo, self.claimed, self.orphaned, self.withdrawn):
            os.makedirs(folder, exist_ok=True)


def queue_folder(run_folder: str, spec_key: str) -> QueueFolder:
    """The queue of a spec key in a run.

    Example:
        >>> queue_folder("/runs/1", "gpu/large").path
        '/runs/1/queue/gpu%2Flarge'
    """
    name = quote(spec_key, safe="")
    return QueueFolder(
        f"{run_folder}/queue/{name.replace('.', '%2E') if name[:1] == '.' else name}"
    )


# What the controller does


def enqueue(queue: QueueFolder, name: str, task: QueuedTask) -> None:
    """Put a task into a queue.

    Args:
        queue: the queue.
        name: from `task_name`, never used before.
        task: the task.

    Raises:
        OSError: it cannot be written; then the task is not queued.
    """
    data = TASK.to_bytes(task)
    replace_file(f"{queue.todo}/{name}", data, staging=queue.withdrawn, mode=OWNER_WRITES)


def withdraw(queue: QueueFolder, name: str) -> bool:
    """Take a task back; False when a worker has claimed it."""
    target = f"{queue.withdrawn}/{name}"
    if not move_file(f"{queue.todo}/{name}", target):
        return False
    with suppress(OSError):
        os.unlink(target)
    return True


def waiting(queue: QueueFolder) -> list[str]:
    """The names of the tasks that wait, in the order of queueing."""
    return sorted(list_folder(queue.todo))


def claimed_by(queue: QueueFolder) -> dict[str, list[str]]:
    """The names of the tasks that workers have, by worker, including workers that have none."""
    return {worker: tasks_in(f"{queue.claimed}/{worker}") for worker in list_folder(queue.claimed)}


def tasks_in(folder: str) -> list[str]:
    """The names of the tasks in a worker's folder, in the order of queueing."""
    return sorted(name for name in list_folder(folder) if not name.startswith("."))


def revoke(queue: QueueFolder, worker: str) -> list[str]:
    """Take a worker's folder away, so that it ends if it wakes; return the names of its tasks.

    They stay in the folder of dead workers until `remove_orphans`.
    """
    move_file(f"{queue.claimed}/{worker}", f"{queue.orphaned}/{worker}")
    return tasks_in(f"{queue.orphaned}/{worker}")


def remove_orphans(queue: QueueFolder, worker: str) -> None:
    """Remove the tasks that a dead worker left, once they have been dealt with."""
    _remove(f"{queue.orphaned}/{worker}")


# What a worker does


class Claims:
    """The folder of this worker, into which it claims tasks, and from which it removes them.

    Args:
        queue: of its spec key.
        worker: the worker's name, never used before in this run.

    Raises:
        FileExistsError: a worker with that name has existed.
    """

    def __init__(self, queue: QueueFolder, worker: str) -> None:
        self._queue = queue
        self._worker = worker
        self.folder = f"{queue.claimed}/{worker}"
        os.mkdir(self.folder)
        self._names: list[str] = []
        self._next = 0
        self._claimed: set[str] = set()  # all so far, because old listings may show them again
        self._colleagues = 1

    def is_mine(self) -> bool:
        """Whether the folder still exists; False means that the worker was declared dead."""
        return self._worker in list_folder(self._queue.claimed)

    def claim(self, most: int) -> list[str]:
        """Claim tasks, at most so many and no more than a fair share; return their names.

        Each worker goes through a listing from a place of its own, so that workers seldom try the same
        task. The listing is read again once it is used up or others have taken the tasks in it.
        """
        found: list[str] = []
        misses = readings = 0
        while True:
            if self._next == len(self._names) or misses == _MISSES:
                if found or readings == _READINGS or not self._read():
                    return found
                misses, readings = 0, readings + 1
            share = 1 + (len(self._names) - self._next) // (2 * self._colleagues)
            if len(found) >= min(most, share):
                return found
            name = self._names[self._next]
            self._next += 1
            if self._take(name):
                found.append(name)
                misses = 0
            else:
                misses += 1

    def path(self, name: str) -> str:
        """The path of a claimed task's file."""
        return f"{self.folder}/{name}"

    def read(self, name: str) -> QueuedTask:
        """Read a claimed task.

        Raises:
            FileNotFoundError: the folder was taken away.
            FuruUntrustedFile: it is of somebody whose code is not to be run.
            FuruStoreError: its file cannot be read, or is damaged.
        """
        return TASK.read(self.path(name), reader=read_trusted)

    def clear(self, names: Iterable[str]) -> None:
        """Remove tasks whose report is written."""
        for name in names:
            with suppress(OSError):
                os.unlink(self.path(name))

    def close(self) -> None:
        """Remove the folder; if tasks are left in it, the controller deals with them."""
        with suppress(OSError):
            os.rmdir(self.folder)

    def _read(self) -> int:
        """List the waiting tasks; return how many there are."""
        names = waiting(self._queue)
        if names:
            colleagues = sorted(list_folder(self._queue.claimed))
            self._colleagues = max(1, len(colleagues))
            place = colleagues.index(self._worker) if self._worker in colleagues else 0
            start = len(names) * place // self._colleagues
            names = names[start:] + names[:start]
        self._names = names
        self._next = 0
        return len(names)

    def _take(self, name: str) -> bool:
        if name in self._claimed:
            return False
        if not move_file(f"{self._queue.todo}/{name}", self.path(name)):
            return False
        self._claimed.add(name)
        return True


def _remove(folder: str) -> None:
    for name in list_folder(folder):
        with suppress(OSError):
            os.unlink(f"{folder}/{name}")
    with suppress(OSError):
        os.rmdir(folder)
