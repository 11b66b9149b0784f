"""The status of a run, put together from its folder and listings of the store: what of it is done, runs, and is left.

Nothing is asked of the run itself, so it works for any run, also one whose controller is gone; and it is linear in the
number of its nodes and events. A `RunWatch` reads what is added only once.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from statistics import median
from typing import Any, Final

import attrs

from furu_core._attempts import _attempts, _records
from furu_core._executors._outline import Prospect, RunOutline, read_outline
from furu_core._executors._run import EventKind
from furu_core._runs import _runs
from furu_core._runs._failures import FailedNode, FailureGroup, grouped
from furu_core._runs._runs import DIED, RUNNING, EventReader, RunStanding, StoredRun
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredNode, class_named, node_called
from furu_core._store._layout import attempted_in
from furu_core._store._published import listed
from furu_core._tables._facts import facts_of

STAGES: Final = ("done", "running", "ready", "waiting", "failed", "blocked", "elsewhere")
_SLOWEST: Final = 3
_SAMPLE: Final = 30  # records of a class that are read where the run itself does not tell
_LOOKS: Final = 2000  # nodes at which it is looked one by one

# The stage of a node after its last event; one that is to be tried again has that of a node without any.
_STAGE_AFTER: Final = {
    EventKind.NODE_STARTED.value: "running",
    EventKind.NODE_COMPUTED.value: "done",
    EventKind.NODE_LOADED.value: "done",
    EventKind.NODE_FAILED.value: "failed",
    EventKind.NODE_WAITING.value: "elsewhere",
}
_FIRST: Final = {Prospect.FAILED: "failed", Prospect.ELSEWHERE: "elsewhere"}
_LOST: Final = frozenset({"failed", "blocked"})
_RECENT: Final = 2000  # nodes of a run that tell how long others will take


@attrs.frozen
class RunningNode:
    """A node that is being computed.

    Attributes:
        hash: its hash.
        node: its short name.
        class_name: the name of its class in hashes.
        seconds: for how long.
        usual_secs: how long others of its class took; None where none has ended.
        silent_secs: seconds since it printed something; None where it has not, or that is not known.
        host: where it is computed; empty where that is not known.
    """

    hash: str
    node: str
    class_name: str
    seconds: float
    usual_secs: float | None = None
    silent_secs: float | None = None
    host: str = ""

    def to_json(self) -> dict[str, Any]:
        """It as JSON."""
        told = attrs.asdict(self)
        told["class"] = told.pop("class_name")
        rounded = ("seconds", "usual_secs", "silent_secs")
        return told | {
            name: None if told[name] is None else round(told[name], 3) for name in rounded
        }


@attrs.frozen
class RunReport:
    """The status of a run at one moment.

    Attributes:
        standing: how it stands.
        classes: for each class how many of its nodes are in which of the `STAGES`.
        left_secs: seconds that the rest may take; None where that cannot be told, or nothing is left.
        unknown: the classes of which nothing tells how long a node takes.
        slowest: nodes being computed, those that take longest beside others of their class first.
        failures: nodes that failed, grouped by error.
        retries: how often nodes were tried again.
    """

    standing: RunStanding
    classes: dict[str, Counter[str]]
    left_secs: float | None = None
    unknown: tuple[str, ...] = ()
    slowest: tuple[RunningNode, ...] = ()
    failures: tuple[FailureGroup, ...] = ()
    retries: int = 0

    def to_json(self) -> dict[str, Any]:
        """It as JSON, as `furu status --json` prints it."""
        return {
            **self.standing.to_json(),
            "classes": {
                name: {stage: counts[stage] for stage in STAGES}
                for name, counts in self.classes.items()
            },
            "left_secs": None if self.left_secs is None else round(self.left_secs, 3),
            "left_unknown": list(self.unknown),
            "retries": self.retries,
            "slowest": [node.to_json() for node in self.slowest],
            "failures": [group.to_json() for group in self.failures],
            "workers": list(self.standing.outlook.lines),
        }


class RunWatch:
    """Tells how a run stands, as often as it is asked.

    Args:
        run: the run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._run = run
        self._events = EventReader(run.folder)
        self._outline: RunOutline | None = None
        self._class_by_hash: dict[str, str] = {}
        self._begun = 0  # of which time that it was begun the outline is
        self._sampled: dict[str, float | None] = {}

    def report(self) -> RunReport:
        """The status of the run now."""
        with _runs.in_its_store(self._run):
            return self._report()

    def _report(self) -> RunReport:
        self._events.update()
        if self._outline is None or self._begun != self._events.begun:
            self._read_outline()
        told = _runs.standing(self._run, self._events)
        outline = self._outline or RunOutline()
        stages = self._stages(outline, told)
        pairs = Counter(zip(map(self._class_of, stages), stages.values(), strict=True))
        counts: dict[str, Counter[str]] = {}
        for name, there in zip(outline.classes, outline.there, strict=True):
            counts[name] = Counter(done=there)
        for (name, stage), number in pairs.items():
            counts.setdefault(name, Counter())[stage] += number
        counts = dict(sorted(counts.items()))
        if told.total and self._outline is not None and (told.why or told.state != "done"):
            there = sum(number["done"] for number in counts.values())
            told = attrs.evolve(told, loaded=max(0, there - told.computed))
        left, unknown = None, tuple[str, ...]()
        slowest: tuple[RunningNode, ...] = ()
        if told.state == RUNNING:
            usual = self._usual()
            left, unknown = self._left(counts, usual, stages)
            slowest = self._slowest(stages, usual)
        failures = tuple(grouped(self._failed(stages)))
        return RunReport(told, counts, left, unknown, slowest, failures, self._events.retries)

    def _read_outline(self) -> None:
        self._outline, self._begun = read_outline(self._run.folder), self._events.begun
        if self._outline is not None:
            names = map(self._outline.classes.__getitem__, self._outline.places)
            self._class_by_hash = dict(zip(self._outline.hashes, names, strict=True))

    def _class_of(self, node_hash: str) -> str:
        """The name of a node's class in hashes; the short one where the outline lacks the node."""
        name = self._class_by_hash.get(node_hash)
        if name is None:
            name = str(self._events.told[node_hash][3]).partition("(")[0]
        return name

    # Stages

    def _stages(self, outline: RunOutline, told: RunStanding) -> dict[str, str]:
        """In which stage each node of the run is that was not there when it began."""
        there, attempted = _in_store(outline)
        # Where the controller is gone, others may still compute, and nobody has told how nodes ended.
        alone = told.state == DIED or bool(told.why)
        looked = self._looked_at(attempted - there) if alone else {}
        over = alone or told.state != RUNNING
        in_order: list[str] = []
        events, prospects = self._events.told, outline.prospects
        for index, node_hash in enumerate(outline.hashes):
            prospect = prospects.get(index, Prospect.COMPUTE) if prospects else Prospect.COMPUTE
            if node_hash in there and prospect is not Prospect.RERUN:
                in_order.append("done")
                continue
            event = events.get(node_hash)
            stage = _FIRST.get(prospect) if event is None else _STAGE_AFTER.get(event[1])
            if node_hash in looked:
                stage = looked[node_hash]
            elif stage == "running" and (over or node_hash not in attempted):
                # It was interrupted or its worker died; or a busy worker has it and has not begun.
                stage = None
            if stage is None:
                below = {in_order[one] for one in outline.needs[index]}
                if below & _LOST:
                    stage = "blocked"
                else:
                    stage = "ready" if below <= {"done"} else "waiting"
            in_order.append(stage)
        stages = dict(zip(outline.hashes, in_order, strict=True))
        for node_hash, event in events.items():
            if node_hash not in stages:
                stages[node_hash] = _STAGE_AFTER.get(event[1]) or "waiting"
        return stages

    def _looked_at(self, attempted: set[str]) -> dict[str, str]:
        """The stages of nodes that were attempted, by their records; of so many that it does not take long."""
        found = {}
        for node_hash in islice(attempted & self._class_by_hash.keys(), _LOOKS):
            info = node_called(self._class_of(node_hash), node_hash).info()
            if info.state is NodeState.RUNNING:
                found[node_hash] = "running"
            elif info.state in (NodeState.FAILED, NodeState.UNREADABLE):
                found[node_hash] = "failed"
        return found

    # Time

    def _usual(self) -> dict[str, float]:
        """How long a node of each class takes, by those that the run computed last."""
        took: dict[str, list[float]] = {}
        for node_hash in islice(reversed(self._events.computed), _RECENT):
            with suppress(ValueError):
                seconds = self._events.took(node_hash)
                if seconds is not None:
                    took.setdefault(self._class_of(node_hash), []).append(seconds)
        return {name: median(secs) for name, secs in took.items()}

    def _usual_of(self, name: str, usual: dict[str, float]) -> float | None:
        """The same of one class, by its results in the store where the run does not tell."""
        if name in usual:
            return usual[name]
        if name not in self._sampled:
            self._sampled[name] = _sampled(name) if ":" in name else None
        return self._sampled[name]

    def _left(
        self,
        counts: dict[str, Counter[str]],
        usual: dict[str, float],
        stages_of: dict[str, str],
    ) -> tuple[float | None, tuple[str, ...]]:
        """Seconds that the rest may take with as many workers as there are, and classes not counted."""
        work = longest = 0.0
        left = running = 0
        unknown = []
        now = time.time()
        elapsed: dict[str, list[float]] = {}
        for node_hash, began in self._events.running.items():
            if stages_of.get(node_hash) != "running":
                continue
            elapsed.setdefault(self._class_of(node_hash), []).append(now - began)
        for name, stages in counts.items():
            rest = stages["running"] + stages["ready"] + stages["waiting"] + stages["elsewhere"]
            running += stages["running"]
            left += rest
            if not rest:
                continue
            took = self._usual_of(name, usual)
            if took is None:
                unknown.append(name)
                continue
            begun = elapsed.get(name, [])[: stages["running"]]
            # What takes longer than usual may take as long again as it is late: it is not done in no time.
            parts = [abs(took - secs) for secs in begun]
            # Where all that run have taken longer than usual, the others will as well.
            took = max(took, min(begun, default=0.0))
            work += sum(parts) + (rest - len(parts)) * took
            longest = max(longest, *parts, took if rest > len(parts) else 0.0)
        if not left or (not work and unknown):
            return None, tuple(unknown)
        workers = max(1, running)
        return max(longest, work / workers), tuple(unknown)

    def _slowest(self, stages: dict[str, str], usual: dict[str, float]) -> tuple[RunningNode, ...]:
        now = time.time()
        found = [
            (now - began, node_hash, self._class_of(node_hash))
            for node_hash, began in self._events.running.items()
            if stages.get(node_hash) == "running"
        ]
        found.sort(key=lambda one: -one[0] / max(usual.get(one[2], 0.0), 1e-3))
        chosen = []
        for seconds, node_hash, name in found[:_SLOWEST]:
            silent, host = _silence(name, node_hash) if ":" in name else (None, "")
            node, taken = self._events.told[node_hash][3], self._usual_of(name, usual)
            chosen.append(RunningNode(node_hash, node, name, seconds, taken, silent, host))
        return tuple(chosen)

    # Failures

    def _failed(self, stages: dict[str, str]) -> Iterator[FailedNode]:
        for node_hash, stage in stages.items():
            if stage != "failed":
                continue
            name = self._class_of(node_hash)
            story = self._events.story(node_hash)
            if story is not None and story.kind == EventKind.NODE_FAILED.value:
                facts = story.facts
                yield FailedNode(
                    node_hash,
                    name,
                    facts.get("kind", ""),
                    facts.get("error_type", ""),
                    facts.get("message", "") or story.detail,
                    facts.get("at", ""),
                    facts.get("log", ""),
                    ended=story.time,
                    run=self._run.id,
                )
            else:
                yield FailedNode.of(facts_of(node_called(name, node_hash)), {})


def _in_store(outline: RunOutline) -> tuple[set[str], set[str]]:
    """Which hashes have results and which have attempts, in the folders of the classes of a run."""
    there: set[str] = set()
    attempted: set[str] = set()
    for place in set(outline.places):
        names = listed(class_named(outline.classes[place]).folder)
        there |= names
        attempted |= attempted_in(names)
    return there, attempted


def _sampled(class_name: str) -> float | None:
    """How long some results of a class took, by their records; None where too few tell."""
    cls = class_named(class_name)
    hashes = cls.published()
    took = []
    for node_hash in hashes[:: max(1, len(hashes) // _SAMPLE)][:_SAMPLE]:
        seconds = facts_of(StoredNode(cls, node_hash)).costs.get("wall_secs")
        if seconds is not None:
            took.append(seconds)
    return median(took) if took else None


def _silence(class_name: str, node_hash: str) -> tuple[float | None, str]:
    """For how long a running node has printed nothing, and where it is computed."""
    node = node_called(class_name, node_hash)
    with suppress(OSError, ValueError):
        record = _records.read(node.folder)
        host = record.holder.host
        with suppress(OSError):
            printed = os.stat(_attempts.log_of(node.folder)).st_mtime
            return max(0.0, time.time() - printed), host
        return None, host
    return None, ""
