"""The status of a run, put together from its folder and listings of the store: what of it is done, runs, and is left.

Nothing is asked of the run itself, so it works for any run, also one whose controller is gone; and it is linear in the
number of its nodes and events. A `RunWatch` reads what is added only once.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from statistics import median
from typing import Any, Final

import attrs

from furu_core._attempts import _attempts, _records
from furu_core._config._class_names import relpath_of
from furu_core._executors._outline import OutlinedNode, Prospect, RunOutline, read_outline
from furu_core._executors._run import EventKind
from furu_core._settings import _settings
from furu_core._status import _runs
from furu_core._status._facts import facts_of
from furu_core._status._failures import FailedNode, FailureGroup, grouped
from furu_core._status._runs import DIED, RUNNING, EventReader, NodeStory, RunStanding, StoredRun
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._store._layout import attempted_in
from furu_core._store._places import listed

STAGES: Final = ("done", "running", "ready", "waiting", "failed", "blocked", "elsewhere")
_SLOWEST: Final = 3
_ENOUGH: Final = 3  # nodes of a class that tell what one takes
_SAMPLE: Final = 30  # records of a class that are read where the run itself does not tell
_LOOKS: Final = 2000  # nodes at which it is looked one by one

_STARTED: Final = EventKind.NODE_STARTED.value
_DONE: Final = frozenset({EventKind.NODE_COMPUTED.value, EventKind.NODE_LOADED.value})
_FAILED: Final = EventKind.NODE_FAILED.value
_WAITING: Final = EventKind.NODE_WAITING.value


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
        self._begun = 0  # of which time that it was begun the outline is
        self._sampled: dict[str, float | None] = {}

    def report(self) -> RunReport:
        """The status of the run now."""
        self._events.update()
        if self._outline is None or self._begun != self._events.begun:
            self._outline, self._begun = read_outline(self._run.folder), self._events.begun
        told = _runs.standing(self._run, self._events)
        outline = self._outline or RunOutline()
        stages = self._stages(outline, told)
        counts: dict[str, Counter[str]] = {
            name: Counter(done=number) for name, number in outline.there.items()
        }
        for node_hash, stage in stages.items():
            counts.setdefault(self._class_of(node_hash), Counter())[stage] += 1
        counts = dict(sorted(counts.items()))
        if told.total and self._outline is not None and told.state != "done":
            there = sum(number["done"] for number in counts.values())
            told = attrs.evolve(told, loaded=max(0, there - told.computed))
        usual = self._usual()
        left, unknown = None, tuple[str, ...]()
        if told.state == RUNNING:
            left, unknown = self._left(counts, usual)
        return RunReport(
            told,
            counts,
            left,
            unknown,
            self._slowest(stages, usual) if told.state == RUNNING else (),
            tuple(grouped(self._failed(stages))),
            sum(story.retries for story in self._events.nodes.values()),
        )

    # Stages

    def _stages(self, outline: RunOutline, told: RunStanding) -> dict[str, str]:
        """In which stage each node of the run is that was not there when it began."""
        nodes = self._events.nodes
        there, attempted = self._in_store(outline)
        # Where the controller is gone, others may still compute, and nobody has told how nodes ended.
        alone = told.state == DIED or bool(told.why)
        looked = _looked_at(outline, there, attempted) if alone else {}
        over = alone or told.state != RUNNING
        stages: dict[str, str] = {}
        for node_hash, one in outline.nodes.items():
            if node_hash in there and one.prospect is not Prospect.RERUN:
                stages[node_hash] = "done"
            elif node_hash in looked:
                stages[node_hash] = looked[node_hash]
            else:
                stages[node_hash] = self._stage(one, stages, over=over)
        for node_hash, story in nodes.items():  # those that the outline does not have
            if node_hash not in stages:
                stages[node_hash] = _told(story) or "waiting"
        return stages

    def _stage(self, one: OutlinedNode, stages: dict[str, str], *, over: bool) -> str:
        """The stage of a node by events, and by those of the nodes that it needs."""
        story = self._events.nodes.get(one.hash)
        stage = None if story is None else _told(story)
        # A node that ran when the run ended was interrupted, or its worker died.
        if stage is not None and not (over and stage == "running"):
            return stage
        if one.prospect is Prospect.FAILED and story is None:
            return "failed"
        if one.prospect is Prospect.ELSEWHERE and story is None:
            return "elsewhere"
        below = {stages[need] for need in one.needs}
        if below & {"failed", "blocked"}:
            return "blocked"
        return "ready" if below <= {"done"} else "waiting"

    def _in_store(self, outline: RunOutline) -> tuple[set[str], set[str]]:
        """Which hashes have results and which have attempts, in the folders of the run's classes."""
        there: set[str] = set()
        attempted: set[str] = set()
        for name in {one.class_name for one in outline.nodes.values()}:
            names = listed(_class_of(name).folder)
            there |= names
            attempted |= attempted_in(names)
        return there, attempted

    def _class_of(self, node_hash: str) -> str:
        outlined = None if self._outline is None else self._outline.nodes.get(node_hash)
        if outlined is not None:
            return outlined.class_name
        return self._events.nodes[node_hash].node.partition("(")[0]

    # Time

    def _usual(self) -> dict[str, float]:
        """How long a node of each class takes, by those that the run computed."""
        took: dict[str, list[float]] = {}
        for node_hash in self._events.computed:
            story = self._events.nodes.get(node_hash)
            if story is not None and story.took is not None:
                took.setdefault(self._class_of(node_hash), []).append(story.took)
        return {name: median(secs) for name, secs in took.items()}

    def _usual_of(self, name: str, usual: dict[str, float]) -> float | None:
        """The same of one class, by its results in the store where the run does not tell."""
        if name in usual:
            return usual[name]
        if name not in self._sampled:
            self._sampled[name] = _sampled(name) if ":" in name else None
        return self._sampled[name]

    def _left(
        self, counts: dict[str, Counter[str]], usual: dict[str, float]
    ) -> tuple[float | None, tuple[str, ...]]:
        work = longest = 0.0
        left = running = 0
        unknown = []
        now = time.time()
        elapsed: dict[str, list[float]] = {}
        for node_hash, story in self._events.nodes.items():
            if story.kind == _STARTED:
                elapsed.setdefault(self._class_of(node_hash), []).append(now - story.began)
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
            # Where all that run have taken longer than usual, the others will as well.
            took = max(took, min(begun, default=0.0))
            parts = [max(0.0, took - secs) for secs in begun]
            work += sum(parts) + (rest - len(parts)) * took
            longest = max(longest, *parts, took if rest > len(parts) else 0.0)
        if not left or (not work and unknown):
            return None, tuple(unknown)
        workers = max(1, running, min(self._events.most_at_once, left))
        return max(longest, work / workers), tuple(unknown)

    def _slowest(self, stages: dict[str, str], usual: dict[str, float]) -> tuple[RunningNode, ...]:
        now = time.time()
        found = []
        for node_hash, story in self._events.nodes.items():
            if story.kind == _STARTED and stages.get(node_hash) == "running":
                name = self._class_of(node_hash)
                found.append((now - story.began, story, name))
        found.sort(key=lambda one: -one[0] / max(usual.get(one[2], 0.0), 1e-3))
        chosen = []
        for seconds, story, name in found[:_SLOWEST]:
            silent, host = _silence(name, story.hash) if ":" in name else (None, "")
            taken = self._usual_of(name, usual)
            chosen.append(RunningNode(story.hash, story.node, name, seconds, taken, silent, host))
        return tuple(chosen)

    # Failures

    def _failed(self, stages: dict[str, str]) -> Iterable[FailedNode]:
        for node_hash, stage in stages.items():
            if stage != "failed":
                continue
            name = self._class_of(node_hash)
            story = self._events.nodes.get(node_hash)
            if story is not None and story.kind == _FAILED:
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
                )
            else:
                yield FailedNode.of(facts_of(_node(name, node_hash)), {})


def _looked_at(outline: RunOutline, there: set[str], attempted: set[str]) -> dict[str, str]:
    """The stages of nodes that were attempted, by their records; of so many that it does not take long."""
    found = {}
    for node_hash in islice(attempted & outline.nodes.keys() - there, _LOOKS):
        info = _node(outline.nodes[node_hash].class_name, node_hash).info()
        if info.state is NodeState.RUNNING:
            found[node_hash] = "running"
        elif info.state in (NodeState.FAILED, NodeState.UNREADABLE):
            found[node_hash] = "failed"
    return found


def _told(story: NodeStory) -> str | None:
    """The stage of a node by its last event; None where that is not the whole truth."""
    if story.kind in _DONE:
        return "done"
    if story.kind == _STARTED:
        return "running"
    if story.kind == _FAILED:
        return "failed"
    return "elsewhere" if story.kind == _WAITING else None


def _class_of(name: str) -> StoredClass:
    return StoredClass(name, f"{_settings.settings().path}/data/{relpath_of(name)}")


def _node(class_name: str, node_hash: str) -> StoredNode:
    return StoredNode(_class_of(class_name), node_hash)


def _sampled(class_name: str) -> float | None:
    """How long some results of a class took, by their records; None where too few tell."""
    cls = _class_of(class_name)
    hashes = cls.published()
    took = []
    for node_hash in hashes[:: max(1, len(hashes) // _SAMPLE)][:_SAMPLE]:
        seconds = facts_of(StoredNode(cls, node_hash)).costs.get("wall_secs")
        if seconds is not None:
            took.append(seconds)
    return median(took) if took else None


def _silence(class_name: str, node_hash: str) -> tuple[float | None, str]:
    """For how long a running node has printed nothing, and where it is computed."""
    node = _node(class_name, node_hash)
    with suppress(OSError, ValueError):
        record = _records.read(node.folder)
        host = record.holder.host
        with suppress(OSError):
            printed = os.stat(_attempts.log_of(node.folder)).st_mtime
            return max(0.0, time.time() - printed), host
        return None, host
    return None, ""
