"""Work that waits in some scheduler's queue: `.attempts/<hash>/submission.json`.

It is written before the scheduler is asked, so that a job without a note cannot exist. Queued work
has no lease; whether it lives is for its executor to say.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Final

import attrs

from furu_core import _records
from furu_core._layout import NodePaths
from furu_core._records import Submission
from furu_core._store_errors import store_error
from furu_core.errors import FuruFormatError

SUBMISSION_FILE: Final = "submission.json"
VERSION: Final = 1


def queued(paths: NodePaths) -> Submission | None:
    """The note of a node's job, or None; a damaged note counts as none."""
    path = f"{paths.attempts}/{SUBMISSION_FILE}"
    try:
        with open(path, "rb") as file:
            raw = json.loads(file.read())
        version = raw.pop("version")
        if version <= VERSION:
            return Submission(str(raw["executor"]), str(raw["id"]), int(raw["restarts"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise store_error(error, path, doing="read") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    raise FuruFormatError(
        f"{path} has format version {version}, this furu reads up to {VERSION}",
        path=path,
        hint="use the furu that wrote it or a newer one",
    )


def note(paths: NodePaths, submission: Submission) -> None:
    """Write or replace the note of a node's job.

    Raises:
        FuruStoreError: the store cannot be written.
    """
    data = json.dumps({"version": VERSION, **attrs.asdict(submission)}).encode()
    try:
        os.makedirs(paths.attempts, exist_ok=True)
        _records.replace_file(f"{paths.attempts}/{SUBMISSION_FILE}", data)
    except OSError as error:
        raise store_error(error, paths.attempts) from error


def remove(paths: NodePaths) -> None:
    """Remove the note of a node's job, if there is one."""
    with suppress(OSError):
        os.unlink(f"{paths.attempts}/{SUBMISSION_FILE}")
