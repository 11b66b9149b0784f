"""`diff`: how two nodes differ, in their configs, what they took, the code that made them, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core._code import _listings, _syntax
from furu_core._code._listings import ListedModule
from furu_core._config._grid import named_roots
from furu_core._explain._config_changes import (
    ABSENT_TEXT,
    ConfigReference,
    FieldChange,
    RecordedConfig,
    changes,
    is_same,
    references_in,
)
from furu_core._explain._nearest import ConfigReader, node_of_reference
from furu_core._status import _stored_nodes
from furu_core._status._links import LinkReader
from furu_core._status._states import NodeState
from furu_core._tables._columns import BUILTIN, cell_text, result_columns
from furu_core._tables._facts import FactReader, NodeFacts
from furu_core.errors import FuruFormatError, FuruUsageError

_MOST: Final = 200  # differing leaves
_PAIRS: Final = 2000  # pairs of configs
_SHOWN: Final = 20  # lines of a part
_COSTS: Final[Mapping[str, Callable[[float], str]]] = {
    "took": _text.duration,
    "cpu": _text.duration,
    "peak": _text.size,
}


@attrs.frozen
class ComparedNode:
    """One of two nodes that are compared.

    Attributes:
        name: its short name.
        hash: its hash.
        class_name: the name of its class in hashes.
        state: how it stands.
        error: the error, where it failed.
        digest: of its result; empty where there is none, or it is not known.
    """

    name: str
    hash: str
    class_name: str
    state: str
    error: str = ""
    digest: str = ""


@attrs.frozen
class CostChange:
    """What two nodes took.

    Attributes:
        name: ``took`` and ``cpu``, in seconds; ``peak``, in bytes.
        before: of the first node; None where it is not known.
        after: of the second one.
    """

    name: str
    before: float | None
    after: float | None


@attrs.frozen
class CodeChange:
    """A module that differs between the code of two nodes, or of two that these were made of.

    Attributes:
        node: where in the config the two nodes are; empty for the nodes themselves.
        module: its path.
        change: ``changed``, or in which of the two alone it is: ``only in the first``, ``only in the second``.
        definitions: the functions and classes that changed, as far as that is known.
    """

    node: str
    module: str
    change: str
    definitions: tuple[str, ...] = ()


@attrs.frozen
class UsedChange:
    """A dependency of both nodes of which they used different results, or that only one of them has.

    Attributes:
        name: its short name.
        hash: its hash.
        change: ``other result``, ``only in the first`` or ``only in the second``.
        current: whose result is there now: ``first``, ``second`` or ``neither``.
    """

    name: str
    hash: str
    change: str
    current: str = ""


@attrs.frozen
class ResultChange:
    """A number or text in two results that differs.

    Attributes:
        path: ``result``, or a dotted name such as ``result.accuracy``.
        before: in the first result; None where it has none.
        after: in the second one.
    """

    path: str
    before: Any
    after: Any


@attrs.frozen
class NodeDifference:
    """How two nodes differ.

    Attributes:
        before: the first node.
        after: the second one.
        config: the leaves in which the configs differ, those of nested configs included.
        is_cut: whether more differ than the 200 that are told.
        costs: what the two took, as far as it is known.
        code: how the code that made them differs.
        code_is_known: whether the code of both was recorded.
        dependencies: dependencies of which they used different results, and what the fields do not tell.
        same_result: whether the results are equal; None where one has no digest.
        results: numbers and texts in the results that differ.
    """

    before: ComparedNode
    after: ComparedNode
    config: tuple[FieldChange, ...]
    is_cut: bool
    costs: tuple[CostChange, ...]
    code: tuple[CodeChange, ...]
    code_is_known: bool
    dependencies: tuple[UsedChange, ...]
    same_result: bool | None
    results: tuple[ResultChange, ...]

    def to_json(self) -> dict[str, Any]:
        """The difference as JSON values, as `furu diff --json` prints it."""
        config = [
            {
                "path": one.path,
                "before": one.before,
                "after": one.after,
                "type_differs": one.type_differs,
            }
            for one in self.config
        ]
        return {**attrs.asdict(self), "config": config}

    def text(self, parts: tuple[str, ...] = ()) -> str:
        """The difference as `furu diff` tells it.

        Args:
            parts: which of ``state``, ``config``, ``cost``, ``code``, ``uses`` and ``result``; all where empty.
        """
        rows = {
            "state": self._state_rows(),
            "config": [_row_of(one) for one in self.config] + [("", "... and more")] * self.is_cut,
            "cost": self._cost_rows(),
            "code": self._code_rows(),
            "uses": [(one.name, _used_text(one)) for one in self.dependencies],
            "result": self._result_rows(),
        }
        lines = [f"{self.before.name} -> {self.after.name}"]
        for part, told in rows.items():
            if not parts or part in parts:
                lines += _part_lines(part, told)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def _state_rows(self) -> list[tuple[str, str]]:
        if self.before.state == self.after.state and self.before.error == self.after.error:
            return []
        first, second = (
            f"{one.state} ({one.error})" if one.error else one.state
            for one in (self.before, self.after)
        )
        return [("", f"{first} -> {second}")]

    def _cost_rows(self) -> list[tuple[str, str]]:
        return [
            (
                one.name,
                " -> ".join(
                    "not known" if value is None else _COSTS[one.name](value)
                    for value in (one.before, one.after)
                ),
            )
            for one in self.costs
        ]

    def _code_rows(self) -> list[tuple[str, str]]:
        if not self.code:
            return [("", "the same" if self.code_is_known else "not known of both")]
        rows = []
        for one in self.code:
            names = ", ".join(one.definitions)
            rows.append((one.node, f"{one.module} {names} {one.change}".replace("  ", " ")))
        return rows

    def _result_rows(self) -> list[tuple[str, str]]:
        told = {True: "equal", False: "differs", None: "not compared"}[self.same_result]
        return [("", told)] + [
            (
                one.path,
                f"{cell_text(one.before) or ABSENT_TEXT} -> {cell_text(one.after) or ABSENT_TEXT}",
            )
            for one in self.results
        ]


def _row_of(change: FieldChange) -> tuple[str, str]:
    text = f"{change.before} -> {change.after}"
    return change.path, f"{text}   type differs" if change.type_differs else text


def _used_text(change: UsedChange) -> str:
    if not change.current:
        return change.change
    there = "that of neither" if change.current == "neither" else f"that of the {change.current}"
    return f"another result; {there} is there now"


def _part_lines(part: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max((len(name) for name, _ in rows[:_SHOWN]), default=0)
    for number, (name, text) in enumerate(rows):
        title = "" if number else part
        if number == _SHOWN:
            yield f"{'':<9}... and {len(rows) - _SHOWN} more: see --json"
            return
        yield f"{title:<9}{name:<{width}}  {text}" if width and name else f"{title:<9}{text}"


def diff(a: Any, b: Any) -> NodeDifference:
    """How two nodes in the store differ: config, costs, code, dependencies, results.

    Nested configs that differ are compared in turn, down to the fields that do. Nothing is imported
    for nodes that are given by name, and no result is loaded.

    Args:
        a: the first one: a Furu object, or a text that names a node in the store, as `furu show` takes it.
        b: the second one.

    Raises:
        FuruUsageError: the store has no node of that name.
        FuruDependencyError: something is no Furu object.

    Example:
        >>> from furu_core import diff, use_settings
        >>> from furu_testing.nodes import Leaf
        >>> with use_settings(path="/data/nothing-yet"):
        ...     found = diff(Leaf(x=1), Leaf(x=2))
        >>> [(change.path, change.before, change.after) for change in found.config]
        [('x', '1', '2')]
    """
    return _Differ().difference(a, b)


class _Differ:
    """Compares two nodes; what is read of the store is read once."""

    def __init__(self) -> None:
        self._facts = FactReader()
        self._configs = ConfigReader(self._facts)
        self._links = LinkReader()

    def difference(self, a: Any, b: Any) -> NodeDifference:
        """How the two differ."""
        (first, one), (second, other) = map(self._read, (a, b))
        leaves, pairs, is_cut = self._compared(_Pair("", first, second, one, other))
        code: dict[tuple[str, str, tuple[str, ...]], CodeChange] = {}
        used: dict[str, UsedChange] = {}
        is_known = bool(first.code and second.code)
        for pair in pairs:
            for change in _code_changes(pair.path, pair.before.code, pair.after.code):
                code.setdefault((change.module, change.change, change.definitions), change)
            for use in self._used(pair):
                used.setdefault(use.hash, use)
        return NodeDifference(
            _compared_node(first),
            _compared_node(second),
            tuple(leaves[:_MOST]),
            is_cut or len(leaves) > _MOST,
            _cost_changes(first, second),
            tuple(code.values()),
            is_known,
            tuple(used.values()),
            first.digest == second.digest if first.digest and second.digest else None,
            _result_changes(first, second),
        )

    def _read(self, given: Any) -> tuple[NodeFacts, RecordedConfig]:
        if isinstance(given, str):
            node = _stored_nodes.find(given, also=True)
            facts = self._facts.of(node)
            if not facts.config:
                raise FuruUsageError(
                    f"the record of {node.name} cannot be read, so nothing is known to compare",
                    hint=f"`furu show {node.hash[:12]}` says why",
                )
            return facts, self._configs.add_record(facts.config)
        (obj,) = named_roots([given]).items
        self._configs.add(obj)
        node = _stored_nodes.node_of(obj)
        config = self._configs.find(ConfigReference(node.hash, node.cls.name))
        assert config is not None
        return self._facts.of(node), config

    def _compared(self, top: _Pair) -> tuple[list[FieldChange], list[_Pair], bool]:
        """The leaves that differ, the pairs of nodes they were found in, and whether there are too many."""
        leaves: list[FieldChange] = []
        pairs = [top]
        seen: set[tuple[str, str]] = set()
        for number, pair in enumerate(pairs):  # which grow meanwhile
            if len(leaves) > _MOST or number > _PAIRS:
                return leaves, pairs[:number], True
            if pair.old.class_name != pair.new.class_name:
                path = _joined(pair.path, "class")
                leaves.append(FieldChange(path, pair.old.class_name, pair.new.class_name))
            for change in changes(pair.old, pair.new, self._configs):
                path = _joined(pair.path, change.path)
                if isinstance(change, FieldChange):
                    leaves.append(attrs.evolve(change, path=path))
                    continue
                key = change.before.hash, change.after.hash
                if key in seen:
                    continue
                seen.add(key)
                old, new = map(self._configs.find, (change.before, change.after))
                if old is None or new is None:
                    leaves.append(FieldChange(path, change.before.name, change.after.name))
                    continue
                before, after = (
                    self._facts.of(node_of_reference(one)) for one in (change.before, change.after)
                )
                pairs.append(_Pair(path, before, after, old, new))
        return leaves, pairs, False

    def _used(self, pair: _Pair) -> Iterator[UsedChange]:
        """What two nodes used differently, where their configs do not tell."""
        held = [
            {one.hash: one.name for one in references_in(dict(config.fields))}
            for config in (pair.old, pair.new)
        ]
        below = [{*facts.declared, *facts.used} for facts in (pair.before, pair.after)]
        if not all(one.state is NodeState.DONE for one in (pair.before, pair.after)):
            return  # an attempt that failed did not come to use all
        for node_hash in sorted(below[0] | below[1]):
            name = held[0].get(node_hash) or held[1].get(node_hash)
            if node_hash not in below[0] or node_hash not in below[1]:
                if name is None:
                    where = "first" if node_hash in below[0] else "second"
                    yield UsedChange(self._name_of(node_hash), node_hash, f"only in the {where}")
                continue
            then = [facts.used.get(node_hash) for facts in (pair.before, pair.after)]
            if then[0] and then[1] and then[0] != then[1]:
                links = self._links.of(node_hash)
                now = "" if links is None else links.digest
                current = {then[0]: "first", then[1]: "second"}.get(now, "neither")
                name = name or self._name_of(node_hash)
                yield UsedChange(name, node_hash, "other result", current)

    def _name_of(self, node_hash: str) -> str:
        links = self._links.of(node_hash)
        return node_hash[:12] if links is None else links.node.name


@attrs.frozen
class _Pair:
    """Two nodes that are compared: the two that were given, or two in the same place below them."""

    path: str
    before: NodeFacts
    after: NodeFacts
    old: RecordedConfig
    new: RecordedConfig


def _joined(path: str, below: str) -> str:
    return f"{path}.{below}" if path else below


def _compared_node(facts: NodeFacts) -> ComparedNode:
    node = facts.node
    error = f"{facts.error_type}: {facts.message}".strip(": ")
    return ComparedNode(node.name, node.hash, node.cls.name, facts.state.value, error, facts.digest)


def _cost_changes(first: NodeFacts, second: NodeFacts) -> tuple[CostChange, ...]:
    found = (CostChange(name, BUILTIN[name](first), BUILTIN[name](second)) for name in _COSTS)
    return tuple(one for one in found if (one.before, one.after) != (None, None))


def _result_changes(first: NodeFacts, second: NodeFacts) -> tuple[ResultChange, ...]:
    before, after = (
        result_columns(one.result, has_result=one.has_result, stored_as=one.stored_as)
        for one in (first, second)
    )
    return tuple(
        ResultChange(path, before.get(path), after.get(path))
        for path in dict.fromkeys([*before, *after])
        if not is_same(before.get(path), after.get(path))
        and not isinstance(before.get(path), list | dict)
        and not isinstance(after.get(path), list | dict)
    )


def _code_changes(path: str, before: str, after: str) -> Iterator[CodeChange]:
    """How two listings of code differ; nothing where one is not known."""
    if before == after or not before or not after:
        return
    try:
        old, new = _listings.read(before), _listings.read(after)
    except FuruFormatError:
        return
    if old is None or new is None:
        return
    for name in sorted({*old.modules, *new.modules}):
        one, other = old.modules.get(name), new.modules.get(name)
        if one is None or other is None:
            known = one or other
            if known is not None and not known.is_script:
                where = "second" if one is None else "first"
                yield CodeChange(path, known.path, f"only in the {where}")
        elif one.syntax != other.syntax and not (one.is_script and other.is_script):
            yield CodeChange(path, other.path, "changed", _definitions(one, other))


def _definitions(before: ListedModule, after: ListedModule) -> tuple[str, ...]:
    sources = _listings.source_of(before), _listings.source_of(after)
    if sources[0] is None or sources[1] is None:
        return ()
    try:
        return _syntax.changes(sources[0], sources[1])
    except ValueError:
        return ()
