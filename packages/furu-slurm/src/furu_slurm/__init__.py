"""What the Slurm backends of furu share: what jobs ask for, submitting them, and how they stand."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from furu_slurm._calls import Call
    from furu_slurm._cluster import Cluster
    from furu_slurm._environment import (
        JobEnvironment,
        restore_job_environment,
        this_job,
        write_job_environment,
    )
    from furu_slurm._folders import (
        job_log,
        last_word,
        node_log_folder,
        submitit_root,
        worker_log_folder,
    )
    from furu_slurm._health import (
        ANY_RESTART,
        SILENT_LEASES,
        UNCONFIRMED_SECS,
        Health,
        JobHealth,
        SubmittedJob,
        liveness,
        liveness_of,
    )
    from furu_slurm._job_ids import at_home, bare_id, same_job
    from furu_slurm._local import LocalCluster
    from furu_slurm._node_child import ChildDied, NodeChild
    from furu_slurm._slurm import SlurmCluster
    from furu_slurm._spec import SlurmSpec
    from furu_slurm._specs import (
        SPECS_KIND,
        GivenSpecs,
        Specs,
        check_spec_keys,
        configured_specs,
        resolve_specs,
    )
    from furu_slurm._states import JobInfo, JobState, Snapshot, reasons, reasons_text
    from furu_slurm._submit_limit import SubmitLimit
    from furu_slurm._tokens import new_token
    from furu_slurm._walltime import with_current_end

__all__ = [
    "ANY_RESTART",
    "SILENT_LEASES",
    "SPECS_KIND",
    "UNCONFIRMED_SECS",
    "Call",
    "ChildDied",
    "Cluster",
    "GivenSpecs",
    "Health",
    "JobEnvironment",
    "JobHealth",
    "JobInfo",
    "JobState",
    "LocalCluster",
    "NodeChild",
    "SlurmCluster",
    "SlurmSpec",
    "Snapshot",
    "Specs",
    "SubmitLimit",
    "SubmittedJob",
    "at_home",
    "bare_id",
    "check_spec_keys",
    "configured_specs",
    "job_log",
    "last_word",
    "liveness",
    "liveness_of",
    "new_token",
    "node_log_folder",
    "reasons",
    "reasons_text",
    "resolve_specs",
    "restore_job_environment",
    "same_job",
    "submitit_root",
    "this_job",
    "with_current_end",
    "worker_log_folder",
    "write_job_environment",
]

# A job imports this package as well, and would wait for all that submits jobs.
_MODULES = {
    "_calls": ("Call",),
    "_cluster": ("Cluster",),
    "_environment": (
        "JobEnvironment",
        "restore_job_environment",
        "this_job",
        "write_job_environment",
    ),
    "_folders": ("job_log", "last_word", "node_log_folder", "submitit_root", "worker_log_folder"),
    "_health": (
        "ANY_RESTART",
        "SILENT_LEASES",
        "UNCONFIRMED_SECS",
        "Health",
        "JobHealth",
        "SubmittedJob",
        "liveness",
        "liveness_of",
    ),
    "_job_ids": ("at_home", "bare_id", "same_job"),
    "_local": ("LocalCluster",),
    "_node_child": ("ChildDied", "NodeChild"),
    "_slurm": ("SlurmCluster",),
    "_spec": ("SlurmSpec",),
    "_specs": (
        "SPECS_KIND",
        "GivenSpecs",
        "Specs",
        "check_spec_keys",
        "configured_specs",
        "resolve_specs",
    ),
    "_states": ("JobInfo", "JobState", "Snapshot", "reasons", "reasons_text"),
    "_submit_limit": ("SubmitLimit",),
    "_tokens": ("new_token",),
    "_walltime": ("with_current_end",),
}
_LATE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> _Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(f"{__name__}.{_LATE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
