"""Reproducible computation in plain Python: a config class says what, its hash says where.

Glossary:
    config: a frozen object of a `Furu` class, whose fields say what is to be computed
    node: a config as a part of a graph; the configs in its fields are its dependencies
    hash: the digest of a config's class name and fields, by which its result is found
    artifact: the folder with what a node's code made; it is there if and only if it is complete
    manifest: the list of an artifact's files with their sizes
    codec: what stores values of some types in files of its own format
    store: the folder of all artifacts, attempts and runs, `FURU_PATH`
    attempt: one try to compute a node; it has a number and a folder of its own
    lease: a file that the process of an attempt keeps fresh to show that it lives
    staging folder: where an attempt's files lie until one rename makes them the artifact
    checkpoint: what a node's code leaves for the node's next attempt
    submission: the scheduler's job that is to compute a node
    executor: what computes graphs of nodes, on this machine or elsewhere
    run: what an executor does for one call; it has an id and a folder
    root: a node that a run was asked for
    worker: a process that computes nodes for a run
    spec key: the name of the kind of worker that a node asks for
    context: in whose name code runs: for which node, executor, run and spec key
    violation: a `get()` in an executor that would have had to compute
    failure kind: compute, lost, protocol or cancelled; retries depend on it
"""

import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from furu_core.errors import FuruPlatformError as _FuruPlatformError

if _sys.platform == "win32":
    raise _FuruPlatformError(
        "furu does not support Windows", hint="use it on Linux or macOS, or in WSL"
    )

from furu_core._context._context import ExecContext, exec_context, in_executor
from furu_core._settings._settings import Settings, configure, settings, use_settings

if _TYPE_CHECKING:
    from furu_core._config._config_class import field
    from furu_core._config._grid import grid
    from furu_core._executors._run import run
    from furu_core._furu import Furu
    from furu_core._status._states import NodeState

__all__ = [
    "ExecContext",
    "Furu",
    "NodeState",
    "Settings",
    "configure",
    "exec_context",
    "field",
    "grid",
    "in_executor",
    "run",
    "settings",
    "use_settings",
]

# What a program that only loads results never uses is imported when it is first asked for; and the class
# itself, because a scheduler's job watches over nodes and knows none of their classes.
_LATE = {
    "Furu": "furu_core._furu",
    "NodeState": "furu_core._status._states",
    "field": "furu_core._config._config_class",
    "grid": "furu_core._config._grid",
    "run": "furu_core._executors._run",
}


def __getattr__(name: str) -> _Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_LATE[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
