"""Reproducible computation in plain Python: a config class says what, its hash says where."""

import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from furu_core.errors import FuruPlatformError as _FuruPlatformError

if _sys.platform == "win32":
    raise _FuruPlatformError(
        "furu does not support Windows", hint="use it on Linux or macOS, or in WSL"
    )

from furu_core._context._context import ExecContext, exec_context, in_executor
from furu_core._settings._settings import Settings, configure
from furu_core._settings._settings import current as settings
from furu_core._settings._settings import use as use_settings

if _TYPE_CHECKING:
    from furu_core._config._config_class import field
    from furu_core._executors._grid import grid
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
    "grid": "furu_core._executors._grid",
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
