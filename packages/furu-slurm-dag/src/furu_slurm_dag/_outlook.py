"""What `furu status` and `furu runs` tell of a run beyond its events: whether its jobs go on, and why they wait."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from furu_core.errors import FuruStoreError
from furu_core.executors import RunOutlook, count
from furu_core.planning import absent
from furu_slurm import Cluster, SlurmCluster, payload_file, read_payload, standing_lines
from furu_slurm_dag._run_folder import Batch, job_ids

_ASKED: Final = 20


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
    ids = [job_id for token in tokens for job_id in _unfinished(folder, token)]
    if not ids:
        return RunOutlook()
    # One listing tells of them all. Only some are asked for by their ids, in case it does not show them: of a large
    # run each look would take long. That also has the cluster's name, without which no id is one of its jobs.
    snapshot = (SlurmCluster() if cluster is None else cluster).jobs(ids[:_ASKED])
    if not snapshot.known:
        return RunOutlook(lines=(f"its jobs: Slurm does not answer ({snapshot.problem})",))
    found = [info for one in ids if (info := snapshot.job(one)) is not None and info.state.live]
    if not found:
        return RunOutlook()
    lines = tuple(standing_lines(found, "job"))
    if all(info.elsewhere for info in found):
        return RunOutlook(lines=lines)
    return RunOutlook(
        True,
        f"{count(len(found), 'job')} of it live, though no program waits for them",
        lines,
    )


def _unfinished(folder: Path, token: str) -> list[str]:
    """The ids of a submission's jobs whose nodes have no result, as far as that is known."""
    ids = job_ids(folder, token)
    try:
        batch = Batch.of(read_payload(payload_file(folder, token)))
    except (OSError, FuruStoreError):
        return list(ids)
    # Slurm is not asked about thousands of jobs that did what they were to do.
    missing = {place.hash for place in absent([one.ref for one in batch.assignments])}
    return [
        job_id
        for job_id, one in zip(ids, batch.assignments, strict=False)
        if one.rerun or one.ref.hash in missing
    ]
