"""Submissions: notes of the scheduler's jobs that are to compute nodes.

A note, `.<hash>.job` beside the artifact, is written before the job is submitted, so that no job
exists without one. A queued job has no lease; its executor tells whether it lives.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from furu_core._context._submission import Submission
from furu_core._files import link_file, move_file, store_error, write_file
from furu_core._record_format import RecordFormat
from furu_core._store import _format
from furu_core._store._layout import NodeRef, ref_of
from furu_core.errors import FuruDamagedRecord

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

# The bytes are those of the first furu, so the encoder is Python's with its own spaces.
NOTE: Final = RecordFormat(Submission, "the note of a job", version=1, dumps=json.dumps)


def queued(ref: NodeRef) -> Submission | None:
    """The note of a node's job, or None; a damaged note counts as none."""
    return _read(ref.submission)


def _read(path: str) -> Submission | None:
    try:
        return NOTE.read(path)
    except (FileNotFoundError, FuruDamagedRecord):
        return None


def note(ref: NodeRef, submission: Submission, *, over: Submission | None = None) -> bool:
    """Write the note of a node's job; of several that do so at once, one succeeds.

    Args:
        ref: the node.
        submission: the job.
        over: the note that it replaces, as it was read; None for a node without one.

    Returns:
        Whether it was written; False when another process wrote a note meanwhile.

    Raises:
        FuruStoreError: the store cannot be written.
    """
    path = ref.submission
    unique = f"{path}.{os.getpid()}-{os.urandom(3).hex()}"
    data = NOTE.to_bytes(submission)
    try:
        _format.enter()
        os.makedirs(ref.class_dir, exist_ok=True)
        write_file(f"{unique}.tmp", data)
        if not _set_aside(ref, path, f"{unique}.old", over):
            return False
        return link_file(f"{unique}.tmp", path)
    except OSError as error:
        raise store_error(error, path) from error
    finally:
        for name in (f"{unique}.tmp", f"{unique}.old"):
            with suppress(OSError):
                os.unlink(name)


def _set_aside(ref: NodeRef, path: str, aside: str, expected: Submission | None) -> bool:
    """Move the note away if it is the expected one, or so damaged that it says nothing."""
    found = queued(ref)
    if found != expected:
        return False
    if not move_file(path, aside):
        return expected is None
    if _read(aside) == expected:
        return True
    link_file(aside, path)  # another process replaced it between the look and the rename
    return False


def remove(ref: NodeRef) -> None:
    """Remove the note of a node's job, if there is one."""
    with suppress(OSError):
        os.unlink(ref.submission)


# The functions below are for executors, which know objects and no ref.


def note_submission(
    obj: ConfigObject, submission: Submission, *, over: Submission | None = None
) -> bool:
    """Note that a scheduler's job is about to be submitted for a node; call it before submitting.

    Of several submitters that do so at once, one succeeds; the others leave the node to it.

    Args:
        obj: the node.
        submission: the job, by a name that the submitter chose.
        over: the note of a job that is gone, as `submission_of` gave it.

    Returns:
        Whether it was noted; False when another submitter was faster.

    Raises:
        FuruStoreError: the store cannot be written.
    """
    return note(ref_of(obj), submission, over=over)


def submission_of(obj: ConfigObject) -> Submission | None:
    """The job that was submitted last for a node, dead or alive; None without a readable note."""
    return queued(ref_of(obj))


def remove_submission(obj: ConfigObject) -> None:
    """Forget the job that was to compute a node; call it when it could not be submitted."""
    remove(ref_of(obj))
