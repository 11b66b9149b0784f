"""What authors of executors and planners build on.

`furu-plan` and `furu-local` use these names and no others, and so can a package of yours.
"""

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
from furu_core._logging import console_through
from furu_core._mounts import is_local as is_local_folder
from furu_core._node_process import Died, NodeOrder, NodeProcess, Origin, node_order, origin_here
from furu_core._outcomes import Failure, Holder, NodeResult, Outcome
from furu_core._pack import Packer, Unpacker
from furu_core._places import NodePlace, absent, place_of, state_at
from furu_core._plugins import InstalledPlugin
from furu_core._process import ProcessId, process_with_pid, this_process
from furu_core._process import is_gone as process_is_gone
from furu_core._provenance import adopt as adopt_provenance
from furu_core._provenance import process_provenance
from furu_core._records import FailureKind, Submission
from furu_core._registry import installed_executors, liveness, load_executor
from furu_core._reruns import matches_rerun
from furu_core._reruns import reran as note_rerun
from furu_core._settings import to_env as settings_to_env
from furu_core._states import NodeInfo, NodeState, StateReader
from furu_core._submissions import note_submission, remove_submission, submission_of
from furu_core._worker import (
    WorkerContext,
    has_validator,
    importing_user_code,
    invalidate_if_bad,
    made_progress,
    record_death,
    run_node,
    worker_session,
)

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
    "process_is_gone",
    "process_provenance",
    "process_with_pid",
    "read_events",
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
