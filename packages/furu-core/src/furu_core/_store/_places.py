"""Nodes known by where they stand in the store, to processes that cannot make the nodes themselves.

A scheduler's job has a small process that watches over the one with the user's code, and imports none
of it. What happened to a node it learns, and records, by the node's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from furu_core._config._objects import config_class, short_name
from furu_core._settings import _settings
from furu_core._store import _layout
from furu_core._store._layout import NodePaths

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject


@attrs.frozen(slots=True)
class NodePlace:
    """Where a node stands in the store.

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
    """Where `obj` stands in any store."""
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
