"""Verifying a store: whether each artifact is what was published, and all that its record names.

Others may write to the store meanwhile. Damage is believed only if a second look found it in a folder
that did not change; what vanished is no damage. Nothing is written, save a file for a moment that
tells the filesystem's time where the age of a leftover matters; and nothing of a user's is imported
or unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import attrs

from furu_core import _files, _provenance
from furu_core._attempts import _attempts, _liveness, _publishing, _records
from furu_core._attempts._liveness import Life
from furu_core._code import _listings
from furu_core._files import store_error
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._status._links import ATTEMPT, LinkReader
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._store import _examining, _format1
from furu_core._store._by_content import ContentFolder
from furu_core._store._examining import Examined
from furu_core._store._layout import RECORD_FILE, attempted_in, is_hash
from furu_core._store._manifest import DamagedArtifact
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruStoreError

REMOVE: Final = "furu rm "  # begins the next step for what is removed and computed again
_LOOKS: Final = 5  # at an artifact that changes whenever it is looked at
Progress: TypeAlias = "Callable[[Verified], object]"


@attrs.frozen
class Finding:
    """One thing that verifying a store found.

    Attributes:
        hash: the node's hash; empty for what belongs to no node.
        class_name: the node's class; empty for what belongs to none.
        path: the file or folder.
        what: what is the matter with it, in words.
        next_step: what to do about it; empty where nothing need be done.
    """

    hash: str
    class_name: str
    path: str
    what: str
    next_step: str = ""


@attrs.define
class Verified:
    """What verifying a store found so far.

    Attributes:
        artifacts: how many artifacts were looked at.
        damaged_artifacts: how many of them are damaged.
        bytes_read: how much was read.
        damage: what is not as it was published.
        unreadable: what could not be looked at, and so not compared.
        without_digest: how many files have no digest, so that only their sizes were compared.
        notes: what is no damage and still worth knowing.
    """

    artifacts: int = 0
    damaged_artifacts: int = 0
    bytes_read: int = 0
    damage: list[Finding] = attrs.field(factory=list)
    unreadable: list[Finding] = attrs.field(factory=list)
    without_digest: int = 0
    notes: list[Finding] = attrs.field(factory=list)

    @property
    def not_compared(self) -> int:
        """How many files and folders were not compared."""
        return len(self.unreadable) + self.without_digest


def verify(
    chosen: Iterable[StoredClass | StoredNode] | None = None,
    *,
    deep: bool,
    progress: Progress | None = None,
) -> Verified:
    """Verify the current store, or a part of it.

    Args:
        chosen: classes and nodes; None for the whole store.
        deep: read all contents that have a digest and compare them, and the dependencies' digests.
        progress: called after each artifact with what was found so far.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    walk = _StoreWalk(deep)
    for looked in walk.look(chosen):
        if looked is not None:
            walk.take(looked)
        if progress is not None:
            progress(walk.done)
    walk.compare_shared()
    if deep:
        walk.compare_dependencies()
    return walk.done


@attrs.frozen
class _Looked:
    """A look at one artifact, and what its record tells."""

    node: StoredNode
    found: Examined
    told: dict[str, Any]


# What records name by a digest, the folder of it, and what it is to them.
_NAMED: Final = {
    "provenance": (_provenance.FOLDER, "provenance"),
    "code": (_listings.LISTINGS, "code"),
}


class _StoreWalk:
    """A walk over the store, and what is compared at its end."""

    def __init__(self, deep: bool) -> None:
        self.done = Verified()
        self._deep = deep
        self._digests: dict[str, tuple[str, StoredNode]] = {}
        self._used: list[tuple[StoredNode, str, str]] = []
        self._shared: dict[tuple[ContentFolder, str], int] = {}  # how many records name each
        self._whole = False

    # Looking

    def look(self, chosen: Iterable[StoredClass | StoredNode] | None) -> Iterator[_Looked | None]:
        """Look at each artifact; None for one that has vanished."""
        self._whole = chosen is None
        if chosen is None:
            chosen = _stored_nodes.classes(self._note_refused)
        for one in chosen:
            if isinstance(one, StoredNode):
                yield self._look_at(one)
                self._look_at_attempts(one)
                continue
            try:
                names = frozenset(_files.list_folder(one.folder))
            except OSError as error:
                self._note_refused(store_error(error, one.folder, doing="read"), one)
                continue
            for node_hash in sorted(filter(is_hash, names)):
                yield self._look_at(StoredNode(one, node_hash))
            for node_hash in sorted(attempted_in(names)):
                self._look_at_attempts(StoredNode(one, node_hash))
            self._look_at_others(one, names)

    def _note_refused(self, error: FuruStoreError, cls: StoredClass | None = None) -> None:
        name = "" if cls is None else cls.name
        self.done.unreadable.append(Finding("", name, str(error.path), error.message))

    def _look_at(self, node: StoredNode) -> _Looked | None:
        looked = _look_once(node, deep=self._deep)
        folder = node.artifact
        for _ in range(_LOOKS):
            if looked is None or not (looked.found.damage or looked.found.unreadable):
                return looked
            before = _state(folder)
            looked = _look_once(node, deep=self._deep)
            if before == _state(folder):
                return looked
        if looked is not None and looked.found.damage:
            looked.found.damage.clear()
            why = "it was replaced whenever it was looked at"
            looked.found.unreadable.append(DamagedArtifact(folder, why))
        return looked

    def _look_at_attempts(self, node: StoredNode) -> None:
        try:
            numbers = _attempts.numbers(node)
        except FuruStoreError as error:
            self._note_refused(error, node.cls)
            return
        for number in numbers:
            folder = node.attempt(number)
            try:
                _records.read_any(folder)
            except FuruDamagedRecord as damage:
                lease_secs = _settings.settings().lease_secs
                # Its holder may be writing it, or mend it at its end.
                if _liveness.judge_unread(folder, lease_secs).life is Life.DEAD:
                    self._note(node, f"{folder}/{RECORD_FILE}", damage.reason, _remove(node))
            except FuruFormatError:
                continue
            except OSError as error:
                if os.path.isdir(folder) and not isinstance(error, FileNotFoundError):
                    reason = error.strerror or type(error).__name__
                    self.done.unreadable.append(_unread(node, DamagedArtifact(folder, reason)))

    def _look_at_others(self, cls: StoredClass, names: frozenset[str]) -> None:
        for left in _publishing.leftovers(cls.folder, names):
            why = "a process that died more than a day ago left it"
            step = "the next computation of a node of this class removes it"
            self.done.notes.append(Finding("", cls.name, left, why, step))
        for name in sorted(names):
            if name.startswith(".") or is_hash(name):
                continue
            if os.path.exists(f"{cls.folder}/{name}/{RECORD_FILE}"):
                why = "a result by another name than its hash, which nobody finds there"
                self.done.notes.append(Finding("", cls.name, f"{cls.folder}/{name}", why))

    # Taking down what was found

    def take(self, looked: _Looked) -> None:
        """Take down what a look found, and what is to be compared at the end."""
        node, found, done = looked.node, looked.found, self.done
        done.artifacts += 1
        done.bytes_read += found.bytes_read
        done.without_digest += found.without_digest
        done.damage += [_finding(node, damage) for damage in found.damage]
        done.damaged_artifacts += bool(found.damage)
        done.unreadable += [_unread(node, unread) for unread in found.unreadable]
        if found.upgrade_left:
            self._note(node, node.artifact, "an upgrade has not ended here", "furu upgrade")
        for key, (folder, _) in _NAMED.items():
            if isinstance(digest := looked.told.get(key), str):
                self._shared[folder, digest] = self._shared.get((folder, digest), 0) + 1
        if self._deep and found.manifest is not None:
            digest = found.manifest.digest or found.manifest.stand_in
            self._digests[node.hash] = (digest, node)
            self._used += [(node, below, then) for below, then in _used(looked.told) if then]

    def _note(self, node: StoredNode, path: str, what: str, next_step: str = "") -> None:
        self.done.notes.append(Finding(node.hash, node.cls.name, path, what, next_step))

    # Comparing what records name

    def compare_shared(self) -> None:
        """Compare the files that many records name: their provenance, and their code."""
        sources: dict[tuple[ContentFolder, str], int] = {}
        for (folder, digest), named in self._shared.items():
            if folder is _listings.LISTINGS and (listing := _listings.read(digest)) is not None:
                for module in listing.modules.values():
                    if module.source and not module.is_omitted:
                        source = (_listings.SOURCES, module.source)
                        sources[source] = sources.get(source, 0) + named
        meant = dict(_NAMED.values())
        for (folder, digest), named in sorted(
            [*self._shared.items(), *sources.items()],
            key=lambda item: (item[0][0].name, item[0][1]),
        ):
            self._compare(folder, digest, f"{meant.get(folder, 'source of a module')} of {named}")

    def _compare(self, folder: ContentFolder, digest: str, meant: str) -> None:
        path = folder.path_of(digest)
        try:
            damage = folder.damage_of(digest, deep=self._deep)
            if self._deep and not damage:
                self.done.bytes_read += os.path.getsize(path)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.done.unreadable.append(Finding("", "", path, reason))
            return
        if damage:
            damage += f"; it is the {meant} of these artifacts"
            step = "put a copy of the file there; the results themselves do not need it"
            self.done.damage.append(Finding("", "", path, damage, step))

    def compare_dependencies(self) -> None:
        """Note which results were made of another result than the one that is there now."""
        links = LinkReader()
        for node, below, then in self._used:
            if below not in self._digests and not self._whole:
                found = links.of(below)
                if found is not None:
                    self._digests[below] = (found.digest, found.node)
            now, dependency = self._digests.get(below, ("", None))
            if dependency is None or now in ("", then):
                continue
            what = f"used another result of {dependency} than the one that is there now"
            if then.startswith(ATTEMPT) or now.startswith(ATTEMPT):
                what = (
                    f"used a result of {dependency} from before it was computed again; not compared"
                )
            self._note(node, node.artifact, what)


def _look_once(node: StoredNode, *, deep: bool) -> _Looked | None:
    folder = node.artifact
    found = _examining.examine(folder, deep=deep)
    if found is None:
        return None
    told: dict[str, Any] = {}
    if found.manifest is not None:
        path = f"{folder}/{RECORD_FILE}"
        try:
            told = _told(folder, path, found)
        except FuruDamagedRecord as damage:
            found.damage.append(DamagedArtifact(path, f"it cannot be read ({damage.reason})"))
        except (TypeError, AttributeError, ValueError) as error:
            found.damage.append(DamagedArtifact(path, f"it cannot be read ({error})"))
        except FuruFormatError as error:
            found.unreadable.append(DamagedArtifact(path, error.message))
        else:
            whose = (told.get("class_name", node.cls.name), told.get("hash", node.hash))
            if whose != (node.cls.name, node.hash):
                what = f"it is the record of {whose[0]}({whose[1]})"
                found.damage.append(DamagedArtifact(path, what))
    return _Looked(node, found, told)


def _told(folder: str, path: str, found: Examined) -> dict[str, Any]:
    """What the record of an artifact tells.

    Raises:
        FuruDamagedRecord, FuruFormatError: it cannot be read.
    """
    if found.record is None:
        return _format1.read_record(folder)
    record = _records.of_parts(found.record, path)
    told: dict[str, Any] = json.loads(found.record.story)
    return {**told, "class_name": record.class_name, "hash": record.hash}


def _used(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    dependencies = told.get("dependencies")
    used = dependencies.get("used") if isinstance(dependencies, dict) else None
    return iter(used.items() if isinstance(used, dict) else ())


def _finding(node: StoredNode, damage: DamagedArtifact) -> Finding:
    no_folder = damage.path == node.artifact
    step = "move it away" if no_folder else _remove(node)
    return Finding(node.hash, node.cls.name, damage.path, damage.reason, step)


def _unread(node: StoredNode, found: DamagedArtifact) -> Finding:
    step = "verify it as a user who may read it, with a furu that knows its format"
    return Finding(node.hash, node.cls.name, found.path, found.reason, step)


def _remove(node: StoredNode) -> str:
    return f"{REMOVE}{node.hash[:12]}"


def _state(folder: str) -> tuple[int, ...]:
    """What tells whether a folder was renamed, replaced or written into."""
    try:
        found = os.lstat(folder)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
