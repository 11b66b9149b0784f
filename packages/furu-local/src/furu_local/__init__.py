"""Runs furu graphs on this machine, in worker processes, threads or inline.

Glossary:
    process pool: the worker processes of a run, controlled by the process that started the run
    thread pool: the threads of the run's own process that compute its nodes
    inline: in the thread that waits for the run, one node after the other
    recall: taking a node back from a worker that has not begun it, because another worker is free
    device: a GPU or the like, as `CUDA_VISIBLE_DEVICES` names it
    slot: the place of one node at a time on a device
    processors: what of this machine the process may use, divided among workers that compute at once
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_local._executor import LocalExecutor as LocalExecutor
    from furu_local._run import run_local as run_local
else:
    from furu_core.executors import late_imports

    # A worker process imports this package as well, and would wait for all that starts workers.
    __all__, __getattr__, __dir__ = late_imports(
        __name__,
        {
            "._executor": "LocalExecutor",
            "._run": "run_local",
        },
    )
