"""Reproducible computation in plain Python: a config class says what, its hash says where.

Glossary:
    config: a frozen object of a `Furu` class, whose fields say what is to be computed
    node: a config as a part of a graph; the configs in its fields are its dependencies
    hash: the digest of a config's class name and fields, by which its result is found
    artifact: the folder with what a node's code made; it is there if and only if it is complete
    record: the file of an attempt or artifact that tells all that furu knows of it
    manifest: the part of a record that loading needs: the result, and all files with their digests
    codec: what stores values of some types in files of its own format
    store: the folder of all artifacts, attempts and runs, `FURU_PATH`
    attempt: one try to compute a node; it has a number, and a folder that becomes the artifact
    spool: the file that a running node prints to, used for one node after the other
    lease: how long an attempt's holder, the process that computes, may show no sign of life
    checkpoint: what a node's code leaves for the node's next attempt
    submission: the scheduler's job that is to compute a node
    executor: what computes graphs of nodes, on this machine or elsewhere
    run: what an executor does for one call; it has an id and a folder
    worker: a process that computes nodes for a run
    spec key: the name of the kind of worker that a node asks for
    context: for which node, executor, run and spec key code runs
    violation: a `get()` in an executor that would have had to compute
    failure kind: compute, lost, protocol or cancelled; retries depend on it
"""

import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    from furu_core.errors import FuruPlatformError as _FuruPlatformError

    raise _FuruPlatformError(
        "furu does not support Windows", hint="use it on Linux or macOS, or in WSL"
    )

from furu_core._code import _observer as _observer

# As early as possible: what was imported before is harder to prove.
_observer.install()

if TYPE_CHECKING:
    from furu_core._config._config_class import field as field
    from furu_core._config._grid import grid as grid
    from furu_core._context._context import ExecContext as ExecContext
    from furu_core._context._context import exec_context as exec_context
    from furu_core._context._context import in_executor as in_executor
    from furu_core._executors._registry import run as run
    from furu_core._explain._diff import diff as diff
    from furu_core._explain._why import why as why
    from furu_core._furu import Furu as Furu
    from furu_core._settings._settings import Settings as Settings
    from furu_core._settings._settings import configure as configure
    from furu_core._settings._settings import settings as settings
    from furu_core._settings._settings import use_settings as use_settings
    from furu_core._status._states import NodeState as NodeState
    from furu_core._tables._frame import frame as frame
    from furu_core.errors import FuruError as FuruError
else:
    from furu_core import _late

    # Imported on first use: a program that only loads results needs few of these, and a scheduler's
    # job, which watches over nodes without knowing their classes, fewer still.
    __all__, __getattr__, __dir__ = _late.late_imports(
        __name__,
        {
            "._config._config_class": "field",
            "._config._grid": "grid",
            "._context._context": "ExecContext exec_context in_executor",
            "._executors._registry": "run",
            "._furu": "Furu",
            "._settings._settings": "Settings configure settings use_settings",
            "._tables._frame": "frame",
            "._explain._diff": "diff",
            "._status._states": "NodeState",
            "._explain._why": "why",
            ".errors": "FuruError",
        },
    )
