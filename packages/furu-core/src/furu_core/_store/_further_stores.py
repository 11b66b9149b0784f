"""Stores that are only read: results that are there count where the own store has none (`FURU_ALSO`).

Nothing is ever written there, not even a probe of the clock. A miss of the own store costs one look at each
of them. Where such a result was found bad, an attempt in the own store says so, and it does not count any more.
"""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path
from typing import Final

from furu_core._files import list_folder, store_error
from furu_core._settings import _settings
from furu_core._store import _record_file
from furu_core._store._layout import NodeRef, is_hash

_INVALID: Final = "invalid"  # the status of an attempt that ended since what it looked at was bad
_looked_at: Final[set[tuple[Path, ...]]] = set()


def elsewhere(ref: NodeRef) -> NodeRef | None:
    """Where a node is in the first further store that has its result; None where none has it.

    Args:
        ref: the node in the current store, which has no result.
    """
    also = further_stores()
    if not also:
        return None
    below = _below_data(ref.class_dir)
    for store in also:
        found = NodeRef(f"{store}/data/{below}", ref.hash, ref.class_name)
        if os.path.isdir(found.artifact):
            return None if _was_bad(ref) else found
    return None


def listed_elsewhere(class_dir: str) -> frozenset[str]:
    """The hashes of the results of a class in the further stores, without those that were bad.

    Args:
        class_dir: the folder of the class in the current store.

    Raises:
        FuruStoreError: one cannot be read.
    """
    also = further_stores()
    if not also:
        return frozenset()
    below = _below_data(class_dir)
    listed = (_listed(f"{store}/data/{below}") for store in also)
    names = frozenset(filter(is_hash, chain.from_iterable(listed)))
    attempted = frozenset(_listed(class_dir) if names else ())
    suspect = [one for one in names if f".{one}.1" in attempted]
    return names.difference(one for one in suspect if _was_bad(NodeRef(class_dir, one)))


def before(class_dir: str, store: Path) -> frozenset[str]:
    """The hashes of the results of a class in the stores that come before one that is only read."""
    settings = _settings.settings()
    below = class_dir.removeprefix(f"{store}/data/")
    earlier = [settings.path, *settings.also[: settings.also.index(store)]]
    return frozenset().union(*(_listed(f"{one}/data/{below}") for one in earlier))


def store_of(folder: str) -> Path | None:
    """The store that is only read in which a folder is; None for one of the current store."""
    settings = _settings.settings()
    if is_own(folder):
        return None
    return next((store for store in settings.also if folder.startswith(f"{store}/")), None)


def is_own(folder: str) -> bool:
    """Whether a folder is in the current store, and not in one that is only read."""
    return folder.startswith(f"{_settings.settings().path}/data/")


def further_stores() -> tuple[Path, ...]:
    """The stores that are only read; the first time, a warning names those that are not there."""
    settings = _settings.settings()
    also = settings.also
    if settings.path in also:
        also = tuple(store for store in also if store != settings.path)
    if also and also not in _looked_at:
        _looked_at.add(also)
        for store in also:
            if not os.path.isdir(f"{store}/data"):
                from furu_core._output import _logging  # for the warning alone

                _logging.log.warning(
                    "FURU_ALSO names %s, which is no store: nothing is found there", store
                )
    return also


def _below_data(class_dir: str) -> str:
    return class_dir.removeprefix(f"{_settings.settings().path}/data/")


def _listed(folder: str) -> list[str]:
    try:
        return list_folder(folder)
    except OSError as error:
        raise store_error(error, folder, doing="read") from error


def _was_bad(ref: NodeRef) -> bool:
    """Whether the newest attempt in the current store says that a result elsewhere was bad."""
    number = 0
    while os.path.lexists(ref.attempt(number + 1)):
        number += 1
    if not number:
        return False  # as nearly always
    try:
        story = _record_file.read(ref.attempt(number)).story
        return bool(json.loads(story or b"{}").get("status") == _INVALID)
    except (OSError, ValueError, AttributeError):
        return False
