"""Which nodes have an artifact, also where the caches of a network filesystem still deny it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from furu_core._files import is_local_folder, store_error
from furu_core._store._layout import NodePaths
from furu_core._store._places import NodePlace, paths_of


def is_published(paths: NodePaths) -> bool:
    """Whether the artifact exists, also when this host's cache still says that it does not."""
    if os.path.isdir(paths.artifact):
        return True
    # Listing a class of many artifacts is dear, and on a local disk `stat` is never behind.
    return not is_local_folder(paths.class_dir) and is_listed(paths)


def is_listed(paths: NodePaths) -> bool:
    """Whether a listing of the class folder shows the artifact.

    On network filesystems a listing is fresher than a `stat` of a name that was absent before.
    """
    try:
        return paths.hash in os.listdir(paths.class_dir)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise store_error(error, paths.class_dir, doing="read") from error


def listed(folder: str) -> frozenset[str]:
    """The names in a folder; none if there is no such folder.

    Raises:
        FuruStoreError: it cannot be read.
    """
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise store_error(error, folder, doing="read") from error


def absent(places: Iterable[NodePlace]) -> list[NodePlace]:
    """Those of some nodes that have no artifact, at the price of one listing per class.

    A listing shows what other hosts published sooner than a look at one folder does.
    """
    by_folder: dict[str, list[NodePlace]] = {}
    for place in places:
        by_folder.setdefault(place.folder, []).append(place)
    found = []
    for members in by_folder.values():
        there = listed(paths_of(members[0]).class_dir)
        found += [place for place in members if place.hash not in there]
    return found
