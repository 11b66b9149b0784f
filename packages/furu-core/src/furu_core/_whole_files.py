"""Small files, read and written whole, with as few system calls as that takes."""

from __future__ import annotations

import os
from typing import Final

_CHUNK: Final = 1 << 14
_READ: Final = os.O_RDONLY | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def read(path: str) -> bytes:
    """The contents of a file.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    descriptor = os.open(path, _READ)
    try:
        data = os.read(descriptor, _CHUNK)
        while more := os.read(descriptor, max(_CHUNK, len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def write(path: str, data: bytes) -> None:
    """Write a file, in place of one that is there.

    Raises:
        OSError: it cannot be written whole: the disk is full, for instance.
    """
    descriptor = os.open(path, _WRITE, 0o666)
    try:
        view = memoryview(data)
        while view:  # on a disk that is nearly full, a part is written before the error comes
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
