"""The facts of stored nodes, for tables, filters and statistics: one record read for each, and each once.

::

    <store>/index/<module path>/<Class>.json    the facts of a class's results

A published result never changes, so its facts are kept in an index. The index is never the truth: an entry counts
only while the result's folder is the same one, by its inode and times; it may be removed at any time, and where it
cannot be written, records are read instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from furu_core import _files
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._store import _format1, _manifest, _record_file
from furu_core._store._layout import is_hash
from furu_core.errors import FuruError

FOLDER: Final = "index"
_VERSION: Final = 1
_FEW: Final = 100  # results that are not worth an index
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
        self.hashes = [one.node.hash for one in facts]
        self._facts = facts

    def __len__(self) -> int:
        return len(self.hashes)

    def column(self, name: str, key: str = "") -> list[Any]:
        """An attribute of all nodes, in their order.

        Args:
            name: the attribute of `NodeFacts`.
            key: one in that attribute, of which the value is taken, or None where it is absent.
        """
        return [one.part(name, key) for one in self._facts]


class FactReader:
    """Reads the facts of nodes, as the store has them when a class is first asked for."""

    def __init__(self) -> None:
        self._by_class: dict[StoredClass, dict[str, NodeFacts]] = {}

    def results(self, cls: StoredClass) -> dict[str, NodeFacts]:
        """The facts of all results of a class, by their hashes, in the order of these."""
        if cls not in self._by_class:
            self._by_class[cls] = _results(cls)
        return self._by_class[cls]

    def columns(self, classes: Iterable[StoredClass] | None = None) -> Iterator[FactColumns]:
        """The facts of all nodes of some classes, results of a class first; default: of the whole store.

        Raises:
            FuruStoreError: the store cannot be read.
        """
        for cls in _stored_nodes.classes() if classes is None else classes:
            results = self.results(cls)
            yield FactColumns(cls, list(results.values()))
            yield FactColumns(cls, list(_unfinished(cls, results)))

    def nodes(self, classes: Iterable[StoredClass] | None = None) -> Iterator[NodeFacts]:
        """The facts of all nodes of some classes; default: of the whole store.

        Raises:
            FuruStoreError: the store cannot be read.
        """
        for cls in _stored_nodes.classes() if classes is None else classes:
            results = self.results(cls)
            yield from results.values()
            yield from _unfinished(cls, results)

    def of(self, node: StoredNode) -> NodeFacts:
        """The facts of one node."""
        found = self._by_class.get(node.cls, {}).get(node.hash)
        return facts_of(node) if found is None else found


def _unfinished(cls: StoredClass, results: Container[str]) -> Iterator[NodeFacts]:
    """The facts of nodes that have attempts, or a job, and no result."""
    for node_hash in cls.attempted():
        if node_hash not in results:
            found = facts_of(StoredNode(cls, node_hash))
            if found.state is not NodeState.ABSENT:
                yield found


def facts_of(node: StoredNode) -> NodeFacts:
    """The facts of a node, from its record."""
    folder = node.paths.artifact
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
        )
    return facts


def _of_result(node: StoredNode, owner: int) -> NodeFacts:
    """The facts of a result.

    Raises:
        FileNotFoundError: it is gone.
    """
    folder = node.paths.artifact
    facts = NodeFacts(node, NodeState.DONE, owner=owner)
    try:
        found = _record_file.read(folder)
    except FileNotFoundError:
        os.stat(folder)
        return _of_format1(facts)
    except OSError:
        return facts  # `furu verify` tells of damage
    with suppress(ValueError, TypeError, AttributeError, KeyError):
        parts = (found.claim, found.manifest or b"{}", found.story or b"{}")
        facts = attrs.evolve(facts, **_told(*map(json.loads, parts)))
    return facts


def _of_format1(facts: NodeFacts) -> NodeFacts:
    folder = facts.node.paths.artifact
    record = _format1.read_record(folder)
    with suppress(FuruError, OSError, _manifest.DamagedArtifact, ValueError, TypeError):
        manifest = _manifest.read(folder)
        size = 0 if manifest is None else sum(size for size, _ in manifest.files.values())
        facts = attrs.evolve(facts, size=size, **_told(record, {}, record))
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
    }


def _is_small(value: Any) -> bool:
    if isinstance(value, str | list | dict):
        return len(str(value)) < _LARGE
    return True


# The index


def _results(cls: StoredClass) -> dict[str, NodeFacts]:
    folders = _folders(cls)
    index = _read_index(cls) if len(folders) > _FEW else {}
    found: dict[str, NodeFacts] = {}
    new = 0
    for node_hash, (owner, state) in folders.items():
        node = StoredNode(cls, node_hash)
        entry = index.get(node_hash)
        if entry is not None and entry[0] == state:
            found[node_hash] = _from_entry(node, entry[1])
            continue
        with suppress(FileNotFoundError):  # removed in this moment
            found[node_hash] = _of_result(node, owner)
            new += 1
    gone = len(index) - (len(found) - new)
    if len(folders) > _FEW and new + gone > len(folders) // 20:
        _write_index(cls, found, folders)
    return found


def _folders(cls: StoredClass) -> dict[str, tuple[int, list[int]]]:
    """The owner of each result's folder, and what tells the folder from another one, by hash."""
    found = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(cls.folder) as scan:
        for entry in scan:
            if is_hash(entry.name):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found[entry.name] = (status.st_uid, [status.st_ino, status.st_mtime_ns])
    return dict(sorted(found.items()))


def _from_entry(node: StoredNode, kept: list[Any]) -> NodeFacts:
    return NodeFacts(node, NodeState.DONE, *kept)


def _index_path(cls: StoredClass) -> str:
    store = str(_settings.settings().path)
    return f"{store}/{FOLDER}/{os.path.relpath(cls.folder, f'{store}/data')}.json"


def _read_index(cls: StoredClass) -> dict[str, Any]:
    """The entries of a class's index: for each result, what tells its folder from others, and its facts."""
    try:
        told = json.loads(_files.read_file(_index_path(cls)))
        if told["furu"] != _VERSION or told["kept"] != list(_KEPT):
            return {}
        entries: dict[str, Any] = told["entries"]
        return entries
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _write_index(
    cls: StoredClass, facts: dict[str, NodeFacts], folders: dict[str, tuple[int, list[int]]]
) -> None:
    entries = {
        node_hash: [folders[node_hash][1], [getattr(one, name) for name in _KEPT]]
        for node_hash, one in facts.items()
    }
    told = {"furu": _VERSION, "kept": list(_KEPT), "entries": entries}
    path = _index_path(cls)
    with suppress(OSError):  # the store is read-only, or full: the next one reads records again
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _files.replace_file(path, json.dumps(told, separators=(",", ":")).encode())
