"""What authors of executors and planners build on.

`furu-plan` and `furu-local` use these names and no others, and so can a package of yours.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from furu_core._class_names import import_roots
    from furu_core._console import console
    from furu_core._deaths import death_result, exit_text, lost_result
    from furu_core._executor import (
        Event,
        EventKind,
        EventLog,
        Executor,
        Liveness,
        Run,
        RunState,
        RunStatus,
        new_run_folder,
        read_events,
        refuse_nested_run,
        runs_folder,
    )
    from furu_core._graph_file import GraphReader, GraphWriter
    from furu_core._grid import Roots, named_roots
    from furu_core._guard import Guard
    from furu_core._guardian import kill_sessions
    from furu_core._hooks import dependencies, spec_key
    from furu_core._layout import named as short_name_of
    from furu_core._layout import short_name
    from furu_core._line_files import LineFile, read_lines
    from furu_core._logging import console_through
    from furu_core._mounts import is_local as is_local_folder
    from furu_core._node_process import (
        Died,
        NodeOrder,
        NodeProcess,
        Origin,
        node_order,
        origin_here,
    )
    from furu_core._outcomes import (
        Failure,
        FailureKind,
        Holder,
        NodeResult,
        Outcome,
        Submission,
    )
    from furu_core._pack import Packer, Unpacker
    from furu_core._places import NodePlace, absent, place_of
    from furu_core._plugins import InstalledPlugin
    from furu_core._preload import preload
    from furu_core._process import ProcessId, process_with_pid, this_process
    from furu_core._process import is_gone as process_is_gone
    from furu_core._provenance import adopt as adopt_provenance
    from furu_core._provenance import process_provenance
    from furu_core._registry import installed_executors, liveness, load_executor
    from furu_core._reruns import matches_rerun
    from furu_core._reruns import reran as note_rerun
    from furu_core._settings import to_env as settings_to_env
    from furu_core._state_reader import StateReader, state_at
    from furu_core._states import NodeInfo, NodeState
    from furu_core._submissions import note_submission, remove_submission, submission_of
    from furu_core._worker import (
        has_validator,
        invalidate_if_bad,
        made_progress,
        record_death,
        run_node,
    )
    from furu_core._worker_session import WorkerContext, importing_user_code, worker_session

__all__ = [
    "Died",
    "Event",
    "EventKind",
    "EventLog",
    "Executor",
    "Failure",
    "FailureKind",
    "GraphReader",
    "GraphWriter",
    "Guard",
    "Holder",
    "InstalledPlugin",
    "LineFile",
    "Liveness",
    "NodeInfo",
    "NodeOrder",
    "NodePlace",
    "NodeProcess",
    "NodeResult",
    "NodeState",
    "Origin",
    "Outcome",
    "Packer",
    "ProcessId",
    "Roots",
    "Run",
    "RunState",
    "RunStatus",
    "StateReader",
    "Submission",
    "Unpacker",
    "WorkerContext",
    "absent",
    "adopt_provenance",
    "console",
    "console_through",
    "death_result",
    "dependencies",
    "exit_text",
    "has_validator",
    "import_roots",
    "importing_user_code",
    "installed_executors",
    "invalidate_if_bad",
    "is_local_folder",
    "kill_sessions",
    "liveness",
    "load_executor",
    "lost_result",
    "made_progress",
    "matches_rerun",
    "named_roots",
    "new_run_folder",
    "node_order",
    "note_rerun",
    "note_submission",
    "origin_here",
    "place_of",
    "preload",
    "process_is_gone",
    "process_provenance",
    "process_with_pid",
    "read_events",
    "read_lines",
    "record_death",
    "refuse_nested_run",
    "remove_submission",
    "run_node",
    "runs_folder",
    "settings_to_env",
    "short_name",
    "short_name_of",
    "spec_key",
    "state_at",
    "submission_of",
    "this_process",
    "worker_session",
]

# Whoever watches over workers, such as a scheduler's job, needs a few of these, and would wait for all
# that plans, computes and stores: so each is imported when it is first asked for.
_MODULES = {
    "_class_names": ("import_roots",),
    "_console": ("console",),
    "_deaths": ("death_result", "exit_text", "lost_result"),
    "_executor": (
        "Event",
        "EventKind",
        "EventLog",
        "Executor",
        "Liveness",
        "Run",
        "RunState",
        "RunStatus",
        "new_run_folder",
        "read_events",
        "refuse_nested_run",
        "runs_folder",
    ),
    "_graph_file": ("GraphReader", "GraphWriter"),
    "_grid": ("Roots", "named_roots"),
    "_guard": ("Guard",),
    "_guardian": ("kill_sessions",),
    "_hooks": ("dependencies", "spec_key"),
    "_layout": ("named as short_name_of", "short_name"),
    "_logging": ("console_through",),
    "_mounts": ("is_local as is_local_folder",),
    "_line_files": ("LineFile", "read_lines"),
    "_node_process": ("Died", "NodeOrder", "NodeProcess", "Origin", "node_order", "origin_here"),
    "_outcomes": (
        "Failure",
        "FailureKind",
        "Holder",
        "NodeResult",
        "Outcome",
        "Submission",
    ),
    "_pack": ("Packer", "Unpacker"),
    "_places": ("NodePlace", "absent", "place_of"),
    "_plugins": ("InstalledPlugin",),
    "_preload": ("preload",),
    "_process": ("ProcessId", "process_with_pid", "this_process", "is_gone as process_is_gone"),
    "_provenance": ("adopt as adopt_provenance", "process_provenance"),
    "_registry": ("installed_executors", "liveness", "load_executor"),
    "_reruns": ("matches_rerun", "reran as note_rerun"),
    "_settings": ("to_env as settings_to_env",),
    "_state_reader": ("StateReader", "state_at"),
    "_states": ("NodeInfo", "NodeState"),
    "_submissions": ("note_submission", "remove_submission", "submission_of"),
    "_worker": ("has_validator", "invalidate_if_bad", "made_progress", "record_death", "run_node"),
    "_worker_session": ("WorkerContext", "importing_user_code", "worker_session"),
}
_LATE = {
    name.rpartition(" as ")[2]: (module, name.partition(" as ")[0])
    for module, names in _MODULES.items()
    for name in names
}


def __getattr__(name: str) -> _Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own = _LATE[name]
    found = globals()[name] = getattr(_import_module(f"furu_core.{module}"), own)
    return found


def __dir__() -> list[str]:
    return __all__
