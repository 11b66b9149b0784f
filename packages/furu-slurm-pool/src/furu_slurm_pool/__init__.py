"""Runs furu graphs on a pool of Slurm workers that compute many nodes each.

The words, and the room in which each is at home; a room imports only those above it.

`_queue`, the files by which a controller and its workers talk:

- **task**: one attempt at one node, a file that waits in the queue of its spec key.
- **claim**: a task that a worker has moved into its own folder.
- **report**: a worker's file that says what became of tasks.
- **heartbeat**: a file whose name changes while its worker lives.
- **order**: a file by which the controller has workers leave or stop.
- **orphan**: a task whose worker is gone; it goes back into the queue.

`_worker`:

- **worker**: a job of Slurm that claims tasks of one spec key, and computes many.
- **intent**: what a worker is about to do: work, leave, or end at once.

`_controller`, the side that decides:

- **controller**: the process that queues what is ready and decides what follows from failures.
- **term**: one process's time as the controller, numbered; taking over means claiming the next number.
- **leader**: the controller of the newest term, as anyone sees it.
- **request**: what a run is to do, written down so that any process can go on with it.
- **fleet**: all workers of a run.
- **recovery**: finding what goes on, or ended unheard, although its controller died.
- **ghost job**: a job that Slurm believes in though its run has ended.

`_observer`, for those who look at a run, resume it or stop it:

- **observed run**: one that another process controls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from furu_slurm import SlurmSpec
    from furu_slurm_pool._controller._run import SlurmPoolRun
    from furu_slurm_pool._executor import SlurmPoolExecutor, run_slurm_pool
    from furu_slurm_pool._observer._run import ObservedPoolRun

__all__ = ["ObservedPoolRun", "SlurmPoolExecutor", "SlurmPoolRun", "SlurmSpec", "run_slurm_pool"]


def __getattr__(name: str) -> Any:
    # A worker imports this package as well, and would wait for all that controls runs.
    if name in __all__:
        from furu_slurm_pool import _executor

        return getattr(_executor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
