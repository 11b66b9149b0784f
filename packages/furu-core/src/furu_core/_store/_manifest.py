"""The manifest: which files an artifact consists of, so that a damaged copy is noticed at load.

::

    {"furu": 1,
     "result": {"codec": "json", "version": 1, "file": "result.json"},
     "files": {".furu/config.json": 220, ".furu/result.json": 18, "model/weights.bin": 4096},
     "links": {"latest": "model/weights.bin"},
     "omitted": {"exp.train:Train.momentum": ["5f0b9d21c4a8e673", "0.0"]}}

Names are relative to the artifact. The log and the metadata are not listed: no result depends on
them. ``omitted`` has the defaults that the hash leaves out, with their digests: loading compares
them with the present ones. A check costs one `stat` per file; it reads no contents and does not
notice additional files.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import Final, TypeAlias

import attrs

from furu_core._files import read_file, write_file
from furu_core._record_format import OMIT_EMPTY, RecordFormat
from furu_core._store import _format
from furu_core._store._layout import LOG_FILE, META, METADATA_FILE
from furu_core.errors import FuruDamagedRecord, FuruResultError

MANIFEST_FILE: Final = "manifest.json"
_PATH: Final = f"{META}/{MANIFEST_FILE}"
_UNLISTED: Final = frozenset({_PATH, f"{META}/{LOG_FILE}", f"{META}/{METADATA_FILE}"})

Omitted: TypeAlias = "dict[str, tuple[str, str]]"


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
    """How a result was stored.

    Attributes:
        codec: the name of the codec.
        version: the version of the codec's format.
        file: its name in the artifact's folder for furu's own files; it names any further files.
        distribution: the distribution that brought the codec; empty for furu's own.
    """

    codec: str
    version: int = attrs.field(default=1, kw_only=True)
    file: str = attrs.field(validator=_in_one_folder)
    distribution: str = attrs.field(default="", kw_only=True, metadata=OMIT_EMPTY)


@attrs.frozen
class Manifest:
    """The manifest of an artifact.

    Attributes:
        result: how the result was stored; None for a class with a `_load` of its own.
        files: sizes of the files.
        links: targets of the symbolic links.
        omitted: defaults that the hash leaves out, as `_identity.omitted_defaults` gives them.
    """

    result: ResultEntry | None
    files: dict[str, int]
    links: dict[str, str]
    omitted: Omitted = attrs.field(factory=dict, metadata=OMIT_EMPTY)


# ASCII, because a file's name need not be valid text: its odd bytes become lone surrogates.
MANIFEST: Final = RecordFormat(
    Manifest,
    "the manifest of an artifact",
    version=1,
    key="furu",
    dumps=json.JSONEncoder(separators=(",", ":")).encode,
    next_step_other_version="upgrade furu-core here to the version that wrote it",
)


def write(folder: str, result: ResultEntry | None, omitted: Omitted | None = None) -> Manifest:
    """List the files of a staged artifact in its manifest.

    A symbolic link with an absolute target inside `folder` is made relative, because the folder
    gets another name when it is published.

    Args:
        folder: the staged artifact.
        result: how its result was stored.
        omitted: defaults that its hash leaves out.

    Raises:
        FuruResultError: it holds anything but files, folders and symbolic links.
        OSError: the disk is full, or a folder cannot be read.
    """
    files: dict[str, int] = {}
    links: dict[str, str] = {}
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(f"{folder}/{below}") as scan:
            entries = list(scan)  # first, because links that are made anew would be listed too
        for entry in entries:
            name = below + entry.name
            if entry.is_symlink():
                links[name] = _settled_link(folder, name)
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")
            elif not entry.is_file(follow_symlinks=False):
                raise _no_plain_file(entry.path, entry.stat(follow_symlinks=False).st_mode)
            elif name not in _UNLISTED:
                files[name] = entry.stat(follow_symlinks=False).st_size
    manifest = Manifest(result, files, links, omitted or {})
    write_file(f"{folder}/{_PATH}", MANIFEST.to_bytes(manifest))
    return manifest


def read(folder: str) -> Manifest | None:
    """The manifest of an artifact; None when there is no artifact.

    Args:
        folder: the artifact.

    Raises:
        DamagedArtifact: the manifest is missing or unreadable.
        FuruFormatError: a newer furu wrote the manifest.
    """
    path = f"{folder}/{_PATH}"
    try:
        data = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.isdir(folder):
            return None
        _format.refuse_newer()
        raise DamagedArtifact(path, "the manifest is missing") from None
    try:
        return MANIFEST.from_bytes(data, path)
    except FuruDamagedRecord as damage:
        raise DamagedArtifact(path, f"the manifest is unreadable ({damage.reason})") from None


def check(folder: str) -> Manifest | None:
    """The manifest of an artifact, after comparing it with the files; None when there is no artifact.

    Args:
        folder: the artifact.

    Raises:
        DamagedArtifact: the manifest is missing or unreadable, or a listed file is missing or has
            another size.
        FuruFormatError: a newer furu wrote the manifest.
    """
    manifest = read(folder)
    if manifest is None:
        return None
    name = ""
    try:
        for name, size in manifest.files.items():
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
