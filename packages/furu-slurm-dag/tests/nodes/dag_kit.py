"""What the tests of this package share."""

from __future__ import annotations

from typing import Any, Final

from furu_core import Furu
from furu_core.executors import EventKind, Run
from furu_core.planning import NodeState, StateReader
from furu_slurm import SlurmSpec, job_log, node_log_folder, submitit_root
from furu_slurm_dag import SlurmDagSubmission, submit_slurm_dag

SMALL: Final = SlurmSpec(partition="cpu", cpus=1, mem_gb=0.5, time_min=60)
WAIT_SECS: Final = 400.0  # jobs may wait for those of other tests, and the machine may be busy


def submit(roots: Any, **options: Any) -> SlurmDagSubmission:
    """Submit small jobs."""
    return submit_slurm_dag(
        roots, **{"specs": {"default": SMALL}, "poll_interval_sec": 0.3, **options}
    )


def states(*wanted: Furu[Any]) -> list[NodeState]:
    """How nodes stand in the store."""
    reader = StateReader()
    return [reader.state(node).state for node in wanted]


def retried(run: Run, node: Furu[Any]) -> list[str]:
    """Why a node was tried again, as the events of a run tell."""
    tries = [event for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    return [event.detail for event in tries if event.hash == node.furu_hash]


def log_of(run: SlurmDagSubmission, node: Furu[Any], key: str = "default") -> str:
    """What the job of a node has written so far."""
    path = job_log(
        node_log_folder(submitit_root(), key, run.id), run.job_id_by_hash[node.furu_hash]
    )
    return path.read_text() if path.exists() else ""
