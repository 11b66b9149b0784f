"""Which nodes somebody is asking about: by name, class, state, run, time, and conditions on columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import attrs

from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._store._folders import no_run, run_ids, runs_called
from furu_core._tables._columns import ColumnReader, check_columns, is_builtin
from furu_core._tables._conditions import Condition, time_of
from furu_core._tables._facts import FactColumns, FactReader, NodeFacts, facts_of
from furu_core._tables._node_columns import NodeColumns
from furu_core._text import RUN_PREFIX

_OF_RESULTS: Final = frozenset({NodeState.DONE.value, NodeState.UNREADABLE.value})
_FEW: Final = 20  # nodes of a class that are read one by one


@attrs.frozen
class Selection:
    """A choice of nodes in the store.

    Attributes:
        nodes: single nodes, by name.
        classes: all nodes of these; None for those of all classes, unless there are `nodes`.
        conditions: each must be fulfilled.
        states: only nodes in one of them; all where empty.
        runs: the ids of runs of which one computed it; all where empty.
        since: only what ended, or began and runs, after this time, in seconds since 1970.
    """

    nodes: tuple[StoredNode, ...] = ()
    classes: tuple[StoredClass, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    states: frozenset[str] = frozenset()
    runs: tuple[str, ...] = ()
    since: float | None = None

    @classmethod
    def of(
        cls,
        names: Sequence[str] = (),
        where: Sequence[str] = (),
        states: Sequence[str] = (),
        class_names: Sequence[str] = (),
        runs: Sequence[str] = (),
        since: str | None = None,
    ) -> Selection:
        """The selection that the options of a command tell.

        Raises:
            FuruUsageError: a name means nothing in the store, or an option is malformed.
            FuruStoreError: a run is named whose folder was removed, and the store cannot be read.
        """
        ids = [name.removeprefix(RUN_PREFIX) for name in names if name.startswith(RUN_PREFIX)]
        others = [name for name in names if not name.startswith(RUN_PREFIX)]
        # A class that was renamed goes by its new name as well, which a hash cannot be taken for.
        renamed = [name for name in others if not _stored_nodes.may_be_node(name)]
        meant = _stored_nodes.classes_or_nodes(name for name in others if name not in renamed)
        classes = [one for one in meant if isinstance(one, StoredClass)]
        for name in (*renamed, *class_names):
            classes += _stored_nodes.classes_called(name)
        return cls(
            nodes=tuple(one for one in meant if isinstance(one, StoredNode)),
            classes=tuple(dict.fromkeys(classes)) if others or class_names else None,
            conditions=tuple(map(Condition.of, where)),
            states=frozenset(states),
            runs=tuple(dict.fromkeys(chain(*map(_runs_called, (*ids, *runs))))),
            since=None if since is None else time_of(since),
        )

    def rows(self, facts: FactReader | None = None) -> Iterator[tuple[NodeFacts, dict[str, Any]]]:
        """The chosen nodes and their columns, class by class, in the order of hashes.

        Raises:
            FuruStoreError: the store cannot be read.
            FuruUsageError: there is a condition on a column that no node has, found at the end.
        """
        reader = FactReader() if facts is None else facts
        columns = ColumnReader(reader)
        unseen = {one.column for one in self.conditions}
        for one in self._candidates(reader):
            if self.states and one.state.value not in self.states:
                continue
            if self.runs and not self._is_of_run(one.run_id):
                continue
            if self.since is not None and (one.ended or one.started or 0.0) < self.since:
                continue
            row = columns.row(one)
            unseen = {name for name in unseen if name not in row and not is_builtin(name)}
            if all(condition.matches(row) for condition in self.conditions):
                yield one, row
        if unseen:  # nodes that were not read, by their state or run, may have it
            self.columns(reader)

    def nodes_and_states(self) -> Iterator[tuple[StoredNode, NodeState]]:
        """The chosen nodes and their states; no record of a result is read that need not be.

        Raises:
            FuruStoreError: the store cannot be read.
            FuruUsageError: there is a condition on a column that no node has.
        """
        if self.conditions or self.runs or self.since is not None:
            for part in self.columns():
                nodes = (StoredNode(part.cls, one) for one in part.builtin("node"))
                yield from zip(nodes, map(NodeState, part.builtin("state")), strict=True)
            return
        classes: Iterable[StoredClass] = self.classes or ()
        single = ((node, node.info()) for node in self.nodes if node.cls not in classes)
        if self.classes is None and not self.nodes:
            classes = _stored_nodes.classes()
        for node, info in chain(single, _stored_nodes.nodes(classes)):
            if info.told is not NodeState.ABSENT and (
                not self.states or info.told.value in self.states
            ):
                yield node, info.told

    def columns(self, facts: FactReader | None = None) -> list[NodeColumns]:
        """The chosen nodes column by column: class by class, results first, in the order of hashes.

        Raises:
            FuruStoreError: the store cannot be read.
            FuruUsageError: there is a condition on a column that no node has.
        """
        reader = FactReader() if facts is None else facts
        columns = ColumnReader(reader)
        candidates = [NodeColumns(one, columns) for one in self._candidate_columns(reader)]
        names = [one.column for one in self.conditions]
        check_columns(names, (dict.fromkeys(one.names()) for one in candidates))
        return [chosen for one in candidates if len(chosen := self._narrowed(one))]

    def _narrowed(self, nodes: NodeColumns) -> NodeColumns:
        if self.states:
            nodes = nodes.where([one in self.states for one in nodes.builtin("state")])
        if self.runs:
            nodes = nodes.where([self._is_of_run(one) for one in nodes.builtin("run")])
        if self.since is not None:
            times = zip(nodes.builtin("ended"), nodes.builtin("started"), strict=True)
            nodes = nodes.where([(end or start or 0.0) >= self.since for end, start in times])
        for condition in self.conditions:
            fits = condition.test(is_builtin=condition.column not in nodes.fields)
            nodes = nodes.where(list(map(fits, nodes.column(condition.column))))
        return nodes

    def _candidate_columns(self, reader: FactReader) -> Iterator[FactColumns]:
        """The facts of the nodes and classes, without those of which there are none."""
        by_class: dict[StoredClass, dict[StoredNode, None]] = {}
        for node in self.nodes:
            if node.cls not in (self.classes or ()):
                by_class.setdefault(node.cls, {})[node] = None
        for cls, nodes in by_class.items():
            if len(nodes) > _FEW:
                reader.results(cls)
            yield FactColumns(cls, list(map(reader.of, nodes)))
        if self.classes is not None or not self.nodes:
            yield from filter(len, reader.columns(self.classes))

    def _is_of_run(self, run_id: str | None) -> bool:
        return (run_id or "").startswith(self.runs)

    def _candidates(self, reader: FactReader) -> Iterable[NodeFacts]:
        yield from map(facts_of, self.nodes)
        if self.classes is None and self.nodes:
            return
        classes: Iterable[StoredClass] = self.classes or ()
        if self.classes is None:
            classes = _stored_nodes.classes()
        if self.states and self.states.isdisjoint(_OF_RESULTS):
            # Stores that are only read have nothing else, and their records take long to read.
            classes = [one for one in classes if one.further is None]
        yield from reader.nodes(classes)


def _runs_called(name: str) -> list[str]:
    """A name of runs, and the ids that it means: also of runs whose folders were removed, as nodes tell them.

    Raises:
        FuruUsageError: there is no such run.
    """
    name = name.removeprefix(RUN_PREFIX)
    known = run_ids()
    found = runs_called(name, known)
    if not found and name:
        reader = FactReader()
        columns = ColumnReader(reader)
        of_nodes = (NodeColumns(one, columns).builtin("run") for one in reader.columns())
        found = runs_called(name, {one for one in chain(*of_nodes) if one})
    if not found:
        raise no_run(name, known)
    return [name, *found]
