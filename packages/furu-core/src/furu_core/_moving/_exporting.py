"""Writing results, and all that they depend on, into one archive.

Records alone say what depends on what; nothing of a user's is imported, and no value is loaded. Each file is
compared with what was published while it is written. The same results make the same bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final, TypeAlias

import attrs

from furu_core import _import_records
from furu_core._code import _listings
from furu_core._files import blake2b, read_file, store_error
from furu_core._moving import _archive
from furu_core._moving._archive import ArchivedNode, Entries, Index
from furu_core._moving._tar import TarWriter, compressed
from furu_core._provenance import FOLDER as PROVENANCE
from furu_core._settings import _settings
from furu_core._status._links import LinkReader
from furu_core._status._stored_nodes import StoredNode
from furu_core._store import _examining, _manifest
from furu_core._store._by_content import ContentFolder
from furu_core._store._layout import LOG_FILE, RECORD_FILE
from furu_core.errors import FuruArchiveError, FuruStoreError, FuruUsageError

_BLOCK: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@attrs.define
class Exported:
    """What an export wrote, or is to write.

    Attributes:
        index: what is in the archive.
        folders: where each result is, by its hash: some may be in stores that are only read.
        left_out: damaged results that are not in it, by short name, and what is wrong.
        bytes: how many bytes of members were written so far.
    """

    index: Index
    folders: dict[str, str] = attrs.field(factory=dict)
    left_out: dict[str, str] = attrs.field(factory=dict)
    bytes: int = 0


ExportProgress: TypeAlias = "Callable[[Exported], object]"


def gather(roots: Iterable[StoredNode], *, skip_damaged: bool = False) -> Exported:
    """Find out what an export of some results has to hold.

    Args:
        roots: the results that are asked for.
        skip_damaged: leave damaged results out, for which all files are read.

    Raises:
        FuruStoreError: a result is damaged and not to be left out, or the store cannot be read.
        FuruUsageError: there is nothing to export.
    """
    chosen = list(dict.fromkeys(roots))
    nodes, missing = _closure(chosen)
    done = Exported(Index((), ()))
    kept = []
    shared: dict[tuple[ContentFolder, str], None] = {}
    for node in nodes:
        try:
            archived, named = _looked_at(node, deep=skip_damaged)
        except FuruStoreError as error:
            if not skip_damaged:
                raise
            done.left_out[node.name] = error.message
            continue
        kept.append(archived)
        done.folders[node.hash] = node.artifact
        shared |= dict.fromkeys(named)
    if not kept:
        raise FuruUsageError(
            f"there is nothing to export in {_settings.settings().path}",
            hint="`furu ls --state done` lists the results that are there",
        )
    wanted = {node.hash for node in chosen} & {node.hash for node in kept}
    done.index = Index(
        tuple(node.hash for node in kept if node.hash in wanted),
        tuple(kept),
        dict(_shared(shared)),
        tuple(sorted(missing)),
    )
    return done


def _closure(roots: list[StoredNode]) -> tuple[list[StoredNode], set[str]]:
    """Some results and all that they depend on, the latter first; and the hashes of what is not there."""
    reader = LinkReader()
    missing: set[str] = set()
    found: dict[str, StoredNode] = {}
    for root in sorted(roots, key=lambda node: (node.cls.name, node.hash)):
        # A list in place of recursion: chains of nodes are long.
        stack = [(root, iter(_below(reader, root, missing)))]
        open_ = {root.hash}
        while stack:
            node, below = stack[-1]
            for child in below:
                if child.hash not in found and child.hash not in open_:
                    open_.add(child.hash)
                    stack.append((child, iter(_below(reader, child, missing))))
                    break
            else:
                stack.pop()
                found.setdefault(node.hash, node)
    return list(found.values()), missing


def _below(reader: LinkReader, node: StoredNode, missing: set[str]) -> list[StoredNode]:
    links = reader.at(node)
    if links is None:
        return []  # looking at it tells what is wrong
    found = []
    for node_hash in sorted({*links.below, *links.named}):
        there = reader.of(node_hash)
        if there is not None:
            found.append(there.node)
        elif node_hash in links.below:
            missing.add(node_hash)
    return found


def _looked_at(
    node: StoredNode, *, deep: bool
) -> tuple[ArchivedNode, list[tuple[ContentFolder, str]]]:
    """What an archive holds of a result, and what its record names.

    Raises:
        FuruStoreError: it is damaged, or cannot go along.
    """
    folder = node.artifact
    found = _examining.examine(folder, deep=deep)
    if found is None:
        raise _unfit(node, "it was removed in this moment", "run the same command again")
    step = f"`furu verify --deep {node.hash[:12]}` tells more; --skip-damaged leaves it out"
    for damage in (*found.damage, *found.unreadable):
        raise _unfit(node, str(damage), step)
    if found.record is None or found.manifest is None:
        raise _unfit(node, "its record has format 1", "run `furu upgrade` first")
    try:
        record = read_file(f"{folder}/{RECORD_FILE}")
        files: Entries = {RECORD_FILE: (len(record), _import_records.digest(record))}
        with suppress(FileNotFoundError):
            size = os.stat(f"{folder}/{LOG_FILE}").st_size
            files[LOG_FILE] = (size, _manifest.digest_of(f"{folder}/{LOG_FILE}"))
        for name, (size, digest) in sorted(found.manifest.files.items()):
            files[name] = (size, digest or _manifest.digest_of(f"{folder}/{name}"))
        archived = ArchivedNode(node.cls.name, node.hash, files)
        _archive.check(Index((), (archived,)))
        _, told = _archive.check_record(archived, record)
    except FuruArchiveError as error:
        why = error.message.partition(": ")[2]
        raise _unfit(node, why, "--skip-damaged leaves it out") from None
    except OSError as error:
        raise store_error(error, folder, doing="read") from error
    named = [(PROVENANCE, told["provenance"])] if isinstance(told.get("provenance"), str) else []
    if isinstance(told.get("code"), str):
        named.append((_listings.LISTINGS, told["code"]))
    return archived, named


def _unfit(node: StoredNode, why: str, hint: str) -> FuruStoreError:
    return FuruStoreError(f"{node.name} is not exported: {why}", path=node.artifact, hint=hint)


def _shared(named: Iterable[tuple[ContentFolder, str]]) -> Iterator[tuple[str, tuple[int, str]]]:
    """What records name, and what listings of code name, as far as the store has it whole."""
    of_listings: dict[tuple[ContentFolder, str], None] = {}
    for folder, digest in named:
        if folder is _listings.LISTINGS and (listing := _listings.read(digest)) is not None:
            for module in listing.modules.values():
                if module.source and not module.is_omitted:
                    of_listings[_listings.SOURCES, module.source] = None
    order = {folder: place for place, folder in enumerate(_archive.SHARED)}
    for folder, digest in sorted(
        {**of_listings, **dict.fromkeys(named)}, key=lambda one: (order[one[0]], one[1])
    ):
        text = folder.read(digest)
        # `furu verify` tells of what is missing there; results do not need it to be loaded.
        if (
            text is not None
            and _import_records.digest(text) == digest
            and len(text) <= _archive.SMALL_LIMIT
        ):
            yield f"{folder.name}/{digest}{folder.suffix}", (len(text), digest)


# Writing


def write(done: Exported, file: BinaryIO, progress: ExportProgress | None = None) -> None:
    """Write an archive to a file that is open for writing.

    Args:
        done: as `gather` found out; counts what was written.
        file: where to.
        progress: called now and then.

    Raises:
        FuruStoreError: a file is not what was published, or was removed meanwhile.
        OSError: the archive cannot be written.
    """
    tar = TarWriter(file)
    text = _archive.INDEX_FORMAT.to_bytes(done.index)
    if len(text) > _archive.INDEX_LIMIT:
        raise FuruUsageError(
            f"{len(done.index.nodes):,} results are too many for one archive",
            hint="export them in several, class by class",
        )
    tar.begin(_archive.INDEX, len(text))
    tar.write(text)
    tar.end()
    for path, name, size, digest in _sources(done):
        with _reading(path) as descriptor:
            found = os.fstat(descriptor)
            executable = bool(found.st_mode & stat.S_IXUSR) and stat.S_ISREG(found.st_mode)
            tar.begin(name, size, executable=executable)
            whole = blake2b(digest_size=16)
            left = size
            while left and (data := os.read(descriptor, min(left, _BLOCK))):
                whole.update(data)
                tar.write(data)
                left -= len(data)
                done.bytes += len(data)
                if progress is not None:
                    progress(done)
            if left or whole.hexdigest() != digest or os.read(descriptor, 1):
                raise FuruStoreError(
                    f"{path} is not exported: it is not what was published",
                    path=path,
                    hint="`furu verify --deep` tells more; --skip-damaged leaves damaged results out",
                )
        tar.end()
    tar.close()


def _sources(done: Exported) -> Iterator[tuple[str, str, int, str]]:
    """The files of an archive in its order: where each is, its name there, size and digest."""
    for node in done.index.nodes:
        for name, (size, digest) in node.files.items():
            folder = done.folders[node.hash]
            yield f"{folder}/{name}", f"{node.below}/{name}", size, digest
    settings = _settings.settings()
    for name, (size, digest) in done.index.shared.items():
        places = [f"{store}/{name}" for store in (settings.path, *settings.also)]
        yield next(filter(os.path.exists, places), places[0]), name, size, digest


@contextmanager
def _reading(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        raise store_error(error, path, doing="read") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_file(
    done: Exported, path: str, *, replace: bool = False, progress: ExportProgress | None = None
) -> None:
    """Write an archive to a file, which appears when it is whole; its suffix says how it is compressed.

    Args:
        done, progress: as for `write`.
        path: the file.
        replace: put it in place of one that is there.

    Raises:
        FuruUsageError: there is such a file, or it cannot be written.
        FuruStoreError: as for `write`.
    """
    if os.path.lexists(path) and not os.path.isfile(path):
        raise FuruUsageError(
            f"{path} is no plain file", hint="name another one; -o - writes to a pipe"
        )
    if os.path.lexists(path) and not replace:
        raise FuruUsageError(f"{path} is there", hint="name another file, or give --force")
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.getpid()}-{os.urandom(3).hex()}.tmp")
    try:
        try:
            with open(beside, "xb") as file:
                with compressed(file, name) as target:
                    write(done, target, progress)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
    except ImportError as error:
        raise FuruUsageError(
            f"this Python cannot compress {path}: {error}", hint="name a file that ends in .tar"
        ) from None
    except OSError as error:
        raise FuruUsageError(
            f"{path} cannot be written: {error.strerror or type(error).__name__}",
            hint=f"name a file in a folder that is there, with room for {done.index.bytes:,} bytes",
        ) from error
