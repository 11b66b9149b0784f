"""Stores that are only read: results that are there count where the own store has none (`FURU_ALSO`).

Nothing is ever written there, not even a probe of the clock. A miss of the own store costs one look at each
of them. Where such a result was found bad, an attempt in the own store says so, and it does not count any more.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final

from furu_core._files import list_folder, store_error
from furu_core._settings import _settings
from furu_core._store import _format, _record_file
from furu_core._store._layout import INVALID, NodeRef, is_hash
from furu_core.errors import FuruStoreError

_STATUS_INVALID: Final = "invalid"  # of an attempt that ended since what it looked at was bad
_looked_at: Final[set[tuple[Path, ...]]] = set()


def elsewhere(ref: NodeRef) -> NodeRef | None:
    """Where a node is in the first further store that has its result; None where none has it.

    Args:
        ref: the node in the current store, which has no result.

    Raises:
        FuruStoreError: one cannot be read: what is there is not known then, and may have taken days.
        FuruFormatError: a newer furu made one.
    """
    also = further_stores()
    if not also:
        return None
    below = _below_data(ref.class_dir)
    for store in also:
        found = NodeRef(f"{store}/data/{below}", ref.hash, ref.class_name)
        if _is_folder(found.artifact):
            return None if _was_bad(ref) else found
    return None


def listed_elsewhere(class_dir: str) -> frozenset[str]:
    """The hashes of the results of a class in the further stores, without those that were bad.

    Args:
        class_dir: the folder of the class in the current store.

    Raises:
        FuruStoreError, FuruFormatError: as for `elsewhere`.
    """
    also = further_stores()
    if not also:
        return frozenset()
    below = _below_data(class_dir)
    listed = (_listed(f"{store}/data/{below}") for store in also)
    names = frozenset(filter(is_hash, chain.from_iterable(listed)))
    return names - _bad_among(names, class_dir, _listed(class_dir) if names else ())


def that_count(names: Iterable[str], class_dir: str, store: Path) -> list[str]:
    """Those of the results of a class in a store that is only read that are found there: no store before has them.

    Args:
        names: their hashes.
        class_dir: the folder of the class in that store.
        store: that store.
    """
    settings = _settings.settings()
    below = class_dir.removeprefix(f"{store}/data/")
    own_dir = f"{settings.path}/data/{below}"
    own = _listed(own_dir)
    before = set(own)
    for one in settings.also[: settings.also.index(store)]:
        before.update(_listed(f"{one}/data/{below}"))
    left = [name for name in names if name not in before]
    bad = _bad_among(left, own_dir, own)
    return [name for name in left if name not in bad]


def store_of(folder: str) -> Path | None:
    """The store that is only read in which a folder is; None for one of the current store."""
    settings = _settings.settings()
    if is_own(folder):
        return None
    return next((store for store in settings.also if folder.startswith(f"{store}/data/")), None)


def is_own(folder: str) -> bool:
    """Whether a folder is in the current store, and not in one that is only read."""
    return folder.startswith(f"{_settings.settings().path}/data/")


def further_stores() -> tuple[Path, ...]:
    """The stores that are only read, each once; the first time, a warning names those that are not there.

    Raises:
        FuruFormatError: a newer furu made one.
    """
    settings = _settings.settings()
    also = settings.also
    if len(also) > 1 or settings.path in also:
        also = tuple(store for store in dict.fromkeys(also) if store != settings.path)
    if also and also not in _looked_at:
        for store in also:
            _format.refuse_newer(store)
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
        raise _unreadable(error, folder) from error


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(error, path) from error


def _unreadable(error: OSError, path: str) -> FuruStoreError:
    found = store_error(error, path, doing="read")
    if not is_own(path):
        found.hint = "have it made readable; or take that store out of FURU_ALSO, and do without what is there"
    return found


def _bad_among(names: Iterable[str], class_dir: str, listed: Iterable[str]) -> set[str]:
    """The hashes, of some, of which an attempt in the current store says that a result elsewhere was bad."""
    attempted = frozenset(listed)
    suspect = [one for one in names if f".{one}.1" in attempted]
    return {one for one in suspect if _was_bad(NodeRef(class_dir, one))}


def _was_bad(ref: NodeRef) -> bool:
    """Whether an attempt in the current store says that a result elsewhere was bad."""
    number = 1
    while os.path.lexists(ref.attempt(number)):  # nearly always there is none
        if _found_bad(ref, number):
            return True
        number += 1
    return False


def _found_bad(ref: NodeRef, number: int) -> bool:
    try:
        told = json.loads(_record_file.read(ref.attempt(number)).story or b"{}")
        if told.get("status") != _STATUS_INVALID or told["ended"].get("culprit"):
            return False  # or it was a dependency that was bad
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False
    return not os.path.lexists(ref.beside(number, INVALID))  # else it was the own one, moved aside
