"""Building a plan: one walk from the roots down to what is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import attrs

from furu_core import Furu, NodeState, Settings
from furu_core import settings as current_settings
from furu_core.errors import FuruCycleError
from furu_core.executors import Roots, named_roots
from furu_core.planning import (
    NodeInfo,
    StateReader,
    dependencies,
    has_validator,
    invalidate_if_bad,
    matches_rerun,
    note_relatives,
    short_name,
    spec_key,
)
from furu_plan._node import PlanNode, Status, statuses
from furu_plan._plan import DependencyPlan

_ABSENT = NodeInfo(NodeState.ABSENT)


def build_plan(
    roots: Roots | Iterable[Furu[Any]] | Mapping[str, Furu[Any]] | Furu[Any],
    *,
    settings: Settings | None = None,
    reader: StateReader | None = None,
    validate: bool = True,
    compute_queued: bool = False,
) -> DependencyPlan:
    """Find out which nodes of a graph are done and which are to be computed.

    The walk goes from the roots down through what is to be computed, and looks at nothing below a
    node that is DONE, IN_PROGRESS or FAILED. It never recurses, and costs one directory listing per
    class, not a `stat` per node.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        settings: `retry_failed` makes failed nodes TODO again; `always_rerun` makes the DONE nodes of
            the classes that it names TODO, with all nodes that depend on them, so that the walk then
            goes through the whole graph. Default: the current settings.
        reader: reads the state of nodes; for tests, and for callers that have one.
        validate: call `_validate` of the DONE roots and of the DONE direct dependencies of TODO nodes,
            where their class defines it, and compare the files of DONE roots with their manifests; a
            bad artifact is moved out of the way, and its node is TODO. False changes nothing on disk.
        compute_queued: a node that only waits in a scheduler's queue is TODO, as it is for `get()`,
            instead of IN_PROGRESS.

    Raises:
        FuruCycleError: nodes that depend on themselves, by what their `_dependencies` return.
        FuruDependencyError: `_dependencies` returned something that is no Furu object.

    Example:
        >>> from furu_core import use_settings
        >>> from furu_plan import Status, build_plan
        >>> from furu_testing.nodes import Leaf
        >>> with use_settings(path="/data/nothing-yet"):
        ...     plan = build_plan([Leaf(x=1), Leaf(x=2)])
        >>> plan.counts()[Status.DONE], plan.counts()[Status.TODO]
        (0, 2)
    """
    settings = current_settings() if settings is None else settings
    walk = _Walk(
        reader=StateReader() if reader is None else reader,
        statuses=statuses(retry_failed=settings.retry_failed, compute_queued=compute_queued),
        always_rerun=settings.always_rerun,
        validate=validate,
    )
    items = named_roots(roots).items
    asked = dict.fromkeys(item.furu_hash for item in items)
    nodes = walk(items, roots=asked)
    todo = {type(node.obj): node.obj for node in nodes.values() if node.status is Status.TODO}
    note_relatives(todo.values())
    return DependencyPlan(roots=tuple(asked), nodes=nodes, extend=walk)


@attrs.frozen(slots=True)
class _ClassFacts:
    rerun: bool
    validator: bool


# What the walk knows of a node before its dependents: object, status, info, rerun, dependencies.
_Draft = tuple[Furu[Any], Status, NodeInfo, bool, tuple[str, ...]]


@attrs.define(slots=True, eq=False)
class _Walk:
    """Plans objects; one reader and one set of answers for all that is planned with it."""

    reader: StateReader
    statuses: Mapping[NodeState, Status]
    always_rerun: frozenset[str]
    validate: bool
    classes: dict[type, _ClassFacts] = attrs.field(factory=dict)

    def __call__(
        self,
        objects: Iterable[Furu[Any]],
        *,
        known: Collection[str] = (),
        todo: Collection[str] = (),
        refresh: bool = False,
        roots: Collection[str] = (),
    ) -> dict[str, PlanNode]:
        """The nodes below `objects`, dependencies first.

        Args:
            objects: where to start.
            known: hashes that the caller has already; they are not walked and not in the result.
            todo: hashes that are to be computed whatever their state in the store, known or not.
            refresh: read the store anew instead of trusting what was read for this plan before.
            roots: hashes of roots; no node of the run loads their artifacts, so damage has to be
                noticed here.
        """
        if refresh:
            self.reader.refresh()
        through_done = bool(self.always_rerun)
        drafts: dict[str, _Draft] = {}
        # The path from a start down to here: the nodes whose dependencies are being walked.
        path: dict[str, _Draft] = {}
        starts = [(obj, obj.furu_hash) for obj in objects]
        stack: list[Iterator[tuple[Furu[Any], str]]] = [iter(starts)]
        while stack:
            for obj, node_hash in stack[-1]:
                if node_hash in drafts or (node_hash in known and node_hash not in todo):
                    continue
                if node_hash in path:
                    raise _cycle_error([draft[0] for draft in path.values()], node_hash)
                status, info, rerun = self._judge(
                    obj, forced=node_hash in todo, root=node_hash in roots
                )
                to_do = status is Status.TODO
                looks_below = to_do or (through_done and status is Status.DONE)
                below = dependencies(obj) if looks_below else ()
                if not below:
                    drafts[node_hash] = (obj, status, info, rerun, ())
                    continue
                hashes = [item.furu_hash for item in below]
                # Equal objects may be nested twice.
                path[node_hash] = (obj, status, info, rerun, tuple(dict.fromkeys(hashes)))
                stack.append(zip(below, hashes, strict=True))
                break
            else:
                stack.pop()
                if path:
                    node_hash, draft = path.popitem()
                    drafts[node_hash] = _with_what_is_below(draft, drafts)
        return _finish(drafts)

    def _judge(self, obj: Furu[Any], *, forced: bool, root: bool) -> tuple[Status, NodeInfo, bool]:
        cls = type(obj)
        facts = self.classes.get(cls)
        if facts is None:
            wanted = self.always_rerun
            facts = self.classes[cls] = _ClassFacts(
                rerun=bool(wanted) and matches_rerun(obj, wanted), validator=has_validator(cls)
            )
        if forced:
            return Status.TODO, _ABSENT, False
        info = self.reader.state(obj)
        status = self.statuses[info.state]
        if status is not Status.DONE:
            return status, info, False
        if facts.rerun:
            return Status.TODO, info, True
        if self.validate and (root or facts.validator) and invalidate_if_bad(obj):
            return Status.TODO, _ABSENT, False
        return Status.DONE, info, False


def _with_what_is_below(draft: _Draft, drafts: Mapping[str, _Draft]) -> _Draft:
    """A node whose dependencies were walked: if one of them is computed again, so is the node."""
    obj, status, info, _, below = draft
    if status is not Status.DONE:
        return draft
    if any(node_hash in drafts and drafts[node_hash][3] for node_hash in below):
        return (obj, Status.TODO, info, True, below)
    return (obj, status, info, False, ())  # a node that is DONE waits for no dependency


def _finish(drafts: dict[str, _Draft]) -> dict[str, PlanNode]:
    dependents: dict[str, list[str]] = {}
    for node_hash, draft in drafts.items():
        for dependency in draft[4]:
            if dependency in dependents:
                dependents[dependency].append(node_hash)
            else:
                dependents[dependency] = [node_hash]
    return {
        node_hash: PlanNode(
            obj,
            node_hash,
            status,
            spec_key(obj),
            hashes,
            tuple(dependents.get(node_hash, ())),
            info,
            rerun,
        )
        for node_hash, (obj, status, info, rerun, hashes) in drafts.items()
    }


def _cycle_error(path: list[Furu[Any]], node_hash: str) -> FuruCycleError:
    start = next(index for index, obj in enumerate(path) if obj.furu_hash == node_hash)
    names = [short_name(obj) for obj in path[start:]]
    names.append(names[0])
    shown = names if len(names) <= 12 else [*names[:6], f"({len(names) - 11} more)", *names[-5:]]
    return FuruCycleError(
        f"nodes that depend on themselves: {' -> '.join(shown)}",
        cycle=names,
        hint="look at their `_dependencies`; fields alone cannot make a cycle",
    )
