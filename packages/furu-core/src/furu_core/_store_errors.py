"""What the operating system says of the store's files, in words that name the next step."""

from __future__ import annotations

import errno
import os
from typing import Final

from furu_core.errors import FuruStoreError

_REMEDIES: Final = {
    errno.ENOSPC: "the disk is full, of bytes or of files: free some room or set FURU_PATH to "
    "another disk",
    errno.EDQUOT: "your disk quota is used up: free some room or set FURU_PATH elsewhere",
    errno.EROFS: "the filesystem is read-only: set FURU_PATH to a folder that can be written",
    errno.EACCES: "you may not write there: set FURU_PATH to a folder of yours",
    errno.EPERM: "you may not write there: set FURU_PATH to a folder of yours",
    errno.ENAMETOOLONG: "the path is too long: set FURU_PATH to a folder with a shorter one",
    errno.ENOTDIR: "no folder stands there: move it away or set FURU_PATH elsewhere",
    errno.EEXIST: "no folder stands there: move it away or set FURU_PATH elsewhere",
}


def store_error(error: OSError, path: str, *, doing: str = "write to") -> FuruStoreError:
    """The error of the operating system as one that says what to do."""
    where = error.filename if isinstance(error.filename, str) else path
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        where = _no_folder(where, error.filename2, path) or where
    reason = error.strerror or type(error).__name__
    return FuruStoreError(
        f"cannot {doing} the store at {where}: {reason}",
        path=where,
        hint=_REMEDIES.get(error.errno or 0, "check the folder that FURU_PATH names"),
    )


def _no_folder(*paths: object) -> str | None:
    """What stands in place of a folder in one of the paths; the system does not say which."""
    for path in paths:
        while isinstance(path, str) and path not in ("", "/"):
            if os.path.lexists(path) and not os.path.isdir(path):
                return path
            path = os.path.dirname(path)
    return None
