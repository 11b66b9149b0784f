"""Records of imports that mean nothing any more: none of the results that they name is left anywhere in the store.

Without such a record nothing tells that a result came from elsewhere, and its pickles would be loaded. So what cannot be
looked at, is in anybody's trash, or stands beside an attempt counts as left, and an import that may go on is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from furu_core import _import_records
from furu_core._config._class_names import relpath_of
from furu_core._import_records import ImportRecord
from furu_core._process_ids import process_is_gone
from furu_core._settings import _settings
from furu_core._status import _trash
from furu_core._store._layout import NodeRef, attempt_of, beside_of


def spent_imports(cutoff: float) -> list[str]:
    """The records of imports of which no result is left, by their paths in the store.

    Args:
        cutoff: what was imported since then counts as needed, in seconds since 1970.

    Raises:
        FuruStoreError: the records, or the trash, cannot be read.
        FuruDamagedRecord: a record is damaged.
    """
    store = str(_settings.settings().path)
    trashed = [removal.folder for removal in _trash.removals()]
    return [
        path.removeprefix(f"{store}/")
        for path, record in _import_records.records()
        if max(record.time, record.ended) < cutoff
        and (record.ended or process_is_gone(record.process))
        and not _has_results(record, store, trashed)
    ]


def _has_results(record: ImportRecord, store: str, trashed: Iterable[str]) -> bool:
    """Whether something that an import brought is left, or may be."""
    for class_name, nodes in record.nodes.items():
        below = relpath_of(class_name)
        own = f"{store}/data/{below}"
        try:
            names = set(_names_in(own))
            beside = {(beside_of(name)[0] or attempt_of(name)[0]) for name in names}
            if not beside.isdisjoint(nodes):
                return True
            for node_hash in nodes.keys() & names:
                artifact = NodeRef(own, node_hash, class_name).artifact
                if _import_records.digest_of_record(artifact) == nodes[node_hash]:
                    return True
            if any(not nodes.keys().isdisjoint(_hashes_in(f"{one}/{below}")) for one in trashed):
                return True
        except OSError:
            return True
    return False


def _hashes_in(folder: str) -> set[str]:
    """The hashes of what is in a folder of the trash: results, and what stood beside them."""
    names = _names_in(folder)
    return {beside_of(name)[0] or attempt_of(name)[0] or name for name in names}


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
