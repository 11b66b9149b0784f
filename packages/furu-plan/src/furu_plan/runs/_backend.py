"""A pool whose tasks are done outside this process, by a scheduler or a framework, and its executor."""

from __future__ import annotations

import logging
import math
import queue
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import attrs

from furu_core import NodeState
from furu_core.errors import FuruExecutorError
from furu_core.executors import COUNT, Executor, Failure, FailureKind, OptionKind, option
from furu_core.planning import state_at
from furu_core.workers import Died, NodeResult, Outcome, lost_result
from furu_plan._node import PlanNode
from furu_plan.runs._options import ControlledRunOptions
from furu_plan.runs._pool import Ended, Place, PoolEvent, Source, Task
from furu_plan.runs._run import ControlledRun
from furu_plan.runs._start import NewRun, start_run

_log = logging.getLogger("furu.run")

_LOOK_SECS: Final = 2.0  # how often the backend is asked for its room
_STOP_LOOK_SECS: Final = 0.1  # how often it is checked whether stopped tasks have ended

#: How a task has ended: what its `run_node` returned, how its process died, or what kept the backend
#: from computing it, which is a failure of kind `PROTOCOL`.
Answer: TypeAlias = NodeResult | Died | Exception

#: Tells a pool how a task has ended; may be called from any thread.
Report: TypeAlias = Callable[[Answer], None]


class Backend(Protocol):
    """Does tasks outside this process, for a `BackendPool`."""

    def room(self, place: Place | None) -> int:
        """How many tasks there are workers for at this place, or without one; busy workers count.

        It is called every few seconds, and before tasks are started.

        Raises:
            FuruExecutorError: the backend is gone, which ends the run.
        """

    def start(self, task: Task, report: Report) -> None:
        """Have a task done; `report` is called once, when it has ended or its worker has died."""

    def stop(self, tasks: Sequence[Task]) -> None:
        """Make tasks end soon; `report` is called for each of them all the same."""

    def lack(self, place: Place | None) -> str:
        """What is missing at this place, in words, when it has no room for any task."""

    def close(self) -> None:
        """Release all workers; those that belong to the run end, with the tasks that they do."""


@attrs.define(eq=False)
class _Out:
    """A task that the backend has."""

    task: Task
    place: Place | None
    since: float
    answer: Answer | None = None


class BackendPool:
    """A `Pool` on a backend, which is given as many tasks as it can do at once.

    Args:
        backend: does the tasks; closed at the end.
        run_id: the run.
        places: all places of the run, the scarcest first.
        max_workers: how many tasks at once; None for all that the backend has room for.
        patience: seconds for which the run waits, while nothing is computed, for workers that can
            compute what is ready; then it ends with an error.
    """

    def __init__(
        self,
        backend: Backend,
        run_id: str,
        *,
        places: Sequence[Place] = (),
        max_workers: int | None = None,
        patience: float = math.inf,
    ) -> None:
        self._backend = backend
        self._run_id = run_id
        self._places = (*places, None)
        self._most = math.inf if max_workers is None else max_workers
        self._patience = patience
        self._out: dict[int, _Out] = {}
        # A `SimpleQueue`, because a signal handler may put into it while its thread is using it.
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lacking: list[str] = []
        self._lacking_since = 0.0

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""
        return len(self._out)

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes that the backend has, and since when by `time.monotonic`."""
        return [(out.task.node, out.since) for out in self._out.values()]

    def feed(self, source: Source) -> None:
        """Take as many tasks as the backend has room for."""
        lacking = []
        for place in self._places:
            if not source.ready(place):
                continue
            room = self._backend.room(place)
            if not room:
                lacking.append(self._backend.lack(place))
            if place is not None:
                in_all = self._backend.room(None)
                room = min(in_all, room + sum(out.place != place for out in self._out.values()))
            while self.busy < min(room, self._most):
                task = source.take(place)
                if task is None:
                    break
                self._start(task, place)
        self._note_lack(lacking)

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """Wait until something happens, `feed` is due, or time is up; return what has happened."""
        ending = any(out.answer is not None for out in self._out.values())
        look = _STOP_LOOK_SECS if ending else _LOOK_SECS
        with suppress(queue.Empty):
            self._news.get(timeout=look if timeout is None else min(look, timeout))
            while True:
                self._news.get_nowait()
        if self._out:
            self._backend.room(None)  # raises when the backend is gone and will report nothing more
        return [self._ended(out) for out in list(self._out.values()) if self._has_ended(out)]

    def wake(self) -> None:
        """Let a `wait` return at once; may be called from any thread and from signal handlers."""
        self._news.put(None)

    def recall(self) -> None:
        """Do nothing: no task is taken that the backend has no room for."""

    def cancel(self) -> None:
        """Interrupt the nodes being computed; `wait` reports how they ended."""
        self._backend.stop([out.task for out in self._out.values()])

    def kill(self) -> list[PoolEvent]:
        """End all tasks at once, as cancelled; nothing is left to wait for."""
        with suppress(Exception):  # a backend that is gone has stopped them already
            self._backend.stop([out.task for out in self._out.values()])
        self._backend.close()
        killed = Died(FailureKind.CANCELLED, "its run was cancelled")
        for out in self._out.values():
            out.answer = out.answer or killed
        return [self._ended(out) for out in list(self._out.values())]

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()

    def _start(self, task: Task, place: Place | None) -> None:
        out = self._out[task.number] = _Out(task, place, time.monotonic())

        def report(answer: Answer) -> None:
            out.answer = answer
            self.wake()

        self._backend.start(task, report)

    def _has_ended(self, out: _Out) -> bool:
        if not isinstance(out.answer, Died) or out.answer.kind is not FailureKind.CANCELLED:
            return out.answer is not None
        # Most backends forget a task before its process has ended.
        info = state_at(out.task.node.obj)
        its = info.holder is not None and info.holder.run_id == self._run_id
        return not (its and info.state is NodeState.RUNNING)

    def _ended(self, out: _Out) -> Ended:
        del self._out[out.task.number]
        node, answer = out.task.node, out.answer
        assert answer is not None
        if isinstance(answer, Died):
            kind, message = answer.kind, answer.message
            answer = lost_result(node.obj, self._run_id, kind, message, rerun=node.rerun)
        elif isinstance(answer, Exception):
            what = FailureKind.PROTOCOL, type(answer).__name__, str(answer)
            failure = Failure(*what, node.name, node.hash)
            answer = NodeResult(node.hash, Outcome.FAILED, failure=failure)
        return Ended(out.task, answer)

    def _note_lack(self, lacking: list[str]) -> None:
        """Say what the run waits for; end it when that does not come and nothing else is computed."""
        now = time.monotonic()
        if lacking != self._lacking:
            for what in lacking:
                _log.warning("run %s waits: %s", self._run_id, what)
        if lacking != self._lacking or self._out:
            self._lacking, self._lacking_since = lacking, now
        if lacking and not self._out and now - self._lacking_since >= self._patience:
            raise FuruExecutorError(
                f"{'; '.join(lacking)}, and that has not changed for {self._patience:g} s",
                hint="start such workers, or wait longer for them",
            )


@attrs.frozen(kw_only=True)
class BackendExecutor(ControlledRunOptions, Executor):
    """Runs graphs on a backend that computes elsewhere, controlled by a thread of this process.

    A subclass has a `name` and makes a `backend`. One with options of its own is an attrs class as
    well, and declares them by `furu_core.executors.option`.

    Attributes:
        max_workers: how many nodes are computed at once; None for all that the backend has room for.
        worker_timeout: seconds to wait for a worker that can compute what is ready, while nothing is
            computed.
        places_option: the name of the option that places are made of, for errors.

    Raises:
        FuruUsageError: an option makes no sense.

    Example:
        >>> import attrs
        >>> from furu_core.executors import TEXT, option
        >>> from furu_plan.runs import BackendExecutor
        >>> @attrs.frozen(kw_only=True)
        ... class PodExecutor(BackendExecutor):
        ...     name = "pods"
        ...     image: str | None = option(None, "what pods are made of", TEXT)
        ...     def backend(self, run): ...
        >>> PodExecutor.from_options({"image": "python:3.11", "max_workers": "8"}).max_workers
        8
    """

    places_option: ClassVar[str] = "places"

    max_workers: int | None = option(None, "how many nodes are computed at once", COUNT)
    worker_timeout: float = option(
        60.0,
        "seconds to wait for a worker that can compute what is ready, while nothing is computed",
        OptionKind("a number of seconds"),
    )

    @abstractmethod
    def backend(self, run: NewRun) -> Backend:
        """The backend that computes the nodes of a run.

        It connects when `room` is first called, as `submit` does if there is anything to compute.
        """

    def places(self) -> Mapping[str, Place]:
        """Spec key to the place of its nodes, for those whose nodes not every worker can compute."""
        return {}

    def submit(self, roots: Any) -> ControlledRun:
        """Start computing `roots` and everything they depend on, and return the run.

        Raises:
            FuruExecutorError: there is something to compute, and the backend cannot be reached.
        """
        places = self.places()

        def make_pool(run: NewRun) -> BackendPool:
            backend = self.backend(run)
            if run.todo:
                try:
                    backend.room(None)
                except BaseException:
                    backend.close()
                    raise
            return BackendPool(
                backend,
                run.id,
                places=tuple(dict.fromkeys(places.values())),
                max_workers=self.max_workers,
                patience=self.worker_timeout,
            )

        of_key = {key: (place,) for key, place in places.items()}
        return start_run(
            self.name,
            roots,
            make_pool,
            self,
            how=self.name,
            places=of_key,
            places_option=self.places_option,
        )
