"""The classes and nodes in the store, read without importing the code that made them.

A node is known here by its folder alone, so results whose classes were renamed or removed can be
listed, read and deleted as well. Listing costs one listing per class and no `stat` per node; a
record is read only for nodes that have attempts and no artifact.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from typing import Any, Final

import attrs

from furu_core import _provenance, _text
from furu_core._attempts import _attempts, _records
from furu_core._attempts._records import AttemptRecord
from furu_core._code import _listings
from furu_core._config._class_names import relpath_of
from furu_core._config._objects import ConfigObject, config_class, short_name
from furu_core._context._context import exec_context
from furu_core._files import store_error
from furu_core._output import _logging
from furu_core._settings import _settings
from furu_core._status import _state_reader, _trash
from furu_core._status._states import NodeInfo, NodeState
from furu_core._store import _format1, _manifest, _successors
from furu_core._store._folders import class_folders
from furu_core._store._layout import NodeRef, attempted_in, is_hash, ref_of
from furu_core._store._published import is_published
from furu_core.errors import (
    FuruDamagedRecord,
    FuruFormatError,
    FuruMissingArtifact,
    FuruStoreError,
    FuruUsageError,
)

_NAME: Final = re.compile(r"(?:(?P<cls>.*)\()?(?P<prefix>[0-9a-fA-F]+)…?\)?")
_SHOWN: Final = 10


@attrs.frozen
class StoredClass:
    """A folder of the store that holds the nodes of one class.

    Attributes:
        name: its name in hashes: ``"exp.train:Train"``.
        folder: its path.
    """

    name: str
    folder: str

    @property
    def short(self) -> str:
        """The name without its module."""
        return self.name.rpartition(":")[2]

    def published(self) -> list[str]:
        """The hashes of all artifacts, sorted."""
        return sorted(filter(is_hash, _names(self.folder)))

    def attempted(self) -> list[str]:
        """The hashes of all nodes that have attempts or a queued job, sorted."""
        return sorted(attempted_in(_names(self.folder)))


@attrs.frozen(init=False)
class StoredNode(NodeRef):
    """A node of the store, whose records can be read.

    Args:
        cls: its class.
        hash: its hash.
    """

    cls: StoredClass = attrs.field(kw_only=True, eq=False)

    def __init__(self, cls: StoredClass, hash: str) -> None:
        self.__attrs_init__(cls.folder, hash, cls.short, cls=cls)

    def info(self) -> NodeInfo:
        """The node's state; UNREADABLE if its record is damaged or of a newer furu."""
        if os.path.isdir(self.artifact):
            return NodeInfo(NodeState.DONE)
        try:
            return _state_reader.look(self)
        except FuruStoreError as error:
            return NodeInfo(NodeState.UNREADABLE, reason=str(error))

    def record(self) -> dict[str, Any]:
        """What the record of the artifact, or else of the newest attempt, tells, as JSON.

        It is empty where there is none, or it is damaged.
        """
        folder = self.artifact
        if not os.path.isdir(folder):
            folder = self.folder
        with suppress(OSError, ValueError):
            claim, story = _records.raw(folder)
            return {**claim, **story}
        return _format1.read_record(folder)

    @property
    def folder(self) -> str:
        """The folder of the artifact, or else of the newest attempt."""
        if os.path.isdir(self.artifact):
            return self.artifact
        return self.attempt(max(_attempts.numbers(self), default=1))

    def manifest(self) -> _manifest.Manifest | None:
        """The manifest of the artifact; None where there is none.

        Raises:
            DamagedArtifact: its files do not match.
            FuruStoreError: it cannot be read, or only by a newer furu.
        """
        return _manifest.check(self.artifact)

    def attempts(self) -> list[AttemptRecord]:
        """The records of the attempts on disk, without those that cannot be read."""
        found = []
        for number in _attempts.numbers(self):
            with suppress(OSError, FuruDamagedRecord, FuruFormatError):
                found.append(_records.read(self.attempt(number)))
        return found

    def __repr__(self) -> str:
        return self.name


def node_of(obj: ConfigObject) -> StoredNode:
    """The node of an object, as listings have it."""
    ref = ref_of(obj)
    return StoredNode(StoredClass(config_class(obj).identity_name, ref.class_dir), ref.hash)


def class_named(name: str) -> StoredClass:
    """The class of a name in hashes, as the current store has it or would have it."""
    return StoredClass(name, f"{_settings.settings().path}/data/{relpath_of(name)}")


def node_called(class_name: str, node_hash: str) -> StoredNode:
    """The node of a class's full name and a whole hash, whether there is one or not."""
    return StoredNode(class_named(class_name), node_hash)


def record_of(obj: ConfigObject) -> dict[str, Any]:
    """What the record of an object's artifact tells, with the provenance and the code that it names.

    Raises:
        FuruMissingArtifact: there is no artifact.
    """
    node = node_of(obj)
    record = node.record() if is_published(node) else {}
    if not record:
        name = short_name(obj)
        raise FuruMissingArtifact(
            f"{name} has no result, so nothing tells where it comes from",
            asker=exec_context().who,
            node=name,
            hash=node.hash,
            hint="call get() first",
        )
    return record | {
        "provenance": _provenance.expanded(record.get("provenance")),
        "code": _listings.expanded(record.get("code")),
    }


def _warn(unreadable: FuruStoreError) -> None:
    _logging.log.warning("%s", unreadable)


def classes(
    refused: Callable[[FuruStoreError], object] = _warn,
) -> Iterator[StoredClass]:
    """All classes that have nodes in the current store, by name.

    Args:
        refused: called with the error for a folder within the store that cannot be read.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    for folder in class_folders(refused):
        yield StoredClass(folder.name, folder.path)


def classes_called(name: str) -> list[StoredClass]:
    """The classes that `name` means: the one with exactly that name, else all whose names end in it.

    Else those that were renamed and are called so today, if newer records say so.

    Raises:
        FuruUsageError: there is none.
    """
    known = list(classes())
    found = _called(known, name) or [cls for cls in known if _is_now_called(cls, name)]
    if not found:
        raise FuruUsageError(
            f"the store {_settings.settings().path} has no class {name!r}"
            + _text.did_you_mean_class(name, [cls.name for cls in known]),
            hint="`furu ls` lists what is there",
        )
    return found


def _is_now_called(cls: StoredClass, name: str) -> bool:
    return any(_text.is_called(now, name) for now in _successors.importables(cls.name))


def nodes(chosen: Iterable[StoredClass]) -> Iterator[tuple[StoredNode, NodeInfo]]:
    """All nodes of some classes and their states, class by class, artifacts first."""
    done = NodeInfo(NodeState.DONE)
    for cls in chosen:
        published = cls.published()
        for node_hash in published:
            yield StoredNode(cls, node_hash), done
        there = set(published)
        for node_hash in cls.attempted():
            if node_hash not in there:
                node = StoredNode(cls, node_hash)
                info = node.info()
                if info.state is not NodeState.ABSENT:
                    yield node, info


def find(name: str) -> StoredNode:
    """The node that a name means.

    Args:
        name: the name of a class that has one node only; a hash, or the beginning of one, in small
            letters as it is shown; or a short name such as ``Train(3fa9c1)``. A name that is both a
            class name and the beginning of a hash means both.

    Raises:
        FuruUsageError: it means none, or several; the error names them, or similar ones.
    """
    name = name.strip()
    match = _NAME.fullmatch(name)
    prefix = "" if match is None else match["prefix"].lower()
    stored = list(classes())
    named = nodes_of(_called(stored, name))
    known: list[StoredNode] = []
    begin_so: list[StoredNode] = []
    if match is not None:
        known = nodes_of(classes_called(match["cls"]) if match["cls"] else stored)
        # Small letters only: `Add` is a class, even if it is gone, and never the node add514.
        begin_so = [node for node in known if node.hash.startswith(match["prefix"])]
    found = list(dict.fromkeys([*named, *begin_so]))
    if len(found) == 1:
        return found[0]
    if found:
        raise FuruUsageError(
            f"{name!r} means {len(found)} nodes: {_listed(found, len(prefix) + 4)}",
            hint="give more digits, or the class as well: `Class(digits)`",
        )
    if gone := _trash.results_called(prefix):
        raise FuruUsageError(
            f"{name!r} was removed, and is in the trash",
            hint=f"`furu rm --undo {min(gone)[0][:12]}` puts it back",
        )
    similar = sorted(known, key=lambda node: -_common(node.hash, prefix))[:5]
    of_class = match is not None and match["cls"]
    similar = [node for node in similar if of_class or _common(node.hash, prefix) >= 3]
    raise FuruUsageError(
        f"the store {_settings.settings().path} has no node {name!r}"
        + (f"; similar are {_listed(similar, 12)}" if similar else "")
        + ("" if similar else _text.did_you_mean_class(name, [cls.name for cls in stored])),
        hint="`furu ls` lists what is there: hashes, of which the first digits do, and classes",
    )


def classes_or_nodes(names: Iterable[str]) -> list[StoredClass | StoredNode]:
    """What names mean of which each is that of a class, for all its nodes, or that of one node.

    Args:
        names: of classes, as `classes_called` takes them; or of nodes, as `find` does.

    Raises:
        FuruUsageError: a name means nothing, or both, or several nodes.
    """
    stored = list(classes())
    found: list[StoredClass | StoredNode] = []
    for name in map(str.strip, names):
        called = _called(stored, name)
        if called and not any(node.hash.startswith(name) for node in nodes_of(stored)):
            found += called
        else:
            found.append(find(name))
    return found


def may_be_node(name: str) -> bool:
    """Whether a name has the form of one that means a node by its hash, though it may mean a class."""
    return _NAME.fullmatch(name.strip()) is not None


def _called(known: Iterable[StoredClass], name: str) -> list[StoredClass]:
    by_name = {cls.name: cls for cls in known}
    return [by_name[found] for found in _text.meant(name, by_name)]


def nodes_of(chosen: Iterable[StoredClass]) -> list[StoredNode]:
    """All nodes of some classes, also those of which a bad artifact is all that there is."""
    return [
        StoredNode(cls, node_hash)
        for cls in chosen
        for node_hash in sorted({*cls.published(), *cls.attempted()})
    ]


def _listed(found: list[StoredNode], digits: int) -> str:
    shown = [f"{node.cls.name}({node.hash[: max(digits, 6)]})" for node in found[:_SHOWN]]
    more = len(found) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _common(first: str, second: str) -> int:
    same = (a == b for a, b in zip(first, second, strict=False))
    return sum(takewhile(bool, same))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _logging.log.warning("%s", store_error(error, folder, doing="read"))
        return []
