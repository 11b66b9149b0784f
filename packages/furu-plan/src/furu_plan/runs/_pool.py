"""The interface between a controller and its workers: processes, threads or jobs of a scheduler."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Protocol, TypeAlias

import attrs

from furu_core.workers import NodeResult
from furu_plan._node import PlanNode

#: Where nodes of a spec key have to be computed, when not every worker can compute them. The executor
#: chooses the type; a place may be a device, for example.
Place: TypeAlias = Hashable


@attrs.frozen(eq=False)
class Task:
    """One attempt at a node.

    Attributes:
        number: tells the tasks of a run apart.
        node: the node.
    """

    number: int
    node: PlanNode


@attrs.frozen
class Begun:
    """A worker has begun a task that had waited for one, see `Source.take`.

    Attributes:
        task: the task.
    """

    task: Task


@attrs.frozen
class Ended:
    """A task has ended, one way or the other.

    Attributes:
        task: the task.
        result: the result of its attempt; a task whose worker died has one as well, see `lost_result`.
    """

    task: Task
    result: NodeResult


@attrs.frozen
class GivenBack:
    """A task was not begun, and will not be; its node is ready again.

    Attributes:
        task: the task.
    """

    task: Task


@attrs.frozen
class Broken:
    """Workers die before they can do anything.

    Attributes:
        message: how they died.
        log: the file with their output.
    """

    message: str
    log: Path


@attrs.frozen
class HandedOver:
    """Another controller has taken over the run and its workers.

    The controller that receives this event ends at once: it takes no task back, interrupts no node,
    and records neither failures nor an end, because the run goes on. Its `ControlledRun` raises from
    `wait`.

    Attributes:
        why: the reason, as a clause.
        hint: what to do about it.
    """

    why: str
    hint: str = ""


PoolEvent: TypeAlias = Begun | Ended | GivenBack | Broken | HandedOver


class Source(Protocol):
    """Where a pool takes tasks from; valid only while the pool's `feed` runs."""

    def ready(self, place: Place | None) -> int:
        """How many tasks could be taken now for a worker at this place, or for one without."""

    def take(
        self, place: Place | None, *, ahead: bool = False, queued: bool = False
    ) -> Task | None:
        """Take one task; None when there is none.

        Args:
            place: of the worker that is to do it.
            ahead: the worker is still busy; then tasks of spec keys with a limit are left out.
            queued: the task is to wait for a worker, perhaps for days; `Begun` tells when it has one.
        """


class Pool(Protocol):
    """Workers that do tasks.

    A controller calls `feed` and `wait` in turn. It calls all methods from one thread; only `wake` may be
    called from others. Each task that was taken is reported once by `wait` or `kill`: as ended, or as
    given back. After `wait` has reported `HandedOver`, only `close` is called. An error that a method
    raises ends the run.
    """

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes being computed, and since when by `time.monotonic`."""

    def feed(self, source: Source) -> None:
        """Take as many tasks as workers can use now, and start workers for them."""

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """Wait until something happens, `feed` is due, or time is up; return what has happened."""

    def wake(self) -> None:
        """Let a `wait` return at once; may be called from any thread and from signal handlers."""

    def recall(self) -> None:
        """Ask for all tasks back that were not begun; `wait` reports them."""

    def cancel(self) -> None:
        """Interrupt the nodes being computed; `wait` reports how they ended."""

    def kill(self) -> list[PoolEvent]:
        """End all tasks at once, as cancelled; nothing is left to wait for."""

    def close(self) -> None:
        """End the workers."""
