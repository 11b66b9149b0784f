"""The record of a run so far: its events, and the failures and counts of its summary."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

import furu_core
from furu_core import Furu
from furu_core.executors import (
    EventKind,
    EventLog,
    Failure,
    FailureKind,
    Prospect,
    RunState,
    RunStatus,
    count,
    write_outline,
)
from furu_core.planning import short_name_of
from furu_core.workers import this_process
from furu_plan._frontier import Frontier, Stage
from furu_plan._node import PlanNode, Status
from furu_plan.runs._display import RunProgress, time_left


class RunJournal:
    """Records what happens in a run, and reports its status.

    Args:
        run_id: the run.
        frontier: the stages of its nodes; the caller changes them.
        events: the log of its events; closed at the run's end.

    Attributes:
        state: the state of the run.
        failures: why nodes failed, including those that failed before the run.
        computed: how many nodes the run has computed.
        there_before: how many nodes were done when it began.
    """

    def __init__(self, run_id: str, frontier: Frontier, events: EventLog) -> None:
        self.run_id = run_id
        self._frontier = frontier
        self._events = events
        self.state = RunState.RUNNING
        self.failures = failed_before(frontier.plan)
        self.computed = 0
        self.there_before = frontier.counts()[Stage.DONE]
        self._computed_secs = 0.0
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Record that the run begins, and what it has before it."""
        total = sum(self._frontier.counts().values())
        write_outline(self._events.folder, _outlined(self._frontier.plan))
        facts = {"total": total, "controller": attrs.asdict(this_process())}
        self._events.write(EventKind.RUN_STARTED, detail=count(total, "node"), facts=facts)

    def note(self, kind: EventKind, node: PlanNode, detail: str = "") -> None:
        """Record an event of a node."""
        self._events.write(kind, hash=node.hash, node=node.name, detail=detail)

    def sign(self) -> None:
        """Give a sign of life, if one is due; for the run's loop."""
        self._events.sign()

    def done(
        self, node: PlanNode, *, computed: bool, seconds: float = 0.0, detail: str = ""
    ) -> None:
        """Record that a node is done, computed by this run or by another."""
        if computed:
            self.computed += 1
            self._computed_secs += seconds
        self.note(EventKind.NODE_COMPUTED if computed else EventKind.NODE_LOADED, node, detail)

    def failed(self, failure: Failure) -> None:
        """Record that a node failed for good, or was cancelled."""
        self.failures.append(failure)
        name = failure.node or short_name_of("", failure.hash)
        cancelled = failure.kind is FailureKind.CANCELLED
        kind = EventKind.NODE_CANCELLED if cancelled else EventKind.NODE_FAILED
        self._events.write(
            kind, hash=failure.hash, node=name, detail=str(failure), facts=_facts_of(failure)
        )

    def late_failures(self) -> bool:
        """Record nodes that were added late to the run and had failed before; whether there were any."""
        known = {failure.hash for failure in self.failures}
        failed = self._frontier.in_stage(Stage.FAILED)
        late = failed_before(node for node in failed if node.hash not in known)
        for failure in late:
            self.failed(failure)
        return bool(late)

    def end(self, state: RunState) -> None:
        """Record that the run has ended, and call the user's command for that."""
        self.state = state
        status = self.status(0)
        numbers = ("total", "computed", "loaded", "failed", "blocked")
        facts = {name: getattr(status, name) for name in numbers}
        if self._events.goes_on:
            facts = {}  # they lack what controllers before this one have computed
        self._events.write(EventKind.RUN_ENDED, detail=state.value, facts=facts)
        self._events.close()
        if furu_core.settings().on_run_end:
            from furu_core.planning import tell_run_end  # most runs have no such command

            tell_run_end(self._events.folder)

    def close(self) -> None:
        """Write nothing more, because the run goes on without this process."""
        self._events.close()

    def status(self, running: int) -> RunStatus:
        """The status of the run.

        Args:
            running: how many nodes are being computed.
        """
        counts = self._frontier.counts()
        total, done = sum(counts.values()), counts[Stage.DONE]
        cancelled = sum(one.kind is FailureKind.CANCELLED for one in self.failures)
        failed = len(self.failures) - cancelled
        return RunStatus(
            state=self.state,
            total=total,
            computed=self.computed,
            loaded=max(0, done - self.computed),
            running=running,
            waiting=max(0, total - done - running - failed),
            failed=failed,
            failures=tuple(self.failures),
            blocked=counts[Stage.BLOCKED],
        )

    def progress(
        self, running: Iterable[tuple[PlanNode, float]], *, note: str = "", workers: str = ""
    ) -> RunProgress:
        """How far the run is, for a display.

        Args:
            running: the nodes being computed, and since when by `time.monotonic`.
            note: what the run is doing besides computing, such as stopping.
            workers: what keeps its workers from working; empty for nothing.
        """
        now = time.monotonic()
        counts = self._frontier.counts()
        total, done = sum(counts.values()), counts[Stage.DONE]
        computing = tuple((node.name, now - since) for node, since in running)
        return RunProgress(
            run_id=self.run_id,
            total=total,
            done=done,
            failed=len(self.failures),
            running=computing,
            elapsed=self.elapsed,
            left=time_left(
                total - done - counts[Stage.FAILED] - counts[Stage.BLOCKED],
                elapsed=self.elapsed,
                done=done - self.there_before,
                node_secs=self._computed_secs / self.computed if self.computed else 0.0,
                running=[seconds for _, seconds in computing],
            ),
            note=note,
            workers=workers,
        )


_PROSPECTS: Final = {
    Status.DONE: Prospect.LOAD,
    Status.IN_PROGRESS: Prospect.ELSEWHERE,
    Status.TODO: Prospect.COMPUTE,
    Status.FAILED: Prospect.FAILED,
}


def _outlined(
    nodes: Iterable[PlanNode],
) -> Iterator[tuple[Furu[Any], tuple[str, ...], Prospect]]:
    for node in nodes:
        prospect = Prospect.RERUN if node.rerun else _PROSPECTS[node.status]
        yield node.obj, node.dependencies, prospect


def _facts_of(failure: Failure) -> dict[str, str]:
    """A failure for programs, without what an event of it has in any case."""
    log = "" if failure.log is None else str(failure.log)
    told = {
        "kind": failure.kind.value,
        "error_type": failure.error_type,
        "message": failure.message,
        "at": failure.at,
        "log": log,
    }
    return {name: value for name, value in told.items() if value}


def failed_before(nodes: Iterable[PlanNode]) -> list[Failure]:
    """The failures of nodes that failed in an earlier run and are not to be tried again.

    Without `keep_going` a run computes nothing when there are any.

    Args:
        nodes: the nodes to look at, such as a plan.
    """
    failed = [node for node in nodes if node.status is Status.FAILED]
    unknown = "it failed before, and FURU_RETRY_FAILED is off"
    return [
        node.failure or Failure(FailureKind.COMPUTE, "", unknown, node.name, node.hash)
        for node in failed
    ]
