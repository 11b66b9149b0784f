"""Nodes known by where they stand in the store, to processes that cannot make the nodes themselves.

A scheduler's job has a small process that watches over the one with the user's code, and imports none
of it. What happened to a node it learns, and records, by the node's place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from furu_core._config._config_lookup import config_class
from furu_core._files import store_error
from furu_core._settings import _settings
from furu_core._store import _layout
from furu_core._store._layout import NodePaths

if TYPE_CHECKING:
    from furu_core._furu import Furu


@attrs.frozen(slots=True)
class NodePlace:
    """Where a node stands in the store.

    Attributes:
        folder: its class's folder, below `data` in the store.
        hash: its hash.
        name: its short name.

    Example:
        >>> from furu_core.executors import place_of
        >>> from furu_testing.nodes import Leaf
        >>> place_of(Leaf()).name == f"Leaf({Leaf().furu_hash[:6]})"
        True
    """

    folder: str
    hash: str
    name: str


Placed: TypeAlias = "Furu[Any] | NodePlace"


def place_of(obj: Furu[Any]) -> NodePlace:
    """Where `obj` stands in any store."""
    relpath = config_class(type(obj)).relpath
    return NodePlace(relpath, obj.furu_hash, _layout.short_name(obj))


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


def paths_of(node: Placed) -> NodePaths:
    """The folders of a node in the current store."""
    if isinstance(node, NodePlace):
        return NodePaths(f"{_settings.current().path}/data/{node.folder}", node.hash)
    return _layout.node_paths(node)


def name_of(node: Placed) -> str:
    """The short name of a node."""
    return node.name if isinstance(node, NodePlace) else _layout.short_name(node)


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
