"""The record of an attempt: `record.json`.

One process writes it, by replacing it whole; any process reads it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import attrs

from furu_core import _text
from furu_core._attempts._outcomes import FailureKind
from furu_core._context._submission import Submission
from furu_core._files import read_file, replace_file
from furu_core._process_ids import ProcessId
from furu_core._record_format import RecordFormat

RECORD_FILE: Final = "record.json"


class AttemptStatus(Enum):
    """The status of an attempt: running, or how it ended."""

    RUNNING = "running"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"
    PUBLISHED = "published"
    INVALID = "invalid"  # a bad artifact, its own or a dependency's, was moved aside


@attrs.frozen
class AttemptEnd:
    """How an attempt ended.

    Attributes:
        time: seconds since the epoch, by the clock of the host that wrote it.
        kind: the kind of failure; None where a bad artifact was moved aside.
        error_type: the exception's class name.
        message: the exception's last line.
        culprit: the hash of the dependency that was at fault, if one was.
    """

    time: float
    kind: FailureKind | None = None
    error_type: str = ""
    message: str = attrs.field(default="", converter=_text.writable)
    culprit: str = ""


@attrs.frozen
class AttemptRecord:
    """One attempt to compute one node.

    Attributes:
        number: counts the node's attempts from 1.
        token: drawn at random, tells two claims of one number apart.
        node: short name of the node.
        status: how the attempt stands.
        holder: the process that computes.
        started: seconds since the epoch, by the holder's clock.
        lease_secs: seconds without a heartbeat after which the attempt counts as dead.
        checkpoint: fingerprint of the checkpoint folder when the attempt started.
        executor: name of the executor, empty for an interactive `get()`.
        run_id: the executor's run.
        spec_key: the spec key of the worker.
        submission: the scheduler's job, where there is one.
        ended: how it ended; None while it runs.
    """

    number: int
    token: str
    node: str
    status: AttemptStatus
    holder: ProcessId
    started: float
    lease_secs: float
    checkpoint: str = ""
    executor: str = ""
    run_id: str = ""
    spec_key: str = ""
    submission: Submission | None = None
    ended: AttemptEnd | None = None


RECORD: Final = RecordFormat(
    AttemptRecord,
    "the record of an attempt",
    version=1,
    next_step_other_version="use the furu that wrote it or a newer one, or remove the node with `furu rm`",
)


def read(folder: str) -> AttemptRecord:
    """The record in an attempt's folder.

    Raises:
        FileNotFoundError: there is none.
        FuruDamagedRecord, FuruFormatError: it cannot be read.
    """
    return RECORD.from_bytes(_bytes(folder), f"{folder}/{RECORD_FILE}")


def holds(folder: str, token: str) -> bool:
    """Whether the record in an attempt's folder has this token.

    Raises:
        FileNotFoundError, FuruDamagedRecord, FuruFormatError: as for `read`.
    """
    data = _bytes(folder)
    # A random token occurs in no other record, so a search in the bytes mostly spares the parsing.
    return (
        token.encode() in data or RECORD.from_bytes(data, f"{folder}/{RECORD_FILE}").token == token
    )


def replace(folder: str, record: AttemptRecord) -> None:
    """Write the record of an attempt that has one already."""
    replace_file(f"{folder}/{RECORD_FILE}", RECORD.to_bytes(record))


def _bytes(folder: str) -> bytes:
    path = f"{folder}/{RECORD_FILE}"
    try:
        return read_file(path)
    except (IsADirectoryError, NotADirectoryError) as error:
        raise RECORD.damaged(path, f"{error.strerror}") from None
