"""The interface for workers: computing a node, processes that do so, and recording their deaths."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_core._attempts._outcomes import NodeResult as NodeResult
    from furu_core._attempts._outcomes import Outcome as Outcome
    from furu_core._code._snapshot import CodeSnapshot as CodeSnapshot
    from furu_core._code._snapshot import enter_snapshot as enter_snapshot
    from furu_core._code._snapshot import entered_snapshot as entered_snapshot
    from furu_core._code._snapshot_store import take_snapshot as take_snapshot
    from furu_core._config._module_names import import_roots as import_roots
    from furu_core._forms._graph_file import GraphReader as GraphReader
    from furu_core._forms._graph_file import GraphWriter as GraphWriter
    from furu_core._forms._pack import Packer as Packer
    from furu_core._forms._pack import Unpacker as Unpacker
    from furu_core._process_ids import ProcessId as ProcessId
    from furu_core._process_ids import process_is_gone as process_is_gone
    from furu_core._process_ids import process_with_pid as process_with_pid
    from furu_core._process_ids import this_process as this_process
    from furu_core._processes._node_process import Died as Died
    from furu_core._processes._node_process import NodeProcess as NodeProcess
    from furu_core._processes._node_process import NodeReport as NodeReport
    from furu_core._processes._origin import NodeOrder as NodeOrder
    from furu_core._processes._origin import Origin as Origin
    from furu_core._processes._origin import interpreter_flags as interpreter_flags
    from furu_core._processes._origin import node_order as node_order
    from furu_core._processes._origin import origin_here as origin_here
    from furu_core._processes._watchdog import Watchdog as Watchdog
    from furu_core._processes._watchdog_main import kill_sessions as kill_sessions
    from furu_core._provenance import adopt_provenance as adopt_provenance
    from furu_core._provenance import process_provenance as process_provenance
    from furu_core._settings._settings import settings_to_env as settings_to_env
    from furu_core._workers._deaths import death_result as death_result
    from furu_core._workers._deaths import exit_text as exit_text
    from furu_core._workers._deaths import lost_result as lost_result
    from furu_core._workers._deaths import record_death as record_death
    from furu_core._workers._judging import made_progress as made_progress
    from furu_core._workers._preload import preload as preload
    from furu_core._workers._worker import run_node as run_node
    from furu_core._workers._worker_session import WorkerContext as WorkerContext
    from furu_core._workers._worker_session import importing_user_code as importing_user_code
    from furu_core._workers._worker_session import worker_session as worker_session
else:
    from furu_core import _late

    # Imported on first use: a process that watches over workers, such as a scheduler's job, needs few
    # of these, and must not wait for the import of all that plans, computes and stores.
    __all__, __getattr__, __dir__ = _late.late_imports(
        __name__,
        {
            "._attempts._outcomes": "NodeResult Outcome",
            "._code._snapshot": "CodeSnapshot enter_snapshot entered_snapshot",
            "._code._snapshot_store": "take_snapshot",
            "._config._module_names": "import_roots",
            "._forms._graph_file": "GraphReader GraphWriter",
            "._forms._pack": "Packer Unpacker",
            "._process_ids": "ProcessId process_is_gone process_with_pid this_process",
            "._processes._node_process": "Died NodeProcess NodeReport",
            "._processes._origin": "NodeOrder Origin interpreter_flags node_order origin_here",
            "._processes._watchdog": "Watchdog",
            "._processes._watchdog_main": "kill_sessions",
            "._provenance": "adopt_provenance process_provenance",
            "._settings._settings": "settings_to_env",
            "._workers._deaths": "death_result exit_text lost_result record_death",
            "._workers._preload": "preload",
            "._workers._judging": "made_progress",
            "._workers._worker": "run_node",
            "._workers._worker_session": "WorkerContext importing_user_code worker_session",
        },
    )
