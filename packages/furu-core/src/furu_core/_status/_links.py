"""What each result in the store was made of: the dependencies in its record, with their digests.

Records are read without importing the code that made them, and each at most once. A record names a
dependency by its hash alone; its class is in the configs around it, and else the whole store is
listed once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._status._stored_nodes import StoredClass, StoredNode, class_named
from furu_core._store import _further_stores, _manifest, _record_file
from furu_core._store._manifest import DamagedArtifact
from furu_core.errors import FuruFormatError

ATTEMPT: Final = "attempt "  # begins what stands in for the digest of a result that has none


@attrs.frozen
class Links:
    """What a result was made of, as its record has it.

    Attributes:
        node: the node.
        digest: of its result, or what stands in for it; empty where it cannot be read.
        declared: hashes of the nodes that had to be there before.
        used: hashes of those whose results were loaded, with their digests at that time.
        code: the digest of the code that ran; empty where it is not known.
        named: hashes of the configs that its config holds, many of which are declared.
    """

    node: StoredNode
    digest: str
    declared: tuple[str, ...] = ()
    used: Mapping[str, str] = attrs.field(factory=dict)
    code: str = ""
    named: tuple[str, ...] = ()

    @property
    def below(self) -> tuple[str, ...]:
        """The hashes of all that it depends on, each once."""
        return tuple(dict.fromkeys([*self.declared, *self.used]))


class LinkReader:
    """Reads what results were made of; it shows the store as it was when each record was read."""

    def __init__(self) -> None:
        self._read: dict[str, Links | None] = {}
        self._classes: dict[str, StoredClass] = {}
        self._found: dict[str, StoredNode] = {}
        self._listed = False
        self._further: dict[str, StoredNode] | None = None  # results in other stores

    def at(self, node: StoredNode) -> Links | None:
        """The links of a node; None where it has no result that can be read."""
        try:
            return self._read[node.hash]
        except KeyError:
            return self._keep(node)

    def of(self, node_hash: str) -> Links | None:
        """The links of the node with a hash; None where it has no result that can be read."""
        if node_hash in self._read:
            return self._read[node_hash]
        node = self._found.get(node_hash)
        if node is not None:
            there = self._keep(node)
            if there is not None:
                return there
            del self._read[node_hash]  # another class's folder may have it
        if not self._listed:
            for _ in self._every():
                pass
        node = self._found.get(node_hash)
        found = None if node is None else self._keep(node)
        if found is None and _settings.settings().also:
            node = self._elsewhere(node_hash)
            found = None if node is None else self._keep(node)
        self._read[node_hash] = found
        return found

    def _elsewhere(self, node_hash: str) -> StoredNode | None:
        """The node with a hash in a store that is only read; None where none has its result."""
        if self._further is None:
            self._further = {}
            for store in reversed(_further_stores.further_stores()):
                for cls in _stored_nodes.classes(store=store):
                    self._further |= {one: StoredNode(cls, one) for one in cls.published()}
        return self._further.get(node_hash)

    def every(self) -> Iterator[Links]:
        """The links of all results in the store.

        Raises:
            FuruStoreError: it cannot be read.
        """
        for node in list(self._every()):
            links = self.at(node)
            if links is not None:
                yield links

    def dependents(self, nodes: Iterable[StoredNode]) -> list[StoredNode]:
        """All results that were made of some nodes, directly or by way of others, in no order."""
        above: dict[str, list[StoredNode]] = {}
        for links in self.every():
            for below in links.below:
                above.setdefault(below, []).append(links.node)
        pending = [node.hash for node in nodes]
        seen = set(pending)
        found = []
        while pending:
            for node in above.get(pending.pop(), ()):
                if node.hash not in seen:
                    seen.add(node.hash)
                    found.append(node)
                    pending.append(node.hash)
        return found

    def _every(self) -> Iterator[StoredNode]:
        for cls in _stored_nodes.classes():
            for node_hash in cls.published():
                node = self._found[node_hash] = StoredNode(cls, node_hash)
                yield node
        self._listed = True

    def _keep(self, node: StoredNode) -> Links | None:
        found = self._read[node.hash] = self._links(node)
        return found

    def _links(self, node: StoredNode) -> Links | None:
        folder = node.artifact
        try:
            found = _record_file.read(folder)
        except OSError:
            found = None
        if found is None or not found.story:
            return _links_of_format1(node)
        try:
            claim, manifest, story = map(json.loads, (found.claim, found.manifest, found.story))
            named = self._note_classes(claim.get("config"))
            dependencies = story.get("dependencies") or {}
            return Links(
                node,
                manifest.get("digest") or f"{ATTEMPT}{claim['token']}",
                tuple(dependencies.get("declared", ())),
                dict(dependencies.get("used", {})),
                story.get("code", ""),
                named,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # `furu verify` tells of damage

    def _note_classes(self, config: Any) -> tuple[str, ...]:
        """Note the classes of the nodes that a config holds; their hashes."""
        hashes: dict[str, None] = {}
        pending = [config]
        while pending:
            value = pending.pop()
            if isinstance(value, dict):
                node_hash, name = value.get("$ref"), value.get("class")
                if isinstance(node_hash, str) and isinstance(name, str):
                    hashes[node_hash] = None
                    self._found.setdefault(node_hash, StoredNode(self._class(name), node_hash))
                else:
                    pending += value.values()
            elif isinstance(value, list):
                pending += value
        return tuple(hashes)

    def _class(self, name: str) -> StoredClass:
        found = self._classes.get(name)
        if found is None:
            found = self._classes[name] = class_named(name)
        return found


def _links_of_format1(node: StoredNode) -> Links | None:
    """The links of a result of format 1, which names no dependencies, or of one that is shown late."""
    try:
        manifest = _manifest.read(node.artifact)
    except (DamagedArtifact, FuruFormatError, OSError):
        return None
    return None if manifest is None else Links(node, manifest.digest or manifest.stand_in)
