"""Publishing an artifact, replacing it, and moving a bad one aside."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from furu_core._attempts import _attempts
from furu_core._attempts._attempts import Attempt
from furu_core._store._layout import NodePaths
from furu_core._store._places import is_published


def publish(attempt: Attempt, *, replace: bool) -> bool:
    """Rename the staging folder to the artifact; False when another attempt's is there already.

    Args:
        attempt: the attempt; its staging folder is complete.
        replace: move an artifact that is there into the attempt's folder first.
    """
    artifact = attempt.paths.artifact
    if replace:
        with suppress(FileNotFoundError):
            os.rename(artifact, f"{attempt.folder}/{_attempts.REPLACED}")
    try:
        os.rename(attempt.staging, artifact)
    except OSError as error:
        if replace:
            put_back_replaced(attempt.paths)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        # Over a network the rename may be done and its reply lost: then its repetition fails.
        if os.path.isdir(attempt.staging) or not is_published(attempt.paths):
            raise
        return False
    return True


def put_back_replaced(paths: NodePaths) -> None:
    """Put back an artifact that was moved away by a holder that died before publishing its own."""
    for folder in _replaced(paths):
        with suppress(OSError):  # another artifact is there, or another process put this one back
            os.rename(folder, paths.artifact)


def is_being_replaced(paths: NodePaths) -> bool:
    """Whether an attempt is replacing the artifact, which is absent for a moment meanwhile."""
    return bool(_replaced(paths))


def _replaced(paths: NodePaths) -> list[str]:
    folders = [f"{paths.attempts}/{n}/{_attempts.REPLACED}" for n in _attempts.numbers(paths)]
    return [folder for folder in reversed(folders) if os.path.isdir(folder)]


def move_aside(attempt: Attempt) -> None:
    """Move the artifact of a node into the folder of an attempt at it."""
    with suppress(FileNotFoundError):
        os.rename(attempt.paths.artifact, f"{attempt.folder}/{_attempts.INVALID}")
