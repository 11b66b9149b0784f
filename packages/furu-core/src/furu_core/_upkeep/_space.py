"""How much room nodes take up, and all else that is in the store.

The bytes and files of a result are those that its record names, so nothing is read but records; what attempts left,
and folders that are not of nodes, are looked through. A result that was adopted has the files of another one, with
which they count.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import attrs

from furu_core._settings import _settings
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass
from furu_core._store._adoption_records import ADOPTED
from furu_core._store._layout import attempted_in
from furu_core._store._manifest import UNLISTED
from furu_core._tables._facts import NodeFacts

_DATA: Final = "data"
_OWN: Final = 2  # a result's folder, and its record


@attrs.frozen
class Space:
    """What takes up room.

    Attributes:
        nodes: how many nodes.
        inodes: how many files and folders.
        bytes: in the files.
    """

    nodes: int = 0
    inodes: int = 0
    bytes: int = 0

    def __add__(self, other: Space) -> Space:
        """Both together."""
        return Space(self.nodes + other.nodes, self.inodes + other.inodes, self.bytes + other.bytes)


class SizeReader:
    """Tells what nodes take up; the folder of each class is listed once."""

    def __init__(self) -> None:
        self._beside: dict[StoredClass, dict[str, list[str]]] = {}

    def of(self, facts: NodeFacts) -> Space:
        """What a node takes up: its result, and what its attempts left."""
        space = Space(1)
        if facts.state is NodeState.DONE:
            is_shared = facts.made_by == ADOPTED and _identity(facts).names > 1
            space += Space(0, _OWN) if is_shared else Space(0, _OWN + facts.files, facts.size)
        for path in self._of_class(facts.node.cls).get(facts.node.hash, ()):
            space += below(path)
        return space

    def _of_class(self, cls: StoredClass) -> dict[str, list[str]]:
        found = self._beside.get(cls)
        if found is None:
            found = self._beside[cls] = {}
            with suppress(OSError):
                for name in os.listdir(cls.folder):
                    for node_hash in attempted_in([name]):
                        found.setdefault(node_hash, []).append(f"{cls.folder}/{name}")
        return found


@attrs.frozen
class _Identity:
    """What a file of a result is, by whatever name.

    Attributes:
        file: device and inode.
        names: how many names it has on that disk.
    """

    file: tuple[int, int] = (0, 0)
    names: int = 1


def _identity(facts: NodeFacts) -> _Identity:
    """What the first file of a result is that its record names; nothing special where there is none."""
    pending = [facts.node.artifact] if facts.files else []
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as scan:
            for entry in scan:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and entry.name not in UNLISTED:
                    status = entry.stat(follow_symlinks=False)
                    return _Identity((status.st_dev, status.st_ino), status.st_nlink)
    return _Identity()


def staying(going: Iterable[NodeFacts]) -> dict[str, int]:
    """Bytes that stay on the disk though some nodes go, as results that were adopted of them stay; by hash.

    Args:
        going: the nodes.
    """
    found = [(facts, _identity(facts)) for facts in going if facts.size]
    names = Counter(identity.file for _, identity in found)
    return {
        facts.node.hash: facts.size
        for facts, identity in found
        if facts.made_by != ADOPTED and identity.names > names[identity.file]
    }


def below(path: str) -> Space:
    """What a file takes up, or a folder with all that is in it."""
    inodes, size = 0, 0
    pending = [path]
    while pending:
        one = pending.pop()
        try:
            with os.scandir(one) as scan:
                inodes += 1
                for entry in scan:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        continue
                    with suppress(OSError):
                        size += entry.stat(follow_symlinks=False).st_size
                        inodes += 1
        except NotADirectoryError:
            with suppress(OSError):
                size += os.lstat(one).st_size
                inodes += 1
        except OSError:
            continue  # removed in this moment, or not ours to read
    return Space(0, inodes, size)


def others() -> dict[str, Space]:
    """What the folders of the store take up that are not of nodes, by their names."""
    store = str(_settings.settings().path)
    found = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(store)):
            if name != _DATA and os.path.isdir(f"{store}/{name}"):
                found[name] = below(f"{store}/{name}")
    return found
