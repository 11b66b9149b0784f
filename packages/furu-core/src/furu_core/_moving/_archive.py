"""What an archive of results holds, as its first member tells: all names, sizes and digests.

::

    furu-export.json                              the index
    data/<module path>/<Class>/<hash>/...         a result: its record first, then its files
    provenance/<digest>.json                      what the records name, as in a store
    code/<digest>.json
    code/sources/<digest>.py

An archive comes from anybody. So whoever reads one takes no name from its members: they must be those that the
index tells, in its order, and a path is made of nothing that did not pass `check` here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from furu_core._attempts import _records
from furu_core._attempts._records import AttemptStatus
from furu_core._code import _listings
from furu_core._config._class_names import relpath_of
from furu_core._provenance import FOLDER as PROVENANCE
from furu_core._record_format import OMIT_EMPTY, RecordFormat, from_json
from furu_core._store import _examining, _manifest
from furu_core._store._folders import class_in
from furu_core._store._format1 import RESULT_PREFIX as FORMAT1_PREFIX
from furu_core._store._layout import LOG_FILE, RECORD_FILE, RESULT_PREFIX, is_hash
from furu_core._store._manifest import UNLISTED, Manifest
from furu_core.errors import FuruArchiveError, FuruDamagedRecord, FuruFormatError

INDEX: Final = "furu-export.json"
INDEX_LIMIT: Final = 256 << 20  # bytes; that of 100,000 results has 30 MB
SMALL_LIMIT: Final = 64 << 20  # bytes of a record, a listing, a source: what is read as a whole
_NAME_LIMIT: Final = 255  # bytes of one name in a folder, on nearly all filesystems
_PATH_LIMIT: Final = 3500  # bytes of a path below the store; the system takes 4096 in all
_SIZE_LIMIT: Final = 1 << 62
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
# Files that all results share, and their folders: whatever a folder needs comes before it.
SHARED: Final = (_listings.SOURCES, _listings.LISTINGS, PROVENANCE)

Entries = dict[str, tuple[int, str]]  # sizes and digests by name


@attrs.frozen
class ArchivedNode:
    """A result in an archive.

    Attributes:
        class_name: the name of its class in hashes.
        hash: its hash.
        files: size and digest of each of its files, in their order; its record is the first one.
    """

    class_name: str
    hash: str
    files: Entries

    @property
    def below(self) -> str:
        """Its folder, below the store."""
        return f"data/{relpath_of(self.class_name)}/{self.hash}"

    @property
    def record_digest(self) -> str:
        """The digest of its record, which no other result has."""
        return self.files[RECORD_FILE][1]

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(size for size, _ in self.files.values())

    @property
    def name(self) -> str:
        """Its short name."""
        return f"{self.class_name.rpartition(':')[2]}({self.hash[:6]})"


@attrs.frozen
class Index:
    """What an archive holds.

    Attributes:
        roots: the hashes of the results that were asked for; the others are what these depend on.
        nodes: the results, each after those that it depends on.
        shared: size and digest of each file that records name, by its path in a store.
        missing: hashes of results that some depend on and that the store did not have.
    """

    roots: tuple[str, ...]
    nodes: tuple[ArchivedNode, ...]
    shared: Entries = attrs.field(factory=dict)
    missing: tuple[str, ...] = attrs.field(default=(), metadata=OMIT_EMPTY)

    def members(self) -> Iterator[tuple[str, int, str]]:
        """All members after the index, in their order: name, size and digest."""
        for node in self.nodes:
            below = node.below
            for name, (size, digest) in node.files.items():
                yield f"{below}/{name}", size, digest
        for name, (size, digest) in self.shared.items():
            yield name, size, digest

    @property
    def bytes(self) -> int:
        """The size of all members after the index."""
        return sum(size for _, size, _ in self.members())


INDEX_FORMAT: Final = RecordFormat(
    Index,
    "the index of an archive",
    version=1,
    key="furu_export",
    next_step="get the file once more from where it was exported",
    next_step_other_version="upgrade furu-core here to the version that wrote it",
)


def refused(why: str, hint: str = "") -> FuruArchiveError:
    """The error for an archive that is not what `furu export` writes."""
    return FuruArchiveError(
        f"the archive is not imported: {why}",
        hint=hint or "get it once more from where it was exported; nothing was changed here",
    )


def check(index: Index) -> None:
    """Refuse an index that names anything but results and what their records name.

    Raises:
        FuruArchiveError: it does.
    """
    seen: set[str] = set()
    for node in index.nodes:
        _check_node(node)
        if node.hash in seen:
            raise refused(f"the result {node.hash} is in it twice")
        seen.add(node.hash)
    for name, (size, digest) in index.shared.items():
        known = {f"{one.name}/{digest}{one.suffix}" for one in SHARED}
        _check_size(name, size, digest)
        if name not in known or size > SMALL_LIMIT:
            raise refused(f"{name!r} is no file that records of results name, or is too large")
    for node_hash in (*index.roots, *index.missing):
        if not is_hash(node_hash):
            raise refused(f"{node_hash!r:.80} is no hash")


def _check_node(node: ArchivedNode) -> None:
    what = f"{node.class_name!r:.200}"
    try:
        below = relpath_of(node.class_name)
        same = class_in(f"{below}/") == node.class_name
    except (ValueError, OverflowError):
        same = False
    # Below a name that is a hash there are the files of another result. What a terminal would obey is no name.
    if (
        not same
        or not node.class_name.isprintable()
        or any(is_hash(part) for part in below.split("/"))
    ):
        raise refused(f"{what} is no name of a class")
    check_names([below], f"the name of the class {what}")
    if not is_hash(node.hash):
        raise refused(f"{node.hash!r:.80} is no hash")
    if next(iter(node.files), "") != RECORD_FILE:
        raise refused(f"{node.name} does not begin with its record")
    for name, (size, digest) in node.files.items():
        _check_size(name, size, digest)
    if node.files[RECORD_FILE][0] > SMALL_LIMIT:
        raise refused(f"the record of {node.name} has {node.files[RECORD_FILE][0]:,} bytes")
    check_names(node.files, node.name)
    for name in node.files:
        first = name.partition("/")[0]
        if (
            first in UNLISTED and name not in (RECORD_FILE, LOG_FILE)
        ) or f"{first}/" == FORMAT1_PREFIX:
            raise refused(f"{node.name} has a file {name!r:.200}, which no result has")
    if len(node.below.encode("utf-8", "surrogateescape")) > _PATH_LIMIT:
        raise refused(f"the path of {node.name} is too long")


def check_names(names: Entries | dict[str, str] | list[str], whose: str) -> None:
    """Refuse names of files that lead elsewhere, cannot be made, or stand in each other's way.

    Args:
        names: paths, relative to the folder of a result.
        whose: what has them, for the error.

    Raises:
        FuruArchiveError: one does.
    """
    folders: set[str] = set()
    for name in names:
        parts = name.split("/")
        long = max(map(_length, parts)) > _NAME_LIMIT or _length(name) > _PATH_LIMIT
        if long or "\0" in name or any(part in ("", os.curdir, os.pardir) for part in parts):
            raise refused(f"{whose} has a file {name!r:.200}, which is no name in its folder")
        folders |= {"/".join(parts[:end]) for end in range(1, len(parts))}
    both = folders.intersection(names)
    if both:
        raise refused(f"in {whose}, {min(both)!r:.200} is a file and a folder")


def _length(name: str) -> int:
    try:
        return len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no bytes of any name are written so
        return _SIZE_LIMIT


def check_links(links: dict[str, str], files: Entries, whose: str) -> None:
    """Refuse symbolic links that lead out of their result's folder.

    A target may begin with ``..`` and have none after that. Then a link leads from a true folder upwards to one
    inside, and from there downwards only, by way of others of which the same is true.

    Raises:
        FuruArchiveError: one does.
    """
    check_names({**files, **dict.fromkeys(links, (0, ""))}, whose)
    for name, target in links.items():
        if name in files or name.partition("/")[0].startswith(RECORD_FILE):
            raise refused(f"in {whose}, the link {name!r:.200} has the name of a file")
        if not stays_inside(name, target):
            raise refused(f"in {whose}, the link {name!r:.200} leads out of it, to {target!r:.200}")


def stays_inside(name: str, target: str) -> bool:
    """Whether a symbolic link leads to a place in the folder that `name` is relative to."""
    parts = target.split("/")
    up = next((place for place, part in enumerate(parts) if part != os.pardir), len(parts))
    return (
        0 < _length(target) <= _PATH_LIMIT
        and "\0" not in target
        and up <= name.count("/")
        and not target.startswith("/")
        and os.pardir not in parts[up:]
    )


def check_record(node: ArchivedNode, data: bytes) -> tuple[Manifest, dict[str, Any]]:
    """Refuse a record that is not that of a finished result, or of another one; what it tells.

    That the config has this hash cannot be computed without its class, whose code is not run here: that the
    record, the index and the place say so is what is compared.

    Args:
        node: the result, as the index has it.
        data: the contents of its record file.

    Returns:
        The manifest, and how it came to be, as JSON.

    Raises:
        FuruArchiveError: it is none, or does not fit.
        FuruFormatError: a newer furu wrote it.
    """
    path = f"{node.below}/{RECORD_FILE}"
    try:
        parts = _manifest.record_in(data, path)
        manifest = _manifest.decode(parts.manifest)
        story = json.loads(parts.story)
        record = _records.of_parts(parts, path)
        told = from_json(_Story, story)
        config = json.loads(parts.claim)["config"]
        if not isinstance(config["fields"], dict):
            raise TypeError("its config has no fields")
        if not all(_DIGEST.fullmatch(one) for one in (told.provenance, told.code) if one):
            raise ValueError("what it names by digests are none")
        if not all(map(is_hash, _refs_in(config))):
            raise ValueError("a config in it has no hash")
        if not all(text.isprintable() for text in (record.node, *told.to_python.split("\n"))):
            raise ValueError("names in it hold characters that terminals obey")
        whose = {(record.class_name, record.hash), (config["class"], config["hash"])}
        for damage in _examining.differences_within(parts, manifest, path):
            raise refused(f"{node.name}: {damage.reason}")
        _check_kinds(manifest)
        check_links(manifest.links, node.files, node.name)
    except FuruFormatError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise refused(f"the record of {node.name} cannot be read ({error!r:.200})") from None
    except (_manifest.DamagedArtifact, FuruDamagedRecord) as error:
        raise refused(f"the record of {node.name} cannot be read ({error.reason:.200})") from None
    if whose != {(node.class_name, node.hash)}:
        raise refused(
            f"the record of {node.name} is that of another one: {max(whose - {(node.class_name, node.hash)})!r:.200}"
        )
    if record.status is not AttemptStatus.PUBLISHED:
        raise refused(f"{node.name} is no finished result")
    listed = {name: one for name, one in node.files.items() if name not in (RECORD_FILE, LOG_FILE)}
    differs = listed.keys() ^ manifest.files.keys()
    differs |= {
        name
        for name in listed.keys() & manifest.files.keys()
        if manifest.files[name] not in (listed[name], (listed[name][0], ""))
    }
    if manifest.result is not None and manifest.result.file:
        needed = f"{RESULT_PREFIX}{manifest.result.file}"
        if needed not in listed:
            raise refused(f"{node.name} lacks {needed!r:.200}, its result")
    if differs:
        raise refused(f"{node.name}: its record and the index differ in {min(differs)!r:.200}")
    return manifest, story


def _refs_in(config: Any) -> Iterator[str]:
    """The hashes of the configs that a config names."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def check_shared(name: str, data: bytes) -> None:
    """Refuse a file that records name and that is not what others read of one.

    Args:
        name: its path in a store; `check` has looked at it.
        data: its contents.

    Raises:
        FuruArchiveError: it is something else.
        FuruFormatError: a newer furu wrote it.
    """
    folder = name.rpartition("/")[0]
    try:
        if folder == _listings.LISTINGS.name:
            modules = _listings.LISTING.from_bytes(data, name).modules
            texts = [
                text for one, told in modules.items() for text in (one, told.path, told.imported)
            ]
            if not all(map(str.isprintable, texts)):
                raise refused(f"{name} names modules with characters that terminals obey")
            digests = [
                one for told in modules.values() for one in (told.source, told.syntax) if one
            ]
            if not all(map(_DIGEST.fullmatch, digests)):
                raise refused(f"{name} names sources by what is no digest")
        elif folder == PROVENANCE.name:
            from_json(_Provenance, json.loads(data))
    except (ValueError, RecursionError) as error:
        raise refused(f"{name} cannot be read ({error!r:.200})") from None
    except FuruDamagedRecord as damage:
        raise refused(f"{name} cannot be read ({damage.reason:.200})") from None


@attrs.frozen
class _Provenance:
    """What commands read of a provenance; one of a store that was upgraded may lack some of it."""

    command: tuple[str, ...] = ()
    packages: dict[str, Any] = attrs.field(factory=dict)
    git: dict[str, Any] | None = None


@attrs.frozen
class _Dependencies:
    declared: tuple[str, ...] = ()
    used: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class _Story:
    """What others read of how a result came to be; of other types, commands would stumble over it."""

    ended: dict[str, Any]
    costs: dict[str, float] = attrs.field(factory=dict)
    dependencies: _Dependencies = attrs.field(factory=_Dependencies)
    to_python: str = ""
    provenance: str = ""
    code: str = ""
    code_edited: tuple[str, ...] = ()
    earlier: tuple[dict[str, Any], ...] = ()
    made_by: str = ""
    adopted_from: dict[str, Any] = attrs.field(factory=dict)


def _check_kinds(manifest: Manifest) -> None:
    for name, (size, digest) in manifest.files.items():
        if not (type(name) is str and type(size) is int and type(digest) is str):
            raise TypeError("the manifest has another form")
    for name, target in manifest.links.items():
        if not (type(name) is str and type(target) is str):
            raise TypeError("the manifest has another form")


def _check_size(name: str, size: int, digest: str) -> None:
    if not 0 <= size < _SIZE_LIMIT or _DIGEST.fullmatch(digest) is None:
        raise refused(f"{name!r:.200} has no size and digest")
