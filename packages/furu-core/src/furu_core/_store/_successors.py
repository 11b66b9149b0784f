"""What a class became that is not where its name in hashes says: newer records in its folder tell.

A class that was renamed or moved, and says so, keeps its name in hashes and its folder. The records
that were written since have the name by which it is imported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from furu_core import _trust
from furu_core._config._class_names import relpath_of
from furu_core._settings import _settings
from furu_core._store import _adoption_records, _record_file
from furu_core._store._layout import RECORD_FILE, is_hash
from furu_core.errors import FuruError

_RECORDS: Final = 20  # that are read, the newest ones


def importables(identity: str) -> Iterator[str]:
    """The names by which newer records say that a class is imported, the newest first.

    Whose records are believed is what `FURU_TRUST_PICKLES` says, since a module is imported for them.

    Args:
        identity: the class's name in hashes.
    """
    folder = f"{_settings.settings().path}/data/{relpath_of(identity)}"
    found: list[tuple[int, str]] = []
    with suppress(OSError), os.scandir(folder) as scan:
        for entry in scan:
            if is_hash(entry.name):
                with suppress(OSError):
                    found.append((entry.stat().st_mtime_ns, entry.path))
    told: set[str] = set()
    adoption = _adoption_records.adoption_of(identity)
    if adoption is not None:  # its module may bring the classes of values along
        told.add(adoption.importable)
        yield adoption.importable
    for _, path in sorted(found, reverse=True)[:_RECORDS]:
        with suppress(OSError, ValueError, KeyError, TypeError, FuruError):
            data = _trust.read_trusted(f"{path}/{RECORD_FILE}")
            name = json.loads(_record_file.parse(data).claim)["config"]["import"]
            if isinstance(name, str) and name not in told:
                told.add(name)
                yield name
