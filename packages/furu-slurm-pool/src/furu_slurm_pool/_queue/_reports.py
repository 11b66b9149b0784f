"""The reports of workers to their controller: files with the outcomes of one or more tasks.

::

    runs/<run id>/reports/<worker>.<n>.json

A file appears atomically. It is written in the worker's own folder in the queue, and moved from there;
so a worker that was declared dead, and lost that folder, cannot report anything any more.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import attrs

from furu_core.executors import RecordFormat, list_folder, replace_file
from furu_core.workers import NodeResult


class TaskEnd(Enum):
    """How a worker is done with a task."""

    ENDED = "ended"
    GIVEN_BACK = "given back"  # it was not begun
    UNREADABLE = "unreadable"  # the task's file is not what it should be


@attrs.frozen
class TaskReport:
    """What became of one task.

    Attributes:
        task: the name of the task's file.
        kind: how the worker is done with it.
        result: how the node's attempt ended, for `ENDED`.
        message: what is wrong with the file, for `UNREADABLE`.
    """

    task: str
    kind: TaskEnd
    result: NodeResult | None = None
    message: str = ""


@attrs.frozen
class WorkerReport:
    """One report file: what a worker reports to its controller at once.

    Attributes:
        worker: the worker that wrote it.
        tasks: the reports of its tasks.
    """

    worker: str
    tasks: tuple[TaskReport, ...]


REPORT: Final = RecordFormat(WorkerReport, "a worker's report", version=1)


def folder_of(run_folder: str) -> str:
    """The folder of a run's reports."""
    return f"{run_folder}/reports"


def names(run_folder: str) -> list[str]:
    """The names of the existing report files, those of each worker in their order."""
    found = [name for name in list_folder(folder_of(run_folder)) if not name.startswith(".")]
    return sorted(found, key=lambda name: (len(name), name))


def worker_of(name: str) -> str:
    """The worker that wrote the report file with this name."""
    return name.partition(".")[0]


def write(run_folder: str, number: int, reports: WorkerReport, *, claims: str) -> None:
    """Write a report file for the controller.

    Args:
        run_folder: the run's folder.
        number: counts the worker's files.
        reports: the content.
        claims: the worker's own folder in the queue.

    Raises:
        FileNotFoundError: that folder is gone: the worker was declared dead.
        OSError: the file cannot be written.
    """
    path = f"{folder_of(run_folder)}/{reports.worker}.{number:06d}.json"
    replace_file(path, REPORT.to_bytes(reports), staging=claims)
