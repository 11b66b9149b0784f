"""What `furu status` and `furu runs` tell of a run beyond its events: whether its jobs go on, and why they wait."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from furu_core.executors import RunOutlook, count
from furu_slurm import Cluster, SlurmCluster, reasons, reasons_text
from furu_slurm_dag._run_folder import job_ids


def outlook(folder: Path, cluster: Cluster | None = None) -> RunOutlook:
    """What is to be told of a run whose nodes are jobs, and which has not ended.

    Args:
        folder: the run's folder.
        cluster: where its jobs were submitted.
    """
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(folder / "jobs"))
    tokens = [name.removesuffix(".ids") for name in names if name.endswith(".ids")]
    ids = [job_id for token in tokens for job_id in job_ids(folder, token)]
    if not ids:
        return RunOutlook()
    snapshot = (SlurmCluster() if cluster is None else cluster).jobs()
    if not snapshot.known:
        return RunOutlook(lines=(f"its jobs: Slurm does not answer ({snapshot.problem})",))
    found = [info for one in ids if (info := snapshot.job(one)) is not None and info.state.live]
    if not found:
        return RunOutlook()
    waiting = [info for info in found if info.state.waiting]
    lines = [f"jobs: {len(found) - len(waiting)} running, {len(waiting)} pending"]
    if waiting:
        said = reasons_text(reasons(waiting))
        lines.append(
            f"pending: {count(len(waiting), 'job')}" + (f", Slurm says {said}" if said else "")
        )
    return RunOutlook(
        True,
        f"{count(len(found), 'job')} of it live, though no program waits for them",
        tuple(lines),
    )
