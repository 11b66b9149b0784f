"""Nodes that another run or process computes: what became of them, and how long to wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from furu_core import Settings
from furu_core import settings as current_settings
from furu_core.errors import FuruWaitTimeout
from furu_core.executors import duration
from furu_core.planning import StateReader
from furu_plan._node import PlanNode, Status, statuses

_log = logging.getLogger("furu.plan")

# Seconds from one announcement to the next; it doubles while nothing new is waited for.
_FIRST_PAUSE: Final = 15.0
_LONGEST_PAUSE: Final = 480.0
_NAMED: Final = 3


@attrs.frozen(slots=True)
class Reconciled:
    """What became of nodes that another run or process computed.

    Attributes:
        done: their artifacts are there.
        todo: nothing computes them any more: the process that did died, was cancelled, or failed
            while `retry_failed` is on.
        failed: they failed, and `retry_failed` is off.
        running: they are still being computed, or still wait in a scheduler's queue.
    """

    done: tuple[PlanNode, ...] = ()
    todo: tuple[PlanNode, ...] = ()
    failed: tuple[PlanNode, ...] = ()
    running: tuple[PlanNode, ...] = ()

    def __bool__(self) -> bool:
        """Whether any node changed."""
        return bool(self.done or self.todo or self.failed)


def reconcile(
    nodes: Iterable[PlanNode],
    reader: StateReader,
    *,
    retry_failed: bool,
    compute_queued: bool = False,
) -> Reconciled:
    """Look again at nodes that are IN_PROGRESS; all executors treat lost ones by this policy.

    Args:
        nodes: the nodes, usually `Frontier.waiting()`.
        reader: it is refreshed, once for all nodes.
        retry_failed: nodes that failed elsewhere are to be computed here.
        compute_queued: nodes that only wait in a scheduler's queue are to be computed here.
    """
    reader.refresh()
    by_status: dict[Status, list[PlanNode]] = {status: [] for status in Status}
    meaning = statuses(retry_failed=retry_failed, compute_queued=compute_queued)
    for node in nodes:
        info = reader.state(node.obj)
        status = meaning[info.state]
        by_status[status].append(attrs.evolve(node, info=info, status=status))
    return Reconciled(
        done=tuple(by_status[Status.DONE]),
        todo=tuple(by_status[Status.TODO]),
        failed=tuple(by_status[Status.FAILED]),
        running=tuple(by_status[Status.IN_PROGRESS]),
    )


class Waits:
    """Watches the nodes that another run or process computes, for a run that needs them.

    It announces now and then what the run waits for, and ends a wait that takes too long.

    Args:
        settings: `poll_interval_secs`, `max_wait_secs` and `retry_failed`. Default: the current ones.
        reader: reads the state of nodes. Default: a new one.
        announce: called with one line of text; by default it goes to the log.
        compute_queued: as for `build_plan`.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        reader: StateReader | None = None,
        announce: Callable[[str], None] = _log.info,
        compute_queued: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = current_settings() if settings is None else settings
        self._reader = StateReader() if reader is None else reader
        self._announce = announce
        self._compute_queued = compute_queued
        self._clock = clock
        self._next_look = -float("inf")
        self._last_word = self._next_word = -float("inf")
        self._pause = _FIRST_PAUSE
        self._since: dict[str, float] = {}  # when the wait for a node began
        self._idle_since: dict[str, float] = {}  # the same, while the run had nothing else to do

    def due_in(self) -> float:
        """Seconds until `check` looks again."""
        return max(0.0, self._next_look - self._clock())

    def check(self, nodes: Sequence[PlanNode], *, idle: bool = True) -> Reconciled:
        """Look at the nodes, unless the last look was less than `poll_interval_secs` ago.

        Args:
            nodes: those waited for, `Frontier.waiting()`.
            idle: the run has nothing else to do, `Frontier.idle`. Only then does time count against
                `max_wait_secs`: a run that computes other nodes meanwhile does not wait.

        Returns:
            What became of them; empty if it was too early to look.

        Raises:
            FuruWaitTimeout: a node was waited for longer than `max_wait_secs`. It names the holder.
                To go on without the node: `Frontier.failed(error.hash)`.
        """
        now = self._clock()
        if not nodes or now < self._next_look:
            return Reconciled()
        result = reconcile(
            nodes,
            self._reader,
            retry_failed=self._settings.retry_failed,
            compute_queued=self._compute_queued,
        )
        self._next_look = self._clock() + self._settings.poll_interval_secs
        running = {node.hash for node in result.running}
        self._since = {node_hash: self._since.get(node_hash, now) for node_hash in running}
        self._idle_since = {
            node_hash: self._idle_since.get(node_hash, now) for node_hash in running if idle
        }
        if result.running:
            self._speak(result.running, now)
        if not result:
            self._check_time(result.running, now)
        return result

    def _speak(self, nodes: Sequence[PlanNode], now: float) -> None:
        fresh = any(self._since[node.hash] == now for node in nodes)
        if fresh:
            self._pause = _FIRST_PAUSE
            self._next_word = min(self._next_word, self._last_word + _FIRST_PAUSE)
        if now < self._next_word:
            return
        self._announce(self._sentence(nodes, now))
        self._last_word = now
        self._next_word = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _sentence(self, nodes: Sequence[PlanNode], now: float) -> str:
        named = [
            f"{node.name}, {_who(node)}, {duration(now - self._since[node.hash])}"
            for node in nodes[:_NAMED]
        ]
        more = f"; and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        return f"waiting for {'; '.join(named)}{more}"

    def _check_time(self, nodes: Sequence[PlanNode], now: float) -> None:
        limit = self._settings.max_wait_secs
        if limit is None:
            return
        for node in nodes:
            waited = now - self._idle_since.get(node.hash, now)
            if waited >= limit:
                holder = _who(node)
                raise FuruWaitTimeout(
                    f"waited {duration(waited)} for {node.name}, {holder}",
                    node=node.name,
                    hash=node.hash,
                    holder=holder,
                    waited=waited,
                    hint="let that run finish or stop it, or raise FURU_MAX_WAIT_SECS",
                )


def _who(node: PlanNode) -> str:
    if node.holder is not None:
        return f"computed by {node.holder}"
    return "queued with another executor"
