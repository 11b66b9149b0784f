"""Whether a folder is on a disk of this machine, or on a filesystem that others change as well."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Final

# Filesystems whose every change is seen by every process at once. All others are taken to cache.
_LOCAL: Final = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)


def is_local(folder: str | os.PathLike[str]) -> bool:
    """Whether `folder` is there, on a filesystem that only this machine changes."""
    if sys.platform != "linux":
        return False
    try:
        return _is_local_device(os.stat(folder).st_dev)
    except OSError:
        return False


@lru_cache(maxsize=64)
def _is_local_device(device: int) -> bool:
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.split(" ")
                if fields[2] == number:
                    # Optional fields end with a dash, and the type comes after it.
                    return fields[fields.index("-", 6) + 1] in _LOCAL
    except (OSError, ValueError, IndexError):
        return False
    return False  # btrfs subvolumes, for instance, have a number that is not listed
