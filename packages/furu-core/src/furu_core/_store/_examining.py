"""Examining an artifact: everything that is not as it was published, also what no load would notice.

Loading compares what it needs, and stops at the first damage (`_manifest.check`). Here all damage is
found, files that are too many included, and contents are read again where that is asked for. Nothing
is written, no value is decoded, and no code of a user runs.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from typing import Final

import attrs

from furu_core._files import read_file
from furu_core._store import _format1, _manifest, _record_file
from furu_core._store._layout import RECORD_FILE, RESULT_PREFIX
from furu_core._store._manifest import DamagedArtifact, Manifest
from furu_core._store._record_file import RecordFile
from furu_core.errors import FuruFormatError

_RECORD_1: Final = (_format1.METADATA_FILE, _format1.CONFIG_FILE)
_OLD: Final = frozenset({*_RECORD_1, _format1.MANIFEST_FILE, _format1.LOG_FILE})
# Of a record while it is written into an artifact; and what a file server keeps of an open file.
_PASSING: Final = re.compile(rf"\.{re.escape(RECORD_FILE)}\..*\.tmp|(?:.*/)?\.nfs[0-9a-f]+")


@attrs.define
class Examined:
    """What examining an artifact found.

    Attributes:
        manifest: its manifest; None where that cannot be read.
        record: its record; None in format 1, or where it cannot be read.
        damage: what is not as it was published.
        unreadable: what could not be looked at, and why.
        without_digest: how many files were not compared because they have no digest.
        upgrade_left: whether an upgrade of the store was interrupted in it, or goes on.
        bytes_read: how much was read.
    """

    manifest: Manifest | None = None
    record: RecordFile | None = None
    damage: list[DamagedArtifact] = attrs.field(factory=list)
    unreadable: list[DamagedArtifact] = attrs.field(factory=list)
    without_digest: int = 0
    upgrade_left: bool = False
    bytes_read: int = 0


def examine(folder: str, *, deep: bool) -> Examined | None:
    """Examine an artifact; None where there is none.

    It does not guarantee that nothing changed meanwhile: whoever shares a store looks again before
    believing in damage.

    Args:
        folder: the artifact.
        deep: read all files that have a digest, and compare it.
    """
    found = Examined()
    try:
        if not _read_record(folder, found, deep=deep):
            if not os.path.lexists(folder):
                return None
            found.damage.append(DamagedArtifact(folder, "it is no folder"))
    except DamagedArtifact as damage:
        found.damage.append(damage)
    except FuruFormatError as error:
        found.unreadable.append(DamagedArtifact(f"{folder}/{RECORD_FILE}", error.message))
    except OSError as error:
        _note_error(found, f"{folder}/{RECORD_FILE}", error)
    if found.manifest is not None:
        _compare(folder, found.manifest, found, deep=deep)
    return found


def _read_record(folder: str, found: Examined, *, deep: bool) -> bool:
    """Read the record of an artifact; False where there is no folder."""
    path = f"{folder}/{RECORD_FILE}"
    try:
        data = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        found.manifest = _manifest.read(folder)  # of format 1, or it raises damage
        if found.manifest is None:
            return False
        if found.manifest.prefix == RESULT_PREFIX:
            return _read_record(folder, found, deep=deep)  # upgraded in this moment
        _read_record_1(folder, found)
        return True
    found.bytes_read += len(data)
    found.record = _manifest.record_in(data, path)
    found.manifest = _manifest.of_record(found.record, path)
    if found.manifest is None:
        found.unreadable.append(DamagedArtifact(path, "its end cannot be seen from here yet"))
    elif deep:
        found.damage += differences_within(found.record, found.manifest, path)
    return True


def differences_within(
    record: RecordFile, manifest: Manifest, path: str
) -> Iterator[DamagedArtifact]:
    """What in a record is not as it was written, by the digests that stand in it.

    Args:
        record: the parts of its file.
        manifest: its manifest, decoded.
        path: the file.

    Raises:
        ValueError, TypeError, AttributeError: it is no record.
    """
    if manifest.digest != _manifest.digest_again(record.manifest):
        yield DamagedArtifact(path, "the digest of the result does not fit it")
    then = json.loads(record.story).get("claim", "")
    if then and then != _record_file.digest(record.claim).decode():
        yield DamagedArtifact(path, "its first line is not what was written")


def _read_record_1(folder: str, found: Examined) -> None:
    for name in _RECORD_1:
        path = f"{folder}/{name}"
        try:
            data = read_file(path)
            found.bytes_read += len(data)
            if not data.startswith(b"{"):
                raise ValueError("it is no record")
            json.loads(data)
        except FileNotFoundError:
            found.damage.append(DamagedArtifact(path, _manifest.MISSING))
        except ValueError as error:
            found.damage.append(DamagedArtifact(path, f"it cannot be read ({error})"))
        except OSError as error:
            _note_error(found, path, error)


def _compare(folder: str, manifest: Manifest, found: Examined, *, deep: bool) -> None:
    def refused(name: str, error: OSError) -> None:
        _note_error(found, f"{folder}/{name}".rstrip("/"), error)

    told = {damage.path for damage in found.damage}
    differ = list(_manifest.differences(folder, manifest, refused))
    found.damage += [damage for damage in differ if damage.path not in told]
    of_format_1 = manifest.prefix != RESULT_PREFIX
    for name, entry in _manifest.entries_below(folder, refused):
        if (
            name in manifest.files
            or name in manifest.links
            or name in _manifest.UNLISTED
            or entry.is_dir(follow_symlinks=False)
            or _PASSING.fullmatch(name)
        ):
            continue
        if name.startswith(RESULT_PREFIX if of_format_1 else _format1.RESULT_PREFIX):
            found.upgrade_left = True
        elif not (of_format_1 and name in _OLD):
            found.damage.append(DamagedArtifact(entry.path, "it was not published"))
    if deep:
        passed = {damage.path for damage in (*differ, *found.unreadable)}
        for name, (size, digest) in manifest.files.items():
            if f"{folder}/{name}" not in passed:
                _compare_contents(f"{folder}/{name}", size, digest, found)


def _compare_contents(path: str, size: int, digest: str, found: Examined) -> None:
    if not digest:
        found.without_digest += 1
        return
    try:
        same = _manifest.digest_of(path) == digest
    except FileNotFoundError:
        found.damage.append(DamagedArtifact(path, _manifest.MISSING))
        return
    except OSError as error:
        _note_error(found, path, error)
        return
    found.bytes_read += size
    if not same:
        found.damage.append(DamagedArtifact(path, "its contents are not those that were published"))


def _note_error(found: Examined, path: str, error: OSError) -> None:
    """Note a file or folder that the system gives an error for: damage, or nobody knows."""
    reason = error.strerror or type(error).__name__
    broken = error.errno in (errno.EIO, errno.EISDIR, errno.ENOTDIR)
    (found.damage if broken else found.unreadable).append(DamagedArtifact(path, reason))
