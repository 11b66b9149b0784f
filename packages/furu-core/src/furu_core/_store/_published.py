"""Which nodes have an artifact, also while a network filesystem's cache does not show it yet."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from furu_core._files import is_local_folder, store_error
from furu_core._settings import _settings
from furu_core._store._layout import NodeRef


def found_ref(ref: NodeRef) -> NodeRef | None:
    """Where the result of a node is: in the current store or a further one; or None."""
    if _settings.settings().also and not os.path.isdir(ref.artifact):
        from furu_core._store import _further_stores  # few settings name further stores

        found = _further_stores.elsewhere(ref)
        if found is not None:
            return found
    return ref if is_published(ref) else None


def is_published(ref: NodeRef) -> bool:
    """Whether the artifact exists, also while this host's cache says that it does not."""
    if os.path.isdir(ref.artifact):
        return True
    if is_local_folder(ref.class_dir):
        return False  # on a local disk `stat` is never outdated
    return _is_there_on_opening(ref) or _is_listed_now_and_then(ref)


def _is_there_on_opening(ref: NodeRef) -> bool:
    """Whether the artifact exists, after asking the file server whether its parent has changed.

    NFS does so when a folder is opened, and then forgets which names it knew to be absent.
    """
    with suppress(OSError):
        os.close(os.open(ref.class_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    return os.path.isdir(ref.artifact)


# A listing of a class with many artifacts is slow, and each node that is computed asks for one.
_LISTED_SHARE: Final = 20.0
_FEW: Final = 1000  # names, which a file server tells in a few milliseconds
_listings: dict[
    str, tuple[float, float]
] = {}  # slow ones, by folder: when listed, how long it took


def _is_listed_now_and_then(ref: NodeRef) -> bool:
    """As `is_listed`, but a listing of many names is made for a small share of the time only.

    When it is not made, a node that another host has just published may be computed once more; its
    second result is discarded.
    """
    began = time.monotonic()
    last, took = _listings.get(ref.class_dir, (-math.inf, 0.0))
    if began - last < _LISTED_SHARE * took:
        return False
    names = listed(ref.class_dir)
    if len(names) > _FEW:
        _listings[ref.class_dir] = (began, time.monotonic() - began)
    return ref.hash in names


def is_listed(ref: NodeRef) -> bool:
    """Whether a listing of the class folder shows the artifact.

    On network filesystems a listing is fresher than a `stat` of a name that was absent before.
    """
    return ref.hash in listed(ref.class_dir)


def listed(folder: str) -> frozenset[str]:
    """The names in a folder; an empty set if there is no such folder.

    Raises:
        FuruStoreError: it cannot be read.
    """
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise store_error(error, folder, doing="read") from error


def absent(refs: Iterable[NodeRef]) -> list[NodeRef]:
    """The nodes among some that have no artifact, at the cost of one listing per class and store.

    A listing shows artifacts of other hosts sooner than a `stat` of one folder does.
    """
    by_folder: dict[str, list[NodeRef]] = {}
    for ref in refs:
        by_folder.setdefault(ref.class_dir, []).append(ref)
    found = []
    for folder, members in by_folder.items():
        there = listed(folder)
        if _settings.settings().also:
            from furu_core._store import _further_stores  # few settings name further stores

            there |= _further_stores.listed_elsewhere(folder)
        found += [ref for ref in members if ref.hash not in there]
    return found
