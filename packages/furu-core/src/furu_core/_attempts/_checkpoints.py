"""Checkpoint folders: handing them from attempt to attempt, and fingerprints of what they hold.

A fingerprint leaves out times, because a node that is killed again and again after writing the same
bytes makes no progress. It covers the names and sizes of all files, and at most 64 MiB of their
contents, so its cost is bounded however much a node saves. Files up to 1 MiB are read whole while
that limit allows it, larger ones in 64 places.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from stat import S_ISREG
from typing import Final

from furu_core._attempts import _records
from furu_core._attempts._attempts import UNREADABLE
from furu_core._store._layout import (
    CHECKPOINT,
    NodeRef,
)

_BLOCK: Final = 1 << 14
_BLOCKS: Final = 1 << 12
_BLOCKS_OF_ONE: Final = 64


def made_progress(ref: NodeRef, number: int) -> bool:
    """Whether an attempt changed its checkpoint folder since it started."""
    try:
        started_with = _records.read(ref.attempt(number)).checkpoint
    except UNREADABLE:
        return False
    return fingerprint(ref.beside(number, CHECKPOINT)) != started_with


def fingerprint_before(ref: NodeRef, number: int) -> str:
    """The fingerprint of the checkpoint that attempt `number` gets; empty where there is none."""
    folder = checkpoint_before(ref, number)
    if folder is None:
        return ""
    return fingerprint(folder)


def checkpoint_before(ref: NodeRef, number: int) -> str | None:
    """The newest checkpoint folder of the attempts before `number`."""
    for earlier in range(number - 1, 0, -1):
        folder = ref.beside(earlier, CHECKPOINT)
        if os.path.isdir(folder):
            return folder
    return None


def hand_over(ref: NodeRef, number: int) -> None:
    """Move the newest checkpoint of earlier attempts into attempt `number`."""
    folder = checkpoint_before(ref, number)
    if folder is not None:
        os.rename(folder, ref.beside(number, CHECKPOINT))


def hand_back(ref: NodeRef, number: int) -> None:
    """Move the checkpoint of an attempt that did not use it to the attempt before, if there is one.

    Raises:
        OSError: it cannot be moved.
    """
    if number > 1:
        with suppress(FileNotFoundError):
            os.rename(ref.beside(number, CHECKPOINT), ref.beside(number - 1, CHECKPOINT))


def fingerprint(folder: str) -> str:
    """A digest of names, sizes and contents of all files in a folder; empty for an empty one."""
    entries = sorted(_entries(folder))
    if not entries:
        return ""
    import hashlib  # few nodes leave a checkpoint

    digest = hashlib.sha256()
    for where, what in entries:
        digest.update(f"{len(where)} {where} {len(what)} {what}\n".encode(errors="surrogateescape"))
    # Files of size 0 are left out: one may be a named pipe, which a reader would wait on for ever.
    files = [path for path in (f"{folder}/{where}" for where, _ in entries) if _size(path)]
    sampled = files[:: -(-len(files) // _BLOCKS)] if files else []
    for path in sampled:
        with suppress(OSError):  # it cannot be read, or went away
            for block in _sample(path, min(_BLOCKS_OF_ONE, _BLOCKS // len(sampled))):
                digest.update(block)
    return digest.hexdigest()[:16]


def _entries(folder: str) -> Iterator[tuple[str, str]]:
    """Each entry's path below the folder, and a text with its type, size or link target."""
    pending = [""]
    while pending:
        below = pending.pop()
        with suppress(OSError), os.scandir(f"{folder}/{below}") as found:
            for entry in found:
                where = f"{below}{entry.name}"
                with suppress(OSError):  # it went away
                    if entry.is_symlink():  # such as `latest`, which tells how far the node got
                        yield where, f"-> {os.readlink(entry.path)} {_size(entry.path)}"
                    elif entry.is_dir():
                        yield where, "folder"
                        pending.append(f"{where}/")
                    else:
                        yield where, str(_size(entry.path))


def _size(path: str) -> int:
    """The size of a regular file; 0 for anything else."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_size if S_ISREG(found.st_mode) else 0
    return 0


def _sample(path: str, blocks: int) -> Iterator[bytes]:
    """Blocks of a file, evenly spaced from its first to its last bytes; all of a small one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        last = max(0, size - _BLOCK)
        count = min(blocks, -(-size // _BLOCK))
        for number in range(count):
            yield os.pread(descriptor, _BLOCK, number * last // max(1, count - 1))
    finally:
        os.close(descriptor)
