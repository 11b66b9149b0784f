"""The records that `why` returns, and their text: what is not there of a graph of nodes, and for which causes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core._explain._staleness import StaleNodes

_SHOWN: Final = 8  # causes in the text
_STALE_SHOWN: Final = 3
_WIDE: Final = 60  # characters of a cell that others are aligned with
_VALUES: Final = 3  # of a field, beside the first


class CauseKind(Enum):
    """Why a node is not there."""

    CHANGED = "changed"  # never computed, and a field differs from the nearest result's
    RENAMED = "renamed"  # never computed, and a class that is gone had the same fields
    FIRST = "first"  # never computed, and there is nothing to compare it with
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"
    REMOVED = "removed"
    INVALID = "invalid"
    DAMAGED = "damaged"
    RERUN = "to be rerun"
    RUNNING = "running"
    QUEUED = "queued"
    UNREADABLE = "unreadable"
    NOT_COMPARED = "not compared"  # never computed, and there were too many to compare all

    @property
    def is_new(self) -> bool:
        """Whether such a node was never computed."""
        return self in _NEW

    @property
    def is_awaited(self) -> bool:
        """Whether a run would wait for such a node."""
        return self in (CauseKind.RUNNING, CauseKind.QUEUED)


_NEW: Final = frozenset(
    {CauseKind.CHANGED, CauseKind.RENAMED, CauseKind.FIRST, CauseKind.NOT_COMPARED}
)


@attrs.frozen
class Cause:
    """A cause for which nodes are not there.

    Attributes:
        kind: which.
        class_name: the class where it arises.
        node: the short name of the first node with it.
        hash: that node's hash.
        nodes: how many nodes are not there for it; one that has several causes counts for each. What needs a
            node that failed, was removed or is computed elsewhere has no other cause than that.
        path: the leaf that differs, by dotted names from the first node; else empty.
        before: its value in the nearest result.
        after: its value now.
        more: further values that it has in further nodes.
        type_differs: whether these are of different types.
        levels: how many nested configs further down it is.
        closest: the short name of the nearest result.
        own: to how many nodes of its class the same happened; the first one is named. Of items that a list has
            more than in the nearest result, how many they are.
        detail: what happened: the error, or who computes it; of such items, how the first differs from the result
            that is nearest to it.
        config: the parameters of the node, where it has run.
        next: the command to go on with; empty where there is none.
    """

    kind: CauseKind
    class_name: str
    node: str
    hash: str
    nodes: int = 0
    path: str = ""
    before: str = ""
    after: str = ""
    more: tuple[str, ...] = ()
    type_differs: bool = False
    levels: int = 0
    closest: str = ""
    own: int = 0
    detail: str = ""
    config: str = ""
    next: str = ""

    def to_json(self) -> dict[str, Any]:
        """The cause as JSON values."""
        return {**attrs.asdict(self), "kind": self.kind.value}


@attrs.frozen
class RootState:
    """How a root stands.

    Attributes:
        name: its short name.
        hash: its hash.
        state: ``there``, ``never computed``, or what happened to it.
        is_there: whether its result is there, and a run would load it.
        detail: when and by whom it was computed, or what happened.
        closest: the short name of the nearest result; empty where it was not looked for.
        closest_age: seconds since that one was computed.
    """

    name: str
    hash: str
    state: str
    is_there: bool
    detail: str = ""
    closest: str = ""
    closest_age: float | None = None


@attrs.frozen
class Forecast:
    """How long it would take, by what the nodes of each class took before.

    Attributes:
        secs: seconds with that many workers; None where no class has results.
        workers: how many nodes are computed at once.
        unknown: nodes of classes without results, which are not counted.
    """

    secs: float | None
    workers: int
    unknown: int = 0


@attrs.frozen
class Explanation:
    """What is not there of some nodes and of what they need, and why.

    Attributes:
        roots: the nodes that were asked for.
        causes: why nodes are not there; first what happened to nodes, then what makes most of them new.
        compute: how many nodes would be computed.
        load: how many would be loaded, or are there already.
        wait: how many others compute.
        forecast: how long it would take; None where nothing would be computed.
        stale: which of the results that are there are stale.
        target: how the roots are called on the command line; empty in Python.
        run: the run of which it is told what it had to compute; empty for what would be computed now.
    """

    roots: tuple[RootState, ...]
    causes: tuple[Cause, ...]
    compute: int
    load: int
    wait: int
    forecast: Forecast | None
    stale: StaleNodes
    target: str = ""
    run: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether all is there."""
        return not self.compute and not self.wait

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON values, as `furu why --json` prints them."""
        return {
            "target": self.target,
            "run": self.run,
            "complete": self.is_complete,
            "roots": [attrs.asdict(root) for root in self.roots],
            "causes": [cause.to_json() for cause in self.causes],
            "nodes": {"compute": self.compute, "load": self.load, "wait": self.wait},
            "forecast": None if self.forecast is None else attrs.asdict(self.forecast),
            "stale": self.stale.to_json(),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self._head()
        shown = self.causes[:_SHOWN]
        told = [_told(cause, past=bool(self.run)) for cause in shown]
        cells_of = [[row[column] for row in told] for column in (0, 1)]
        widths = [
            max((len(one) for one in cells if len(one) <= _WIDE), default=0) for cells in cells_of
        ]
        total = self.compute + self.load + self.wait
        for cause, row in zip(shown, told, strict=True):
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            yield f"  {'  '.join(cells)}  {_effect(cause, total)}".rstrip()
            if cause.path and cause.detail:
                yield f"      {cause.detail}"
            if cause.config:
                yield f"      {cause.config}"
            if cause.next:
                yield f"      {cause.next}"
        if others := self.causes[_SHOWN:]:
            number = sum(cause.nodes for cause in others)
            more = _text.count(len(others), "more cause")
            yield f"  ... and {more}, for {_text.count(number, 'node')}: see --json"
        if not self.is_complete:
            yield self._sum()
        yield from self._stale_lines()

    def _head(self) -> str:
        then = f" when run {self.run} began" if self.run else ""
        if len(self.roots) != 1:
            there = sum(root.is_there for root in self.roots)
            title = f"{self.target}: " if self.target else ""
            return f"{title}{len(self.roots)} roots, {there} of them there{then}"
        root = self.roots[0]
        if root.is_there and self.run:
            return f"{root.name} was there{then}"
        if root.is_there:
            return f"{root.name} is there: {root.detail}"
        verb = "was" if self.run else "is"
        is_old = self.run and root.state == CauseKind.RERUN.value
        line = f"{root.name} {verb} {'' if is_old else 'not '}there{then}: {root.state}"
        if root.closest:
            age = "" if root.closest_age is None else f", {ago(root.closest_age)}"
            line += f"   closest: {root.closest}{age}"
        return line

    def _sum(self) -> str:
        parts = [f"{_text.count(self.compute, 'node')} to compute"]
        if self.wait:
            parts.append(f"{self.wait} to wait for")
        parts.append(f"{self.load} to load")
        line = ", ".join(parts)
        found = self.forecast
        if found is not None and found.secs is not None:
            line += f"; by history about {_text.duration(found.secs)} with {_text.count(found.workers, 'worker')}"
            if found.unknown:
                line += f", without {_text.count(found.unknown, 'node')} of classes that have no results"
        return line

    def _stale_lines(self) -> Iterator[str]:
        if not self.stale.sentence:
            return
        yield f"{self.stale.sentence}; loaded all the same"
        told = {**self.stale.stale, **self.stale.resting}
        for node, why_stale in list(told.items())[:_STALE_SHOWN]:
            yield f"  {node.name}  {'; '.join(why_stale.reasons)}"
        if len(told) > _STALE_SHOWN:
            yield f"  ... and {len(told) - _STALE_SHOWN} more: `{self.stale.listing}`"


def _told(cause: Cause, *, past: bool) -> tuple[str, str]:
    """A cause in two cells: where, and what."""
    if cause.path and cause.own > 1:
        return f"{cause.path} and {cause.own - 1} more", f"{cause.before} -> {cause.after}"
    if cause.path:
        others = "".join(f", {value}" for value in cause.more[:_VALUES])
        if len(cause.more) > _VALUES:
            others += f" and {len(cause.more) - _VALUES} more"
        what = f"{cause.before} -> {cause.after}{others}"
        return cause.path, f"{what}  type differs" if cause.type_differs else what
    if cause.kind is CauseKind.RENAMED:
        return (
            cause.class_name,
            f"is new; {cause.before} is gone, had the same fields, and has results",
        )
    if cause.kind is CauseKind.FIRST:
        return cause.class_name, "had no results then" if past else "has no results yet"
    if cause.kind is CauseKind.NOT_COMPARED:
        return cause.class_name, "not compared: there are too many"
    others = f" and {cause.own - 1} more" if cause.own > 1 else ""
    return f"{cause.node}{others}", f"{cause.kind.value} {cause.detail}".rstrip()


def _effect(cause: Cause, total: int) -> str:
    number = _text.count(cause.nodes, "node")
    if not cause.kind.is_new:
        return "" if cause.nodes <= cause.own else f"{number} with those that need it"
    if not cause.nodes:
        return f"as against {cause.closest}"
    down = f"{_text.count(cause.levels, 'level')} down; " if cause.levels else ""
    return f"{down}makes {cause.nodes} of {_text.count(total, 'node')} new"


def ago(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s ago"
    return "just now" if seconds < 60 else "a minute ago"
