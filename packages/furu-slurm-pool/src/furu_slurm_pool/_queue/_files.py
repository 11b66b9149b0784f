"""Listing and moving files where others do the same, also on a network filesystem.

Of two processes that move one file, one succeeds. What is trusted are listings, and names that nobody
here has looked up before: a network filesystem may go on for a minute to deny that a name exists which
was asked for too early.
"""

from __future__ import annotations

import os
from contextlib import suppress


def listed(folder: str) -> list[str]:
    """The names in a folder, in no order; none where there is no such folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def moved(source: str, target: str) -> bool:
    """Rename a file or folder; False when it is not there any more, because somebody else moved it.

    Args:
        source: what to move.
        target: a name in an existing folder that nobody else uses.
    """
    try:
        os.rename(source, target)
    except FileNotFoundError:
        # A server that did it and whose reply was lost is asked again, and then finds nothing.
        return os.path.lexists(target)
    return True


def write_new(path: str, data: bytes, *, by_way_of: str) -> None:
    """Write a file that appears whole, or not at all.

    Args:
        path: a name that was never used.
        data: what it holds.
        by_way_of: a folder of the caller's own, on the same filesystem.

    Raises:
        OSError: it cannot be written.
    """
    temporary = f"{by_way_of}/.new-{os.path.basename(path)}"
    try:
        with open(temporary, "wb", buffering=0) as file:
            file.write(data)
        if not moved(temporary, path):
            raise FileNotFoundError(2, "the folder it is written in is gone", by_way_of)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def is_hidden(name: str) -> bool:
    """Whether a name is of a file that is being written."""
    return name.startswith(".")
