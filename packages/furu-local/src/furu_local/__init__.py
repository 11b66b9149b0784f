"""Runs furu graphs on this machine, in worker processes, threads or inline."""

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
