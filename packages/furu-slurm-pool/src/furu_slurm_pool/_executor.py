"""The ways to start and to resume a run on a pool of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs

from furu_core import Furu
from furu_core.executors import (
    FLAG,
    TEXT,
    Executor,
    Liveness,
    RunOutlook,
    Submission,
    named_roots,
    option,
    refuse_nested_run,
)
from furu_plan import Window
from furu_slurm import SPECS_KIND, GivenSpecs, liveness, resolve_specs, submitit_root
from furu_slurm_pool._controller._request import ClusterName, PoolOptions, Request
from furu_slurm_pool._controller._run import SlurmPoolRun, control_run
from furu_slurm_pool._controller._start import ClaimedRun, claim_again, claim_run, submit_controller
from furu_slurm_pool._observer._outlook import outlook
from furu_slurm_pool._observer._run import ObservedPoolRun
from furu_slurm_pool._worker import EXECUTOR

NAME: Final = EXECUTOR


def run_slurm_pool(
    roots: Furu[Any] | Iterable[Furu[Any]] | Mapping[str, Furu[Any]],
    *,
    specs: GivenSpecs | None = None,
    max_workers_total: int = 50,
    window_size: Window = "bfs",
    idle_timeout_sec: float = 60.0,
    poll_interval_sec: float = 2.0,
    submitit_root: Path | str | None = None,
    run_root: Path | str | None = None,
    cluster: ClusterName = "slurm",
    detach: bool = False,
    keep_going: bool = False,
    retry_failed: bool | None = None,
    progress: bool | None = None,
    tags: Mapping[str, str] | None = None,
    note: str = "",
) -> SlurmPoolRun | ObservedPoolRun:
    """Compute roots and everything they depend on, on a pool of Slurm workers, and wait for the end.

    Each worker is a job that computes many nodes of one spec key, and leaves when there is nothing to
    do. If a run for the same roots is unfinished, because its controller died or was cancelled, the
    newest such run is resumed. In the main thread Ctrl-C, SIGTERM and SIGHUP cancel the workers; the
    same command resumes the run.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        specs: what workers ask for, by spec key; ``"default"`` is required, here or in
            ``[tool.furu.slurm.specs.default]`` of `pyproject.toml`.
        max_workers_total: how many workers there may be at once, those that wait in Slurm's queue
            counted.
        window_size: how many roots are worked on at once: ``"bfs"`` all, ``"dfs"`` one after the
            other, or a number.
        idle_timeout_sec: seconds without work after which a worker leaves.
        poll_interval_sec: longest pause between two looks at the queue, of controller and workers.
        submitit_root: where workers have their logs; default: `FURU_SUBMITIT_PATH`, else the store's
            ``submitit``.
        run_root: the folder of runs; default: the store's ``runs``.
        cluster: ``"local"`` for workers that are processes of this machine.
        detach: submit the controller as a job of its own, which asks for ``specs["controller"]`` or
            by default for few resources, and return at once.
        keep_going: when a node fails for good, go on with what does not depend on it.
        retry_failed: whether nodes that failed are tried again; default: `FURU_RETRY_FAILED`.
        progress: whether to tell of progress on the console.
        tags: tags of the run, for `furu runs`.
        note: a note on the run, for `furu runs`.

    Returns:
        The run, whose `results()` come in the shape of the roots. One that was detached has not ended;
        its `wait()` tells when it has.

    Raises:
        FuruRunError: some roots have no artifact; it names each node that failed, and its log.
        FuruRunCancelled: the run was cancelled. After a signal, a program that does not catch it
            ends with exit status 130.
        FuruRunAlive: a run for the same roots is controlled by a process that lives.
        FuruSpecError: a spec makes no sense, or there is none for some node.
        FuruNestedRun: the caller is itself the code of a node, or a script that a worker imports.
        FuruUsageError: an option makes no sense.

    Example:
        >>> from furu_slurm import SlurmSpec
        >>> from furu_slurm_pool import run_slurm_pool
        >>> specs = {"default": SlurmSpec(cpus=2), "gpu": SlurmSpec(partition="gpu", gpus=1)}
        >>> run_slurm_pool([], specs=specs, cluster="local", progress=False).results()
        []
    """
    executor = SlurmPoolExecutor(
        specs=specs,
        max_workers_total=max_workers_total,
        window_size=window_size,
        idle_timeout_sec=idle_timeout_sec,
        poll_interval_sec=poll_interval_sec,
        submitit_root=submitit_root,
        run_root=run_root,
        cluster=cluster,
        detach=detach,
        keep_going=keep_going,
        retry_failed=retry_failed,
        progress=progress,
        tags=tags,
        note=note,
    )
    run = executor.submit(roots)
    return run if detach else run.wait()


@attrs.frozen(kw_only=True)
class SlurmPoolExecutor(PoolOptions, Executor):
    """Runs graphs on a pool of Slurm workers; its arguments are those of `run_slurm_pool`.

    Example:
        >>> executor = SlurmPoolExecutor.from_options({"max_workers": "8", "detach": "1"})
    """

    name: ClassVar[str] = NAME

    specs: GivenSpecs | None = option(None, "what workers ask for, by spec key", SPECS_KIND)
    submitit_root: Path | str | None = option(None, "where workers have their logs", TEXT)
    run_root: Path | str | None = option(None, "the folder of runs", TEXT)
    detach: bool = option(False, "submit the controller as a job of its own", FLAG)

    def submit(self, roots: Any) -> SlurmPoolRun | ObservedPoolRun:
        """Start computing `roots` and everything they depend on, and return the run."""
        refuse_nested_run()
        named = named_roots(roots)
        where = None if self.run_root is None else Path(self.run_root).expanduser().absolute()
        claimed = claim_run(self._request(), named, where=where, validate=not self.detach)
        return _begin(claimed, detach=self.detach)

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        """Whether workers that were submitted, perhaps long ago, can still compute anything."""
        return liveness(submissions)

    @classmethod
    def outlook(cls, folder: Path) -> RunOutlook:
        """What is to be told of a run that has not ended."""
        return outlook(folder)

    def _request(self) -> Request:
        return Request(
            **{name: getattr(self, name) for name in attrs.fields_dict(PoolOptions)},
            specs=resolve_specs(self.specs),
            submitit_root=submitit_root(self.submitit_root),
        )


def resume_run(folder: Path, *, detach: bool = False) -> SlurmPoolRun | ObservedPoolRun:
    """Control a run that has no live controller, with the options that it was begun with.

    Args:
        folder: the run's folder.
        detach: let a job control it.

    Raises:
        FuruRunAlive: its controller lives.
        FuruExecutorError: it is no run on a pool, or has come to its end.
    """
    return _begin(claim_again(folder), detach=detach)


def _begin(claimed: ClaimedRun, *, detach: bool) -> SlurmPoolRun | ObservedPoolRun:
    """Control a claimed run in this process, or have a job do so."""
    if detach:
        submit_controller(claimed)
        return ObservedPoolRun(claimed.folder, claimed.roots, claimed.request.submitit_root)
    run = control_run(claimed)
    run.start(within=run.term_ended())
    return run
