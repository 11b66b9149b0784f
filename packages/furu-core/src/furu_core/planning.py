"""The interface for planners: a node's dependencies and state, and what is to be computed again."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_core._attempts._outcomes import Holder as Holder
    from furu_core._compute._relatives import note_relatives as note_relatives
    from furu_core._compute._reruns import matches_rerun as matches_rerun
    from furu_core._compute._reruns import note_rerun as note_rerun
    from furu_core._config._dependencies import dependencies as dependencies
    from furu_core._config._dependencies import spec_key as spec_key
    from furu_core._config._objects import short_name as short_name
    from furu_core._config._objects import short_name_of as short_name_of
    from furu_core._explain._staleness import Staleness as Staleness
    from furu_core._explain._staleness import StaleNodes as StaleNodes
    from furu_core._explain._staleness import stale_results as stale_results
    from furu_core._runs._run_end import tell_run_end as tell_run_end
    from furu_core._status._state_reader import StateReader as StateReader
    from furu_core._status._state_reader import state_at as state_at
    from furu_core._status._states import NodeInfo as NodeInfo
    from furu_core._status._states import NodeState as NodeState
    from furu_core._store._layout import NodeRef as NodeRef
    from furu_core._store._layout import from_portable as from_portable
    from furu_core._store._layout import portable as portable
    from furu_core._store._layout import ref_of as ref_of
    from furu_core._store._published import absent as absent
    from furu_core._workers._judging import has_validator as has_validator
    from furu_core._workers._judging import invalidate_if_bad as invalidate_if_bad
else:
    from furu_core import _late

    __all__, __getattr__, __dir__ = _late.late_imports(
        __name__,
        {
            "._attempts._outcomes": "Holder",
            "._compute._relatives": "note_relatives",
            "._compute._reruns": "matches_rerun note_rerun",
            "._config._dependencies": "dependencies spec_key",
            "._config._objects": "short_name short_name_of",
            "._runs._run_end": "tell_run_end",
            "._explain._staleness": "Staleness StaleNodes stale_results",
            "._status._state_reader": "StateReader state_at",
            "._status._states": "NodeInfo NodeState",
            "._store._layout": "NodeRef from_portable portable ref_of",
            "._store._published": "absent",
            "._workers._judging": "has_validator invalidate_if_bad",
        },
    )
