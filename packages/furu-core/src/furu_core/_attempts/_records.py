"""What an attempt says of itself: `record.json`, its versions, encoding and parsing.

One process writes a record, by replacing it whole; anyone reads it.
"""

from __future__ import annotations

import json
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import attrs

from furu_core import _error_text
from furu_core._attempts._outcomes import FailureKind
from furu_core._context._submission import Submission
from furu_core._files import read_file, replace_file
from furu_core._process_ids import ProcessId
from furu_core.errors import FuruFormatError

if TYPE_CHECKING:
    from cattrs import Converter

RECORD_FILE: Final = "record.json"
VERSION: Final = 1
_MANY: Final = 100  # brackets that no record holds, but one that makes the parser recurse does


class AttemptStatus(Enum):
    """How an attempt stands or ended."""

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
        time: seconds since the epoch, by the clock of whoever wrote it.
        kind: the kind of failure; None where a bad artifact was moved aside.
        error_type: the exception's class name.
        message: the exception's last line.
        culprit: the hash of the dependency that was at fault, if one was.
    """

    time: float
    kind: FailureKind | None = None
    error_type: str = ""
    message: str = attrs.field(default="", converter=_error_text.writable)
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
        lease_secs: seconds without a sign of life after which the attempt counts as dead.
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


class DamagedRecord(Exception):
    """A record that is empty, truncated or not what it should be."""


def encode(record: AttemptRecord) -> bytes:
    """The bytes of a record on disk."""
    return json.dumps(
        {"version": VERSION, **to_json(record)}, separators=(",", ":"), ensure_ascii=False
    ).encode("utf-8", "backslashreplace")  # which JSON reads as what it was


def to_json(record: AttemptRecord) -> dict[str, Any]:
    """A record as JSON, without its version."""
    result: dict[str, Any] = _converter().unstructure(record)
    return result


def parse(data: bytes, path: str) -> AttemptRecord:
    """The record that `encode` wrote.

    Raises:
        DamagedRecord: the bytes are no record.
        FuruFormatError: a newer furu wrote it.
    """
    try:
        raw = json.loads(data)
        version = raw.pop("version")
        newer = isinstance(version, int) and version > VERSION
        if not newer:
            return _converter().structure(raw, AttemptRecord)
    except Exception as error:
        if (
            isinstance(error, MemoryError | RecursionError)
            and data.count(b"[") + data.count(b"{") < _MANY
        ):
            raise  # the caller's stack is used up; the record is as good as it was
        raise DamagedRecord(f"{path}: {type(error).__name__}: {error}") from None
    raise FuruFormatError(
        f"{path} has format version {version}, this furu reads up to {VERSION}",
        path=path,
        hint="use the furu that wrote it or a newer one, or remove the node with `furu rm`",
    )


def read(folder: str) -> AttemptRecord:
    """The record in an attempt's folder.

    Raises:
        FileNotFoundError: there is none.
        DamagedRecord, FuruFormatError: as `parse`.
    """
    return parse(_bytes(folder), f"{folder}/{RECORD_FILE}")


def holds(folder: str, token: str) -> bool:
    """Whether the record in an attempt's folder has this token.

    Raises:
        FileNotFoundError, DamagedRecord, FuruFormatError: as `read`.
    """
    data = _bytes(folder)
    # Nobody else's holds what was drawn at random; this way, hardly any has to be parsed.
    return token.encode() in data or parse(data, f"{folder}/{RECORD_FILE}").token == token


def replace(folder: str, record: AttemptRecord) -> None:
    """Write the record of an attempt that has one already."""
    replace_file(f"{folder}/{RECORD_FILE}", encode(record))


def _bytes(folder: str) -> bytes:
    path = f"{folder}/{RECORD_FILE}"
    try:
        return read_file(path)
    except (IsADirectoryError, NotADirectoryError) as error:
        raise DamagedRecord(f"{path}: {error.strerror}") from None


@cache
def _converter() -> Converter:
    from cattrs.preconf.json import make_converter

    return make_converter(detailed_validation=False)
