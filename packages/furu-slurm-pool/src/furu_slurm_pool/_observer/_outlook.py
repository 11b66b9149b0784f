"""What `furu status` and `furu runs` tell of a run on a pool beyond its events: its controller and its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import furu_core
from furu_core.errors import FuruExecutorError, FuruStoreError
from furu_core.executors import Liveness, RunOutlook
from furu_slurm import standing_lines
from furu_slurm_pool._controller import _workers
from furu_slurm_pool._controller._request import read_options
from furu_slurm_pool._controller._terms import Leader, current_leader

_ASKED: Final = 20


def outlook(folder: Path) -> RunOutlook:
    """What is to be told of a run on a pool that has not ended.

    Args:
        folder: the run's folder.
    """
    leader = current_leader(str(folder))
    resume = f"furu pool resume {folder.name}"
    if leader is None:
        return RunOutlook(resume=resume)
    told = leader.liveness(furu_core.settings().lease_secs)
    goes_on = None if told is Liveness.UNKNOWN else told is Liveness.ALIVE
    why = "" if goes_on else _why_gone(leader)
    if goes_on and leader.process is None:
        why = f"its controller, {leader}, has not begun yet"
    return RunOutlook(goes_on, why, tuple(_about_workers(folder)), resume)


def _why_gone(leader: Leader) -> str:
    if leader.ended is not None:
        return f"its controller, {leader}, has given it up"
    return f"its controller, {leader}, is gone"


def _about_workers(folder: Path) -> list[str]:
    workers = _workers.noted(str(folder))
    if not workers:
        return []
    ids = [worker.full_id for worker in workers if worker.full_id is not None]
    try:
        # The newest are asked for by their ids, in case a listing does not show them; which also has the cluster's
        # name, without which no id is one of its jobs.
        snapshot = read_options(folder).scheduler().jobs(ids[-_ASKED:])
    except (FuruExecutorError, FuruStoreError) as error:
        return [f"its workers: {error}"]
    if not snapshot.known:
        return [f"its workers: Slurm does not answer ({snapshot.problem})"]
    found = [info for one in ids if (info := snapshot.job(one)) is not None]
    return standing_lines(found, "worker")
