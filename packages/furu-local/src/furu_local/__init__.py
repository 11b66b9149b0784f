"""Runs furu graphs on this machine, in worker processes, threads or inline.

Glossary:
    process pool: the worker processes of a run, which the process that started it tells what to compute
    thread pool: the threads of the run's own process that compute its nodes
    inline: in the thread that waits for the run, one node after the other
    recall: taking back a node from a worker that has not begun it, because another one is free
    device: a GPU or the like, as `CUDA_VISIBLE_DEVICES` names it
    slot: the place of one node at a time on a device
    processors: what of this machine the process may use, divided among workers that compute at once
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from furu_local._run import LocalExecutor, run_local

__all__ = ["LocalExecutor", "run_local"]


def __getattr__(name: str) -> Any:
    # A worker process imports this package as well, and would wait for all that starts workers.
    if name in __all__:
        from furu_local import _run

        return getattr(_run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
