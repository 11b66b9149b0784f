"""Checkpoint folders: handed from attempt to attempt, and told apart by what they hold.

A fingerprint leaves out times: a node that writes the same bytes each time until it is killed gets nowhere. The
work is bounded, however much a node saves: names and sizes of all files, and of their contents at most
64 MiB. Files up to 1 MiB are read whole as long as that suffices, larger ones in 64 places.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from stat import S_ISREG
from typing import Final

from furu_core._attempts import _records
from furu_core._attempts._attempts import UNREADABLE, numbers
from furu_core._store._layout import (
    CHECKPOINT,
    NodePaths,
)

_BLOCK: Final = 1 << 14
_BLOCKS: Final = 1 << 12
_BLOCKS_OF_ONE: Final = 64


def made_progress(paths: NodePaths, number: int) -> bool:
    """Whether an attempt changed its checkpoint folder since it started."""
    folder = f"{paths.attempts}/{number}"
    try:
        started_with = _records.read(folder).checkpoint
    except UNREADABLE:
        return False
    return fingerprint(f"{folder}/{CHECKPOINT}") != started_with


def fingerprint_before(paths: NodePaths, number: int) -> str:
    """The fingerprint of the checkpoint that attempt `number` is handed; empty where there is none."""
    folder = checkpoint_before(paths, number)
    if folder is None:
        return ""
    return fingerprint(folder)


def checkpoint_before(paths: NodePaths, number: int) -> str | None:
    """The newest checkpoint folder of the attempts before `number`."""
    if number == 1:
        return None
    for earlier in reversed(numbers(paths)):
        folder = f"{paths.attempts}/{earlier}/{CHECKPOINT}"
        if earlier < number and os.path.isdir(folder):
            return folder
    return None


def hand_over(paths: NodePaths, number: int) -> None:
    """Move the newest checkpoint of earlier attempts into attempt `number`."""
    folder = checkpoint_before(paths, number)
    if folder is not None:
        os.rename(folder, f"{paths.attempts}/{number}/{CHECKPOINT}")


def fingerprint(folder: str) -> str:
    """A digest of names, sizes and contents of everything below; empty when there is nothing."""
    entries = sorted(_entries(folder))
    if not entries:
        return ""
    import hashlib  # few nodes leave a checkpoint

    digest = hashlib.sha256()
    for where, what in entries:
        digest.update(f"{len(where)} {where} {len(what)} {what}\n".encode(errors="surrogateescape"))
    # A name may be that of a pipe, whose reader would wait for ever.
    files = [path for path in (f"{folder}/{where}" for where, _ in entries) if _size(path)]
    sampled = files[:: -(-len(files) // _BLOCKS)] if files else []
    for path in sampled:
        with suppress(OSError):  # it cannot be read, or went away
            for block in _sample(path, min(_BLOCKS_OF_ONE, _BLOCKS // len(sampled))):
                digest.update(block)
    return digest.hexdigest()[:16]


def _entries(folder: str) -> Iterator[tuple[str, str]]:
    """The path below the folder of everything in it, and what it is beside its content."""
    pending = [""]
    while pending:
        below = pending.pop()
        with suppress(OSError), os.scandir(f"{folder}/{below}") as found:
            for entry in found:
                where = f"{below}{entry.name}"
                with suppress(OSError):  # it went away
                    if entry.is_symlink():  # `latest`, which says how far it got
                        yield where, f"-> {os.readlink(entry.path)} {_size(entry.path)}"
                    elif entry.is_dir():
                        yield where, "folder"
                        pending.append(f"{where}/")
                    else:
                        yield where, str(_size(entry.path))


def _size(path: str) -> int:
    """The size of a file; 0 of all that is none."""
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
