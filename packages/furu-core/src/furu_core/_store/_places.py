"""Places of nodes in the store, for processes without the objects; and which have an artifact.

A scheduler's job has a small process that watches over the one with the user's code, and imports
none of that code. It finds out and records what happened to a node by the node's place.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from furu_core._config._objects import config_class, short_name
from furu_core._files import is_local_folder, store_error
from furu_core._settings import _settings
from furu_core._store import _layout
from furu_core._store._layout import NodePaths

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject


@attrs.frozen(slots=True)
class NodePlace:
    """The place of a node in the store.

    Attributes:
        folder: its class's folder, below `data` in the store.
        hash: its hash.
        name: its short name.

    Example:
        >>> from furu_core.planning import place_of
        >>> from furu_testing.nodes import Leaf
        >>> place_of(Leaf()).name == f"Leaf({Leaf().furu_hash[:6]})"
        True
    """

    folder: str
    hash: str
    name: str


Placed: TypeAlias = "ConfigObject | NodePlace"


def place_of(obj: ConfigObject) -> NodePlace:
    """The place of `obj`, which is the same in any store."""
    relpath = config_class(type(obj)).relpath
    return NodePlace(relpath, obj.furu_hash, short_name(obj))


def paths_of(node: Placed) -> NodePaths:
    """The folders of a node in the current store."""
    if isinstance(node, NodePlace):
        return NodePaths(f"{_settings.settings().path}/data/{node.folder}", node.hash)
    return _layout.node_paths(node)


def name_of(node: Placed) -> str:
    """The short name of a node."""
    return node.name if isinstance(node, NodePlace) else short_name(node)


# Which nodes have an artifact, also while a network filesystem's cache does not show it yet


def is_published(paths: NodePaths) -> bool:
    """Whether the artifact exists, also while this host's cache says that it does not."""
    if os.path.isdir(paths.artifact):
        return True
    if is_local_folder(paths.class_dir):
        return False  # on a local disk `stat` is never outdated
    return _is_there_on_opening(paths) or _is_listed_now_and_then(paths)


def _is_there_on_opening(paths: NodePaths) -> bool:
    """Whether the artifact exists, after asking the file server whether its parent has changed.

    NFS does so when a folder is opened, and then forgets which names it knew to be absent.
    """
    with suppress(OSError):
        os.close(os.open(paths.class_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    return os.path.isdir(paths.artifact)


# A listing of a class with many artifacts is slow, and each node that is computed asks for one.
_LISTED_SHARE: Final = 20.0
_FEW: Final = 1000  # names, which a file server tells in a few milliseconds
_listings: dict[
    str, tuple[float, float]
] = {}  # slow ones, by folder: when listed, how long it took


def _is_listed_now_and_then(paths: NodePaths) -> bool:
    """As `is_listed`, but a listing of many names is made for a small share of the time only.

    When it is not made, a node that another host has just published may be computed once more; its
    second result is discarded.
    """
    began = time.monotonic()
    last, took = _listings.get(paths.class_dir, (-math.inf, 0.0))
    if began - last < _LISTED_SHARE * took:
        return False
    names = listed(paths.class_dir)
    if len(names) > _FEW:
        _listings[paths.class_dir] = (began, time.monotonic() - began)
    return paths.hash in names


def is_listed(paths: NodePaths) -> bool:
    """Whether a listing of the class folder shows the artifact.

    On network filesystems a listing is fresher than a `stat` of a name that was absent before.
    """
    return paths.hash in listed(paths.class_dir)


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


def absent(places: Iterable[NodePlace]) -> list[NodePlace]:
    """The nodes among some that have no artifact, at the cost of one listing per class.

    A listing shows artifacts of other hosts sooner than a `stat` of one folder does.
    """
    by_folder: dict[str, list[NodePlace]] = {}
    for place in places:
        by_folder.setdefault(place.folder, []).append(place)
    found = []
    for members in by_folder.values():
        there = listed(paths_of(members[0]).class_dir)
        found += [place for place in members if place.hash not in there]
    return found
