"""The command `furu pool`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from furu_core.command import a_run, json_option, print_json, say
from furu_core.executors import count

if TYPE_CHECKING:
    from furu_slurm_pool._observer._status import PoolStatus

_SHOWN = 10


@click.group()
def pool() -> None:
    """Look at, resume and stop runs on a pool of Slurm workers.

    RUN is the id of a run, the beginning or end of it, or the path of its folder.
    """


@pool.command()
@click.argument("run", required=False, shell_complete=a_run)
@json_option
def status(run: str | None, as_json: bool) -> None:
    """Say how a run stands, or list all runs."""
    from furu_core.executors import runs_folder
    from furu_slurm_pool._controller._request import pool_runs
    from furu_slurm_pool._observer._status import find_run, pool_status

    if run is not None:
        folder = find_run(run)
        sight = pool_status(folder)
        if as_json:
            print_json(_record(folder, sight))
        else:
            _print(folder, sight)
        return
    sights = [(folder, pool_status(folder)) for folder in pool_runs(runs_folder())]
    if as_json:
        print_json([_record(folder, sight) for folder, sight in sights])
        return
    for folder, sight in sights:
        say(f"{folder.name}  {_numbers(sight)}")
    if not sights:
        say(f"There are no runs on a pool in {runs_folder()}.")


@pool.command()
@click.argument("run", shell_complete=a_run)
@click.option("--detach", is_flag=True, help="Let a job of its own control the run.")
def resume(run: str, detach: bool) -> None:
    """Go on with a run whose controller was cancelled or died."""
    from furu_slurm_pool._executor import resume_run
    from furu_slurm_pool._observer._status import find_run

    resumed = resume_run(find_run(run), detach=detach)
    if detach:
        say(f"run {resumed.id} is controlled by a job: furu pool status {resumed.id}")
        return
    resumed.wait()


@pool.command()
@click.argument("run", shell_complete=a_run)
def stop(run: str) -> None:
    """Cancel a run and its workers; it can be resumed."""
    from furu_slurm_pool._observer._status import find_run
    from furu_slurm_pool._observer._stop import stop_run

    folder = find_run(run)
    say(f"run {folder.name} {stop_run(folder)}")


def _numbers(sight: PoolStatus) -> str:
    now = sight.status
    parts = [
        sight.word,
        count(now.total, "node"),
        f"{now.computed} computed",
        f"{now.loaded} loaded",
        f"{now.running} with workers",
        f"{now.waiting} waiting",
        f"{now.failed} failed",
    ]
    return ", ".join(parts)


def _print(folder: Path, sight: PoolStatus) -> None:
    say(f"run {folder.name}: {_numbers(sight)}")
    say(f"folder      {folder}")
    lives = "lives" if sight.lives else "does not live"
    say(f"controller  {sight.controller or 'none'} ({lives})")
    for key, waiting in sorted(sight.queued.items()):
        say(f"queue       {key}: {waiting} waiting, {sight.claimed[key]} with workers")
    for name, about in sight.workers.items():
        say(f"worker      {name}: {about}")
    for failure in sight.status.failures[:_SHOWN]:
        say(f"failed      {failure.message}")


def _record(folder: Path, sight: PoolStatus) -> dict[str, Any]:
    now = sight.status
    return {
        "run": folder.name,
        "folder": str(folder),
        "state": sight.word,
        "controller": None if sight.controller is None else str(sight.controller),
        "controller_lives": sight.lives,
        "total": now.total,
        "computed": now.computed,
        "loaded": now.loaded,
        "running": now.running,
        "waiting": now.waiting,
        "failed": now.failed,
        "failures": [failure.message for failure in now.failures],
        "queued": sight.queued,
        "claimed": sight.claimed,
        "workers": sight.workers,
    }
