"""What the Slurm backends of furu share: what jobs ask for, submitting them, and how they stand.

Glossary:
    spec: what a job asks of Slurm; one for each spec key that nodes have.
    token: the name of a submission, part of its jobs' names.
    payload: what the jobs of a submission are to run, in a file named after the token.
    job id: what Slurm calls a job; with its home, the cluster and user, where it is kept.
    snapshot: how jobs stood at one moment, by squeue, sacct and scontrol.
    job state: how a job stands, in Slurm's words.
    job health: whether a job is worth waiting for, by its state and what it shows itself.
    liveness: whether a submission can still compute anything.
    submit limit: how many jobs Slurm takes.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from furu_slurm._cluster import Cluster
    from furu_slurm._environment import (
        JobEnvironment,
        restore_job_environment,
        this_job,
        write_job_environment,
    )
    from furu_slurm._health import (
        SILENT_LEASES,
        UNCONFIRMED_SECS,
        Health,
        JobHealth,
        SubmittedJob,
        liveness,
        liveness_of,
    )
    from furu_slurm._job_names import ANY_RESTART, at_home, bare_id, new_token, same_job
    from furu_slurm._job_payload import JobPayload, payload_file, read_payload
    from furu_slurm._local import LocalCluster
    from furu_slurm._settings import (
        job_log,
        last_word,
        node_log_folder,
        submitit_root,
        worker_log_folder,
    )
    from furu_slurm._slurm import SlurmCluster, with_current_end
    from furu_slurm._specs import (
        SPECS_KIND,
        GivenSpecs,
        SlurmSpec,
        Specs,
        check_spec_keys,
        configured_specs,
        resolve_specs,
    )
    from furu_slurm._states import JobInfo, JobState, Snapshot, reasons, reasons_text
    from furu_slurm._submit_limit import SubmitLimit

__all__ = [
    "ANY_RESTART",
    "SILENT_LEASES",
    "SPECS_KIND",
    "UNCONFIRMED_SECS",
    "Cluster",
    "GivenSpecs",
    "Health",
    "JobEnvironment",
    "JobHealth",
    "JobInfo",
    "JobPayload",
    "JobState",
    "LocalCluster",
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
    "payload_file",
    "read_payload",
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
    "_cluster": ("Cluster",),
    "_environment": (
        "JobEnvironment",
        "restore_job_environment",
        "this_job",
        "write_job_environment",
    ),
    "_health": (
        "SILENT_LEASES",
        "UNCONFIRMED_SECS",
        "Health",
        "JobHealth",
        "SubmittedJob",
        "liveness",
        "liveness_of",
    ),
    "_job_names": ("ANY_RESTART", "at_home", "bare_id", "new_token", "same_job"),
    "_job_payload": ("JobPayload", "payload_file", "read_payload"),
    "_local": ("LocalCluster",),
    "_settings": ("job_log", "last_word", "node_log_folder", "submitit_root", "worker_log_folder"),
    "_slurm": ("SlurmCluster", "with_current_end"),
    "_specs": (
        "SPECS_KIND",
        "GivenSpecs",
        "SlurmSpec",
        "Specs",
        "check_spec_keys",
        "configured_specs",
        "resolve_specs",
    ),
    "_states": ("JobInfo", "JobState", "Snapshot", "reasons", "reasons_text"),
    "_submit_limit": ("SubmitLimit",),
}
_LATE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> _Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(f"{__name__}.{_LATE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
