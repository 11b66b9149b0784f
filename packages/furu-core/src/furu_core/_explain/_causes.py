"""What makes nodes new: their configs, compared with those of the nearest results, and what these nest in turn."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from furu_core._explain._config_changes import (
    ABSENT_TEXT,
    ConfigPair,
    ConfigReference,
    FieldChange,
    RecordedConfig,
    changes,
)
from furu_core._explain._explanations import Cause, CauseKind
from furu_core._explain._nearest import ConfigReader, Relative
from furu_core._status._stored_nodes import StoredNode

_LAST_INDEX: Final = re.compile(r"\[\d+\]$")


@attrs.frozen
class _Step:
    """A pair of configs, and where it is in the node that is compared.

    Attributes:
        pair: the pair.
        path: dotted names from the node.
        levels: how many configs further down.
        example: a cause with what all causes in this node share.
    """

    pair: ConfigPair
    path: str
    levels: int
    example: Cause

    @property
    def key(self) -> tuple[str, str]:
        return self.pair.before.hash, self.pair.after.hash

    def down(self, pair: ConfigPair) -> _Step:
        return _Step(pair, _joined(self.path, pair.path), self.levels + 1, self.example)


class GraphComparison:
    """Compares configs with those of nearest results, each pair once.

    Args:
        configs: finds configs.
        below: what nodes of the graph depend on.

    Items that a list has more than that of the nearest result are one cause, however many they are.

    Attributes:
        explained: the keys of what makes each node new.
        compared: how many pairs were compared.
    """

    def __init__(self, configs: ConfigReader, below: Mapping[str, tuple[str, ...]]) -> None:
        self._configs = configs
        self._below = below
        self._causes: dict[Any, Cause] = {}
        self._values: dict[Any, dict[str, None]] = {}
        self._added: dict[Any, dict[tuple[ConfigReference, ...], None]] = {}
        self.explained: dict[str, set[Any]] = {}
        self.compared = 0
        self._keys: dict[tuple[str, str], set[Any]] = {}

    def compare(self, node: StoredNode, relative: Relative) -> None:
        """Compare a node with its nearest result, and nested configs in turn."""
        nearest = relative.facts.node
        first, second = (ConfigReference(one.hash, one.cls.name) for one in (nearest, node))
        example = Cause(
            CauseKind.CHANGED, node.cls.name, node.name, node.hash, closest=nearest.name
        )
        # A list in place of recursion: configs nest deep.
        stack: list[tuple[_Step, list[_Step] | None]]
        stack = [(_Step(ConfigPair("", first, second), "", 0, example), None)]
        while stack:
            step, inner = stack.pop()
            if inner is not None:
                keys = self._keys[step.key].union(*(self._keys[one.key] for one in inner))
                self._keys[step.key] = keys
                self.explained.setdefault(step.pair.after.hash, set()).update(keys)
            elif step.key not in self._keys:
                self._keys[step.key] = set()
                inner = self._look(step)
                stack += [(step, inner), *((one, None) for one in reversed(inner))]
        self.explained.setdefault(node.hash, set()).update(self._keys[nearest.hash, node.hash])

    def causes(self) -> dict[Any, Cause]:
        """What differs, by its key."""
        found = {}
        for key, cause in self._causes.items():
            first, *more = self._values.get(key, [cause.after])
            own = len(self._added.get(key, ()))
            found[key] = attrs.evolve(cause, after=first, more=tuple(more), own=own)
        return found

    def items_more(self) -> dict[Any, ConfigReference]:
        """Of each cause that is of items that a list has more, by its key, the first config among these."""
        return {key: next(iter(next(iter(items)))) for key, items in self._added.items()}

    def _look(self, step: _Step) -> list[_Step]:
        """Note what differs in a pair's own fields; what is nested in them comes next."""
        self.compared += 1
        pair = step.pair
        before, after = self._configs.find(pair.before), self._configs.find(pair.after)
        if before is None or after is None:
            self._note(step, FieldChange("", pair.before.name, pair.after.name))
            return []
        old, new = before.class_name, after.class_name
        if old != new and self._configs.is_gone(old):
            self._note_renamed(step, old, new)
        elif old != new:
            self._note(step, FieldChange("class", old, new))
        inner = []
        command = _adoption(before, after)
        for change in changes(before, after, self._configs):
            if isinstance(change, ConfigPair):
                inner.append(step.down(change))
            else:
                is_of_class = change.path in before.fields.keys() ^ after.fields.keys()
                self._note(step, change, command if is_of_class else "")
        return inner

    def _note(self, step: _Step, change: FieldChange, command: str = "") -> None:
        class_name = step.pair.after.class_name
        is_item = change.before == ABSENT_TEXT and bool(change.added)
        place = _LAST_INDEX.sub("[]", change.path) if is_item else change.path
        key = (class_name, place, change.before)
        self._keys[step.key].add(key)
        if place != change.path:
            self._added.setdefault(key, {})[change.added] = None
        else:
            self._values.setdefault(key, {})[change.after] = None
        if key not in self._causes:
            self._causes[key] = attrs.evolve(
                step.example,
                class_name=class_name,
                path=_joined(step.path, change.path),
                before=change.before,
                after=change.after,
                type_differs=change.type_differs,
                levels=step.levels,
                next=command,
            )
        pending = [reference.hash for reference in change.added]
        seen: set[str] = set()
        while pending:
            below = pending.pop()
            if below in self._below and below not in seen:
                seen.add(below)
                self.explained.setdefault(below, set()).add(key)
                pending += self._below[below]

    def _note_renamed(self, step: _Step, old: str, new: str) -> None:
        key = (CauseKind.RENAMED, old, new)
        self._keys[step.key].add(key)
        if key not in self._causes:
            self._causes[key] = attrs.evolve(
                step.example,
                kind=CauseKind.RENAMED,
                class_name=new,
                levels=step.levels,
                before=old,
                after=new,
                next=f"furu adopt {old} {new}",
            )


def leaves(
    before: ConfigReference, after: ConfigReference, configs: ConfigReader
) -> Iterator[FieldChange]:
    """The fields in which two configs differ, and those in which configs differ that they nest."""
    pending = [ConfigPair("", before, after)]
    seen: set[tuple[str, str]] = set()
    while pending:
        pair = pending.pop()
        old, new = configs.find(pair.before), configs.find(pair.after)
        if old is None or new is None or (pair.before.hash, pair.after.hash) in seen:
            continue
        seen.add((pair.before.hash, pair.after.hash))
        for change in changes(old, new, configs):
            path = _joined(pair.path, change.path)
            if isinstance(change, ConfigPair):
                pending.append(attrs.evolve(change, path=path))
            else:
                yield attrs.evolve(change, path=path)


def _adoption(before: RecordedConfig, after: RecordedConfig) -> str:
    """The command that keeps the results of a class whose fields are others now; empty where they are the same."""
    old = [name for name in before.fields if name not in after.fields.keys() | before.omitted]
    new = [name for name in after.fields if name not in before.fields.keys() | after.omitted]
    if len(old) == 1 and len(new) == 1:
        options = [f"--map {old[0]}={new[0]}"]
    else:
        options = [f"--drop {_assignment(name, before)}" for name in old]
        options += [f"--set {_assignment(name, after)}" for name in new]
    return (
        " ".join(["furu adopt", before.class_name, after.class_name, *options]) if options else ""
    )


def _assignment(name: str, config: RecordedConfig) -> str:
    value = config.fields[name]
    text = "VALUE" if isinstance(value, dict | list) else str(value)
    return shlex.quote(f"{name}={text}")


def _joined(path: str, below: str) -> str:
    return f"{path}.{below}" if path and below else path or below
