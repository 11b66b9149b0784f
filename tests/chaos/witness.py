"""Sees artifacts appear and vanish, by the kernel's word instead of furu's."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Final

_MOVED_FROM: Final = 0x40
_MOVED_TO: Final = 0x80
_CREATED: Final = 0x100
_DELETED: Final = 0x200
_OVERFLOW: Final = 0x4000
_HEADER: Final = struct.Struct("iIII")


class Witness:
    """Watches the folder of a class.

    Args:
        folder: where its artifacts appear; it is there already.

    Attributes:
        published: how often each artifact appeared by a rename.
        otherwise: how often one appeared in another way, or vanished.
        blind: whether there were too many events to be told of.
        last: when something was published last, by `time.monotonic`.
        longest: the longest time in seconds without a publication.
    """

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _MOVED_FROM | _MOVED_TO | _CREATED | _DELETED
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), "inotify fails", str(folder))
        self.published: Counter[str] = Counter()
        self.otherwise: Counter[str] = Counter()
        self.blind = False
        self.last = time.monotonic()
        self.longest = 0.0

    def look(self) -> None:
        """Hear what happened since the last time."""
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return
            while data:
                _, mask, _, length = _HEADER.unpack_from(data)
                name = data[_HEADER.size : _HEADER.size + length].rstrip(b"\0").decode()
                data = data[_HEADER.size + length :]
                self._hear(name, mask)

    def _hear(self, name: str, mask: int) -> None:
        if mask & _OVERFLOW:
            self.blind = True
        if name.startswith("."):
            return
        if mask & _MOVED_TO:
            self.published[name] += 1
            now = time.monotonic()
            self.longest = max(self.longest, now - self.last)
            self.last = now
        else:
            self.otherwise[name] += 1
