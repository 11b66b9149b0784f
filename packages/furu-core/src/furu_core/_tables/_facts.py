"""The facts of stored nodes, for tables, filters and statistics: one record read for each, and each once.

::

    <store>/index/<module path>/<Class>.json    the facts of a class's results

A published result never changes, so its facts are kept in an index. The index is never the truth: it counts only
while the class's folder is the same one and was not changed, and else those entries do whose result's folder is the
same one, by inode and time. It may be removed at any time, and where it cannot be written, records are read instead.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from furu_core import _files
from furu_core._attempts import _liveness
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._store import _format1, _manifest, _record_file
from furu_core._store._layout import attempted_in, is_hash
from furu_core._tables import _packed
from furu_core._tables._packed import Packed
from furu_core.errors import FuruError

FOLDER: Final = "index"
_VERSION: Final = 2
_FEW: Final = 100  # results that are not worth an index
_MANY: Final = (
    200  # nodes of a class for which its index is read, and all records that are not in it
)
_SETTLED_SECS: Final = 2.5  # longer than the clock of any filesystem stands still
_LARGE: Final = 4096  # characters of a result that is not kept among the facts


@attrs.frozen
class NodeFacts:
    """What is known of a node without its result's files.

    Attributes:
        node: the node.
        state: how it stands.
        config: the node's own config as its record has it: `class`, `fields`, and `nodes` where it holds configs
            without results of their own.
        result: the result, where it stands in the record, as JSON with tags for types that JSON lacks;
            else None.
        has_result: whether `result` is one.
        stored_as: the codec of a result that is not in `result`; empty where that is one, and
            where the class loads files itself.
        digest: of the result; empty where there is none.
        size: of the result's files, in bytes.
        costs: time, processor time and memory, by the names that the record has.
        started: when the attempt began, in seconds since 1970.
        ended: when it ended; None while it runs.
        host: where it was computed.
        owner: the id of the user who has its folder.
        run_id: the run that computed it; empty for an interactive `get()`.
        executor: of that run.
        spec_key: of its worker.
        attempt: the number of the attempt.
        made_by: `put` or `adopted` where furu did not compute it.
        declared: hashes of the nodes that had to be there before.
        used: hashes of those that were loaded, with the digests of their results.
        code: the digest of the code that ran.
        kind: why the attempt failed, where it did.
        error_type: the name of the exception's class.
        message: its text.
        at: file and line of the user's code that raised it.
        files: how many files the result has.
    """

    node: StoredNode
    state: NodeState
    config: dict[str, Any] = attrs.field(factory=dict)
    result: Any = None
    has_result: bool = False
    stored_as: str = ""
    digest: str = ""
    size: int = 0
    costs: dict[str, float] = attrs.field(factory=dict)
    started: float | None = None
    ended: float | None = None
    host: str = ""
    owner: int | None = None
    run_id: str = ""
    executor: str = ""
    spec_key: str = ""
    attempt: int | None = None
    made_by: str = ""
    declared: tuple[str, ...] = ()
    used: dict[str, str] = attrs.field(factory=dict)
    code: str = ""
    kind: str = ""
    error_type: str = ""
    message: str = ""
    at: str = ""
    files: int = 0

    def part(self, name: str, key: str = "") -> Any:
        """An attribute, or what it has under a key, in plain JSON; `hash` and `class` are the node's."""
        match name:
            case "hash":
                return self.node.hash
            case "class":
                return self.node.cls.name
            case "state":
                return self.state.value
            case _:
                found = getattr(self, name)
                return found.get(key) if key else found


_KEPT: Final = tuple(
    field.name for field in attrs.fields(NodeFacts) if field.name not in ("node", "state")
)


class FactColumns:
    """The facts of nodes of one class, attribute by attribute.

    Args:
        cls: the class.
        facts: of its nodes.
    """

    def __init__(self, cls: StoredClass, facts: Sequence[NodeFacts]) -> None:
        self.cls = cls
        self._facts = facts

    def __len__(self) -> int:
        return len(self._facts)

    def facts(self) -> Sequence[NodeFacts]:
        """The facts, node by node."""
        return self._facts

    def column(self, name: str, key: str = "") -> list[Any]:
        """A part of all nodes' facts, in their order, as `NodeFacts.part` has it of one."""
        return [one.part(name, key) for one in self._facts]

    def packed(self, name: str) -> Packed:
        """An attribute of all nodes, packed as far as it was packed before."""
        return {"each": self.column(name)}

    def by_key(self, name: str, key: str = "") -> dict[str, list[Any]]:
        """What such a part, which is a dict, has under each of its keys; `ABSENT` where nothing is."""
        return _packed.by_key({"each": self.column(name, key)}, len(self))


class _IndexedColumns(FactColumns):
    """Facts of results as the index of their class has them.

    Args:
        cls: the class.
        hashes: of the results.
        columns: attributes of `NodeFacts`, each packed.
    """

    def __init__(self, cls: StoredClass, hashes: list[str], columns: dict[str, Packed]) -> None:
        super().__init__(cls, ())
        self._hashes = hashes
        self._columns = columns

    def __len__(self) -> int:
        return len(self._hashes)

    def facts(self) -> Sequence[NodeFacts]:
        cells = [_packed.unpack(self._columns[name], len(self)) for name in _KEPT]
        nodes = [StoredNode(self.cls, node_hash) for node_hash in self._hashes]
        rows = zip(nodes, *cells, strict=True)
        return [NodeFacts(node, NodeState.DONE, *row) for node, *row in rows]

    def column(self, name: str, key: str = "") -> list[Any]:
        match name:
            case "hash":
                return self._hashes
            case "class":
                return [self.cls.name] * len(self)
            case "state":
                return [NodeState.DONE.value] * len(self)
            case _:
                return _packed.unpack(self._part(name, key), len(self))

    def packed(self, name: str) -> Packed:
        return self._columns[name]

    def by_key(self, name: str, key: str = "") -> dict[str, list[Any]]:
        return _packed.by_key(self._part(name, key), len(self))

    def _part(self, name: str, key: str) -> Packed:
        found = self._columns[name]
        return _packed.under_key(found, key) if key else found


class FactReader:
    """Reads the facts of nodes, as the store has them when a class is first asked for."""

    def __init__(self) -> None:
        self._listed: dict[StoredClass, _Listed] = {}
        self._by_class: dict[StoredClass, dict[str, NodeFacts]] = {}
        self._asked: Counter[StoredClass] = Counter()  # nodes that were read one by one

    def results(self, cls: StoredClass) -> dict[str, NodeFacts]:
        """The facts of all results of a class, by their hashes, in the order of these."""
        if cls not in self._by_class:
            facts = self._read(cls).results.facts()
            self._by_class[cls] = {one.node.hash: one for one in facts}
        return self._by_class[cls]

    def columns(self, classes: Iterable[StoredClass] | None = None) -> Iterator[FactColumns]:
        """The facts of all nodes of some classes, of each results first; default: of the whole store.

        Raises:
            FuruStoreError: the store cannot be read.
        """
        for cls in _stored_nodes.classes() if classes is None else classes:
            yield self._read(cls).results
            yield FactColumns(cls, self._unfinished(cls))

    def nodes(self, classes: Iterable[StoredClass] | None = None) -> Iterator[NodeFacts]:
        """The facts of all nodes of some classes; default: of the whole store.

        Raises:
            FuruStoreError: the store cannot be read.
        """
        for cls in _stored_nodes.classes() if classes is None else classes:
            yield from self.results(cls).values()
            yield from self._unfinished(cls)

    def _unfinished(self, cls: StoredClass) -> list[NodeFacts]:
        """The facts of nodes that have attempts, or a job, and no result."""
        unfinished = cls.not_told_elsewhere(self._read(cls).unfinished)
        nodes = (StoredNode(cls, node_hash) for node_hash in unfinished)
        return [found for found in map(facts_of, nodes) if found.state is not NodeState.ABSENT]

    def _read(self, cls: StoredClass) -> _Listed:
        if cls not in self._listed:
            self._listed[cls] = _read_class(cls)
        return self._listed[cls]

    def of(self, node: StoredNode) -> NodeFacts:
        """The facts of one node."""
        if node.cls not in self._by_class:
            self._asked[node.cls] += 1
            if self._asked[node.cls] > _MANY:
                self.results(node.cls)
        found = self._by_class.get(node.cls, {}).get(node.hash)
        return facts_of(node) if found is None else found


def facts_of(node: StoredNode) -> NodeFacts:
    """The facts of a node, from its record."""
    folder = node.artifact
    with suppress(OSError):
        return _of_result(node, os.stat(folder).st_uid)
    info = node.info()
    facts = NodeFacts(node, info.told)
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        folder = node.folder
        facts = attrs.evolve(facts, owner=os.stat(folder).st_uid)
        found = _record_file.read(folder)
        told = _told(json.loads(found.claim), {}, json.loads(found.story or b"{}"))
        facts = attrs.evolve(facts, **told)
    failure = info.failure
    if failure is not None:
        facts = attrs.evolve(
            facts,
            kind=failure.kind.value,
            error_type=failure.error_type,
            message=failure.message,
            at=failure.at,
        )
    return facts


def config_in(folder: str) -> dict[str, Any]:
    """The config of the node whose record is in a folder; empty where it cannot be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        found = json.loads(_record_file.read(folder).claim).get("config")
        return found if isinstance(found, dict) else {}
    return {}


def _of_result(node: StoredNode, owner: int) -> NodeFacts:
    """The facts of a result.

    Raises:
        FileNotFoundError: it is gone.
    """
    folder = node.artifact
    facts = NodeFacts(node, NodeState.DONE, owner=owner)
    try:
        found = _record_file.read(folder)
    except FileNotFoundError:
        os.stat(folder)
        if os.path.isdir(f"{folder}/{_format1.OLD}"):
            return _of_format1(facts)
        try:
            found = _record_file.read(folder)  # another one has been published in this moment
        except OSError:
            return facts
    except OSError:
        return facts  # `furu verify` tells of damage
    with suppress(ValueError, TypeError, AttributeError, KeyError):
        parts = (found.claim, found.manifest or b"{}", found.story or b"{}")
        return NodeFacts(node, NodeState.DONE, owner=owner, **_told(*map(json.loads, parts)))
    return facts


def _of_format1(facts: NodeFacts) -> NodeFacts:
    folder = facts.node.artifact
    record = _format1.read_record(folder)
    with suppress(FuruError, OSError, _manifest.DamagedArtifact, ValueError, TypeError):
        manifest = _manifest.read(folder)
        size = 0 if manifest is None else sum(size for size, _ in manifest.files.values())
        told = _told(record, {}, record)
        told |= {"size": size, "files": 0 if manifest is None else len(manifest.files)}
        facts = attrs.evolve(facts, **told)
    return facts


def _told(claim: dict[str, Any], manifest: dict[str, Any], story: dict[str, Any]) -> dict[str, Any]:
    """Facts as the parts of a record have them."""
    result = manifest.get("result") or {}
    ended = story.get("ended") or {}
    dependencies = story.get("dependencies") or {}
    kept = "value" in result and _is_small(result["value"])
    return {
        "config": claim.get("config") or {},
        "result": result["value"] if kept else None,
        "has_result": kept,
        "stored_as": "" if kept else result.get("codec", ""),
        "digest": manifest.get("digest", ""),
        "size": sum(size for size, _ in manifest.get("files", {}).values()),
        "costs": story.get("costs") or {},
        "started": claim.get("started"),
        "ended": ended.get("time"),
        "host": (claim.get("holder") or {}).get("host", ""),
        "run_id": claim.get("run_id", ""),
        "executor": claim.get("executor", ""),
        "spec_key": claim.get("spec_key", ""),
        "attempt": claim.get("number"),
        "made_by": story.get("made_by", ""),
        "declared": tuple(dependencies.get("declared", ())),
        "used": dependencies.get("used", {}),
        "code": story.get("code", ""),
        "kind": ended.get("kind") or "",
        "error_type": ended.get("error_type") or "",
        "message": ended.get("message") or "",
        "at": ended.get("at") or "",
        "files": len(manifest.get("files", {})),
    }


def _is_small(value: Any) -> bool:
    if isinstance(value, str | list | dict):
        return len(str(value)) < _LARGE
    return True


# The index


@attrs.frozen
class _Listed:
    """The nodes of a class.

    Attributes:
        results: the facts of its results.
        unfinished: the hashes of nodes that have attempts and no result.
    """

    results: FactColumns
    unfinished: list[str]


@attrs.frozen
class _Index:
    """What the index of a class holds.

    Attributes:
        stamp: what tells the class's folder, as it was listed for the index, from that folder after
            any change; None where that is not certain.
        folders: of each result by its hash, what tells its folder from another one.
        unfinished: as in `_Listed`.
        columns: the facts of the results, packed.
    """

    stamp: list[int] | None
    folders: dict[str, tuple[int, int]]
    unfinished: list[str]
    columns: dict[str, Packed]


def _read_class(cls: StoredClass) -> _Listed:
    if cls.further is not None:
        return _read_further(cls)
    index = _read_index(cls)
    stamp = _stamp(cls.folder)
    if index is not None and stamp is not None and stamp == index.stamp:
        hashes = list(index.folders)
        return _Listed(_IndexedColumns(cls, hashes, index.columns), index.unfinished)
    if not _is_settled(cls.folder):
        stamp = None
    folders, attempted = _folders(cls)
    known = {} if index is None else _known(cls, index, folders)
    facts: list[NodeFacts] = []
    for node_hash in folders:
        with suppress(FileNotFoundError):  # removed in this moment
            node = StoredNode(cls, node_hash)
            facts.append(known.get(node_hash) or _of_result(node, folders[node_hash].owner))
    unfinished = [node_hash for node_hash in attempted if node_hash not in folders]
    if len(folders) > _FEW:
        changes = len(facts) - len(known)
        if index is not None:
            changes += len(index.folders) - len(known)
        if changes > len(folders) // 20 or stamp is not None:
            found = {one.node.hash: folders[one.node.hash].identity for one in facts}
            index = _Index(stamp, found, unfinished, _pack(facts))
            _write_index(cls, index)
            return _Listed(_IndexedColumns(cls, list(found), index.columns), unfinished)
    return _Listed(FactColumns(cls, facts), unfinished)


def _read_further(cls: StoredClass) -> _Listed:
    """The results of a class in a store that is only read: its index is used, and nothing written."""
    hashes = cls.published()
    folders = _folders(cls)[0]
    index = _read_index(cls)
    known = {} if index is None else _known(cls, index, folders)
    facts = []
    for node_hash in hashes:
        with suppress(FileNotFoundError, KeyError):  # removed in this moment
            node = StoredNode(cls, node_hash)
            facts.append(known.get(node_hash) or _of_result(node, folders[node_hash].owner))
    return _Listed(FactColumns(cls, facts), [])


def _known(
    cls: StoredClass, index: _Index, folders: Mapping[str, _ResultFolder]
) -> dict[str, NodeFacts]:
    """The facts in the index of results that are still the same."""
    facts = _IndexedColumns(cls, list(index.folders), index.columns).facts()
    found = zip(index.folders.items(), facts, strict=True)
    return {
        node_hash: one
        for (node_hash, identity), one in found
        if node_hash in folders and folders[node_hash].identity == identity
    }


def _stamp(folder: str) -> list[int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return [status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _is_settled(folder: str) -> bool:
    """Whether the next change gives the folder another time, however coarse the filesystem's are."""
    age = _liveness.lease_age(folder)
    return age is not None and age > _SETTLED_SECS


@attrs.frozen
class _ResultFolder:
    """A result's folder.

    Attributes:
        owner: the id of its user.
        identity: what tells it from another one.
    """

    owner: int
    identity: tuple[int, int]


def _folders(cls: StoredClass) -> tuple[dict[str, _ResultFolder], list[str]]:
    """The folders of results by their hashes, and the hashes of nodes with attempts; both in order."""
    found = {}
    names = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(cls.folder) as scan:
        for entry in scan:
            names.append(entry.name)
            if is_hash(entry.name):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    identity = status.st_ino, status.st_mtime_ns
                    found[entry.name] = _ResultFolder(status.st_uid, identity)
    return dict(sorted(found.items())), sorted(attempted_in(names))


def _pack(facts: Sequence[NodeFacts]) -> dict[str, Packed]:
    return {name: _packed.pack([getattr(one, name) for one in facts]) for name in _KEPT}


def _index_path(cls: StoredClass) -> str:
    store = str(cls.further or _settings.settings().path)
    return f"{store}/{FOLDER}/{os.path.relpath(cls.folder, f'{store}/data')}.json"


def _read_index(cls: StoredClass) -> _Index | None:
    """The index of a class; None where there is none that is whole and of this version."""
    try:
        told = json.loads(_files.read_file(_index_path(cls)))
        if told.pop("furu") != _VERSION or list(told["columns"]) != list(_KEPT):
            return None
        identities = zip(told.pop("inodes"), told.pop("changed"), strict=True)
        folders = dict(zip(told.pop("hashes"), identities, strict=True))
        for packed in told["columns"].values():
            _packed.check(packed, len(folders))
        return _Index(folders=folders, **told)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _write_index(cls: StoredClass, index: _Index) -> None:
    told = {
        "furu": _VERSION,
        "stamp": index.stamp,
        "hashes": list(index.folders),
        "inodes": [inode for inode, _ in index.folders.values()],
        "changed": [changed for _, changed in index.folders.values()],
        "unfinished": index.unfinished,
        "columns": index.columns,
    }
    path = _index_path(cls)
    with suppress(OSError):  # the store is read-only, or full: the next one reads records again
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _files.replace_file(path, json.dumps(told, separators=(",", ":")).encode())
