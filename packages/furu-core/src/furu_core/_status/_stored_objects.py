"""Config objects, made again from the records of nodes in the store; nothing is computed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import attrs

from furu_core._config._class_names import resolve
from furu_core._config._objects import config_class, short_name_of
from furu_core._forms._pack import build, read_fields
from furu_core._output import _logging
from furu_core._status._stored_nodes import classes_named, including_further, node_called
from furu_core._store import _record_file
from furu_core._text import count
from furu_core.errors import FuruError, FuruImportNameError, FuruValueError

_REASONS: Final = 3  # that a warning names

Ref = tuple[str, str]  # the name in hashes of an object's class, and its hash


class NotMade(FuruValueError):
    """An object that cannot be made from the records in the store; the message says why."""


@attrs.frozen
class StoredConfig:
    """The config in a record, without the objects nested in it.

    Attributes:
        record: the class and the fields, as `read_fields` takes them.
        refs: the objects nested in it.
    """

    record: Mapping[str, Any]
    refs: tuple[Ref, ...]


class StoredObjects:
    """Makes config objects from records, each once, however deep they nest and however shared."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._failed: dict[str, str] = {}
        self._lost: dict[str, FuruImportNameError] = {}
        self._inner: dict[str, Mapping[str, Any]] = {}  # configs that stand in those of others

    def make(self, class_name: str, node_hash: str) -> Any:
        """The object with a hash.

        Args:
            class_name: the name of its class in hashes.
            node_hash: its hash.

        Raises:
            NotMade: its record, or that of an object nested in it, is missing, or does not fit the
                classes of today.
        """
        stack: list[Ref] = [(class_name, node_hash)]
        open_: set[str] = set()
        while stack:
            name, key = stack[-1]
            if key in self._made or key in self._failed:
                stack.pop()
                continue
            try:
                config = self.config(name, key)
                if config is None:
                    self._made[key] = self.missing(name, key)
                    continue
            except FuruError as error:
                self._failed[key] = error.message
                continue
            todo = [
                (name, ref)
                for name, ref in config.refs
                if ref not in self._made and ref not in self._failed
            ]
            if todo and key not in open_:
                open_.add(key)
                stack += reversed(todo)
                continue
            stack.pop()
            self._make_one(key, config)
        if node_hash in self._failed:
            raise NotMade(self._failed[node_hash])
        return self._made[node_hash]

    def config(self, class_name: str, node_hash: str) -> StoredConfig | None:
        """The config that the store has of a node; None where it has none."""
        found = self._inner.get(node_hash)
        if found is None:
            found = config_of(class_name, node_hash)
            if found is None:
                return None
            self._inner.update(found.get("nodes", {}))
        refs: dict[Ref, None] = {}
        fields = {key: _plain(written, refs) for key, written in found["fields"].items()}
        return StoredConfig({**found, "fields": fields}, tuple(refs))

    def _make_one(self, key: str, config: StoredConfig) -> None:
        for name, ref in config.refs:
            if ref not in self._made:
                why = self._failed.get(ref, f"{_short(name, ref)} contains itself")
                self._failed[key] = why
                return
        try:
            self._made[key] = self.build(key, config)
        except FuruError as error:
            self._failed[key] = error.message

    def missing(self, class_name: str, node_hash: str) -> Any:
        """What stands for an object of which the store has no record.

        Raises:
            NotMade: nothing can.
        """
        raise NotMade(f"the store has no record of {_short(class_name, node_hash)}")

    def build(self, key: str, config: StoredConfig) -> Any:
        """The object of a config whose nested objects are made.

        Raises:
            FuruError: it does not fit the classes of today.
        """
        cls = self.class_of(config.record)
        fields = read_fields(config.record, self._made, [])
        return built_as_recorded(cls, fields, key)

    def class_of(self, record: Mapping[str, Any]) -> type:
        """The class of a config; one that cannot be found is looked for once.

        Raises:
            FuruImportNameError: there is none.
        """
        name = record["class"]
        if name in self._lost:
            raise self._lost[name]
        try:
            return resolve(name, record.get("import"))
        except FuruImportNameError as error:
            self._lost[name] = error
            raise


def built_as_recorded(cls: type, fields: Mapping[str, Any], node_hash: str) -> Any:
    """The object with a hash; of its fields, the class may lack those that were left out of the hash.

    Raises:
        FuruValueError: the class of today makes another one, or none.
    """
    try:
        return build(cls, fields, expected=node_hash)
    except FuruValueError:
        compiled = config_class(cls)
        known = {field.key for field in compiled.fields} | compiled.removed.keys()
        if fields.keys() <= known:
            raise
        with suppress(FuruValueError):
            left = {key: value for key, value in fields.items() if key in known}
            return build(cls, left, expected=node_hash)
        raise


def config_of(class_name: str, node_hash: str) -> dict[str, Any] | None:
    """The config in the record of a node's artifact, or else of its newest attempt; or None."""
    node = node_called(class_name, node_hash)
    found: Any = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(_record_file.read(node.artifact).claim)["config"]
    if found is None:
        found = node.record().get("config")
    if isinstance(found, dict) and isinstance(found.get("fields"), dict) and "class" in found:
        return found
    return None


def records_in(class_name: str, node_hash: str) -> list[tuple[str, dict[str, Any]]]:
    """The configs in the record of a node, by their hashes: its own, and those that have no record."""
    found = config_of(class_name, node_hash)
    return [] if found is None else [(node_hash, found), *found.get("nodes", {}).items()]


def refs_in(record: Mapping[str, Any]) -> dict[Ref, None]:
    """The objects nested in a config."""
    refs: dict[Ref, None] = {}
    _plain([*record["fields"].values()], refs)
    return refs


def _plain(written: Any, refs: dict[Ref, None]) -> Any:
    """A written value, in which nested objects are named by their hashes alone."""
    if type(written) is list:
        return [_plain(item, refs) for item in written]
    if type(written) is not dict:
        return written
    if len(written) == 2 and "$ref" in written:
        refs[written["class"], written["$ref"]] = None
        return {"$ref": written["$ref"]}
    return {key: _plain(item, refs) for key, item in written.items()}


def _short(class_name: str, node_hash: str) -> str:
    return short_name_of(class_name.rpartition(":")[2], node_hash)


def stored(cls: type, *, also: bool = False) -> list[Any]:
    """The objects of a class that have results; see `Furu.stored`."""
    compiled = config_class(cls)
    with including_further(also):
        found_in = classes_named(compiled.identity_name)
        hashes = sorted({one for there in found_in for one in there.published()})
    objects = StoredObjects()
    reasons: Counter[str] = Counter()
    found = list(_made(objects, compiled.identity_name, hashes, reasons))
    if reasons:
        most = "; ".join(f"{why} ({many})" for why, many in reasons.most_common(_REASONS))
        more = len(reasons) - _REASONS
        _logging.log.warning(
            "%s of %s in the store cannot be made by the classes of today: %s%s",
            *(count(reasons.total(), "result"), compiled.identity_name, most),
            f"; and for {count(more, 'other reason')}" if more > 0 else "",
        )
    return found


def _made(
    objects: StoredObjects, name: str, hashes: list[str], reasons: Counter[str]
) -> Iterator[Any]:
    for node_hash in hashes:
        try:
            yield objects.make(name, node_hash)
        except NotMade as error:
            reasons[str(error).replace(node_hash, "...")] += 1
