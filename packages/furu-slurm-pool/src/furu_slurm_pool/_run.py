"""A graph on a pool of workers, and the ways to start one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Literal

from furu_core import Furu
from furu_core.errors import FuruUsageError
from furu_core.executors import (
    Executor,
    Liveness,
    Roots,
    Submission,
    named_roots,
    refuse_nested_run,
)
from furu_plan import DependencyPlan, Window
from furu_plan.runs import (
    COUNT,
    FLAG,
    SECONDS,
    TEXT,
    WINDOW,
    ControlledRun,
    OptionParser,
    check_window,
    is_count,
    parse_options,
)
from furu_slurm import SlurmSpec, liveness, resolve_specs, submitit_root
from furu_slurm_pool._control import Controlled, begin, conclude
from furu_slurm_pool._request import Request
from furu_slurm_pool._worker import EXECUTOR

NAME: Final = EXECUTOR


def run_slurm_pool(
    roots: Furu[Any] | Iterable[Furu[Any]] | Mapping[str, Furu[Any]],
    *,
    specs: Mapping[str, SlurmSpec | Mapping[str, Any]] | None = None,
    max_workers_total: int = 50,
    window_size: Window = "bfs",
    idle_timeout_sec: float = 60.0,
    poll_interval_sec: float = 2.0,
    submitit_root: Path | str | None = None,
    run_root: Path | str | None = None,
    cluster: Literal["slurm", "local"] = "slurm",
    keep_going: bool = False,
    retry_failed: bool | None = None,
    progress: bool | None = None,
) -> SlurmPoolRun:
    """Compute roots and everything they depend on, on a pool of Slurm workers, and wait for the end.

    Each worker is a job that computes many nodes of one spec key, and leaves when there is nothing to
    do. The newest unfinished run for the same roots, whose controller died or was cancelled, is gone on
    with. In the main thread Ctrl-C, SIGTERM and SIGHUP cancel the workers; the same command goes on.

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
        keep_going: when a node fails for good, compute what does not depend on it.
        retry_failed: whether nodes that failed are tried again; default: `FURU_RETRY_FAILED`.
        progress: False shows no progress.

    Returns:
        The run, whose `results()` come in the shape of the roots.

    Raises:
        FuruRunError: the roots are not all there; it names each node that failed, and its log.
        FuruRunCancelled: the run was cancelled. After a signal, a program that does not catch it
            ends with exit status 130.
        FuruRunAlive: a run for the same roots is controlled by a process that lives.
        FuruSpecError: a spec makes no sense, or there is none for some node.
        FuruNestedRun: the caller is itself the code of a node, or a script that a worker imports.
        FuruUsageError: an option makes no sense.
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
        keep_going=keep_going,
        retry_failed=retry_failed,
        progress=progress,
    )
    return executor.submit(roots).wait()


class SlurmPoolExecutor(Executor):
    """Runs graphs on a pool of Slurm workers; its arguments are those of `run_slurm_pool`."""

    name: ClassVar[str] = NAME

    def __init__(
        self,
        *,
        specs: Mapping[str, SlurmSpec | Mapping[str, Any]] | None = None,
        max_workers_total: int = 50,
        window_size: Window = "bfs",
        idle_timeout_sec: float = 60.0,
        poll_interval_sec: float = 2.0,
        submitit_root: Path | str | None = None,
        run_root: Path | str | None = None,
        cluster: Literal["slurm", "local"] = "slurm",
        keep_going: bool = False,
        retry_failed: bool | None = None,
        progress: bool | None = None,
    ) -> None:
        if not is_count(max_workers_total):
            raise FuruUsageError(
                f"max_workers_total is {max_workers_total!r}", hint="give a whole number from 1 on"
            )
        check_window(window_size)
        seconds: tuple[tuple[str, object], ...] = (
            ("idle_timeout_sec", idle_timeout_sec),
            ("poll_interval_sec", poll_interval_sec),
        )
        for option, value in seconds:
            if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
                raise FuruUsageError(
                    f"{option} is {value!r}", hint="give a number of seconds above 0"
                )
        if cluster not in ("slurm", "local"):
            raise FuruUsageError(f"cluster is {cluster!r}", hint='expected "slurm" or "local"')
        self._specs = specs
        self._submitit_root = submitit_root
        self._run_root = None if run_root is None else Path(run_root).expanduser().absolute()
        self._options: dict[str, Any] = {
            "cluster": cluster,
            "max_workers_total": max_workers_total,
            "window_size": window_size,
            "idle_timeout_sec": float(idle_timeout_sec),
            "poll_interval_sec": float(poll_interval_sec),
            "keep_going": bool(keep_going),
            "retry_failed": retry_failed,
            "progress": progress,
        }

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> SlurmPoolExecutor:
        """Make an executor from options by name; of the command line all values are strings.

        Raises:
            FuruExecutorError: an option is unknown or cannot be read.
            FuruUsageError: an option makes no sense.

        Example:
            >>> executor = SlurmPoolExecutor.from_options({"max_workers_total": "8"})
        """
        return cls(**parse_options(NAME, _PARSERS, options))

    def submit(self, roots: Any) -> SlurmPoolRun:
        """Start computing `roots` and everything they depend on, and return the run."""
        refuse_nested_run()
        named = named_roots(roots)
        request = self._request()
        run = SlurmPoolRun(named, request, begin(request, named, where=self._run_root))
        run.start(within=run.concluded())
        return run

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        """Whether workers that were submitted, perhaps long ago, can still compute anything."""
        return liveness(submissions)

    def _request(self) -> Request:
        return Request(
            specs=resolve_specs(self._specs),
            submitit_root=submitit_root(self._submitit_root),
            **self._options,
        )


class SlurmPoolRun(ControlledRun):
    """A run on a pool of workers, which this process controls.

    When the process dies, its workers do what is queued and leave; the same command goes on with the
    run.

    Attributes:
        run_id: the run.
        run_dir: its folder.
        submitit_root: where workers have their logs.
        plan: what there was to do when this process began to control it.
    """

    run_id: str
    run_dir: Path
    submitit_root: Path
    plan: DependencyPlan

    def __init__(self, roots: Roots, request: Request, controlled: Controlled) -> None:
        super().__init__(
            controlled.run_id,
            controlled.folder,
            roots,
            controlled.controller,
            _how(request, controlled),
        )
        self._controlled = controlled
        self.run_id = controlled.run_id
        self.run_dir = controlled.folder
        self.submitit_root = request.submitit_root
        self.plan = controlled.plan

    def concluded(self) -> AbstractContextManager[None]:
        """What is entered around the run: it notes how the run ended; for the executor."""
        return _Concluded(self._controlled)


class _Concluded(AbstractContextManager[None]):
    def __init__(self, controlled: Controlled) -> None:
        self._controlled = controlled

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        conclude(self._controlled)


def _how(request: Request, controlled: Controlled) -> str | None:
    """How nodes are computed, in words; None where nothing is to be said."""
    if request.progress is False:
        return None
    where = "of this machine" if request.cluster == "local" else "of Slurm"
    again = ", gone on with" if controlled.resumed else ""
    return f"up to {request.max_workers_total} workers {where}{again}"


_CLUSTER: Final = OptionParser(TEXT.parse, "slurm or local")
_PARSERS: Final[Mapping[str, OptionParser]] = {
    "specs": OptionParser(json.loads, 'for example {"default": {"cpus": 8}}'),
    "max_workers_total": COUNT,
    "window_size": WINDOW,
    "idle_timeout_sec": SECONDS,
    "poll_interval_sec": SECONDS,
    "submitit_root": TEXT,
    "run_root": TEXT,
    "cluster": _CLUSTER,
    "keep_going": FLAG,
    "retry_failed": FLAG,
    "progress": FLAG,
}
