"""`why`: what is not there of a graph of nodes, and for which causes.

A node that was never computed is compared with the stored result whose config is nearest, and where both hold a
config that differs, these two in turn: so what made 40 nodes new is told once, by the leaf that changed. A node
whose attempts failed, or whose result was removed, is a cause itself, and so it is for all that needs it.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core._attempts._records import AttemptStatus
from furu_core._compute._reruns import matches_rerun
from furu_core._config._dependencies import dependencies
from furu_core._config._grid import named_roots
from furu_core._executors._outline import Prospect, read_outline
from furu_core._explain._causes import GraphComparison, leaves
from furu_core._explain._config_changes import ConfigReference, RecordedConfig, value_text
from furu_core._explain._explanations import Cause, CauseKind, Explanation, Forecast, RootState, ago
from furu_core._explain._nearest import ConfigReader, Relative, RelativeReader
from furu_core._explain._staleness import StalenessReader
from furu_core._runs._runs import StoredRun, find_run
from furu_core._settings import _settings
from furu_core._status import _stored_nodes, _trash
from furu_core._status._state_reader import StateReader
from furu_core._status._states import NodeInfo, NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core._store._folders import class_in
from furu_core._store._manifest import DamagedArtifact
from furu_core._tables._columns import BUILTIN
from furu_core._tables._facts import FactReader, NodeFacts, facts_of
from furu_core._text import RUN_PREFIX
from furu_core.errors import FuruCycleError, FuruStoreError, FuruUsageError

_CHECKED: Final = 2000  # results whose files are looked for
_ITEMS: Final = 8  # lists that grew, of which an item is compared
_FIELDS: Final = 3  # in which such an item differs that are told
_COMPARED: Final = 20_000  # pairs of configs
_STALE_SECS: Final = 1.0  # for stale results; `furu ls --stale` tells all
_UNDONE: Final = 5  # removed results that are named one by one
_DIGITS: Final = 12  # of hashes in commands


_PROSPECTS: Final = {
    Prospect.RERUN: CauseKind.RERUN,
    Prospect.FAILED: CauseKind.FAILED,
    Prospect.ELSEWHERE: CauseKind.RUNNING,
}
_WITH_PARAMETERS: Final = (CauseKind.FAILED, CauseKind.LOST, CauseKind.INVALID)
_STATES: Final = {
    NodeState.FAILED: CauseKind.FAILED,
    NodeState.LOST: CauseKind.LOST,
    NodeState.CANCELLED: CauseKind.CANCELLED,
    NodeState.RUNNING: CauseKind.RUNNING,
    NodeState.QUEUED: CauseKind.QUEUED,
    NodeState.UNREADABLE: CauseKind.UNREADABLE,
}


@attrs.define
class _Node:
    """A node of the graph, and how it stands."""

    stored: StoredNode
    config: RecordedConfig | None
    kind: CauseKind | None  # None: it is there
    below: tuple[str, ...] = ()
    detail: str = ""
    age: str = ""
    next: str = ""
    follows: bool = False  # whether that happened because of something below, if there is such


def why(obj: Any, *, workers: int | None = None) -> Explanation:
    """Why nodes would be computed: for each node that is not there, the exact cause.

    Nothing is computed or changed. A node that was never computed is compared with the stored result
    that is nearest; one that failed, was removed or is computed elsewhere is told as such.

    Args:
        obj: a Furu object, an iterable or dict of them; or a text that names a node in the store, as
            `furu show` takes it, or a run as ``run:20261129-1530``: why that had to compute what it did.
            No class is imported for a text.
        workers: with how many nodes at once to reckon; default: the processors of this machine.

    Raises:
        FuruUsageError: the store has no node or run of that name.
        FuruDependencyError: something is no Furu object.
        FuruCycleError: nodes depend on themselves, by what their `_dependencies` return.

    Example:
        >>> from furu_core import use_settings, why
        >>> from furu_testing.nodes import Leaf
        >>> with use_settings(path="/data/nothing-yet"):
        ...     found = why(Leaf(x=3))
        >>> [(cause.kind.value, cause.nodes) for cause in found.causes]
        [('first', 1)]
    """
    explainer = _Explainer(_processors() if workers is None else workers)
    if isinstance(obj, str) and obj.startswith(RUN_PREFIX):
        return explainer.of_run(find_run(obj))
    if isinstance(obj, str):
        return explainer.of_name(obj)
    return explainer.of_objects(named_roots(obj).items)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Explainer:
    """Explains one graph; what is read of the store is read once."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._facts = FactReader()
        self._configs = ConfigReader(self._facts)
        self._states = StateReader()
        self._nodes: dict[str, _Node] = {}  # dependencies before their dependents
        self._trash: dict[str, dict[str, _trash.Removal]] = {}
        self._checked = 0
        self._causes: dict[Any, Cause] = {}
        self._of_node: dict[str, dict[Any, None]] = {}  # the keys of each node's causes
        self._closest: dict[str, Relative] = {}
        self._began = math.inf  # only results that began before are compared with

    # Nodes

    def of_objects(self, objects: tuple[Any, ...]) -> Explanation:
        """The explanation of objects and of what they need."""
        self._walk(objects)
        return self._explained([obj.furu_hash for obj in objects])

    def of_name(self, name: str) -> Explanation:
        """The explanation of one node in the store, or in the trash."""
        try:
            node = _stored_nodes.find(name, also=True)
        except FuruUsageError:
            removed = self._in_trash(name)
            if removed is None:
                raise
            node = removed
        found = self._judged(node, node.info(), None)
        config = facts_of(node).config
        if config:
            found.config = self._configs.add_record(config)
        self._nodes[node.hash] = found
        return self._explained([node.hash])

    def of_run(self, run: StoredRun) -> Explanation:
        """The explanation of what a run had to compute, as its folder tells what was not there when it began."""
        outline = read_outline(run.folder)
        if run.record is None or outline is None:
            raise FuruUsageError(
                f"the folder of run {run.id} does not tell what was there when it began",
                hint="`furu why MODULE:TARGET` tells what would be computed now",
            )
        self._began = run.began
        for index, (node_hash, place) in enumerate(
            zip(outline.hashes, outline.places, strict=True)
        ):
            stored = _stored_nodes.node_called(outline.classes[place], node_hash)
            kind = _PROSPECTS.get(outline.prospects.get(index, Prospect.COMPUTE), CauseKind.FIRST)
            below = tuple(outline.hashes[one] for one in outline.needs[index])
            config = self._configs.find(ConfigReference(node_hash, stored.cls.name))
            self._nodes[node_hash] = _Node(stored, config, kind, below)
        roots = [root.hash for root in run.record.roots]
        for root in run.record.roots:
            if root.hash not in self._nodes:
                stored = self._root_there(root.node, root.hash)
                self._nodes[root.hash] = _Node(stored, None, None)
        found = self._explained(roots)
        return attrs.evolve(found, run=run.id, load=sum(outline.there), forecast=None)

    def _root_there(self, node: str, node_hash: str) -> StoredNode:
        """The node of a root that was there when a run began, whether it is now or not."""
        try:
            return _stored_nodes.find(node_hash, also=True)
        except FuruUsageError:  # removed since; the run's record has its short name
            found = self._in_trash(node_hash)
            return found or _stored_nodes.node_called(node.partition("(")[0], node_hash)

    def _in_trash(self, name: str) -> StoredNode | None:
        found = _trash.results_called(name.strip().rpartition("(")[2].rstrip(")…"))
        data = f"{_settings.settings().path}/data"
        if len(found) != 1:
            return None
        ((node_hash, below),) = found
        cls = _stored_nodes.StoredClass(class_in(below), f"{data}/{below}")
        return StoredNode(cls, node_hash)

    def _walk(self, objects: Iterable[Any]) -> None:
        """Judge the nodes of a graph; below those that are there, nothing is looked at."""
        wanted = _settings.settings().always_rerun
        path: dict[str, _Node] = {}
        stack: list[Iterator[Any]] = [iter(objects)]
        while stack:
            for obj in stack[-1]:
                node_hash = obj.furu_hash
                if node_hash in self._nodes:
                    continue
                if node_hash in path:
                    raise _cycle(path, node_hash)
                found = self._node(obj)
                if found.kind is None and wanted and matches_rerun(obj, wanted):
                    found.kind = CauseKind.RERUN
                    found.detail = "as FURU_ALWAYS_RERUN or --rerun says"
                looks = found.kind is not None and not found.kind.is_awaited
                below = dependencies(obj) if looks or (wanted and found.kind is None) else ()
                found.below = tuple(dict.fromkeys(item.furu_hash for item in below))
                if not below:
                    self._nodes[node_hash] = found
                    continue
                path[node_hash] = found
                stack.append(iter(below))
                break
            else:
                stack.pop()
                if path:
                    node_hash, found = path.popitem()
                    self._nodes[node_hash] = found
                    if found.kind is None:
                        self._take_along(found)

    def _take_along(self, found: _Node) -> None:
        """A node that is there is rerun if something that it depends on is."""
        for node_hash in found.below:
            below = self._nodes[node_hash]
            if below.kind is CauseKind.RERUN:
                found.kind, found.detail, found.follows = CauseKind.RERUN, below.detail, True
                return

    def _node(self, obj: Any) -> _Node:
        stored = _stored_nodes.node_of(obj)
        try:
            info = self._states.state(obj)
        except FuruStoreError as error:
            info = NodeInfo(NodeState.UNREADABLE, reason=str(error))
        return self._judged(stored, info, obj)

    def _judged(self, stored: StoredNode, info: NodeInfo, obj: Any) -> _Node:
        """A node and how it stands; its config is known to the reader of configs then."""
        if info.state is NodeState.DONE:
            self._checked += 1
            damage = _damage(stored) if self._checked <= _CHECKED else ""
            if not damage:
                if obj is not None:
                    self._configs.add(obj)
                return _Node(stored, None, None)
            kind, detail, age = CauseKind.DAMAGED, damage, ""
        elif info.state is NodeState.ABSENT:
            kind, detail, age = self._absent(stored, info)
        else:
            kind, (detail, age) = _STATES[info.state], _happened(stored, info)
        config = None
        if obj is not None:
            self._configs.add(obj)
            config = self._configs.find(ConfigReference(stored.hash, stored.cls.name))
        follows = info.failure is not None and info.failure.error_type.startswith("Furu")
        return _Node(stored, config, kind, (), detail, age, _next_of(kind, stored), follows)

    def _absent(self, stored: StoredNode, info: NodeInfo) -> tuple[CauseKind, str, str]:
        """Why nothing is there, what was said of it, and how long ago that was."""
        removal = self._removed_from(stored)
        if removal is not None:
            age = removal.age_secs
            return CauseKind.REMOVED, "", "" if age is None else ago(age)
        if info.attempt is not None:
            records = stored.attempts()
            if records and records[-1].status is AttemptStatus.INVALID:
                ended = records[-1].ended
                return CauseKind.INVALID, "" if ended is None else _first_line(ended.message), ""
        return CauseKind.FIRST, "", ""

    def _removed_from(self, stored: StoredNode) -> _trash.Removal | None:
        folder = stored.cls.folder
        if folder not in self._trash:
            below = folder.removeprefix(f"{_settings.settings().path}/data/")
            self._trash[folder] = _trash.results_of(below)
        return self._trash[folder].get(stored.hash)

    # Causes

    def _explained(self, roots: list[str]) -> Explanation:
        self._note_events()
        self._compare(roots)
        counted = self._counted()
        missing = [node for node in self._nodes.values() if node.kind is not None]
        wait = sum(node.kind.is_awaited for node in missing if node.kind is not None)
        compute = len(missing) - wait
        done = [node.stored for node in self._nodes.values() if node.kind is None]
        return Explanation(
            tuple(self._root(node_hash) for node_hash in dict.fromkeys(roots)),
            counted,
            compute,
            len(done),
            wait,
            self._forecast() if compute else None,
            StalenessReader().in_graph(done, within_secs=_STALE_SECS),
        )

    def _note_events(self) -> None:
        """Note what happened to nodes, as a cause for these and for all that needs them."""
        for node_hash, node in self._nodes.items():
            mine = self._of_node.setdefault(node_hash, {})
            if node.kind is None:
                continue
            for below in node.below:
                mine |= self._of_node.get(below, {})
            if node.kind.is_new or (mine and node.follows):
                continue
            key = (node.kind, node.stored.cls.name, node.detail)
            found = self._causes.get(key)
            if found is None:
                found = self._cause(node, node.kind)
            if node.kind is CauseKind.REMOVED and 0 < found.own < _UNDONE:
                found = attrs.evolve(found, next=f"{found.next} {node_hash[:_DIGITS]}")
            elif node.kind is CauseKind.REMOVED and found.own:
                found = attrs.evolve(found, next=f"furu rm --undo {node.stored.cls.name}")
            self._add(node_hash, key, attrs.evolve(found, own=found.own + 1))

    def _cause(self, node: _Node, kind: CauseKind) -> Cause:
        stored = node.stored
        text = ""
        if node.config is not None and kind in _WITH_PARAMETERS:
            reference = {"$ref": stored.hash, "class": stored.cls.name}
            text = value_text(reference, lambda _: node.config)
        return Cause(
            kind,
            stored.cls.name,
            stored.name,
            stored.hash,
            detail=": ".join(filter(None, (node.age, node.detail))),
            config=text,
            next=node.next,
        )

    def _add(self, node_hash: str, key: Any, cause: Cause) -> None:
        self._causes[key] = cause
        self._of_node[node_hash][key] = None

    def _compare(self, roots: list[str]) -> None:
        """Find what makes nodes new, from the roots downwards."""
        compared = {
            node_hash: node for node_hash, node in self._nodes.items() if self._is_compared(node)
        }
        wanted = {key: node.config for key, node in compared.items() if node.config is not None}
        relatives = RelativeReader(self._facts, self._configs, wanted, before=self._began)
        below = {node_hash: node.below for node_hash, node in self._nodes.items()}
        comparison = GraphComparison(self._configs, below)
        for node_hash in dict.fromkeys([*roots, *reversed(wanted)]):
            config = wanted.get(node_hash)
            if config is None or node_hash in comparison.explained:
                continue
            node = self._nodes[node_hash]
            kind = CauseKind.NOT_COMPARED
            if comparison.compared < _COMPARED:
                relative = relatives.of(node_hash, config.class_name)
                if relative is not None:
                    self._closest[node_hash] = relative
                    comparison.compare(node.stored, relative)
                    continue
                kind = CauseKind.FIRST
            if node.kind is not None and node.kind.is_new:
                key = (kind, config.class_name)
                self._add(node_hash, key, self._causes.get(key) or self._cause(node, kind))
        self._causes |= comparison.causes()
        for key, item in list(comparison.items_more().items())[:_ITEMS]:
            if item.hash in wanted:
                detail = self._item_more(item, relatives)
                self._causes[key] = attrs.evolve(self._causes[key], detail=detail)
        for node_hash in wanted:
            keys = comparison.explained.get(node_hash, ())
            self._of_node[node_hash] |= dict.fromkeys(sorted(keys, key=str))

    def _item_more(self, item: ConfigReference, relatives: RelativeReader) -> str:
        """How an item that a list has more differs from the result that is nearest to it; empty if there is none."""
        relative = relatives.of(item.hash, item.class_name)
        if relative is None:
            return ""
        nearest = relative.facts.node
        differing = list(
            leaves(ConfigReference(nearest.hash, nearest.cls.name), item, self._configs)
        )
        told = [f"{one.path} {one.before} -> {one.after}" for one in differing[:_FIELDS]]
        if len(differing) > _FIELDS:
            told.append(f"and {len(differing) - _FIELDS} more")
        return f"{item.name}, as against {nearest.name}: {', '.join(told)}" if told else ""

    def _is_compared(self, node: _Node) -> bool:
        """Whether a node is new; or the only one, of which it may help to know what is different."""
        if node.config is None or node.kind is None:
            return False
        return node.kind.is_new or (node.kind in _WITH_PARAMETERS and len(self._nodes) == 1)

    def _counted(self) -> tuple[Cause, ...]:
        """The causes with the number of nodes that have them; events first, then what makes most nodes new.

        What needs a node that failed, for instance, has this as its cause, and no other one.
        """
        holders: Counter[Any] = Counter()
        for keys in self._of_node.values():
            events = [key for key in keys if not self._causes[key].kind.is_new]
            holders.update(events or list(keys))
        found = [attrs.evolve(cause, nodes=holders[key]) for key, cause in self._causes.items()]
        shown = [cause for cause in found if cause.nodes or len(self._nodes) == 1]
        return tuple(sorted(shown, key=lambda cause: (cause.kind.is_new, -cause.nodes)))

    def _root(self, node_hash: str) -> RootState:
        node = self._nodes[node_hash]
        name = node.stored.name
        if node.kind is None:
            return RootState(name, node_hash, "there", True, _computed_by(facts_of(node.stored)))
        state = "never computed" if node.kind.is_new else node.kind.value
        detail = ": ".join(filter(None, (node.age, node.detail)))
        relative = self._closest.get(node_hash)
        if relative is None:
            return RootState(name, node_hash, state, False, detail)
        ended = relative.facts.ended
        age = None if ended is None else max(0.0, time.time() - ended)
        closest = relative.facts.node.name
        return RootState(name, node_hash, state, False, detail, closest, age)

    def _forecast(self) -> Forecast:
        """Half of the results of a class took longer than what a node of it is reckoned with."""
        computed = BUILTIN["computed"]
        usual: dict[str, float | None] = {}
        ends: dict[str, float] = {}  # with as many workers as there is work for
        total, unknown = 0.0, 0
        for node_hash, node in self._nodes.items():
            if node.kind is None or node.kind.is_awaited:
                continue
            cls = node.stored.cls
            if cls.name not in usual:
                secs = computed.column(next(iter(self._facts.columns([cls]))))
                known = [one for one in secs if one is not None]
                usual[cls.name] = median(known) if known else None
            mine = usual[cls.name]
            unknown += mine is None
            total += mine or 0.0
            ends[node_hash] = (mine or 0.0) + max(
                (ends.get(below, 0.0) for below in node.below), default=0.0
            )
        known_at_all = any(one is not None for one in usual.values())
        secs_needed = max(total / self._workers, max(ends.values(), default=0.0))
        return Forecast(secs_needed if known_at_all else None, self._workers, unknown)


def _damage(stored: StoredNode) -> str:
    try:
        return "" if stored.manifest() is not None else "its manifest is missing"
    except (DamagedArtifact, FuruStoreError) as damage:
        return _first_line(str(damage))


def _happened(stored: StoredNode, info: NodeInfo) -> tuple[str, str]:
    """How an attempt ended, or who computes; and how long ago it ended."""
    if info.failure is not None:
        ended = facts_of(stored).ended
        error = _first_line(info.failure.reason)
        return error, "" if ended is None else ago(max(0.0, time.time() - ended))
    if info.state is NodeState.UNREADABLE:
        return _first_line(info.reason), ""
    who = "" if info.holder is None else f"by {info.holder}"
    is_lost = info.reason and info.state is NodeState.LOST
    return (f"{who} ({info.reason})" if is_lost else who), ""


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else ""


def _next_of(kind: CauseKind, stored: StoredNode) -> str:
    digits = stored.hash[:_DIGITS]
    match kind:
        case CauseKind.FAILED | CauseKind.LOST | CauseKind.CANCELLED | CauseKind.RUNNING:
            if kind is CauseKind.FAILED and not _settings.settings().retry_failed:
                return f"furu log {digits}   (FURU_RETRY_FAILED is off: no run tries it again)"
            return f"furu log {digits}"
        case CauseKind.REMOVED:
            return f"furu rm --undo {digits}"
        case CauseKind.DAMAGED:
            return f"furu verify {digits}"
        case CauseKind.INVALID | CauseKind.UNREADABLE | CauseKind.QUEUED:
            return f"furu show {digits}"
        case _:
            return ""


def _computed_by(facts: NodeFacts) -> str:
    parts = [f"computed {_text.when(facts.ended)}"]
    if facts.made_by:
        parts = [f"{'given' if facts.made_by == 'put' else 'adopted'} {_text.when(facts.ended)}"]
    if facts.run_id:
        parts.append(f"by run {facts.run_id}")
    if facts.host:
        parts.append(f"on {facts.host}")
    return " ".join(parts)


def _cycle(path: dict[str, _Node], node_hash: str) -> FuruCycleError:
    names = [node.stored.name for node in path.values()]
    start = list(path).index(node_hash)
    cycle = [*names[start:], names[start]]
    return FuruCycleError(
        f"nodes that depend on themselves: {' -> '.join(cycle[:12])}",
        cycle=cycle,
        hint="look at their `_dependencies`; fields alone cannot make a cycle",
    )
