"""What a controller asks of its workers, whatever they are: processes, threads, jobs of a scheduler."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Protocol, TypeAlias

import attrs

from furu_core.workers import NodeResult
from furu_plan._node import PlanNode

#: Where a node of some spec key has to be computed, when not every worker will do; what it is, such as
#: a device, only the executor knows.
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
        result: what its attempt came to; a worker that died has one as well, see `lost_result`.
    """

    task: Task
    result: NodeResult


@attrs.frozen
class GivenBack:
    """A task was not begun, and is not going to be; its node is ready again.

    Attributes:
        task: the task.
    """

    task: Task


@attrs.frozen
class Broken:
    """Workers die before they can do anything.

    Attributes:
        message: what was seen.
        log: what they wrote.
    """

    message: str
    log: Path


@attrs.frozen
class HandedOver:
    """Another controller has the run from now on, and all that its workers do.

    The controller that hears it ends at once: it takes nothing back, interrupts nothing, and writes
    down neither failures nor an end, because the run goes on. Its `ControlledRun` raises from `wait`.

    Attributes:
        why: the reason, as a clause.
        hint: what to do about it.
    """

    why: str
    hint: str = ""


PoolEvent: TypeAlias = Begun | Ended | GivenBack | Broken | HandedOver


class Source(Protocol):
    """Where a pool takes tasks from; only good while the pool's `feed` runs."""

    def ready(self, place: Place | None) -> int:
        """How many tasks could be taken now for a worker at this place, or for one without."""

    def take(
        self, place: Place | None, *, ahead: bool = False, queued: bool = False
    ) -> Task | None:
        """Take one.

        Args:
            place: of the worker that is to do it.
            ahead: the worker is still busy; then tasks whose number is limited are left out.
            queued: it is to wait for a worker, perhaps for days; `Begun` tells when it has one.
        """


class Pool(Protocol):
    """Workers that do tasks.

    A controller calls `feed` and `wait` in turn, from one thread, and so everything but `wake`. Of each
    task that was taken, `wait` or `kill` tells once: that it ended, or that it was given back, unless
    `wait` tells of a `HandedOver`, after which only `close` is called. An error that a method raises
    ends the run.
    """

    @property
    def busy(self) -> int:
        """How many tasks were taken and have not been reported."""

    def running(self) -> list[tuple[PlanNode, float]]:
        """The nodes being computed, and since when by `time.monotonic`."""

    def feed(self, source: Source) -> None:
        """Take as many tasks as workers can use now, and start workers for them."""

    def wait(self, timeout: float | None) -> list[PoolEvent]:
        """What has happened; waits until something does, or `feed` is due, or time is up."""

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
