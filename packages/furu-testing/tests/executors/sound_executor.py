"""A small executor that keeps every promise: worker processes, one node at a time each.

The broken ones differ from it by one fault each, so what the conformance suite says of them is said of
that fault.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import Any, ClassVar

import attrs
import sound_worker

import furu_core
from furu_core import Settings
from furu_core.executors import (
    COUNT,
    FLAG,
    EventLog,
    Executor,
    FailureKind,
    Roots,
    named_roots,
    new_run_folder,
    option,
    refuse_nested_run,
)
from furu_core.workers import (
    Watchdog,
    WorkerContext,
    death_result,
    exit_text,
    import_roots,
    kill_sessions,
    settings_to_env,
)
from furu_plan import DependencyPlan, Frontier, PlanNode, RetryLedger, Window, build_plan
from furu_plan.runs import (
    WINDOW,
    ControlledRun,
    Controller,
    Ended,
    PoolEvent,
    Source,
    Task,
    choose_display,
)

_BOOT = (
    "import sys, runpy; sys.path[:] = sys.argv[4:]; del sys.argv[4:]; "
    "sys.argv[:] = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


class Process:
    """A worker process and what it does."""

    def __init__(self, kind: str, environment: Mapping[str, str], folder: str, log: Path) -> None:
        self.channel, theirs = Pipe()
        self.task: Task | None = None
        self.since = 0.0
        self.cancelled = False
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                [
                    *(sys.executable, "-c", _BOOT, sound_worker.__file__, kind),
                    *(str(theirs.fileno()), *import_roots()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd=folder,
                env=dict(environment),
            )
        theirs.close()


class Processes:
    """The worker processes of one run."""

    def __init__(
        self,
        kind: str,
        number: int,
        context: WorkerContext,
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.kind = kind
        self.number = number
        self.context = context
        self.environment = environment
        self.folder = folder
        self.workers: list[Process] = []
        self.waking, self.woken = Pipe(duplex=False)
        self.guard = Watchdog()

    @property
    def busy(self) -> int:
        return sum(worker.task is not None for worker in self.workers)

    def running(self) -> list[tuple[PlanNode, float]]:
        return [(worker.task.node, worker.since) for worker in self.workers if worker.task]

    def feed(self, source: Source) -> None:
        while source.ready(None) and (worker := self._idle()) is not None:
            task = source.take(None)
            if task is None:
                return
            self.begin(worker, task)

    def _idle(self) -> Process | None:
        for worker in self.workers:
            if worker.task is None and not worker.cancelled:
                return worker
        if len(self.workers) == self.number:
            return None
        worker = self.start()
        self.guard.add(worker.popen.pid)
        self.workers.append(worker)
        return worker

    def start(self) -> Process:
        return Process(self.kind, self.environment, os.getcwd(), self.folder / "workers.log")

    def begin(self, worker: Process, task: Task) -> None:
        node = task.node
        worker.task, worker.since = task, time.monotonic()
        context = self.context_of(task)
        with suppress(OSError):  # it died, which `wait` notices
            worker.channel.send(
                sound_worker.Work(pickle.dumps(node.obj), node.hash, node.name, node.rerun, context)
            )

    def context_of(self, task: Task) -> WorkerContext:
        return attrs.evolve(self.context, spec_key=task.node.spec_key)

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        ready = wait([self.waking, *(worker.channel for worker in self.workers)], timeout)
        events: list[PoolEvent] = []
        if self.waking in ready:
            while self.waking.poll():
                self.waking.recv()
        for worker in list(self.workers):
            if worker.channel in ready:
                events += self._hear(worker)
        return events

    def _hear(self, worker: Process) -> list[PoolEvent]:
        try:
            result = worker.channel.recv()
        except (EOFError, OSError):
            return self.died(worker)
        task, worker.task = worker.task, None
        assert task is not None
        return [Ended(task, result)]

    def died(self, worker: Process) -> list[PoolEvent]:
        """A worker has closed its connection."""
        self.workers.remove(worker)
        worker.channel.close()
        kill_sessions({worker.popen.pid})
        code = worker.popen.wait()
        self.guard.remove(worker.popen.pid)
        if worker.task is None:
            return []
        kind = FailureKind.CANCELLED if worker.cancelled else FailureKind.LOST
        result = death_result(worker.task.node.obj, worker.popen.pid, kind, exit_text(code))
        return [Ended(worker.task, result)]

    def wake(self) -> None:
        with suppress(OSError):
            self.woken.send(None)

    def recall(self) -> None:
        """Nothing is taken that has not begun."""

    def cancel(self) -> None:
        for worker in self.workers:
            worker.cancelled = True
            worker.popen.terminate()

    def kill(self) -> list[PoolEvent]:
        events: list[PoolEvent] = []
        for worker in list(self.workers):
            worker.cancelled = True
            worker.popen.kill()
            events += self.died(worker)
        return events

    def close(self) -> None:
        for worker in self.workers:
            worker.channel.close()
        for worker in self.workers:
            with suppress(subprocess.TimeoutExpired):
                worker.popen.wait(3)
            kill_sessions({worker.popen.pid})
            worker.popen.wait()
        self.guard.close()
        self.waking.close()
        self.woken.close()


@attrs.frozen(kw_only=True)
class SoundExecutor(Executor):
    """Computes graphs in worker processes."""

    name: ClassVar[str] = "sound"
    worker: ClassVar[str] = "Worker"

    max_workers: int = option(2, "how many nodes are computed at once", COUNT)
    window_size: Window = option("bfs", "how many roots are worked on at once", WINDOW)
    keep_going: bool = option(False, "go on when a node fails", FLAG)

    def submit(self, roots: Any) -> ControlledRun:
        refuse_nested_run()
        settings = furu_core.settings()
        named = named_roots(roots)
        plan = self.plan(named)
        run_id, folder = new_run_folder(self.name, named)
        context = WorkerContext(self.name, run_id)
        controller = Controller(
            run_id=run_id,
            frontier=self.frontier(plan),
            ledger=self.ledger(settings),
            pool=self.pool(context, self.environment(settings), folder),
            events=self.events(folder),
            display=choose_display(wanted=False, live=False),
            settings=settings,
            keep_going=self.keep_going,
        )
        run = self.run(run_id, folder, named, controller)
        run.start()
        return run

    # What broken executors do otherwise

    def plan(self, roots: Roots) -> DependencyPlan:
        return build_plan(roots)

    def frontier(self, plan: DependencyPlan) -> Frontier:
        return Frontier(plan, window=self.window_size)

    def ledger(self, settings: Settings) -> RetryLedger:
        return RetryLedger(settings, keep_going=self.keep_going)

    def environment(self, settings: Settings) -> dict[str, str]:
        outer = {key: value for key, value in os.environ.items() if "FURU_EXEC" not in key}
        return {**outer, **settings_to_env(settings)}

    def pool(
        self, context: WorkerContext, environment: Mapping[str, str], folder: Path
    ) -> Processes:
        return Processes(self.worker, self.max_workers, context, environment, folder)

    def events(self, folder: Path) -> EventLog:
        return EventLog(folder)

    def run(self, run_id: str, folder: Path, roots: Roots, controller: Controller) -> ControlledRun:
        return ControlledRun(run_id, folder, roots, controller, None)
