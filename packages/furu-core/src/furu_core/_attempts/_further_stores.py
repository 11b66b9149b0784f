"""Stores that are only read: results that are there count where the own store has none (`FURU_ALSO`).

Nothing is ever written there, not even a probe of the clock. A miss of the own store costs one look at each
of them. Where such a result was found bad, an attempt in the own store says so, and it does not count any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from furu_core._attempts import _attempts, _records
from furu_core._attempts._attempts import UNREADABLE
from furu_core._attempts._records import AttemptStatus
from furu_core._output import _logging
from furu_core._settings import _settings
from furu_core._store import _published
from furu_core._store._layout import NodeRef, is_hash
from furu_core._store._published import is_published

_looked_at: Final[set[tuple[Path, ...]]] = set()
_log = _logging.log.getChild("attempts")


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


def found_ref(ref: NodeRef) -> NodeRef | None:
    """Where the result of a node is: in the current store or a further one; or None."""
    if os.path.isdir(ref.artifact):
        return ref
    return elsewhere(ref) or (ref if is_published(ref) else None)


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
    names: frozenset[str] = frozenset()
    for store in also:
        names |= _published.listed(f"{store}/data/{below}")
    names = frozenset(filter(is_hash, names))
    attempted = _published.listed(class_dir) if names else frozenset()
    suspect = [one for one in names if f".{one}.1" in attempted]
    return names.difference(one for one in suspect if _was_bad(NodeRef(class_dir, one)))


def absent(refs: Iterable[NodeRef]) -> list[NodeRef]:
    """The nodes among some that have no artifact, at the cost of one listing per class and store.

    A listing shows artifacts of other hosts sooner than a `stat` of one folder does.
    """
    found = _published.absent_here(refs)
    if not _settings.settings().also:
        return found
    there: dict[str, frozenset[str]] = {}
    for ref in found:
        if ref.class_dir not in there:
            there[ref.class_dir] = listed_elsewhere(ref.class_dir)
    return [ref for ref in found if ref.hash not in there[ref.class_dir]]


def before(class_dir: str, store: Path) -> frozenset[str]:
    """The hashes of the results of a class in the stores that come before one that is only read."""
    settings = _settings.settings()
    below = class_dir.removeprefix(f"{store}/data/")
    earlier = [settings.path, *settings.also[: settings.also.index(store)]]
    return frozenset().union(*(_published.listed(f"{one}/data/{below}") for one in earlier))


def store_of(folder: str) -> Path | None:
    """The store that is only read in which a folder is; None for one of the current store."""
    settings = _settings.settings()
    if is_own(folder):
        return None
    return next((store for store in settings.also if folder.startswith(f"{store}/")), None)


def is_own(folder: str) -> bool:
    """Whether a folder is in the current store, and not in one that is only read."""
    return folder.startswith(f"{_settings.settings().path}/")


def further_stores() -> tuple[Path, ...]:
    """The stores that are only read; the first time, a warning names those that are not there."""
    also = _settings.settings().also
    if also and also not in _looked_at:
        _looked_at.add(also)
        for store in also:
            if not os.path.isdir(f"{store}/data"):
                _log.warning("FURU_ALSO names %s, which is no store: nothing is found there", store)
    return also


def _below_data(class_dir: str) -> str:
    return class_dir.removeprefix(f"{_settings.settings().path}/data/")


def _was_bad(ref: NodeRef) -> bool:
    """Whether the newest attempt in the current store says that a result elsewhere was bad."""
    try:
        known = _attempts.numbers(ref)
        return (
            bool(known)
            and _records.read_any(ref.attempt(known[-1])).status is AttemptStatus.INVALID
        )
    except UNREADABLE:
        return False
