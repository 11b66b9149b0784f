"""What authors of executors and planners build on.

`furu-plan` and `furu-local` use these names and no others, and so can a package of yours.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from furu_core._attempts._outcomes import Failure, FailureKind, Holder, NodeResult, Outcome
    from furu_core._attempts._submissions import note_submission, remove_submission, submission_of
    from furu_core._compute._reruns import matches_rerun, note_rerun
    from furu_core._compute._user_methods import dependencies, spec_key
    from furu_core._config._grid import Roots, named_roots
    from furu_core._config._module_names import import_roots
    from furu_core._config._objects import short_name, short_name_of
    from furu_core._context._submission import Submission
    from furu_core._executors._executor import (
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
    from furu_core._executors._options import (
        COUNT,
        FLAG,
        SECONDS,
        TEXT,
        OptionKind,
        one_of,
        option,
        parse_pairs,
    )
    from furu_core._executors._registry import installed_executors, liveness, load_executor
    from furu_core._files import (
        LineFile,
        create_file,
        filesystem_time,
        is_local_folder,
        list_folder,
        move_file,
        once_visible,
        read_file,
        read_lines,
        replace_file,
        store_error,
        store_errors,
    )
    from furu_core._forms._graph_file import GraphReader, GraphWriter
    from furu_core._forms._pack import Packer, Unpacker
    from furu_core._output._console import console
    from furu_core._output._logging import console_through
    from furu_core._plugins import InstalledPlugin
    from furu_core._process_ids import ProcessId, process_is_gone, process_with_pid, this_process
    from furu_core._processes._node_process import Died, NodeProcess, NodeReport
    from furu_core._processes._origin import (
        NodeOrder,
        Origin,
        interpreter_flags,
        node_order,
        origin_here,
    )
    from furu_core._processes._watchdog import Watchdog
    from furu_core._processes._watchdog_main import kill_sessions
    from furu_core._provenance import adopt_provenance, process_provenance
    from furu_core._record_format import RecordFormat
    from furu_core._settings._settings import settings_to_env
    from furu_core._status._state_reader import StateReader, state_at
    from furu_core._status._states import NodeInfo, NodeState
    from furu_core._store._places import NodePlace, place_of
    from furu_core._store._published import absent
    from furu_core._text import count, did_you_mean, duration, nearest, size
    from furu_core._workers._deaths import death_result, exit_text, lost_result
    from furu_core._workers._preload import preload
    from furu_core._workers._worker import (
        has_validator,
        invalidate_if_bad,
        made_progress,
        record_death,
        run_node,
    )
    from furu_core._workers._worker_session import (
        WorkerContext,
        importing_user_code,
        worker_session,
    )

__all__ = [
    "COUNT",
    "FLAG",
    "SECONDS",
    "TEXT",
    "Died",
    "Event",
    "EventKind",
    "EventLog",
    "Executor",
    "Failure",
    "FailureKind",
    "GraphReader",
    "GraphWriter",
    "Holder",
    "InstalledPlugin",
    "LineFile",
    "Liveness",
    "NodeInfo",
    "NodeOrder",
    "NodePlace",
    "NodeProcess",
    "NodeReport",
    "NodeResult",
    "NodeState",
    "OptionKind",
    "Origin",
    "Outcome",
    "Packer",
    "ProcessId",
    "RecordFormat",
    "Roots",
    "Run",
    "RunState",
    "RunStatus",
    "StateReader",
    "Submission",
    "Unpacker",
    "Watchdog",
    "WorkerContext",
    "absent",
    "adopt_provenance",
    "console",
    "console_through",
    "count",
    "create_file",
    "death_result",
    "dependencies",
    "did_you_mean",
    "duration",
    "exit_text",
    "filesystem_time",
    "has_validator",
    "import_roots",
    "importing_user_code",
    "installed_executors",
    "interpreter_flags",
    "invalidate_if_bad",
    "is_local_folder",
    "kill_sessions",
    "list_folder",
    "liveness",
    "load_executor",
    "lost_result",
    "made_progress",
    "matches_rerun",
    "move_file",
    "named_roots",
    "nearest",
    "new_run_folder",
    "node_order",
    "note_rerun",
    "note_submission",
    "once_visible",
    "one_of",
    "option",
    "origin_here",
    "parse_pairs",
    "place_of",
    "preload",
    "process_is_gone",
    "process_provenance",
    "process_with_pid",
    "read_events",
    "read_file",
    "read_lines",
    "record_death",
    "refuse_nested_run",
    "remove_submission",
    "replace_file",
    "run_node",
    "runs_folder",
    "settings_to_env",
    "short_name",
    "short_name_of",
    "size",
    "spec_key",
    "state_at",
    "store_error",
    "store_errors",
    "submission_of",
    "this_process",
    "worker_session",
]

# Whoever watches over workers, such as a scheduler's job, needs a few of these, and would wait for all
# that plans, computes and stores: so each is imported when it is first asked for.
_MODULES = {
    "_config._module_names": ("import_roots",),
    "_output._console": ("console",),
    "_workers._deaths": ("death_result", "exit_text", "lost_result"),
    "_executors._executor": (
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
    "_forms._graph_file": ("GraphReader", "GraphWriter"),
    "_config._grid": ("Roots", "named_roots"),
    "_processes._watchdog": ("Watchdog",),
    "_processes._watchdog_main": ("kill_sessions",),
    "_processes._origin": (
        "NodeOrder",
        "Origin",
        "interpreter_flags",
        "node_order",
        "origin_here",
    ),
    "_compute._user_methods": ("dependencies", "spec_key"),
    "_config._objects": ("short_name", "short_name_of"),
    "_output._logging": ("console_through",),
    "_files": (
        "LineFile",
        "create_file",
        "filesystem_time",
        "is_local_folder",
        "list_folder",
        "move_file",
        "once_visible",
        "read_file",
        "read_lines",
        "replace_file",
        "store_error",
        "store_errors",
    ),
    "_processes._node_process": ("Died", "NodeProcess", "NodeReport"),
    "_attempts._outcomes": (
        "Failure",
        "FailureKind",
        "Holder",
        "NodeResult",
        "Outcome",
    ),
    "_context._submission": ("Submission",),
    "_forms._pack": ("Packer", "Unpacker"),
    "_store._places": ("NodePlace", "place_of"),
    "_store._published": ("absent",),
    "_plugins": ("InstalledPlugin",),
    "_text": ("count", "did_you_mean", "duration", "nearest", "size"),
    "_workers._preload": ("preload",),
    "_executors._options": (
        "COUNT",
        "FLAG",
        "SECONDS",
        "TEXT",
        "OptionKind",
        "one_of",
        "option",
        "parse_pairs",
    ),
    "_process_ids": ("ProcessId", "process_with_pid", "this_process", "process_is_gone"),
    "_provenance": ("adopt_provenance", "process_provenance"),
    "_record_format": ("RecordFormat",),
    "_executors._registry": ("installed_executors", "liveness", "load_executor"),
    "_compute._reruns": ("matches_rerun", "note_rerun"),
    "_settings._settings": ("settings_to_env",),
    "_status._state_reader": ("StateReader", "state_at"),
    "_status._states": ("NodeInfo", "NodeState"),
    "_attempts._submissions": ("note_submission", "remove_submission", "submission_of"),
    "_workers._worker": (
        "has_validator",
        "invalidate_if_bad",
        "made_progress",
        "record_death",
        "run_node",
    ),
    "_workers._worker_session": ("WorkerContext", "importing_user_code", "worker_session"),
}
_LATE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> _Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(f"furu_core.{_LATE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
