"""The stored result whose config is nearest to another config: that with the fewest differing fields, then leaves.

Time grows with the number of results and of configs that are compared with them, not with their product. A
config's fields are numbers, which are added up: a result that differs in one field has the same sum when
both leave their value of that field out. Only where there is none, all results are counted through.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from heapq import nlargest
from typing import Any, Final

import attrs

from furu_core._compute._relatives import is_gone
from furu_core._config._class_record import Rule
from furu_core._config._encoding import omitted_default
from furu_core._config._identity import nested
from furu_core._config._objects import ConfigObject, config_class
from furu_core._explain._config_changes import (
    ConfigPair,
    ConfigReference,
    RecordedConfig,
    are_of_one_shape,
    changes,
    is_same,
    reference_of,
)
from furu_core._forms._pack import REFERRING, shallow_dict
from furu_core._status import _stored_nodes
from furu_core._status._stored_nodes import StoredClass, StoredNode, class_named, node_called
from furu_core._tables._facts import FactColumns, FactReader, NodeFacts, config_in, facts_of
from furu_core._tables._gone_configs import Trash
from furu_core._tables._packed import ABSENT

_COUNTED: Final = 8  # configs of a class for which all results are counted through
_COMPARED: Final = 16  # results that are equally near, of which nested configs are compared
_LEAVES: Final = 200  # after which two configs are just far apart


class ConfigReader:
    """Finds configs by their references: in what it was given, and else in the store or its trash.

    Args:
        facts: reads the records of stored nodes.
    """

    def __init__(self, facts: FactReader) -> None:
        self._facts = facts
        self._known: dict[str, RecordedConfig | None] = {}
        self._objects: dict[str, ConfigObject] = {}
        self._trash = Trash()
        self._gone: dict[str, bool] = {}

    def add(self, obj: ConfigObject) -> None:
        """Give an object, which need not be in the store; those nested in it are known as well then."""
        self._objects.setdefault(obj.furu_hash, obj)

    def add_record(self, config: Mapping[str, Any]) -> RecordedConfig:
        """Give a config as a record has it, with those that it holds."""
        for node_hash, held in (config.get("nodes") or {}).items():
            self._known.setdefault(node_hash, _recorded_config(held))
        return _recorded_config(config)

    def find(self, reference: ConfigReference) -> RecordedConfig | None:
        """The config of a reference; None where it is not known."""
        if reference.hash not in self._known:
            obj = self._objects.get(reference.hash)
            self._known[reference.hash] = (
                self._in_a_record(reference) if obj is None else self._of_object(obj)
            )
        return self._known[reference.hash]

    def is_gone(self, class_name: str) -> bool:
        """Whether no module has a class of this name any more."""
        if class_name not in self._gone:
            self._gone[class_name] = is_gone(class_name)
        return self._gone[class_name]

    def _of_object(self, obj: ConfigObject) -> RecordedConfig:
        for inner in nested(obj):
            self.add(inner)
        return _config_of(obj)

    def _in_a_record(self, reference: ConfigReference) -> RecordedConfig | None:
        config = self._facts.of(node_of_reference(reference)).config
        if not config:
            gone = self._trash.folder_of(reference.class_name, reference.hash)
            config = {} if gone is None else config_in(gone)
        return self.add_record(config) if config else None


def _config_of(obj: ConfigObject) -> RecordedConfig:
    """The config of an object, with what its class tells of the hash."""
    found = _recorded_config(shallow_dict(obj))
    compiled = config_class(obj)
    unhashed = {field.key for field in compiled.fields if field.rule is Rule.EXCLUDED}
    omitted = set()
    for field in compiled.fields:
        if field.rule is Rule.UNLESS_DEFAULT:
            default, _ = omitted_default(compiled, field)
            values = obj.__dict__[field.name], default
            if is_same(*map(REFERRING.write, values)):
                omitted.add(field.key)
    return attrs.evolve(found, unhashed=frozenset(unhashed), omitted=frozenset(omitted))


def _recorded_config(config: Mapping[str, Any]) -> RecordedConfig:
    return RecordedConfig(str(config.get("class", "")), config.get("fields") or {})


def node_of_reference(reference: ConfigReference) -> StoredNode:
    """The node of a nested config, as the store would have it."""
    return node_called(reference.class_name, reference.hash)


@attrs.frozen
class Relative:
    """The result that is nearest to a config.

    Attributes:
        facts: the result's.
        config: its config.
    """

    facts: NodeFacts
    config: RecordedConfig


class RelativeReader:
    """Finds the nearest results of configs.

    Args:
        facts: reads the facts of results.
        configs: finds nested configs.
        wanted: all configs that may be asked for, by their hashes.
        before: only results whose attempts began before are taken, in seconds since 1970.
    """

    def __init__(
        self,
        facts: FactReader,
        configs: ConfigReader,
        wanted: Mapping[str, RecordedConfig],
        *,
        before: float = math.inf,
    ) -> None:
        self._before = before
        self._facts = facts
        self._configs = configs
        self._wanted: dict[str, dict[str, RecordedConfig]] = {}
        for node_hash, config in wanted.items():
            self._wanted.setdefault(config.class_name, {})[node_hash] = config
        self._classes: dict[str, _ClassRelatives | None] = {}
        self._samples: list[tuple[StoredClass, RecordedConfig]] | None = None

    def of(self, node_hash: str, class_name: str) -> Relative | None:
        """The nearest result of the same class, else of one with the same fields; None without any."""
        if class_name not in self._classes:
            self._classes[class_name] = self._found(class_name)
        found = self._classes[class_name]
        return None if found is None else found.of(node_hash)

    def _found(self, class_name: str) -> _ClassRelatives | None:
        wanted = self._wanted[class_name]
        results = self._results(class_named(class_name))
        if wanted.keys() >= set(_earlier(results, "hash", self._before)):
            other = self._renamed(next(iter(wanted.values())))
            if other is None:
                return None
            results = self._results(other)
        return _ClassRelatives(results, wanted, self._configs, self._before)

    def _results(self, cls: StoredClass) -> FactColumns:
        return next(iter(self._facts.columns([cls])))

    def _renamed(self, config: RecordedConfig) -> StoredClass | None:
        """A class with the same fields; rather one of the same name in another module."""
        if self._samples is None:
            self._samples = list(self._read_samples())
        alike = [
            cls
            for cls, sample in self._samples
            if cls.name != config.class_name and are_of_one_shape(sample, config, self._configs)
        ]
        short = config.class_name.rpartition(":")[2]
        return min(alike, key=lambda cls: (cls.short != short, cls.name), default=None)

    def _read_samples(self) -> Iterable[tuple[StoredClass, RecordedConfig]]:
        for cls in _stored_nodes.classes():
            for node_hash in cls.published()[:1]:
                config = facts_of(StoredNode(cls, node_hash)).config
                if config:
                    yield cls, self._configs.add_record(config)


class _ClassRelatives:
    """The results of a class, and which are nearest to some configs.

    Args:
        results: of the class, by their places.
        wanted: the configs.
        configs: finds nested configs.
        before: only results that began before are taken.
    """

    def __init__(
        self,
        results: FactColumns,
        wanted: Mapping[str, RecordedConfig],
        configs: ConfigReader,
        before: float,
    ) -> None:
        self._cls = results.cls
        self._hashes = _earlier(results, "hash", before)
        self._started = _earlier(results, "started", before)
        self._defaults = {
            name: _number(name, config.fields[name])
            for config in wanted.values()
            for name in config.omitted
        }
        unhashed = frozenset[str]().union(*(config.unhashed for config in wanted.values()))
        self._columns = {
            name: self._column(name, _among_earlier(values, results, before))
            for name, values in results.by_key("config", "fields").items()
            if name not in unhashed
        }
        self._wanted = wanted
        self._configs = configs
        self._by_sum = self._found_by_sums()
        self._counted = 0
        self._read: dict[int, Relative | None] = {}
        self._last: Relative | None = None

    def _column(self, name: str, values: list[Any]) -> list[int]:
        """A number for each value of a field; one that is left out of the hash counts as absent."""
        numbers = _column_numbers(name, values)
        default = self._defaults.get(name)
        return numbers if default is None else [0 if one == default else one for one in numbers]

    def _found_by_sums(self) -> dict[int, list[int]]:
        """The latest results by the sums of their fields that the configs have, too; as places."""
        asked = {one for config in self._wanted.values() for one in _sums(config)}
        totals = list(map(sum, zip(*self._columns.values(), strict=True)))
        found: dict[int, list[int]] = {}
        for left_out in [[0] * len(totals), *self._columns.values()]:
            for place, (total, number) in enumerate(zip(totals, left_out, strict=True)):
                if total - number in asked:
                    found.setdefault(total - number, []).append(place)
        return {number: self._latest(places) for number, places in found.items()}

    def _latest(self, places: Iterable[int]) -> list[int]:
        """Those of some results that are compared: the latest ones."""
        return nlargest(
            _COMPARED, places, key=lambda place: (self._started[place] or 0.0, self._hashes[place])
        )

    def of(self, node_hash: str) -> Relative | None:
        """The nearest result; None where none can be read."""
        config = self._wanted[node_hash]
        sums = _sums(config)
        near = {place for number in sums for place in self._by_sum.get(number, ())}
        if self._cls.name != config.class_name:  # which may have a result with the same fields
            near = set(self._by_sum.get(sum(_numbers(config).values()), ())) or near
        if not near:
            if self._counted >= _COUNTED and self._last is not None:
                return self._last
            self._counted += 1
            near = self._counted_through(config)
        self._last = self._nearest(config, self._latest(near)) or self._last
        return self._last

    def _counted_through(self, config: RecordedConfig) -> set[int]:
        """The results with the most equal fields."""
        equal = [0] * len(self._hashes)
        for name, numbers in self._columns.items():
            if name in config.fields:
                mine = _number(name, config.fields[name])
                equal = [
                    so_far + (number == mine) for so_far, number in zip(equal, numbers, strict=True)
                ]
        most = max(equal, default=0)
        return {place for place, number in enumerate(equal) if number == most}

    def _nearest(self, config: RecordedConfig, places: Iterable[int]) -> Relative | None:
        """Of results in the order of their age the one with the fewest differing leaves."""
        fewest = int(self._cls.name == config.class_name)
        best: int | None = None
        nearest: Relative | None = None
        for place in places:
            relative = self._relative(place)
            if relative is None:
                continue
            apart = self._leaves(relative.config, config)
            if best is None or apart < best:
                best, nearest = apart, relative
            if best <= fewest:
                break
        return nearest

    def _relative(self, place: int) -> Relative | None:
        """A result, read; None where it was removed meanwhile."""
        if place not in self._read:
            facts = facts_of(StoredNode(self._cls, self._hashes[place]))
            found = None
            if facts.config and self._hashes[place] not in self._wanted:
                found = Relative(facts, self._configs.add_record(facts.config))
            self._read[place] = found
        return self._read[place]

    def _leaves(self, before: RecordedConfig, after: RecordedConfig) -> int:
        """The number of leaves in which two configs differ, as far as it matters."""
        pending = [(before, after)]
        seen: set[tuple[str, str]] = set()
        found = 0
        while pending and found < _LEAVES:
            for change in changes(*pending.pop(), self._configs):
                if not isinstance(change, ConfigPair):
                    found += 1
                    continue
                pair = change.before.hash, change.after.hash
                configs = self._configs.find(change.before), self._configs.find(change.after)
                if pair in seen:
                    continue
                seen.add(pair)
                if configs[0] is None or configs[1] is None:
                    found += 1
                else:
                    pending.append((configs[0], configs[1]))
        return found


def _earlier(results: FactColumns, name: str, before: float) -> list[Any]:
    """A part of the facts of those results that began before some time."""
    return _among_earlier(results.column(name), results, before)


def _among_earlier(values: list[Any], results: FactColumns, before: float) -> list[Any]:
    if before == math.inf:
        return values
    started = results.column("started")
    return [
        value
        for value, began in zip(values, started, strict=True)
        if began is None or began < before
    ]


def _column_numbers(name: str, values: list[Any]) -> list[int]:
    """A number for each value of a field; equal ones have the same, and 0 what is absent."""
    if {dict, list, type(ABSENT)}.isdisjoint(map(type, values)):
        return [hash((name, type(value), value)) for value in values]
    known = {id(ABSENT): 0}  # what many share is one object
    for value in values:
        if id(value) not in known:
            known[id(value)] = _number(name, value)
    return [known[id(value)] for value in values]


def _number(name: str, value: Any) -> int:
    if not isinstance(value, dict | list):
        return hash((name, type(value), value))
    reference = reference_of(value)
    key = json.dumps(value, sort_keys=True) if reference is None else reference.hash
    return hash((name, dict, key))


def _numbers(config: RecordedConfig) -> dict[str, int]:
    """The numbers of the fields that are in the hash."""
    return {
        name: _number(name, value)
        for name, value in config.fields.items()
        if name not in config.unhashed and name not in config.omitted
    }


def _sums(config: RecordedConfig) -> set[int]:
    """The sum of all fields, and those which leave one out."""
    numbers = _numbers(config).values()
    whole = sum(numbers)
    return {whole, *(whole - number for number in numbers)}
