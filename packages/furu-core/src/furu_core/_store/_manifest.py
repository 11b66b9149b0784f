"""The manifest of an artifact: what loading it needs, and how damage to its files is noticed.

::

    {"result":{"codec":"json","value":[1,2]},
     "files":{"model/weights.bin":[4096,"5f0b9d21c4a8e67300b1..."]},
     "links":{"latest":"model/weights.bin"},
     "omitted":{"exp.train:Train.momentum":["5f0b9d21c4a8e673","0.0"]},
     "digest":"9a3c..."}

It stands in the record file, see `_record_file`. Names are relative to the artifact, and those of
empty parts are left out. Each file has its size and, up to a size that a setting gives, its digest.
``omitted`` has the defaults that the hash leaves out, with their digests: loading compares them
with the present ones. ``digest`` is of the result and all files, so that two computations of one
node can be compared. A check costs one `stat` per file; it reads no contents and does not notice
additional files: `_examining` does.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeAlias

import attrs

from furu_core._files import blake2b, is_local_folder, read_file
from furu_core._record_format import OMIT_EMPTY
from furu_core._settings import _settings
from furu_core._store import _record_file
from furu_core._store._layout import LOG_FILE, RECORD_FILE, RESULT_PREFIX, USED, VIOLATIONS
from furu_core._store._record_file import RecordFile
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruResultError

Omitted: TypeAlias = "dict[str, tuple[str, str]]"
NO_VALUE: Final = object()
UNLISTED: Final = frozenset({RECORD_FILE, LOG_FILE, VIOLATIONS, USED})
MISSING: Final = "the file is missing"
_DIGEST_BYTES: Final = 16
_BLOCK: Final = 1 << 20
# In which a network filesystem may show a file of another host without its last lines.
_VISIBLE_SECS: Final = 60.0
_RESULT: Final = '{"result":'  # begins the manifest of a result that is stored
_parsed: Final = json.JSONDecoder().decode
_scan: Final = json.JSONDecoder().raw_decode
# ASCII, because a file's name need not be valid text: its odd bytes become lone surrogates.
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


class DamagedArtifact(Exception):
    """An artifact that is not what was published; it is to be moved aside and computed again.

    Attributes:
        path: the file that is wrong.
        reason: what is wrong, in words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def _in_one_folder(_entry: object, _field: object, file: str) -> None:
    if "/" in file:
        raise ValueError(f"{file!r} is no file of the artifact's own folder")


@attrs.frozen
class ResultEntry:
    """How a result, or a part of one, was stored.

    Attributes:
        codec: the name of the codec.
        version: the version of the codec's format.
        file: its file's name without what all such names begin with; empty for a value that stands
            in the manifest.
        distribution: the distribution that brought the codec; empty for furu's own.
        tagged: whether a value in the manifest holds tags, so that it must be decoded.
    """

    codec: str
    file: str = attrs.field(default="", validator=_in_one_folder)
    version: int = attrs.field(default=1, kw_only=True)
    distribution: str = attrs.field(default="", kw_only=True, metadata=OMIT_EMPTY)
    tagged: bool = attrs.field(default=False, kw_only=True, metadata=OMIT_EMPTY)


@attrs.frozen
class Manifest:
    """The manifest of an artifact.

    Attributes:
        result: how the result was stored; None for a class with a `_load` of its own.
        files: size and digest of each file; the digest is empty for a large file, and in format 1.
        links: targets of the symbolic links.
        omitted: defaults that the hash leaves out, as `_identity.omitted_defaults` gives them.
        digest: of the result and all files; empty where a file has none.
        stand_in: what tells this result from others where there is no digest.
        value: the JSON of a small result; `NO_VALUE` where it has a file.
        prefix: with what the names of the result's files begin.
    """

    result: ResultEntry | None
    files: dict[str, tuple[int, str]]
    links: dict[str, str]
    omitted: Omitted = attrs.field(factory=dict)
    digest: str = ""
    stand_in: str = ""
    value: Any = NO_VALUE
    prefix: str = RESULT_PREFIX


@attrs.define
class Contents:
    """What is in the folder of an attempt whose code has ended.

    Attributes:
        files: the sizes of the files.
        links: targets of the symbolic links.
        users: whether any of them are the user's.
        own: names of those of furu's own files that become no part of the result.
    """

    files: dict[str, int] = attrs.field(factory=dict)
    links: dict[str, str] = attrs.field(factory=dict)
    users: bool = False
    own: set[str] = attrs.field(factory=set)


def contents(folder: str) -> Contents:
    """List what is in the folder of an attempt.

    A symbolic link with an absolute target inside `folder` is made relative, because the folder
    gets another name when it is published.

    Args:
        folder: the attempt's folder.

    Raises:
        FuruResultError: it holds anything but files, folders and symbolic links.
        OSError: a folder cannot be read.
    """
    found = Contents()
    for name, entry in entries_below(folder):
        if name in UNLISTED:
            found.own.add(name)
            continue
        found.users = found.users or not name.startswith(RESULT_PREFIX)
        if entry.is_symlink():
            found.links[name] = _settled_link(folder, name)
        elif entry.is_file(follow_symlinks=False):
            found.files[name] = entry.stat(follow_symlinks=False).st_size
        elif not entry.is_dir(follow_symlinks=False):
            raise _no_plain_file(entry.path, entry.stat(follow_symlinks=False).st_mode)
    return found


def entries_below(
    folder: str, refused: Callable[[str, OSError], object] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below a folder, with its name there; a folder comes before what is in it.

    Args:
        folder: the folder of an attempt or artifact.
        refused: called with the name of a folder that cannot be read, and the error; None raises it.

    Raises:
        OSError: a folder cannot be read.
    """
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(f"{folder}/{below}" if below else folder) as scan:
                entries = list(scan)  # first, because links that are made anew would be listed too
        except OSError as error:
            if refused is None:
                raise
            refused(below, error)
            continue
        for entry in entries:
            name = below + entry.name
            yield name, entry
            if entry.is_dir(follow_symlinks=False) and name not in UNLISTED:
                pending.append(name + "/")


def manifest_bytes(
    folder: str,
    found: Contents,
    result: ResultEntry | None,
    value: str,
    omitted: Omitted | None = None,
    *,
    digest_limit: float,
) -> bytes:
    """The manifest of the artifact that the folder of an attempt is to become.

    Args:
        folder: the attempt's folder.
        found: what is in it.
        result: how its result was stored.
        value: the JSON text of a small result; empty where it has a file.
        omitted: defaults that its hash leaves out.
        digest_limit: size in bytes above which files get no digest.

    Raises:
        OSError: a file cannot be read.
    """
    parts = []
    stored = ""
    if result is not None:
        stored = _written(result)
        if value:
            stored = f'{stored[:-1]},"value":{value}}}'
        parts.append(f'"result":{stored}')
    files = {
        name: (size, digest_of(f"{folder}/{name}") if size <= digest_limit else "")
        for name, size in sorted(found.files.items())
    }
    digest = _digest_of_all(stored, files, found.links)
    for key, part in (("files", files), ("links", found.links), ("omitted", omitted)):
        if part:
            parts.append(f'"{key}":{_compact(part)}')
    parts.append(f'"digest":"{digest}"')
    return f"{{{','.join(parts)}}}".encode("ascii")


@lru_cache(maxsize=64)
def _written(result: ResultEntry) -> str:
    return _compact(
        {"codec": result.codec}
        | ({"file": result.file} if result.file else {})
        | ({"version": result.version} if result.version != 1 else {})
        | ({"distribution": result.distribution} if result.distribution else {})
        | ({"tagged": True} if result.tagged else {})
    )


def _digest_of_all(
    stored: str, files: Mapping[str, tuple[int, str]], links: Mapping[str, str]
) -> str:
    """The digest of a result and all files; empty where a file has none."""
    if not all(kept for _, kept in files.values()):
        return ""
    whole = _compact([files, links]) if files or links else ""
    return blake2b(f"{stored}{whole}".encode(), digest_size=_DIGEST_BYTES).hexdigest()


def digest_again(manifest: bytes) -> str:
    """The digest that a manifest should have by what else it tells.

    Args:
        manifest: as `manifest_bytes` made it.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    text = manifest.decode()
    stored = ""
    if text.startswith(_RESULT):
        _, end = _scan(text, len(_RESULT))
        stored = text[len(_RESULT) : end]  # as it was written: its value may be spaced as it likes
    told = decode(manifest)
    return _digest_of_all(stored, told.files, told.links)


def digest_of(path: str) -> str:
    """The BLAKE2b digest of a file, as 32 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    whole = blake2b(digest_size=_DIGEST_BYTES)
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            whole.update(block)
    return whole.hexdigest()


def read(folder: str) -> Manifest | None:
    """The manifest of an artifact; None where there is none, or it is not visible here yet.

    Args:
        folder: the artifact.

    Raises:
        DamagedArtifact: the manifest is missing or unreadable.
        FuruFormatError: a newer furu wrote it.
        OSError: the disk reports an error.
    """
    path = f"{folder}/{RECORD_FILE}"
    try:
        data = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None if not os.path.isdir(folder) else _without_record(folder)
    return of_record(record_in(data, path), path)


def record_in(data: bytes, path: str) -> RecordFile:
    """The parts of a record file, given its contents.

    Raises:
        DamagedArtifact: it is no record.
        FuruFormatError: a newer furu wrote it.
    """
    if not data.startswith(_record_file.BEGINNING):
        _refuse_other_version(data, path)
    return _record_file.parse(data)


def of_record(found: RecordFile, path: str) -> Manifest | None:
    """The manifest in the record of an artifact; None where it may not be visible here yet.

    Raises:
        DamagedArtifact: the manifest is missing or unreadable.
    """
    if not found.manifest:
        if _may_be_incomplete(path):
            return None
        raise DamagedArtifact(path, "the line with the manifest is missing or incomplete")
    try:
        manifest = decode(found.manifest)
        if not manifest.digest:
            token = _parsed(found.claim.decode())["token"]
            manifest = attrs.evolve(manifest, stand_in=f"attempt {token}")
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedArtifact(path, f"the manifest is unreadable ({error!r})") from None


def decode(manifest: bytes) -> Manifest:
    """The manifest that `manifest_bytes` made.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    raw = _parsed(manifest.decode())
    result = raw.get("result")
    value = NO_VALUE
    if result is not None:
        value = result.pop("value", NO_VALUE)
        result = ResultEntry(**result)
    return Manifest(
        result,
        {name: (size, kept) for name, (size, kept) in raw.get("files", {}).items()},
        raw.get("links", {}),
        raw.get("omitted", {}),
        raw["digest"],
        value=value,
    )


def _refuse_other_version(data: bytes, path: str) -> None:
    """Raise an error for a record file that does not begin as one of this format."""
    try:
        found = _parsed(data.partition(b"\n")[0].decode())["furu"]
    except (ValueError, KeyError, TypeError):
        raise DamagedArtifact(path, "it is no record of furu") from None
    raise FuruFormatError(
        f"{path} has format version {found!r}, this furu reads up to {_record_file.VERSION}",
        path=path,
        found=found,
        known=_record_file.VERSION,
        hint="upgrade furu-core here to the version that wrote it",
    )


def _may_be_incomplete(path: str) -> bool:
    """Whether a network filesystem may show a record without the line that was appended last."""
    if is_local_folder(os.path.dirname(path)):
        return False
    with suppress(OSError):
        return time.time() - os.stat(path).st_mtime < 2 * _VISIBLE_SECS
    return True


def _without_record(folder: str) -> Manifest | None:
    """The manifest of an artifact of format 1."""
    from furu_core._store import _format, _format1  # rare: the first furu wrote it

    try:
        old = _format1.read_manifest(folder)
    except FuruDamagedRecord as damage:
        path = f"{folder}/{_format1.MANIFEST_FILE}"
        raise DamagedArtifact(path, f"the manifest is unreadable ({damage.reason})") from None
    if old is None:
        with suppress(FileNotFoundError, NotADirectoryError):  # upgraded in this moment
            path = f"{folder}/{RECORD_FILE}"
            return of_record(record_in(read_file(path), path), path)
        if not os.path.isdir(folder):
            return None  # deleted in this moment
        for store in (None, *_settings.settings().also):
            _format.refuse_newer(store)
        raise DamagedArtifact(f"{folder}/{RECORD_FILE}", "the record is missing")
    result = None
    if old.result is not None:
        result = ResultEntry(**attrs.asdict(old.result))
    files = {name: (size, "") for name, size in old.files.items()}
    return Manifest(result, files, old.links, old.omitted, prefix=_format1.RESULT_PREFIX)


def check(folder: str) -> Manifest | None:
    """The manifest of an artifact, after comparing it with the files; None where there is none.

    Args:
        folder: the artifact.

    Raises:
        DamagedArtifact: the manifest is missing or unreadable, or a listed file is missing or has
            another size.
        FuruFormatError: a newer furu wrote the manifest.
        OSError: the disk reports an error.
    """
    manifest = read(folder)
    if manifest is None or not (manifest.files or manifest.links):
        return manifest
    for damage in differences(folder, manifest):
        if not os.path.isdir(folder):
            return None  # deleted in this moment
        if manifest.prefix != RESULT_PREFIX and os.path.exists(f"{folder}/{RECORD_FILE}"):
            return check(folder)  # upgraded in this moment
        raise damage
    return manifest


def differences(
    folder: str,
    manifest: Manifest,
    refused: Callable[[str, OSError], object] | None = None,
) -> Iterator[DamagedArtifact]:
    """What of the files and links in a manifest is missing or is not as it was published.

    Args:
        folder: the artifact.
        manifest: its manifest.
        refused: called with the name of what cannot be looked at, and the error; None raises it.

    Raises:
        OSError: the disk reports an error.
    """
    for name in (*manifest.files, *manifest.links):
        try:
            wrong = (
                _wrong_link(f"{folder}/{name}", manifest.links[name])
                if name in manifest.links
                else _wrong_file(f"{folder}/{name}", manifest.files[name][0])
            )
        except (FileNotFoundError, NotADirectoryError):
            wrong = MISSING
        except OSError as error:
            if refused is None:
                raise
            refused(name, error)
            continue
        if wrong:
            yield DamagedArtifact(f"{folder}/{name}", wrong)


def _wrong_file(path: str, size: int) -> str:
    found = os.stat(path, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        return "it is no file any more"
    return "" if found.st_size == size else f"{found.st_size} bytes where {size} were published"


def _wrong_link(path: str, target: str) -> str:
    try:
        return "" if os.readlink(path) == target else "the link points somewhere else"
    except OSError as error:
        if error.errno != errno.EINVAL:  # what readlink says of anything but a link
            raise
        return "it is no link any more"


def _settled_link(folder: str, name: str) -> str:
    path = f"{folder}/{name}"
    target = os.readlink(path)
    for root in (folder, os.path.realpath(folder)):
        if target == root or target.startswith(f"{root}/"):
            inside = os.path.relpath(target, root)
            target = os.path.relpath(inside, os.path.dirname(name) or ".")
            beside = f"{path}.furu-{os.urandom(4).hex()}"
            os.symlink(target, beside)
            os.replace(beside, path)
            break
    return target


def _no_plain_file(path: str, mode: int) -> FuruResultError:
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }
    kind = kinds.get(stat.S_IFMT(mode), "no file, folder or symbolic link")
    return FuruResultError(
        f"{path!r} is {kind}, which cannot be part of an artifact",
        hint="remove it at the end of _create, or make it in a temporary folder",
    )
