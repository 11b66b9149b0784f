"""The classes and nodes in the store, read without importing the code that made them.

A node is known here by its folder alone, so results whose classes were renamed or removed can be
listed, read and deleted as well. Listing costs one listing per class and no `stat` per node; a
record is read only for nodes that have attempts and no artifact.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core import _provenance, _text, _trust
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
from furu_core._store import _format1, _further_stores, _manifest, _successors
from furu_core._store._folders import class_folders, run_ids, runs_called
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

    @property
    def further(self) -> Path | None:
        """The store that is only read (`FURU_ALSO`) in which the folder is; None for the current one."""
        return _further_stores.store_of(self.folder) if _settings.settings().also else None

    def published(self) -> list[str]:
        """The hashes of all artifacts, sorted; in a further store of those that no store before it has."""
        found = sorted(filter(is_hash, _names(self.folder)))
        store = self.further
        return found if store is None else _further_stores.that_count(found, self.folder, store)

    def attempted(self) -> list[str]:
        """The hashes of all nodes that have attempts or a queued job, sorted; none of further stores."""
        if self.further is not None:
            return []
        return sorted(self.not_told_elsewhere(attempted_in(_names(self.folder))))

    def not_told_elsewhere(self, found: Collection[str]) -> Collection[str]:
        """The hashes, of some without a result here, but those that are told of with a further store, which has one."""
        if not found or self.further is not None or not _further_included.get():
            return found
        elsewhere = _further_stores.listed_elsewhere(self.folder)
        return [node_hash for node_hash in found if node_hash not in elsewhere]


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
    return _at(config_class(obj).identity_name, ref_of(obj))


def class_named(name: str) -> StoredClass:
    """The class of a name in hashes, as the current store has it or would have it."""
    return StoredClass(name, f"{_settings.settings().path}/data/{relpath_of(name)}")


def classes_named(name: str) -> list[StoredClass]:
    """As `class_named`, and the class as further stores have it where these are included."""
    own = class_named(name)
    further = _further_stores.further_stores() if _further_included.get() else ()
    return [own, *(StoredClass(name, f"{store}/data/{relpath_of(name)}") for store in further)]


def node_called(class_name: str, node_hash: str) -> StoredNode:
    """The node of a class's full name and a whole hash, whether there is one or not."""
    return _at(class_name, NodeRef(class_named(class_name).folder, node_hash))


def _at(class_name: str, ref: NodeRef) -> StoredNode:
    """The node of some folders, in the first further store that has its result if this one has none."""
    if _settings.settings().also and not os.path.isdir(ref.artifact):
        ref = _further_stores.elsewhere(ref) or ref
    return StoredNode(StoredClass(class_name, ref.class_dir), ref.hash)


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
    origin = _trust.origin_of(node.folder)
    return (
        record
        | ({} if origin is None else {"imported": attrs.asdict(origin)})
        | {
            "provenance": _provenance.expanded(record.get("provenance")),
            "code": _listings.expanded(record.get("code")),
        }
    )


def _warn(unreadable: FuruStoreError) -> None:
    _logging.log.warning("%s", unreadable)


def classes(
    refused: Callable[[FuruStoreError], object] = _warn, store: Path | None = None
) -> Iterator[StoredClass]:
    """All classes that have nodes in a store, by name.

    Args:
        refused: called with the error for a folder within the store that cannot be read.
        store: which; default: the current one.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    for folder in class_folders(refused, store):
        yield StoredClass(folder.name, folder.path)
    if store is None and _further_included.get():
        for further in _further_stores.further_stores():
            yield from classes(refused, further)


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
            hint=_where_else(name),
        )
    return found


def _where_else(name: str) -> str:
    """What to do about a name that means no node and no class, though it may mean a run."""
    run_id = name.removeprefix(_text.RUN_PREFIX)
    if runs_called(run_id, run_ids()) if run_id != name else run_id in run_ids():
        return f"it is a run: `furu status {run_id}` tells of it, `furu ls run:{run_id}` lists what it computed"
    hint = "`furu ls` lists what is there: hashes, of which the first digits do, and classes"
    if _settings.settings().also and not _further_included.get():
        hint += "; `furu ls --also` lists what is in the stores of FURU_ALSO, too"
    return hint


def are_further_included() -> bool:
    """Whether `classes` tells those of the stores that are only read as well."""
    return _further_included.get()


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


def find(name: str, *, also: bool = False) -> StoredNode:
    """The node that a name means.

    Args:
        also: whether results in stores that are only read (`FURU_ALSO`) are meant as well, of those that have
            none in this one.
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
    if match is not None:
        known = nodes_of(_classes_of(match, stored))
    found = list(dict.fromkeys([*named, *_begin_so(known, match)]))
    if not found and _settings.settings().also:
        found = _found_elsewhere(name, match)
        if len(found) == 1 and not also:
            raise FuruUsageError(
                f"{found[0].name} is not in {_settings.settings().path}, but in another store, which is only read: "
                f"{found[0].artifact}",
                hint="`furu show` and `furu why` find it there; whose store it is may change it, with FURU_PATH "
                "set to it",
            )
    if len(found) == 1:  # what failed here may be there elsewhere
        return _at(found[0].cls.name, found[0]) if also else found[0]
    if found:
        raise FuruUsageError(
            f"{name!r} means {len(found)} nodes: {_listed(found, len(prefix) + 4)}",
            hint="give more digits, or the class as well, `Class(digits)`; `furu ls` and `furu table` list those "
            "of a class",
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
        hint=_where_else(name),
    )


def _classes_of(match: re.Match[str], stored: list[StoredClass]) -> list[StoredClass]:
    """The classes among which a node's name means one."""
    if not match["cls"]:
        return stored
    try:
        return classes_called(match["cls"])
    except FuruUsageError:
        if not _settings.settings().also:
            raise
        return []


def _begin_so(known: Iterable[StoredNode], match: re.Match[str] | None) -> list[StoredNode]:
    # Small letters only: `Add` is a class, even if it is gone, and never the node add514.
    return [] if match is None else [one for one in known if one.hash.startswith(match["prefix"])]


def _found_elsewhere(name: str, match: re.Match[str] | None) -> list[StoredNode]:
    """The results that a name means in the first store that has such, of those that are only read."""
    for store in _further_stores.further_stores():
        stored = list(classes(store=store))
        within = stored if match is None or not match["cls"] else _called(stored, match["cls"])
        begin_so = _begin_so(nodes_of(within), match)
        found = dict.fromkeys([*nodes_of(_called(stored, name)), *begin_so])
        results = [node for node in found if os.path.isdir(node.artifact)]
        if results:
            return results
    return []


def classes_or_nodes(names: Iterable[str], *, also: bool = False) -> list[StoredClass | StoredNode]:
    """What names mean of which each is that of a class, for all its nodes, or that of one node.

    Args:
        names: of classes, as `classes_called` takes them; or of nodes, as `find` does.
        also: as for `find`.

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
            found.append(find(name, also=also))
    return found


def may_be_node(name: str) -> bool:
    """Whether a name has the form of one that means a node by its hash, though it may mean a class."""
    return _NAME.fullmatch(name.strip()) is not None


def _called(known: Iterable[StoredClass], name: str) -> list[StoredClass]:
    by_name: dict[str, list[StoredClass]] = {}  # several where further stores are included
    for cls in known:
        by_name.setdefault(cls.name, []).append(cls)
    return [cls for found in _text.meant(name, by_name) for cls in by_name[found]]


_further_included: ContextVar[bool] = ContextVar("further_included", default=False)


@contextmanager
def including_further(wanted: bool) -> Iterator[None]:
    """Have `classes` and `classes_named` tell those of the stores that are only read, too, after the current one's."""
    token = _further_included.set(wanted)
    try:
        yield
    finally:
        _further_included.reset(token)


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
