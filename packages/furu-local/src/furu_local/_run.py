"""A run on this machine, and the ways to start one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar, Final, Literal

import furu_core
from furu_core import Furu, use_settings
from furu_core.executors import Executor, settings_to_env
from furu_local._devices import VARIABLE, DeviceRequest, Slot, resolve_devices
from furu_local._options import PARSERS, Options, WorkerKind, checked_options
from furu_local._process import launch_of
from furu_local._processes import ProcessPool
from furu_local._processors import threads_of_workers
from furu_local._threads import InlinePool, ThreadPool
from furu_plan import Window
from furu_plan.runs import ControlledRun, NewRun, Pool, parse_options, start_run

NAME: Final = "local"


def run_local(
    roots: Furu[Any] | Iterable[Furu[Any]] | Mapping[str, Furu[Any]],
    *,
    max_workers: int | None = None,
    worker: Literal["process", "thread", "inline"] = "process",
    window_size: Window = "bfs",
    keep_going: bool = False,
    limits: Mapping[str, int] | None = None,
    devices: Mapping[str, DeviceRequest] | None = None,
    retry_failed: bool | None = None,
    progress: bool | None = None,
) -> ControlledRun:
    """Compute roots and everything they depend on, on this machine, and wait for the end.

    In the main thread Ctrl-C, SIGTERM and SIGHUP stop the run: nothing new starts, the nodes being
    computed are interrupted and recorded as cancelled. A second signal kills them at once.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        max_workers: how many nodes are computed at once. Default: the number of processors. These
            are divided among worker processes: unless you set `OMP_NUM_THREADS` or one of its kin,
            the libraries of each use no more threads than its share.
        worker: ``"process"``; ``"thread"`` where nodes wait more than they compute, with the limits
            that threads can be neither killed nor kept apart and that `get()` computes nowhere in
            this process meanwhile; ``"inline"`` for the calling thread itself, whose console shows what
            nodes print, and in which debuggers work.
        window_size: how many roots are worked on at once: ``"bfs"`` all, ``"dfs"`` one after the
            other, or a number.
        keep_going: when a node fails for good, compute what does not depend on it.
        limits: spec key to the number of its nodes that may be computed at once.
        devices: spec key to a number of devices, or a list of them, as ``CUDA_VISIBLE_DEVICES``
            counts them. Each such node has one to itself, in a process that sees no other.
        retry_failed: whether nodes that failed are tried again; default: `FURU_RETRY_FAILED`.
        progress: False shows no progress.

    Returns:
        The run, whose `results()` come in the shape of the roots.

    Raises:
        FuruRunError: the roots are not all there; it names each node that failed, and its log.
        FuruRunCancelled: the run was cancelled. After a signal, a program that does not catch it
            ends with exit status 130.
        FuruNestedRun: the caller is itself the code of a node, or a script that a worker imports.
        FuruUsageError: an option makes no sense.

    Example:
        >>> import tempfile
        >>> from furu_core import use_settings
        >>> from furu_local import run_local
        >>> from furu_testing.nodes import Leaf, Sum
        >>> sums = [Sum(parts=(Leaf(x=1), Leaf(x=n))) for n in (1, 3)]
        >>> with use_settings(path=tempfile.mkdtemp()):
        ...     run_local(sums, worker="inline", progress=False).results()
        [2, 4]
    """
    executor = LocalExecutor(
        max_workers=max_workers,
        worker=worker,
        window_size=window_size,
        keep_going=keep_going,
        limits=limits,
        devices=devices,
        retry_failed=retry_failed,
        progress=progress,
    )
    return executor.submit(roots).wait()


class LocalExecutor(Executor):
    """Runs graphs on this machine; its arguments are those of `run_local`."""

    name: ClassVar[str] = NAME

    def __init__(
        self,
        *,
        max_workers: int | None = None,
        worker: Literal["process", "thread", "inline"] = "process",
        window_size: Window = "bfs",
        keep_going: bool = False,
        limits: Mapping[str, int] | None = None,
        devices: Mapping[str, DeviceRequest] | None = None,
        retry_failed: bool | None = None,
        progress: bool | None = None,
    ) -> None:
        self._options = checked_options(
            max_workers=max_workers,
            worker=worker,
            window_size=window_size,
            keep_going=keep_going,
            limits=limits,
            devices=devices,
            retry_failed=retry_failed,
            progress=progress,
        )
        self._slots = resolve_devices(self._options.devices, os.environ.get(VARIABLE))

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> LocalExecutor:
        """Make an executor from options by name; of the command line all values are strings.

        Raises:
            FuruExecutorError: an option is unknown or cannot be read.
            FuruUsageError: an option makes no sense.

        Example:
            >>> executor = LocalExecutor.from_options({"max_workers": "2", "limits": "db=1"})
        """
        return cls(**parse_options(NAME, PARSERS, options))

    def submit(self, roots: Any) -> ControlledRun:
        """Start computing `roots` and everything they depend on, and return the run.

        With ``worker="inline"`` the run has ended when this returns; `wait` tells how.
        """
        options = self._options
        slots = self._slots
        return start_run(
            self.name,
            roots,
            partial(_pool, options, slots),
            how=_how(options),
            limits=options.limits,
            places=slots,
            places_option="devices",
            here=options.worker is WorkerKind.INLINE,
            within=_in_threads(options),
            window_size=options.window_size,
            keep_going=options.keep_going,
            retry_failed=options.retry_failed,
            progress=options.progress,
        )


def _how(options: Options) -> str:
    """How nodes are computed, in words."""
    inline = options.worker is WorkerKind.INLINE
    one = options.max_workers == 1 or inline
    number = "one at a time" if one else f"up to {options.max_workers} at once"
    return f"{number} ({options.worker.value})"


def _in_threads(options: Options) -> AbstractContextManager[Any] | None:
    """What gives workers that are threads of this process the run's own settings."""
    shared = options.worker is not WorkerKind.PROCESS
    if shared and options.retry_failed not in (None, furu_core.settings().retry_failed):
        return use_settings(retry_failed=options.retry_failed)
    return None


def _pool(options: Options, slots: Mapping[str, tuple[Slot, ...]], run: NewRun) -> Pool:
    match options.worker:
        case WorkerKind.PROCESS:
            # A node of a surrounding run would be named by these, and is none of the workers'.
            outer = {k: v for k, v in os.environ.items() if not k.startswith("FURU_EXEC_")}
            threads = threads_of_workers(min(options.max_workers, run.at_once), outer)
            launch = launch_of({**outer, **threads, **settings_to_env(run.settings)}, run.folder)
            places = tuple(dict.fromkeys(slot for group in slots.values() for slot in group))
            return ProcessPool(options.max_workers, launch, NAME, run.id, places)
        case WorkerKind.THREAD:
            return ThreadPool(options.max_workers, NAME, run.id)
        case WorkerKind.INLINE:
            return InlinePool(NAME, run.id)
