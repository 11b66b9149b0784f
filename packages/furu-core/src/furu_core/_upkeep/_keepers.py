"""What keeps each node of the store: a pin, a run, a living attempt, its age; or nothing.

Whatever is kept keeps what it was made of: the dependencies in its record, declared and used, and the configs
that its own config names. Of a node that is in the trash by now, the record there tells them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core import _import_records, _process_ids
from furu_core._executors import _run
from furu_core._executors._run import EventKind
from furu_core._files import list_folder, store_errors
from furu_core._settings import _settings
from furu_core._status import _stored_nodes, _trash
from furu_core._status._links import LinkReader
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._store._folders import class_in
from furu_core._tables._facts import FactReader, NodeFacts, facts_of
from furu_core._upkeep import _pins
from furu_core.errors import FuruDamagedRecord

_LIVING: Final = frozenset({NodeState.RUNNING, NodeState.QUEUED})
_SILENT_SECS: Final = 30 * 24 * 3600.0  # after which a run of which nobody knows is not waited for
_TAIL: Final = 4096  # bytes at the end of a run's events, among them the last one


class KeptBy(Enum):
    """Why a node is kept."""

    PIN = "pin"
    RUN = "run"
    LIVING = "computed now"
    AGE = "young"
    UNREADABLE = "unreadable"


@attrs.frozen
class Keeper:
    """What keeps a node.

    Attributes:
        kind: of what it is.
        name: the pin, the run's id, or the node that was made of it.
    """

    kind: KeptBy
    name: str

    def __str__(self) -> str:
        """In words: ``run 20261128-...`` or ``Train(3fa9c1), which is computed now``."""
        match self.kind:
            case KeptBy.PIN:
                return f"the pin of {self.name}"
            case KeptBy.RUN:
                return f"run {self.name}"
            case KeptBy.LIVING:
                return f"{self.name}, which is computed or queued now"
            case KeptBy.AGE:
                return f"{self.name}, which was made since"
            case KeptBy.UNREADABLE:
                return f"{self.name}, whose record cannot be read"


@attrs.frozen
class RecordedRun:
    """A run as its folder tells.

    Attributes:
        id: its id.
        roots: the hashes of its roots.
        nodes: the hashes of these, and of what it needed.
        last_sign: when something was last written of it, in seconds since 1970.
        has_ended: whether its events say so.
        controller: the process that began it; None where the record cannot be read.
    """

    id: str
    roots: tuple[str, ...]
    nodes: tuple[str, ...]
    last_sign: float
    has_ended: bool
    controller: _process_ids.ProcessId | None

    def may_go_on(self, now: float) -> bool:
        """Whether it may begin further nodes, as far as that is known without its scheduler."""
        if self.has_ended:
            return False
        if self.controller is not None and _process_ids.process_is_gone(self.controller) is False:
            return True
        return now - self.last_sign < _SILENT_SECS


def recorded_runs(known: Iterable[str] = ()) -> dict[str, RecordedRun]:
    """The runs that have folders in the current store, by their ids, the newest first.

    Args:
        known: ids of runs to leave out.

    Raises:
        FuruStoreError: they cannot be read, or a newer furu wrote one.
    """
    where = _run.runs_folder()
    left_out = frozenset(known)
    found = {}
    with store_errors(where, doing="read"):
        for name in sorted(list_folder(where), reverse=True):
            if not name.startswith(".") and name not in left_out:
                with suppress(FileNotFoundError, NotADirectoryError):  # moved away in this moment
                    found[name] = _recorded_run(where / name)
    return found


def _recorded_run(folder: Path) -> RecordedRun:
    controller, last_sign = None, os.stat(folder).st_mtime
    roots: tuple[str, ...] = ()
    with suppress(FileNotFoundError, FuruDamagedRecord):  # it begins in this moment, or is damaged
        record = _run.RUN_RECORD.read(folder / _run.RUN_FILE)
        controller, last_sign = record.controller, record.started
        roots = tuple(root.hash for root in record.roots)
    tail = b""
    with suppress(FileNotFoundError), open(folder / _run.EVENTS_FILE, "rb") as file:
        status = os.fstat(file.fileno())
        last_sign = max(last_sign, status.st_mtime)
        file.seek(max(0, status.st_size - _TAIL))
        tail = file.read()
    try:
        nodes = tuple(_pins.nodes_of_run(folder))
    except FuruDamagedRecord:
        nodes = tuple(_run.needed_nodes(folder) or ())
    return RecordedRun(folder.name, roots, nodes, last_sign, _says_ended(tail), controller)


def _says_ended(tail: bytes) -> bool:
    for line in reversed(tail.splitlines()):
        with suppress(ValueError, IndexError, TypeError):
            return bool(json.loads(line)[1] == EventKind.RUN_ENDED.value)
    return False


class Survey:
    """All nodes of the store as they were at one time, and what keeps them.

    Args:
        cutoff: what was used or made since then is kept, in seconds since 1970.
        now: the present time, in seconds since 1970.

    Attributes:
        cutoff: what was used or made since then is kept.
        facts: of all nodes, by their hashes.
        runs: the recorded runs, by their ids, the newest first.

    Raises:
        FuruStoreError: the store cannot be read.
    """

    def __init__(self, cutoff: float, now: float) -> None:
        self.cutoff = cutoff
        self._now = now
        self._imported: dict[str, float] = {}
        for _, record in _import_records.records():
            for nodes in record.nodes.values():
                self._imported |= dict.fromkeys(nodes, record.time)
        self._pins = _pins.pins()
        self.facts: dict[str, NodeFacts] = {}
        self._results: dict[StoredClass, set[str]] = {}
        self._below: dict[str, tuple[str, ...]] = {}
        self._trash: dict[str, StoredNode] | None = None
        self._links = LinkReader()
        reader = FactReader()
        for one in reader.nodes():
            self._add(one)
        # What began while records were read is seen: its nodes are in its folder.
        self.runs = recorded_runs()
        self._kept_runs = [run.id for run in self.runs.values() if self.keeps(run)]

    def keeps(self, run: RecordedRun) -> bool:
        """Whether what a run reaches is kept."""
        return (
            run.last_sign >= self.cutoff
            or run.may_go_on(self._now)
            or any(pin.what is _pins.Pinned.RUN and pin.name == run.id for pin in self._pins)
            or (
                not run.has_ended
                and any(
                    self.facts[node_hash].state in _LIVING
                    for node_hash in run.nodes
                    if node_hash in self.facts
                )
            )
        )

    @property
    def kept_runs(self) -> list[str]:
        """The ids of the runs whose nodes are kept."""
        return self._kept_runs

    @property
    def pins(self) -> list[_pins.Pin]:
        """All pins."""
        return self._pins

    def keepers(
        self, intermediate: Collection[str] = (), since: float | None = None
    ) -> dict[str, Keeper]:
        """What keeps each node that is kept, by its hash; the first of several, in the order of `KeptBy`.

        Args:
            intermediate: classes of which a result is not kept once all that was made of it is there, unless
                it is the root of a run, or pinned, or something needs it that is not done.
            since: a time, in seconds since 1970: what runs needed since then is kept in any case.
        """
        found = self._reached(self._roots())
        if not intermediate:
            return found
        firm = self._reached(self._firm_roots(since))
        above: dict[str, list[NodeFacts]] = {}
        for node_hash, facts in self.facts.items():
            for below in self.below(node_hash):
                above.setdefault(below, []).append(facts)
        roots = {node_hash for run_id in self._kept_runs for node_hash in self.runs[run_id].roots}
        for node_hash in found.keys() - firm.keys() - roots:
            one = self.facts.get(node_hash)
            if one is not None and one.node.cls.name in intermediate:
                made_of_it = above.get(node_hash, [])
                if made_of_it and all(facts.state is NodeState.DONE for facts in made_of_it):
                    del found[node_hash]
        return found

    def _firm_roots(self, since: float | None) -> Iterator[tuple[str, Keeper]]:
        """From where intermediate results are kept as well."""
        for node_hash, keeper in self._roots():
            if keeper.kind in (KeptBy.PIN, KeptBy.LIVING, KeptBy.UNREADABLE):
                yield node_hash, keeper
            elif keeper.kind is KeptBy.RUN:
                run = self.runs[keeper.name]
                if not run.has_ended or (since is not None and run.last_sign >= since):
                    yield node_hash, keeper

    def made(self, facts: NodeFacts) -> float:
        """When a node was made, or imported after that, in seconds since 1970."""
        made = facts.ended or facts.started
        if made is None:
            with suppress(OSError):
                return os.stat(facts.node.folder).st_mtime
        return max(made or self._now, self._imported.get(facts.node.hash, 0.0))

    def last_used(self) -> dict[str, float]:
        """When each node was last needed, as far as that is known, by its hash."""
        found = {node_hash: self.made(facts) for node_hash, facts in self.facts.items()}
        uses = [(self.made(one), self.below(node_hash)) for node_hash, one in self.facts.items()]
        uses += [(run.last_sign, run.nodes) for run in self.runs.values()]
        for time, used in uses:
            for node_hash in used:
                if found.get(node_hash, time) < time:
                    found[node_hash] = time
        return found

    def came_since(self, taken: Iterable[str] = ()) -> dict[str, Keeper]:
        """What is kept by runs, attempts, results and pins that came after this survey.

        Args:
            taken: hashes of the nodes that were moved away meanwhile.
        """
        gone = set(taken)
        roots = [
            (node_hash, Keeper(KeptBy.RUN, run.id))
            for run in recorded_runs(self.runs).values()
            for node_hash in run.nodes
        ]
        known = {pin.id for pin in self._pins}
        for pin in _pins.pins():
            if pin.id not in known:
                roots += [(one, Keeper(KeptBy.PIN, pin.shown)) for one in _pins.roots_of(pin)]
        new = []
        for cls in _stored_nodes.classes():
            seen = self._results.get(cls, set()) - gone
            new += [StoredNode(cls, one) for one in cls.published() if one not in seen]
            new += [StoredNode(cls, one) for one in cls.attempted()]
        for node in new:
            facts = facts_of(node)
            self._below[node.hash] = _below(facts)
            if facts.state is NodeState.DONE:
                roots.append((node.hash, Keeper(KeptBy.AGE, node.name)))
            elif facts.state in _LIVING:
                roots.append((node.hash, Keeper(KeptBy.LIVING, node.name)))
        return self._reached(roots)

    def with_what_they_need(self, nodes: Iterable[str]) -> set[str]:
        """Some nodes and all that they were made of, by their hashes."""
        nobody = Keeper(KeptBy.AGE, "")
        return set(self._reached((node_hash, nobody) for node_hash in nodes))

    def _add(self, one: NodeFacts) -> None:
        self.facts[one.node.hash] = one
        if one.state is NodeState.DONE:
            self._results.setdefault(one.node.cls, set()).add(one.node.hash)

    def _roots(self) -> Iterator[tuple[str, Keeper]]:
        for pin in self._pins:
            for node_hash in _pins.roots_of(pin):
                yield node_hash, Keeper(KeptBy.PIN, pin.shown)
        kept = {run_id: Keeper(KeptBy.RUN, run_id) for run_id in self._kept_runs}
        for run_id, keeper in kept.items():
            for node_hash in self.runs[run_id].nodes:
                yield node_hash, keeper
        for node_hash, facts in self.facts.items():
            if facts.run_id in kept:
                yield node_hash, kept[facts.run_id]
        for node_hash, facts in self.facts.items():
            if facts.state in _LIVING:
                yield node_hash, Keeper(KeptBy.LIVING, facts.node.name)
        for node_hash, facts in self.facts.items():
            if self.made(facts) >= self.cutoff:
                yield node_hash, Keeper(KeptBy.AGE, facts.node.name)
        for node_hash, facts in self.facts.items():
            if facts.state is NodeState.UNREADABLE or not facts.config:
                yield node_hash, Keeper(KeptBy.UNREADABLE, facts.node.name)

    def _reached(self, roots: Iterable[tuple[str, Keeper]]) -> dict[str, Keeper]:
        found: dict[str, Keeper] = {}
        for root, keeper in roots:
            pending = [root]
            while pending:
                node_hash = pending.pop()
                if node_hash not in found:
                    found[node_hash] = keeper
                    pending += self.below(node_hash)
        return found

    def below(self, node_hash: str) -> tuple[str, ...]:
        """The hashes of what a node was made of; of one that is gone, as the trash or a further store tells."""
        found = self._below.get(node_hash)
        if found is None:
            facts = self.facts.get(node_hash)
            if facts is None:
                facts = self._in_trash(node_hash)
            found = self._elsewhere(node_hash) if facts is None else _below(facts)
            self._below[node_hash] = found
        return found

    def _elsewhere(self, node_hash: str) -> tuple[str, ...]:
        """What a result in a store that is only read was made of, some of which may be here."""
        if not _settings.settings().also:
            return ()
        links = self._links.of(node_hash)
        return () if links is None else tuple(dict.fromkeys([*links.below, *links.named]))

    def _in_trash(self, node_hash: str) -> NodeFacts | None:
        if self._trash is None:
            self._trash = {}
            for removal in _trash.removals():
                for entry in removal.entries():
                    name = class_in(entry.class_path)
                    cls = StoredClass(name, f"{removal.folder}/{entry.class_path}")
                    self._trash.setdefault(entry.hash, StoredNode(cls, entry.hash))
        node = self._trash.get(node_hash)
        return None if node is None else facts_of(node)


def _below(facts: NodeFacts) -> tuple[str, ...]:
    found = dict.fromkeys([*facts.declared, *facts.used])
    pending: list[Any] = [facts.config.get("fields"), facts.config.get("nodes")]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            named = value.get("$ref")
            if isinstance(named, str):
                found[named] = None
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return tuple(found)
