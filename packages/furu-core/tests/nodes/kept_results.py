"""Stores values as a node's result is stored, and loads them again."""

from __future__ import annotations

import json
import os
from typing import Any

import attrs

from furu_core._codecs import _load, _store
from furu_core._codecs._store import Stored
from furu_core._record_format import from_json, to_json
from furu_core._store._manifest import NO_VALUE, ResultEntry

Folder = str | os.PathLike[str]


def store(value: Any, folder: Folder, base: Folder, aside: Folder | None = None) -> Stored:
    """Store a value, with files of furu's in `folder` of the artifact `base`."""
    gone = None if aside is None else os.fspath(aside)
    return _store.store(value, f"{os.fspath(folder)}/", os.fspath(base), gone)


def load(stored: Stored, folder: Folder, base: Folder) -> Any:
    """The value again, from what a manifest keeps of it."""
    entry = from_json(ResultEntry, json.loads(json.dumps(to_json(stored.entry))))
    value = json.loads(stored.value) if stored.value else NO_VALUE
    return _load.load(entry, f"{os.fspath(folder)}/", os.fspath(base), value)


def changed(stored: Stored, **fields: Any) -> Stored:
    """The same with other fields of its entry."""
    return attrs.evolve(stored, entry=attrs.evolve(stored.entry, **fields))
