"""A run on this machine, and the ways to start one."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import Any, ClassVar, Final, Literal, Self

import attrs

import furu_core
from furu_core import Furu, Settings, use_settings
from furu_core.errors import FuruRunCancelled, FuruRunError
from furu_core.executors import (
    EventLog,
    Executor,
    Failure,
    FailureKind,
    Roots,
    Run,
    RunState,
    RunStatus,
    named_roots,
    new_run_folder,
    refuse_nested_run,
    settings_to_env,
)
from furu_local._controller import Controller, Wish
from furu_local._devices import VARIABLE, DeviceRequest, Slot, resolve_devices
from furu_local._display import choose_display
from furu_local._options import Options, checked_options, parse_options
from furu_local._pool import Pool, WorkerKind
from furu_local._process import launch_of
from furu_local._processes import ProcessPool
from furu_local._report import duration, failure_text
from furu_local._signals import signals_forwarded
from furu_local._threads import InlinePool, ThreadPool
from furu_plan import DependencyPlan, Frontier, RetryLedger, Status, Window, build_plan

_log = logging.getLogger("furu.local")

NAME: Final = "local"
INTERRUPTED: Final = 130  # what shells say of a program that Ctrl-C ended


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
) -> LocalRun:
    """Compute roots and everything they depend on, on this machine, and wait for the end.

    In the main thread Ctrl-C, SIGTERM and SIGHUP stop the run: nothing new starts, the nodes being
    computed are interrupted and recorded as cancelled. A second signal kills them at once.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        max_workers: how many nodes are computed at once. Default: the number of processors.
        worker: ``"process"``; ``"thread"`` where nodes wait more than they compute, with the limits
            that threads can be neither killed nor kept apart and that `get()` computes nowhere in
            this process meanwhile; ``"inline"`` for the calling thread itself.
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
        >>> from furu_core import Furu, use_settings
        >>> from furu_local import run_local
        >>> class Double(Furu[int]):
        ...     x: int
        ...     def _create(self):
        ...         return 2 * self.x
        >>> with use_settings(path=tempfile.mkdtemp()):
        ...     run_local([Double(x=1), Double(x=2)], worker="inline", progress=False).results()
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
        return cls(**parse_options(options))

    def submit(self, roots: Any) -> LocalRun:
        """Start computing `roots` and everything they depend on, and return the run.

        With ``worker="inline"`` the run has ended when this returns; `wait` tells how.
        """
        refuse_nested_run()
        options = self._options
        settings = furu_core.settings()
        if options.retry_failed is not None:
            settings = attrs.evolve(settings, retry_failed=options.retry_failed)
        named = named_roots(roots)
        plan = build_plan(named, settings=settings)
        run_id, folder = new_run_folder(self.name, named)
        pool = _pool(options, self._slots, settings, run_id, folder)
        controller = _controller(plan, options, self._slots, settings, run_id, folder, pool)
        run = LocalRun(run_id, folder, named, controller)
        run.start(options, settings)
        return run


class LocalRun(Run):
    """A run on this machine.

    It ends with the process that started it. While its workers are threads, `get()` computes nowhere
    in this process.
    """

    def __init__(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> None:
        self.id = run_id
        self.folder = folder
        self.roots = roots
        self._controller = controller
        self._began = time.monotonic()
        self._signal: Signals | None = None
        self._ended = threading.Event()

    def start(self, options: Options, settings: Settings) -> None:
        """Begin; used by the executor."""
        self._announce(options)
        if options.worker is WorkerKind.INLINE:
            with signals_forwarded(self._on_signal):
                self._run(options, settings)
            return
        # Not a daemon: a program that ends without waiting for its run still gets its results.
        threading.Thread(
            target=self._run, args=(options, settings), name=f"furu-run-{self.id}"
        ).start()

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the run has ended, and return it.

        In the main thread the signals that ask the program to end cancel the run meanwhile.

        Args:
            timeout: seconds; None waits as long as the run lives.

        Raises:
            FuruRunError: it ended, and its roots are not all there.
            FuruRunCancelled: it was cancelled.
            TimeoutError: it has not ended yet.
        """
        with signals_forwarded(self._on_signal):
            if not self._ended.wait(timeout):
                raise TimeoutError(f"run {self.id} has not ended after {timeout} s")
        match self._controller.state:
            case RunState.CANCELLED:
                kind = FuruRunCancelled if self._signal is None else RunInterrupted
                raise kind(
                    self._summary("was cancelled"),
                    failures=self._controller.failures,
                    run_id=self.id,
                    hint="run the same command again: it computes only what is not there",
                )
            case RunState.FAILED | RunState.RUNNING:
                raise FuruRunError(
                    self._summary("failed"),
                    failures=self._controller.failures,
                    run_id=self.id,
                    hint="read the logs, mend the cause and run the same command again",
                ) from self._controller.cause
            case RunState.DONE:
                return self

    def status(self) -> RunStatus:
        """How the run stands now."""
        return self._controller.status()

    def cancel(self) -> None:
        """Interrupt what is computed and start nothing more; `wait` tells when that is done.

        The second time, kill what still runs.
        """
        again = self._controller.wish is not Wish.GO_ON
        self._controller.ask(Wish.KILL if again else Wish.CANCEL)

    def results(self) -> Any:
        """The results, in the shape of the roots, once the run has ended.

        Raises:
            FuruRunError: as `wait`.
        """
        self.wait()
        return super().results()

    def _on_signal(self, signal: Signals) -> None:
        self._signal = self._signal or signal
        self.cancel()

    def _run(self, options: Options, settings: Settings) -> None:
        try:
            with ExitStack() as stack:
                shared = options.worker is not WorkerKind.PROCESS
                if shared and settings.retry_failed != furu_core.settings().retry_failed:
                    stack.enter_context(use_settings(retry_failed=settings.retry_failed))
                self._controller.run()
            self._conclude(options)
        finally:
            self._ended.set()

    def _announce(self, options: Options) -> None:
        status = self._controller.status()
        todo = status.total - status.loaded
        if options.progress is not False and todo:
            one = options.max_workers == 1 or options.worker is WorkerKind.INLINE
            by = "inline" if options.worker is WorkerKind.INLINE else options.worker.value
            how = "one at a time" if one else f"up to {options.max_workers} at once"
            _log.info(
                "run %s: %d nodes, %d there, %d to compute, %s (%s)",
                *(self.id, status.total, status.loaded, todo, how, by),
            )

    def _conclude(self, options: Options) -> None:
        status = self._controller.status()
        if options.progress is not False:
            _log.info(
                "run %s %s: %d nodes, %d computed, %d loaded, %d failed, in %s",
                *(self.id, status.state.value, status.total, status.computed, status.loaded),
                *(status.failed, duration(time.monotonic() - self._began)),
            )

    def _summary(self, how: str) -> str:
        status = self._controller.status()
        parts = [f"run {self.id} {how}: {status.total - status.waiting - status.failed} of"]
        parts.append(f"{status.total} nodes are there, {status.failed} failed")
        text = " ".join(parts)
        if status.failures:
            text += f"\n{failure_text(status.failures)}"
        elif self._controller.cause is not None:
            cause = self._controller.cause
            text += f"; {type(cause).__name__}: {cause}"
        return text


class RunInterrupted(FuruRunCancelled, SystemExit):
    """A run that a signal cancelled; a program that does not catch it ends with status 130."""

    code = INTERRUPTED


def _pool(
    options: Options,
    slots: Mapping[str, tuple[Slot, ...]],
    settings: Settings,
    run_id: str,
    folder: Path,
) -> Pool:
    match options.worker:
        case WorkerKind.PROCESS:
            # A node of a surrounding run would be named by these, and is none of the workers'.
            outer = {k: v for k, v in os.environ.items() if not k.startswith("FURU_EXEC_")}
            launch = launch_of({**outer, **settings_to_env(settings)}, folder)
            places = tuple(dict.fromkeys(slot for group in slots.values() for slot in group))
            return ProcessPool(options.max_workers, launch, NAME, run_id, places)
        case WorkerKind.THREAD:
            return ThreadPool(options.max_workers, NAME, run_id)
        case WorkerKind.INLINE:
            return InlinePool(NAME, run_id)


def _controller(
    plan: DependencyPlan,
    options: Options,
    slots: Mapping[str, tuple[Slot, ...]],
    settings: Settings,
    run_id: str,
    folder: Path,
    pool: Pool,
) -> Controller:
    frontier = Frontier(plan, window=options.window_size)
    return Controller(
        run_id=run_id,
        frontier=frontier,
        ledger=RetryLedger(settings, keep_going=options.keep_going),
        limits=options.limits,
        slots=slots,
        pool=pool,
        events=EventLog(folder),
        display=choose_display(
            wanted=options.progress, live=options.worker is not WorkerKind.INLINE
        ),
        settings=settings,
        keep_going=options.keep_going,
        roots=plan.roots,
        failures=_failed_before(plan),
    )


def _failed_before(plan: DependencyPlan) -> list[Failure]:
    """Nodes that failed in an earlier run and are not to be tried again."""
    failed = [node for node in plan.nodes.values() if node.status is Status.FAILED]
    unknown = "it failed before, and FURU_RETRY_FAILED is off"
    return [
        node.failure or Failure(FailureKind.COMPUTE, "", unknown, node.name, node.hash)
        for node in failed
    ]
