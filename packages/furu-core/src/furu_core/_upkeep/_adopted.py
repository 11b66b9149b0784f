"""Configs of a class whose results another class took over, as configs of that one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from furu_core import _text
from furu_core._config._class_names import resolve
from furu_core._config._identity import are_same, furu_hash
from furu_core._config._objects import config_class
from furu_core._forms._pack import build, read_fields
from furu_core._forms._values import loads
from furu_core._status._stored_objects import (
    NotMade,
    StoredConfig,
    StoredObjects,
    built_as_recorded,
)
from furu_core._store import _adoption_records
from furu_core._store._adoption_records import Adoption
from furu_core.errors import FuruError, FuruImportNameError, FuruValueError

_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


def adopted(
    identity: str, fields: Mapping[str, Any], known: Iterable[Adoption] | None = None
) -> tuple[type, Mapping[str, Any]] | None:
    """The class that took over the results of a class, and the fields that a config has there.

    Args:
        identity: the name in hashes of the class that the config was of.
        fields: its values, by their keys.
        known: the adoptions, the newest last; None for those in the current store.

    Returns:
        None where nobody took them over.

    Raises:
        NotMade: the config does not fit the class that did.
        FuruImportNameError: that class cannot be found.
    """
    if known is None:
        known = _in_store()
    by_old = {adoption.old: adoption for adoption in known or ()}
    adoption = by_old.pop(identity, None)
    if adoption is None:
        return None
    while True:
        later = by_old.pop(adoption.new, None)
        try:
            cls = resolve(adoption.new, adoption.importable)
        except FuruImportNameError:
            if later is None:
                raise
            fields, adoption = _new_fields(adoption, None, fields), later
            continue
        return cls, _new_fields(adoption, cls, fields)


def _in_store() -> tuple[Adoption, ...]:
    """The adoptions in the current store, read once for all configs of a result."""
    global _read
    with suppress(OSError, FuruError):
        folder = _adoption_records.folder()
        state = folder, os.stat(folder).st_mtime_ns
        if _read[0] != state:
            _read = state, tuple(_adoption_records.adoptions())
        return _read[1]
    return ()


_read: tuple[tuple[str, int], tuple[Adoption, ...]] = (("", 0), ())


def _new_fields(adoption: Adoption, cls: type | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the new class that stand for those of the old one; without it, unchecked."""
    known = None
    if cls is not None:
        compiled = config_class(cls)
        known = {field.key for field in compiled.fields} | compiled.removed.keys()
    found = {}
    for key, value in fields.items():
        if key in adoption.drop:
            if not _is_meant(value, adoption.drop[key]):
                raise NotMade(
                    f"{key} is {_text.shown(value)}, and --drop is for those with {adoption.drop[key]}"
                )
            continue
        new = adoption.map.get(key, key)
        if known is not None and new not in known:
            raise NotMade(
                f"{adoption.new} has no field {new!r}: --map {key}=NEW says what it is called there, "
                f"--drop {key}=VALUE that it is gone"
            )
        if new in found:
            raise NotMade(f"two of its fields would be {new!r}, of which {key} is one")
        found[new] = value
    return found | {key: loads(text) for key, text in adoption.set.items()}


def _is_meant(value: Any, text: str) -> bool:
    """Whether a text on the command line means a value."""
    from furu_core._forms._typed_text import literal

    meant = literal(text)
    numbers = all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in (value, meant)
    )
    called = {str(value), repr(value), getattr(value, "name", "")}  # such as the member of an enum
    return are_same(value, meant) or (numbers and value == meant) or text in called


class AdoptedObjects(StoredObjects):
    """Makes the objects that stand today for configs in the store, by the hashes that those had.

    Args:
        known: the adoptions that are in effect, the newest last.
    """

    def __init__(self, known: Iterable[Adoption]) -> None:
        super().__init__()
        self._known = tuple(known)
        self._old = {adoption.old: adoption.new for adoption in self._known}

    def missing(self, class_name: str, node_hash: str) -> Any:
        """What stands for a nested config of which the store has no record: its hash alone."""
        if class_name in self._old:
            return super().missing(class_name, node_hash)
        obj: Any = object.__new__(self.class_of({"class": class_name}))
        obj.__dict__["_furu_hash"] = node_hash
        return obj

    def class_of(self, record: Mapping[str, Any]) -> type:
        """The class of a config that nobody adopted."""
        try:
            return super().class_of(record)
        except FuruImportNameError as error:
            raise NotMade(f"{error.message} (was it renamed, too? Then adopt it as well)") from None

    def build(self, key: str, config: StoredConfig) -> Any:
        """The object of a config whose nested objects are made, of today's class."""
        record = config.record
        name = record["class"]
        moved = any(furu_hash(self._made[ref]) != ref for _, ref in config.refs)
        if name in self._old and self._old[name] != name:
            return self._adopted(name, config)
        cls = self.class_of(record)
        fields = read_fields(record, self._made, [])
        try:
            return build(cls, fields) if moved else built_as_recorded(cls, fields, key)
        except FuruValueError:
            if name not in self._old:
                raise
        return self._adopted(name, config)

    def _adopted(self, name: str, config: StoredConfig) -> Any:
        with suppress(FuruImportNameError):  # its module may bring the classes of values along
            resolve(self._old[name], self._importable(name))
        found = adopted(name, read_fields(config.record, self._made, []), self._known)
        assert found is not None
        return build(*found)

    def keys(self, class_name: str, node_hash: str) -> frozenset[str]:
        """The keys of the new class's fields that an old config has values for."""
        config = self.config(class_name, node_hash)
        adoption = next(one for one in reversed(self._known) if one.old == class_name)
        old = () if config is None else config.record["fields"]
        return frozenset({*(adoption.map.get(key, key) for key in old), *adoption.set})

    def hash_now(self, node_hash: str) -> str:
        """The hash of what became of an object, given the one that it had."""
        found = self._made.get(node_hash)
        return node_hash if found is None else furu_hash(found)

    def renamed_omitted(self, manifest: bytes) -> bytes:
        """A manifest in which the defaults that hashes leave out have their new names."""
        omitted = json.loads(manifest).get("omitted")
        if not omitted:
            return manifest
        renamed = {self._renamed(field): told for field, told in omitted.items()}
        before, mark, after = manifest.rpartition(f'"omitted":{_compact(omitted)}'.encode("ascii"))
        if not mark:
            raise ValueError("its manifest was not written by furu")
        return before + f'"omitted":{_compact(renamed)}'.encode("ascii") + after

    def _renamed(self, field: str) -> str:
        cls, _, key = field.rpartition(".")
        for adoption in reversed(self._known):
            if adoption.old == cls:
                return f"{adoption.new}.{adoption.map.get(key, key)}"
        return field

    def _importable(self, name: str) -> str:
        return next(
            adoption.importable for adoption in reversed(self._known) if adoption.old == name
        )
