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
additional files.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from contextlib import suppress
from typing import Any, Final, TypeAlias

import attrs

from furu_core._files import blake2b, is_local_folder, read_file
from furu_core._record_format import OMIT_EMPTY
from furu_core._store import _record_file
from furu_core._store._layout import LOG_FILE, RECORD_FILE, STAGED, USED, VIOLATIONS
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruResultError

Omitted: TypeAlias = "dict[str, tuple[str, str]]"
NO_VALUE: Final = object()
_UNLISTED: Final = frozenset({RECORD_FILE, LOG_FILE, VIOLATIONS, USED})
_DIGEST_BYTES: Final = 16
_BLOCK: Final = 1 << 20
# In which a network filesystem may show a file of another host without its last lines.
_VISIBLE_SECS: Final = 60.0
_parsed: Final = json.JSONDecoder().decode
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
        staged: with what the names of the result's files begin.
    """

    result: ResultEntry | None
    files: dict[str, tuple[int, str]]
    links: dict[str, str]
    omitted: Omitted = attrs.field(factory=dict)
    digest: str = ""
    stand_in: str = ""
    value: Any = NO_VALUE
    staged: str = STAGED


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
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(f"{folder}/{below}" if below else folder) as scan:
            entries = list(scan)  # first, because links that are made anew would be listed too
        for entry in entries:
            name = below + entry.name
            if name in _UNLISTED:
                found.own.add(name)
                continue
            found.users = found.users or not name.startswith(STAGED)
            if entry.is_symlink():
                found.links[name] = _settled_link(folder, name)
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")
            elif not entry.is_file(follow_symlinks=False):
                raise _no_plain_file(entry.path, entry.stat(follow_symlinks=False).st_mode)
            else:
                found.files[name] = entry.stat(follow_symlinks=False).st_size
    return found


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
        stored = _compact(
            {"codec": result.codec}
            | ({"file": result.file} if result.file else {})
            | ({"version": result.version} if result.version != 1 else {})
            | ({"distribution": result.distribution} if result.distribution else {})
            | ({"tagged": True} if result.tagged else {})
        )
        if value:
            stored = f'{stored[:-1]},"value":{value}}}'
        parts.append(f'"result":{stored}')
    files = {
        name: (size, digest_of(f"{folder}/{name}") if size <= digest_limit else "")
        for name, size in sorted(found.files.items())
    }
    digest = ""
    if all(kept for _, kept in files.values()):
        whole = _compact([files, found.links]) if files or found.links else ""
        digest = blake2b(f"{stored}{whole}".encode(), digest_size=_DIGEST_BYTES).hexdigest()
    for key, part in (("files", files), ("links", found.links), ("omitted", omitted)):
        if part:
            parts.append(f'"{key}":{_compact(part)}')
    parts.append(f'"digest":"{digest}"')
    return f"{{{','.join(parts)}}}".encode("ascii")


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
    return _read_from(data, path)


def _read_from(data: bytes, path: str) -> Manifest | None:
    if not data.startswith(_record_file.BEGINNING):
        _refuse_other_version(data, path)
    found = _record_file.parse(data)
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
            return _read_from(read_file(f"{folder}/{RECORD_FILE}"), f"{folder}/{RECORD_FILE}")
        if not os.path.isdir(folder):
            return None  # deleted in this moment
        _format.refuse_newer()
        raise DamagedArtifact(f"{folder}/{RECORD_FILE}", "the record is missing")
    result = None
    if old.result is not None:
        result = ResultEntry(**attrs.asdict(old.result))
    files = {name: (size, "") for name, size in old.files.items()}
    return Manifest(result, files, old.links, old.omitted, staged=_format1.STAGED)


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
    name = ""
    try:
        for name, (size, _) in manifest.files.items():
            found = os.stat(f"{folder}/{name}", follow_symlinks=False)
            if found.st_size != size or not stat.S_ISREG(found.st_mode):
                raise DamagedArtifact(
                    f"{folder}/{name}", f"{found.st_size} bytes where {size} were published"
                )
        for name, target in manifest.links.items():
            if os.readlink(f"{folder}/{name}") != target:
                raise DamagedArtifact(f"{folder}/{name}", "the link points somewhere else")
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.isdir(folder):
            return None  # deleted in this moment
        if manifest.staged != STAGED and os.path.exists(f"{folder}/{RECORD_FILE}"):
            return check(folder)  # upgraded in this moment
        raise DamagedArtifact(f"{folder}/{name}", "the file is missing") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # what readlink says of anything but a link
            raise
        raise DamagedArtifact(f"{folder}/{name}", "it is no link any more") from None
    return manifest


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
