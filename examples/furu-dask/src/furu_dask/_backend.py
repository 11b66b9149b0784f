"""Dask as what computes the nodes of a run."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import Any, Final

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, Security, rpc
from distributed.utils import LoopRunner

from furu_core.errors import FuruExecutorError
from furu_core.executors import FailureKind, Liveness, Submission
from furu_core.workers import Died, WorkerContext, node_order, origin_here
from furu_dask._worker import compute
from furu_plan.runs import Answer, NewRun, Place, Report, Task

Resources = Mapping[str, Mapping[str, float]]  # what nodes need of a Dask worker, by spec key

_ANSWER_SECS: Final = 10.0  # within which a scheduler answers
_SILENT_SECS: Final = 30.0  # for which one that does not is not asked again how its tasks stand
_LOOK_SECS: Final = 2.0  # between two looks at which workers there are

_silent_until: dict[str, float] = {}


class DaskBackend:
    """Computes nodes on a Dask cluster, see `furu_plan.runs.Backend`.

    Args:
        run: whose nodes.
        address: of the scheduler; None for a cluster of this process.
        resources: what nodes need.
        workers: how many workers a cluster of this process has; None for one a processor.
    """

    def __init__(
        self, run: NewRun, address: str | None, resources: Resources, workers: int | None
    ) -> None:
        self._run = run
        self._address = address
        self._name = f"the Dask cluster {address or 'of this process'}"
        self._resources = resources
        self._workers = workers or len(os.sched_getaffinity(0))
        self._origin = origin_here(run.settings)
        self._futures: dict[int, Future[Any]] = {}
        self._identity: dict[str, Any] = {}
        self._next_look = 0.0
        self._stack = ExitStack()

    @cached_property
    def _client(self) -> Client:
        try:
            if self._address is None:
                own = _own_cluster(self._workers)
                self._stack.callback(own.close, timeout=_ANSWER_SECS)
                client = Client(own, set_as_default=False)
            else:
                _processing(self._address)  # a client waits for ever for one that does not answer
                client = Client(self._address, timeout=_ANSWER_SECS, set_as_default=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise FuruExecutorError(
                f"{self._name} cannot be reached: {error}", hint="does its scheduler run there?"
            ) from error
        self._stack.enter_context(client)
        return client

    def room(self, place: Place | None) -> int:
        """How many threads there are; for a spec key with resources, how many may have them."""
        if time.monotonic() >= self._next_look or self._client.status != "running":
            self._identity = self._ask(lambda client: client.scheduler.identity(n_workers=-1))
            self._next_look = time.monotonic() + _LOOK_SECS
        needs = self._resources.get(str(place), {})
        threads = 0
        for worker in self._identity["workers"].values():
            often = (worker["resources"].get(name, 0) // n for name, n in needs.items())
            threads += int(min([worker["nthreads"], *often]))
        return threads

    def lack(self, place: Place | None) -> str:
        """What there is no worker with."""
        mine = self._resources.get(str(place), {})
        needs = ", ".join(f"{name}={n:g}" for name, n in mine.items())
        what = f"with {needs}, the resources of spec key {place!r}" if needs else "at all"
        return f"{self._name} has no worker {what}"

    def start(self, task: Task, report: Report) -> None:
        """Submit a task."""
        run, key = self._run, f"furu-{self._run.id}-{task.number}"
        begun = run.folder / f"{key}.begun"
        submission = None  # of a cluster of this process, one can see whether the process lives
        if self._address is not None:
            where = f"{key} on {self._identity['id']} at {self._identity['address']}"
            submission = Submission("dask", where)
        context = WorkerContext("dask", run.id, task.node.spec_key, submission=submission)
        order = node_order(task.node.obj, context, rerun=task.node.rerun)
        needs = self._resources.get(task.node.spec_key)
        future = self._client.submit(
            compute, self._origin, order, begun, key=key, pure=False, resources=needs
        )

        def ended(done: Future[Any]) -> None:
            answer = _answer(done)
            begun.unlink(missing_ok=True)
            self._futures.pop(task.number, None)
            report(answer)

        self._futures[task.number] = future
        future.add_done_callback(ended)

    def stop(self, tasks: Sequence[Task]) -> None:
        """Have Dask drop tasks, which their workers notice."""
        dropped = [self._futures[task.number] for task in tasks if task.number in self._futures]
        self._ask(lambda client: client.cancel(dropped, force=True, asynchronous=True))

    def close(self) -> None:
        """Hang up; a cluster of this process ends."""
        with suppress(TimeoutError):  # then its workers end with this process
            self._stack.close()

    def _ask(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        client = self._client
        try:
            if not threading.main_thread().is_alive():
                why = "the program has ended without waiting for the run"
            elif client.status == "running":
                return client.sync(question, client, callback_timeout=_ANSWER_SECS)
            else:
                why = "the connection to its scheduler broke"
        except OSError as error:  # TimeoutError is one
            why = f"its scheduler does not answer: {error}"
        raise FuruExecutorError(f"{self._name} is gone: {why}", hint="start it, and run this again")


def _own_cluster(workers: int) -> LocalCluster:
    # Lost tasks are counted by furu (P5), so Dask must not try them again.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # it would measure the Dask worker, not the process of the node
            silence_logs=logging.CRITICAL,
            # A terminal sends Ctrl-C to the workers as well, and only furu is to heed it.
            preload=["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
        )


def _answer(future: Future[Answer]) -> Answer:
    """What became of a task that Dask has done with."""
    try:
        return future.result(timeout=_ANSWER_SECS)
    except KilledWorker as error:
        return Died(FailureKind.LOST, f"the Dask worker {error.last_worker.address} died")
    except Exception as error:  # noqa: BLE001 - whatever befell it
        match future.status:
            case "finished":
                return Died(FailureKind.LOST, f"its result was lost: {error}")
            case "error":
                return error  # such as a worker without this package, or without the store
            case _:
                return Died(FailureKind.CANCELLED, f"Dask dropped it: {error}")


def liveness_of(submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
    """Alive is what some worker computes, gone what the same scheduler does not know any more."""
    found = dict.fromkeys(submissions, Liveness.UNKNOWN)
    heard: dict[str, tuple[str, set[str]]] = {}
    for submission in submissions:
        key, _, where = submission.id.partition(" on ")
        scheduler, _, address = where.partition(" at ")
        if address not in heard and time.monotonic() >= _silent_until.get(address, 0.0):
            try:
                heard[address] = _processing(address)
            except (OSError, ValueError):
                _silent_until[address] = time.monotonic() + _SILENT_SECS
        who, keys = heard.get(address, ("", set()))
        if who and who == scheduler:
            found[submission] = Liveness.ALIVE if key in keys else Liveness.GONE
    return found


def _processing(address: str) -> tuple[str, set[str]]:
    """Which scheduler is at an address, and what its workers compute."""

    async def ask() -> tuple[str, set[str]]:
        # No `Client`: one that cannot connect closes itself whenever it is collected as garbage, and
        # waits for ever if this thread is starting a loop then.
        how = Security().get_connection_args("client")
        async with rpc(address, timeout=_ANSWER_SECS, connection_args=how) as scheduler:
            processing = await scheduler.processing(workers=None)
            identity = await scheduler.identity(n_workers=0)
        return identity["id"], {key for keys in processing.values() for key in keys}

    answer: tuple[str, set[str]] = LoopRunner().run_sync(ask, callback_timeout=_ANSWER_SECS)
    return answer
