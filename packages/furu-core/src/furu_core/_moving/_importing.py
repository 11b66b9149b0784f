"""Taking results from an archive into the current store.

All of an archive is written beside the places where it is to be, and compared with its index, before anything
appears there; then each result does by one rename, those first that others depend on. So an archive that is not
what was exported leaves nothing; and one whose import is killed leaves whole results, which the next import finds,
and folders that nobody reads. Of an import whose process is gone the next one removes these; `leftovers` the rest.

Nothing is unpickled, and no name that an archive tells makes a path without having passed `_archive.check`.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import BinaryIO, Final, TypeAlias

import attrs

from furu_core import _import_records, _process_ids, _trust
from furu_core._attempts import _liveness, _publishing
from furu_core._config._class_names import relpath_of
from furu_core._files import (
    HIDDEN,
    blake2b,
    list_folder,
    move_file,
    read_file,
    remove_tree,
    store_errors,
    sync_path,
    sync_tree,
)
from furu_core._import_records import ImportRecord
from furu_core._moving import _archive
from furu_core._moving._archive import ArchivedNode, Index, refused
from furu_core._moving._tar import TarReader
from furu_core._settings import _settings
from furu_core._status import _trash
from furu_core._store import _format, _manifest
from furu_core._store._layout import RECORD_FILE, NodeRef, is_hash
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruStoreError

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DAY_SECS: Final = 24 * 3600.0
_TOUCH_SECS: Final = 3600.0  # what is not touched for a day is swept away
_BLOCK_BYTES: Final = 4096  # that a small file takes of a disk


@attrs.define
class Imported:
    """What an import brought, or would bring.

    Attributes:
        index: what the archive holds.
        new: the results that the store did not have.
        there: those that it had, which are the same.
        differing: those of which it has another result, which stays.
        pickled: those of the new ones whose result is a pickle.
        trusted: whether code in them may run.
        bytes: how much was read so far.
    """

    index: Index
    new: list[ArchivedNode] = attrs.field(factory=list)
    there: list[ArchivedNode] = attrs.field(factory=list)
    differing: list[ArchivedNode] = attrs.field(factory=list)
    pickled: list[ArchivedNode] = attrs.field(factory=list)
    trusted: bool = False
    bytes: int = 0


ImportProgress: TypeAlias = "Callable[[Imported], object]"


def look(file: BinaryIO) -> Imported:
    """What an archive holds, and what of it the current store has; only its index is read.

    Raises:
        FuruArchiveError: it is none.
        FuruFormatError: a newer furu wrote it.
        FuruStoreError: the store cannot be read.
    """
    return _sorted_out(_read_index(TarReader(file)))


def take_in(
    file: BinaryIO, source: str, *, trust: bool = False, progress: ImportProgress | None = None
) -> Imported:
    """Import all results of an archive that the current store does not have.

    Args:
        file: the archive, open for reading.
        source: its name, for the record of the import.
        trust: note that code in these results may run, also in those that were imported before.
        progress: called now and then.

    Returns:
        What was done.

    Raises:
        FuruArchiveError: it is not what was exported; then nothing of it is imported.
        FuruFormatError: a newer furu wrote it.
        FuruStoreError: the store cannot be written; what was published by then is whole.
    """
    tar = TarReader(file)
    found = _sorted_out(_read_index(tar))
    found.trusted = trust
    store = str(_settings.settings().path)
    with store_errors(store):
        record = _record_of(found, source, trust=trust)
        staged = _Staged(record)
        if not record.nodes:  # a store that cannot be written has it all, for instance
            staged.fill(tar, found, progress)
            tar.end()
            with suppress(OSError, FuruStoreError):
                _clean_up_after_dead()
            return found
        _format.enter()
        os.makedirs(_import_records.folder(), exist_ok=True)
        _clean_up_after_dead()
        _refuse_without_room(found)
        try:
            # First, so that it is known what to clean up, and nothing is there that is not marked.
            _write(record)
            staged.fill(tar, found, progress)
            tar.end()
            staged.publish(found)
        except BaseException:
            staged.discard()
            if not staged.publishes:  # else it may be needed, whatever was interrupted
                with suppress(OSError):
                    os.unlink(record.path)
            raise
        _write(attrs.evolve(record, ended=time.time()))
    return found


def _read_index(tar: TarReader) -> Index:
    header = tar.next()
    if header.name != _archive.INDEX:
        raise refused(f"it begins with {header.name!r:.200}, and an export with {_archive.INDEX}")
    if header.size > _archive.INDEX_LIMIT:
        raise refused(f"its index has {header.size:,} bytes")
    data = b"".join(tar.contents())
    try:
        index = _archive.INDEX_FORMAT.from_bytes(data, _archive.INDEX)
    except FuruDamagedRecord as damage:
        raise refused(f"its index cannot be read ({damage.reason:.200})") from None
    _archive.check(index)
    return index


def _sorted_out(index: Index) -> Imported:
    """Which results the current store has; one listing for each class, and no record of what it has not."""
    found = Imported(index)
    names: dict[str, frozenset[str]] = {}
    for node in index.nodes:
        artifact = _artifact(node)
        folder = os.path.dirname(artifact)
        if folder not in names:
            with store_errors(folder, doing="read"):
                names[folder] = frozenset(list_folder(folder))
        if node.hash not in names[folder]:
            found.new.append(node)
        elif _has(artifact, node):
            found.there.append(node)
        else:
            found.differing.append(node)
    return found


def _artifact(node: ArchivedNode) -> str:
    return f"{_settings.settings().path}/{node.below}"


def _has(artifact: str, node: ArchivedNode) -> bool:
    """Whether a result in the store is the same one as that in an archive, by its record."""
    try:
        return _import_records.digest_of_record(artifact) == node.record_digest
    except OSError:
        return False


def _refuse_without_room(found: Imported) -> None:
    """Refuse an archive that holds more than the disk has room for, before the disk is full."""
    needed = sum(
        max(size, 1) + -size % _BLOCK_BYTES for node in found.new for size, _ in node.files.values()
    )
    inodes = sum(1 + len(node.files) for node in found.new)
    store = str(_settings.settings().path)
    disk = os.statvfs(store)
    room = disk.f_bavail * disk.f_frsize
    if needed > room or (disk.f_files and inodes > disk.f_favail):
        raise FuruStoreError(
            f"the archive has {needed:,} bytes in {inodes:,} files and folders for {store}, where there is room "
            f"for {room:,} bytes in {disk.f_favail:,}",
            path=store,
            hint="free some room, or set FURU_PATH to another disk",
        )


# The record


def _record_of(found: Imported, source: str, *, trust: bool) -> ImportRecord:
    nodes: dict[str, dict[str, str]] = {}
    named = list(found.new)
    if trust:
        named += [node for node in found.there if _was_imported_so(node)]
    for node in named:
        nodes.setdefault(node.class_name, {})[node.hash] = node.record_digest
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"{now % 1:.6f}"[1:]
    return ImportRecord(
        id=f"{stamp}-{secrets.token_hex(3)}",
        source=source,
        user=_trust.user_name(os.getuid()),
        time=now,
        process=_process_ids.this_process(),
        nodes=nodes,
        trusted=trust,
    )


def _was_imported_so(node: ArchivedNode) -> bool:
    """Whether a result that is there was imported before, and is known to be the same in all of its files."""
    with suppress(_manifest.DamagedArtifact, FuruFormatError, OSError):
        manifest = _manifest.read(_artifact(node))
        # Without a digest of it all, the equal record says nothing of some file.
        if manifest is not None and manifest.digest:
            return _trust.origin_of(_artifact(node)) is not None
    return False


def _write(record: ImportRecord) -> None:
    _import_records.RECORD.replace(record.path, record, sync=True, mode=_trust.OWNER_WRITES)


def _clean_up_after_dead() -> None:
    """Remove what imports left whose processes are gone, and the records of those that brought nothing."""
    where = _import_records.folder()
    names = list_folder(where)
    living = []  # each has its record before anything else
    for path, record in list(_import_records.records()):
        if not record.ended and _process_ids.process_is_gone(record.process) is not True:
            living.append(record.id)
        elif not record.ended and os.stat(path).st_uid == os.geteuid():
            _end_for_dead(path, record)  # another user's stays theirs: its owner says who trusts
    for name in names:
        if name.startswith(HIDDEN) and not any(one in name for one in living):
            remove_tree(f"{where}/{name}")
        elif name.endswith(".tmp") and (_liveness.lease_age(f"{where}/{name}") or 0.0) > _DAY_SECS:
            with suppress(OSError):  # half a record, whose writer nobody knows
                os.unlink(f"{where}/{name}")


def _end_for_dead(path: str, record: ImportRecord) -> None:
    staged = _Staged(record)
    staged.discard()
    below = f"{_settings.settings().path}/data/"
    there = any(
        not hashes.isdisjoint(list_folder(class_dir))
        or not hashes.isdisjoint(_trash.results_of(class_dir.removeprefix(below)))
        for class_dir, hashes in staged.places().items()
    )
    if there:  # or may be put back
        _write(attrs.evolve(record, ended=time.time()))
    else:
        os.unlink(path)


class _Staged:
    """What an import wrote and did not publish yet.

    Args:
        record: the record of the import.
    """

    def __init__(self, record: ImportRecord) -> None:
        self._record = record
        self._folders: list[str] = []
        self._shared: list[tuple[str, str]] = []
        self._touched = time.monotonic()
        self.publishes = False  # whether anything may have been published

    def places(self) -> dict[str, frozenset[str]]:
        """The folders of the classes, and the hashes of the results for each."""
        store = _settings.settings().path
        return {
            f"{store}/data/{relpath_of(name)}": frozenset(filter(is_hash, nodes))
            for name, nodes in self._record.nodes.items()
        }

    def discard(self) -> None:
        """Remove it; its names are those of what is being removed already."""
        mark = os.path.basename(self._record.staging_of("", ""))
        for class_dir in self.places():
            with suppress(OSError):
                for name in list_folder(class_dir):
                    if name.startswith(mark):
                        remove_tree(f"{class_dir}/{name}")
        remove_tree(self._record.staging)

    # Writing

    def fill(self, tar: TarReader, found: Imported, progress: ImportProgress | None) -> None:
        """Write all that an archive holds, as its index tells it.

        Raises:
            FuruArchiveError: it holds something else.
            OSError: the store cannot be written.
        """
        new = {node.hash for node in found.new}
        for node in found.index.nodes:
            self._node(tar, node, found, progress, keep=node.hash in new)
        for folder in _archive.SHARED if new else ():
            os.makedirs(f"{self._record.staging}/{folder.name}", exist_ok=True)
        store = _settings.settings().path
        for name, entry in found.index.shared.items():
            keep = bool(new) and not os.path.exists(f"{store}/{name}")
            target = f"{self._record.staging}/{name}" if keep else None
            self._file(tar, name, entry, target, found, progress)
            if target is not None:
                _archive.check_shared(name, read_file(target))
                self._shared.append((target, f"{store}/{name}"))

    def _node(
        self,
        tar: TarReader,
        node: ArchivedNode,
        found: Imported,
        progress: ImportProgress | None,
        *,
        keep: bool,
    ) -> None:
        folder = None
        if keep:
            class_dir = os.path.dirname(_artifact(node))
            folder = self._record.staging_of(class_dir, node.hash)
            os.makedirs(class_dir, exist_ok=True)
            os.mkdir(folder)
            self._folders.append(folder)
            made = {folder}
        for name, entry in node.files.items():
            target = None
            if folder is not None:
                target = f"{folder}/{name}"
                above = os.path.dirname(target)
                if above not in made:
                    os.makedirs(above, exist_ok=True)
                    made.add(above)
            self._file(tar, f"{node.below}/{name}", entry, target, found, progress)
            self._keep_fresh()
        if folder is None:
            return
        manifest, _ = _archive.check_record(node, read_file(f"{folder}/{RECORD_FILE}"))
        for name, link in manifest.links.items():  # after all files: none is written through one
            os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
            os.symlink(link, f"{folder}/{name}")
        if manifest.result is not None and manifest.result.codec == "pickle":
            found.pickled.append(node)

    def _file(
        self,
        tar: TarReader,
        name: str,
        entry: tuple[int, str],
        target: str | None,
        found: Imported,
        progress: ImportProgress | None,
    ) -> None:
        """Write the next file of an archive to a new file, or read it only."""
        header = tar.next()
        size, digest = entry
        if (header.name, header.size) != (name, size):
            raise refused(
                f"{header.name!r:.200} with {header.size:,} bytes is in it where its index has {name!r:.200} "
                f"with {size:,}"
            )
        whole = blake2b(digest_size=16)
        descriptor = -1
        if target is not None:
            mode = _trust.OWNER_WRITES | (0o111 if header.executable else 0)
            descriptor = os.open(target, _CREATE, mode)
        try:
            for data in tar.contents():
                whole.update(data)
                view = memoryview(data)
                while descriptor >= 0 and view:
                    view = view[os.write(descriptor, view) :]
                found.bytes += len(data)
                if progress is not None:
                    progress(found)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        if whole.hexdigest() != digest:
            raise refused(f"{name!r:.200} in it is not what was exported: its digest differs")

    def _keep_fresh(self) -> None:
        """Touch the folders of an import that takes days, so that nobody takes them for left behind."""
        if time.monotonic() - self._touched > _TOUCH_SECS:
            self._touched = time.monotonic()
            for folder in self._folders:
                os.utime(folder)

    # Publishing

    def publish(self, found: Imported) -> None:
        """Rename everything to where it belongs; what is there by now stays."""
        self.publishes = True
        durable = _settings.settings().durable
        for staged, path in self._shared:
            if durable:
                sync_path(staged)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            move_file(staged, path)
        wanted, found.new = found.new, []
        for node in wanted:
            artifact = _artifact(node)
            class_dir = os.path.dirname(artifact)
            staged = self._record.staging_of(class_dir, node.hash)
            if durable:
                sync_tree(staged)
            ref = NodeRef(class_dir, node.hash)
            if not _publishing.move_into_place(staged, ref, is_ours=partial(_has, artifact, node)):
                remove_tree(staged)  # somebody computed or imported it meanwhile
                (found.there if _has(artifact, node) else found.differing).append(node)
                continue
            found.new.append(node)
            if durable:
                sync_path(class_dir)
        remove_tree(self._record.staging)
