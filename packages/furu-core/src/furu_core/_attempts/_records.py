"""The record of an attempt, which becomes that of the artifact.

One process writes it: a line when the attempt begins, and one when it ends. Any process reads it.
See `_record_file`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core._attempts._outcomes import FailureKind
from furu_core._context._submission import JobTimes, Submission
from furu_core._process_ids import ProcessId
from furu_core._record_format import OMIT_EMPTY, RecordFormat, from_json, to_json
from furu_core._store import _record_file
from furu_core._store._layout import RECORD_FILE
from furu_core._store._record_file import RecordFile
from furu_core.errors import FuruDamagedRecord, FuruFormatError


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
        at: file and line of the user's code that raised, where they are known.
        noticed: whether another process wrote this, which took the holder for dead at that time.
    """

    time: float
    kind: FailureKind | None = None
    error_type: str = ""
    message: str = attrs.field(default="", converter=_text.writable)
    culprit: str = ""
    at: str = attrs.field(default="", metadata=OMIT_EMPTY)
    noticed: bool = attrs.field(default=False, metadata=OMIT_EMPTY)


@attrs.frozen
class AttemptRecord:
    """One attempt to compute one node.

    Attributes:
        number: counts the node's attempts from 1.
        token: tells two claims of one number apart.
        node: short name of the node.
        class_name: name of its class in the hash.
        hash: its hash.
        holder: the process that computes.
        started: seconds since the epoch, by the holder's clock.
        lease_secs: seconds without a heartbeat after which the attempt counts as dead.
        log: the file that has the output while the attempt runs, below the store.
        checkpoint: fingerprint of the checkpoint folder when the attempt started.
        executor: name of the executor, empty for an interactive `get()`.
        run_id: the executor's run.
        spec_key: the spec key of the worker.
        submission: the scheduler's job, where there is one.
        job_times: when that job was queued and began, as far as that is known.
        status: how the attempt stands.
        ended: how it ended; None while it runs.
    """

    number: int
    token: str
    node: str
    holder: ProcessId
    started: float
    lease_secs: float
    class_name: str = ""
    hash: str = ""
    log: str = attrs.field(default="", metadata=OMIT_EMPTY)
    checkpoint: str = attrs.field(default="", metadata=OMIT_EMPTY)
    executor: str = attrs.field(default="", metadata=OMIT_EMPTY)
    run_id: str = attrs.field(default="", metadata=OMIT_EMPTY)
    spec_key: str = attrs.field(default="", metadata=OMIT_EMPTY)
    submission: Submission | None = attrs.field(default=None, metadata=OMIT_EMPTY)
    job_times: JobTimes | None = attrs.field(default=None, metadata=OMIT_EMPTY)
    status: AttemptStatus = AttemptStatus.RUNNING
    ended: AttemptEnd | None = attrs.field(default=None, metadata=OMIT_EMPTY)


RECORD: Final = RecordFormat(
    AttemptRecord,
    "the record of an attempt",
    version=_record_file.VERSION,
    key="furu",
    next_step_other_version="use the furu that wrote it or a newer one, or remove the node with `furu rm`",
)
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode
_quoted: Final = json.encoder.encode_basestring_ascii


def claim_bytes(record: AttemptRecord, config: str) -> bytes:
    """The line of a record file that tells how an attempt began.

    Args:
        record: the attempt.
        config: the JSON of the node's config.
    """
    # By hand, because each node has one, and an encoder takes several times as long.
    own = (
        f'"number":{record.number},"token":{_quoted(record.token)},"node":{_quoted(record.node)},'
        f'"class_name":{_quoted(record.class_name)},"hash":{_quoted(record.hash)},'
        f'"started":{record.started!r}'
    )
    if record.checkpoint:
        own = f'{own},"checkpoint":{_quoted(record.checkpoint)}'
    shared = _shared_part(
        record.holder,
        record.lease_secs,
        record.log,
        record.executor,
        record.run_id,
        record.spec_key,
        record.submission,
        record.job_times,
    )
    line = f'{{"furu":{RECORD.version},{own},{shared},"config":{config}}}'
    return line.encode("ascii")


@lru_cache(maxsize=64)
def _shared_part(
    holder: ProcessId,
    lease_secs: float,
    log: str,
    executor: str,
    run_id: str,
    spec_key: str,
    submission: Submission | None,
    job_times: JobTimes | None,
) -> str:
    """The JSON of what most attempts of a process have in common."""
    told = {"holder": to_json(holder), "lease_secs": lease_secs}
    named = {"log": log, "executor": executor, "run_id": run_id, "spec_key": spec_key}
    told |= {key: value for key, value in named.items() if value}
    if submission is not None:
        told["submission"] = to_json(submission)
    if job_times is not None:
        told["job_times"] = to_json(job_times)
    return _compact(told)[1:-1]


def story_bytes(status: AttemptStatus, ended: AttemptEnd, more: Mapping[str, Any]) -> bytes:
    """The part of a record file that tells how an attempt ended.

    Args:
        status: how it stands now.
        ended: how it ended.
        more: further entries, as JSON.
    """
    told = {"status": status.value, "ended": {"time": ended.time}}
    if ended.kind is not None or ended.error_type:
        told["ended"] = to_json(ended)
    return _compact({**told, **more}).encode("ascii")


def read(folder: str) -> AttemptRecord:
    """The record in the folder of an attempt.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        FuruDamagedRecord, FuruFormatError: it cannot be read.
    """
    record = read_any(folder)
    if record.status is AttemptStatus.PUBLISHED:  # its folder is about to be renamed
        return attrs.evolve(record, status=AttemptStatus.RUNNING, ended=None)
    return record


def read_any(folder: str) -> AttemptRecord:
    """The record in the folder of an attempt or artifact.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        FuruDamagedRecord, FuruFormatError: it cannot be read.
    """
    path = f"{folder}/{RECORD_FILE}"
    try:
        found = _record_file.read(folder)
    except IsADirectoryError as error:
        raise RECORD.damaged(path, f"{error.strerror}") from None
    return of_parts(found, path)


def of_parts(found: RecordFile, path: str) -> AttemptRecord:
    """The record whose parts were read already.

    Args:
        found: the parts of its file.
        path: the file, for errors.

    Raises:
        FuruDamagedRecord, FuruFormatError: it cannot be read.
    """
    record = RECORD.from_bytes(found.claim, path)
    if not found.story:
        return record
    try:
        story = json.loads(found.story)
        status = AttemptStatus(story["status"])
        ended = from_json(AttemptEnd, story["ended"])
    except (ValueError, KeyError, TypeError) as error:
        raise RECORD.damaged(path, f"{type(error).__name__}: {error}") from None
    return attrs.evolve(record, status=status, ended=ended)


def holds(folder: str, token: str) -> bool:
    """Whether the record in an attempt's folder has this token.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
    """
    return token.encode() in _record_file.read(folder).claim


def is_of(folder: str, token: str) -> bool:
    """Whether an attempt's folder is that of the attempt with this token.

    Raises:
        FileNotFoundError, NotADirectoryError: it has no record.
    """
    if holds(folder, token):
        return True
    try:
        read(folder)
    except FuruDamagedRecord:
        return True  # every claim writes a whole record, so it is ours that was damaged
    except FuruFormatError:
        return False
    return False


def raw(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the record of an attempt or artifact tells, as JSON: how it began and how it ended.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        ValueError: it is damaged.
    """
    found = _record_file.read(folder)
    claim, story = json.loads(found.claim), json.loads(found.story or b"{}")
    if not (isinstance(claim, dict) and isinstance(story, dict)):
        raise ValueError("it is no record")  # noqa: TRY004 - what json raises of other damage
    return claim, story
