"""The folder of a pool's run, with the process that writes each file.

::

    runs/<run id>/request.json, roots.jsonl    options and roots of the run; the process that starts it
                  same-as-<digest>             lets the same command find the run; the same process
                  environment.json             what its jobs get from the submitter; the controller
                  controllers/<n>/             the n-th controller of the run, see `_controller._terms`
                  graph/<n>-<k>.jsonl          configs of queued nodes; controller n
                  queue/<spec key>/            see `_tasks`
                  reports/, heartbeats/        see `_reports`, `_heartbeats`; workers
                  orders/                      orders to workers, see below; the controller
                  workers/<worker>.json        see `_controller._workers`; the controller
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from furu_core.errors import FuruStoreError
from furu_core.executors import list_folder
from furu_slurm_pool._queue import _heartbeats, _reports
from furu_slurm_pool._queue._tasks import QueueFolder, queue_folder

STOP: Final = "stop"
_LEAVE: Final = ".leave"


def make_folders(run_folder: str) -> None:
    """Make the folders that every run has, as far as they are missing."""
    for folder in (
        f"{run_folder}/controllers",
        f"{run_folder}/graph",
        f"{run_folder}/queue",
        f"{run_folder}/workers",
        orders_folder(run_folder),
        _reports.folder_of(run_folder),
        _heartbeats.folder_of(run_folder),
    ):
        os.makedirs(folder, exist_ok=True)


def unwritable(run_folder: str, error: OSError) -> FuruStoreError:
    """The error for a run's folder that cannot be written."""
    return FuruStoreError(
        f"the folder of the run, {run_folder}, cannot be written: {error.strerror or error}",
        path=run_folder,
        hint="free some space, or make it writable, and run the same command again",
    )


def graph_file(run_folder: str, name: str) -> str:
    """The path of a graph file that tasks name."""
    return f"{run_folder}/graph/{name}"


def queues(run_folder: str) -> list[QueueFolder]:
    """The queues of all spec keys that the run has needed so far."""
    return [
        QueueFolder(f"{run_folder}/queue/{name}") for name in list_folder(f"{run_folder}/queue")
    ]


def open_queue(run_folder: str, spec_key: str) -> QueueFolder:
    """The queue of a spec key; its folders are made if they are missing."""
    queue = queue_folder(run_folder, spec_key)
    queue.make()
    return queue


# Orders are empty files; a listing of their folder shows them at once, also on a network filesystem.


def orders_folder(run_folder: str) -> str:
    """The folder of the orders."""
    return f"{run_folder}/orders"


def order_stop(run_folder: str) -> None:
    """Tell all workers to interrupt their nodes, as cancelled, and to end."""
    _touch(f"{orders_folder(run_folder)}/{STOP}")


def order_leave(run_folder: str, worker: str) -> None:
    """Tell one worker to end once it has done the tasks that it has claimed."""
    _touch(f"{orders_folder(run_folder)}/{worker}{_LEAVE}")


def withdraw_orders(run_folder: str) -> None:
    """Remove all orders, because the run goes on."""
    for name in list_folder(orders_folder(run_folder)):
        with suppress(OSError):
            os.unlink(f"{orders_folder(run_folder)}/{name}")


def orders_for(run_folder: str, worker: str) -> tuple[bool, bool]:
    """Whether a worker is to stop, and whether it is to leave."""
    names = list_folder(orders_folder(run_folder))
    return STOP in names, f"{worker}{_LEAVE}" in names


def _touch(path: str) -> None:
    with suppress(OSError):  # the workers that scancel reaches end without the order
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
