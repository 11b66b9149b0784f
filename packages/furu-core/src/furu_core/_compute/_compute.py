"""Running a node's code in an attempt, and publishing what it made."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from furu_core import _files, _provenance, _text
from furu_core._attempts import _attempts, _claims, _cleanup, _publishing, _records, _violations
from furu_core._attempts._attempts import Attempt
from furu_core._attempts._outcomes import FailureKind
from furu_core._attempts._records import AttemptEnd, AttemptStatus
from furu_core._codecs import _store
from furu_core._compute import _debuggers, _hit, _open_files, _process_state, _user_methods
from furu_core._config import _identity
from furu_core._config._objects import config_class, short_name
from furu_core._context import _context
from furu_core._forms import _pack, _python_text
from furu_core._output import _capture, _logging
from furu_core._settings import _settings
from furu_core._store import _manifest, _places
from furu_core._store._layout import CONFIG_FILE, LOG_FILE, META, METADATA_FILE
from furu_core.errors import (
    FuruComputeError,
    FuruDefinitionError,
    FuruDependencyError,
    FuruError,
    FuruFormatError,
    FuruImportNameError,
    FuruInvalidDependency,
    FuruMissingArtifact,
    FuruMutatedConfig,
    FuruNestedRun,
    FuruNodeError,
    FuruProtocolError,
    FuruResultError,
    FuruSelfDependency,
    FuruSpecMismatch,
    FuruSuperseded,
    FuruValidationError,
    NodeCancelled,
    NodeLost,
)

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

_REASON_CHARACTERS: Final = 600


def compute(
    obj: ConfigObject,
    attempt: Attempt,
    *,
    rerun: bool = False,
    ending: Callable[[], NodeCancelled | None] | None = None,
) -> bool:
    """Run the code of `obj` in `attempt`, publish the result, and end the attempt.

    Args:
        obj: the node.
        attempt: the attempt, held by the caller; it has ended when this returns or raises.
        rerun: replace an artifact that is there.
        ending: called when the node's code has failed: returns the cancellation if the process is
            being ended, which then explains the failure.

    Returns:
        Whether this attempt published. False: another one did meanwhile, and this one's work is
        discarded.

    Raises:
        FuruComputeError: the node's code raised; its exception is the `__cause__`.
        FuruError: the node has no result for another reason.
        NodeCancelled, KeyboardInterrupt: it was interrupted.
    """
    published = False
    try:
        with _node_context(obj, attempt):
            timer = _provenance.NodeTimer()
            _refuse_changed(obj, attempt, "computed")
            # Before the node's code runs, since it may change fields that are not hashed.
            config = _json(_pack.shallow_dict(obj))
            entry = _run_code(obj, attempt)
            _refuse_if_broken(obj, attempt)
            with _files.store_errors(attempt.folder):
                _open_files.close_all(attempt.staging, attempt.log)
                _open_files.refuse_open(attempt.staging)
                _write_records(obj, attempt, entry, timer, config)
        with _files.store_errors(attempt.folder):
            published = _publish(obj, attempt, rerun=rerun)
    except BaseException as error:
        if not published and (rerun or not _finished_elsewhere(attempt, error)):
            try:
                failure = _end_failed(obj, attempt, error, ending)
            except BaseException:
                # Recording the end failed too, for instance because the stack is exhausted.
                _claims.release(attempt)
                raise
            if failure is error:
                raise
            error.__traceback__ = _text.without_own_frames(error) or error.__traceback__
            raise failure from error
        _cleanup.clean_up(attempt)
        if not isinstance(error, Exception):
            raise
    else:
        _cleanup.clean_up(attempt)
    return published


@contextmanager
def _node_context(obj: ConfigObject, attempt: Attempt) -> Iterator[None]:
    context = _context.exec_context()
    whole_process = context.one_at_a_time or not context.strict
    scope: _capture.Scope = "process" if whole_process else "thread"
    with (
        _context.computing(obj, staging=attempt.staging, folder=attempt.folder),
        ExitStack() as stack,
    ):
        with _files.store_errors(attempt.folder):
            log = _capture.node_log(attempt.log, echo=context.echo, scope=scope)
            stack.enter_context(log)
        if context.strict and not context.echo:
            stack.enter_context(_debuggers.without_terminal())
        try:
            yield
        except BaseException as error:
            _end_if_forked(attempt, error)
            # Outside of executors the error is raised, and the console shows it once more.
            if not log.write(_traceback(error), 2 if context.strict else None):
                _write_traceback(attempt.log, error)
            with suppress(Exception):  # why the node failed says more
                _open_files.close_all(attempt.staging, attempt.log)
            raise


def _end_if_forked(attempt: Attempt, error: BaseException | None = None) -> None:
    """Exit a child process that the node's code forked and that returned from it.

    The attempt belongs to the parent.
    """
    if os.getpid() == attempt.record.holder.pid:
        return
    status = 0 if error is None else 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        _write_traceback(attempt.log, error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status & 0xFF)


def _write_traceback(log: str, error: BaseException) -> None:
    with suppress(OSError), open(log, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(_traceback(error))


def _traceback(error: BaseException) -> str:
    trace = _text.without_own_frames(error)
    # The causes of another node's failure are in that node's log, so they are not repeated.
    own = not isinstance(error, FuruComputeError)
    try:
        lines = traceback.format_exception(
            type(error), error, trace or error.__traceback__, chain=own
        )
    except Exception:  # noqa: BLE001 - an exception of the user's that cannot be formatted
        lines = [f"{type(error).__name__}: {_text.last_line(error)}\n"]
    return "".join(lines)


def _run_code(obj: ConfigObject, attempt: Attempt) -> _manifest.ResultEntry | None:
    _refuse_other_spec_key(obj)
    with _process_state.restored():
        value = obj._create()
    _end_if_forked(attempt)
    staging = attempt.staging
    stored = not _hit.overrides(type(obj), "_load")
    with _files.store_errors(attempt.folder):
        _open_files.close_all(staging, attempt.log)
        entry = None
        if stored:
            entry = _store.store(value, f"{staging}/{META}", staging, attempt.folder)
    if _hit.overrides(type(obj), "_validate"):
        # So that `_validate` may load what it judges.
        _manifest.write(staging, entry, _identity.omitted_defaults(obj))
        with _process_state.restored():
            reason = _hit.invalid_reason(obj)
        if reason is not None:
            raise FuruValidationError(
                f"the fresh result of {short_name(obj)} is invalid: {reason}",
                node=short_name(obj),
                hash=obj.furu_hash,
                log=_attempts.log_of(attempt.folder),
                hint="mend _create or _validate; nothing was published",
            )
    return entry


def _refuse_other_spec_key(obj: ConfigObject) -> None:
    """Refuse a node whose spec key, computed in this worker, is not the worker's."""
    context = _context.exec_context()
    if not context.strict or (key := _user_methods.spec_key(obj)) == context.spec_key:
        return
    name = short_name(obj)
    raise FuruSpecMismatch(
        f"{name} has the spec key {key!r} here, and this worker computes nodes of {context.spec_key!r}",
        asker=context.who,
        node=name,
        hash=obj.furu_hash,
        hint="if its code was changed while it waited, run the same command again; else let "
        "_executor_spec_key depend on nothing but the node's fields, so that it is the same everywhere",
    )


def _refuse_if_broken(obj: ConfigObject, attempt: Attempt) -> None:
    """Refuse to publish after a violation, even where the node's code swallowed the error."""
    violation = _violation(obj, attempt)
    if violation is not None:
        raise violation
    _refuse_changed(obj, attempt, "published")


def _refuse_changed(obj: ConfigObject, attempt: Attempt, done: str) -> None:
    changed = _identity.changed_since_hashing(obj)
    if changed is None:
        return
    name = short_name(obj)
    which = "its config" if changed is obj else f"the config of {short_name(changed)} in it"
    raise FuruMutatedConfig(
        f"{name} is not {done}: {which} changed after it was hashed, so its result would stand under "
        "the hash of another config",
        node=name,
        hash=obj.furu_hash,
        log=_attempts.log_of(attempt.folder),
        hint="make another object, with `attrs.evolve` for instance, and set nothing in one that is "
        "there; copy lists and dicts before changing them, or use tuples in fields",
    )


def _violation(obj: ConfigObject, attempt: Attempt) -> FuruError | None:
    """The first violation of the node's code; a `get()` of a removed dependency is none."""
    found = _violations.noted_violation(attempt)
    if not isinstance(found, FuruMissingArtifact):
        return found
    declared: set[str] = set()
    with suppress(Exception):  # `_dependencies` is the user's code, and was asked before
        declared = {dependency.furu_hash for dependency in _user_methods.dependencies(obj)}
    if found.hash not in declared:
        return found
    return FuruInvalidDependency(
        f"{short_name(obj)} depends on {found.node}, which was there and is there no more: it was "
        "removed while the run went on",
        node=found.node,
        hash=found.hash,
        hint="the executor computes it again; else run the same command again",
    )


def _write_records(
    obj: ConfigObject,
    attempt: Attempt,
    entry: _manifest.ResultEntry | None,
    timer: _provenance.NodeTimer,
    config: bytes,
) -> None:
    meta = f"{attempt.staging}/{META}"
    _files.write_file(f"{meta}/{CONFIG_FILE}", config)
    record = attempt.record
    metadata = {
        "version": _records.RECORD.version,
        "node": record.node,
        "class": config_class(obj).identity_name,
        "hash": obj.furu_hash,
        "to_python": _python_text.python_text(obj, limit_chars=_python_text.LIMIT_CHARS).expression,
        "attempt": _records.RECORD.to_json(record),
        "earlier_attempts": [_records.RECORD.to_json(past) for past in _attempts.earlier(attempt)],
        "started": record.started,
        "ended": time.time(),
        **timer.stop(),
    }
    # The provenance is one long text for all nodes of a process, so it is encoded once.
    provenance = _provenance.process_provenance().record_bytes
    text = b'%s,"provenance":%s}' % (_json(metadata)[:-1], provenance)
    _files.write_file(f"{meta}/{METADATA_FILE}", text)
    _manifest.write(attempt.staging, entry, _identity.omitted_defaults(obj))


_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


def _json(value: object) -> bytes:
    return _compact(value).encode("ascii")


def _publish(obj: ConfigObject, attempt: Attempt, *, rerun: bool) -> bool:
    staging = attempt.staging
    durable = _settings.settings().durable
    if durable:  # before the log is moved, because it may take minutes in which users read the log
        _files.sync_tree(staging)
    with suppress(FileNotFoundError):
        os.rename(attempt.log, f"{staging}/{META}/{LOG_FILE}")
        if durable:
            _files.sync_path(f"{staging}/{META}/{LOG_FILE}")
            _files.sync_path(f"{staging}/{META}")
    if _claims.is_superseded(attempt):
        if _places.is_published(attempt.paths):
            return False
        raise _superseded(obj, attempt)
    published = _publishing.publish(attempt, replace=rerun)
    if durable:
        try:
            _files.sync_path(attempt.paths.class_dir)
        except OSError as error:  # too late to take the artifact back: others may have loaded it
            _logging.log.warning(
                "%s is published, but may be gone after a power loss: its folder %s cannot be "
                "synced: %s",
                short_name(obj),
                attempt.paths.class_dir,
                error,
            )
    return published


def _superseded(obj: ConfigObject, attempt: Attempt) -> FuruSuperseded:
    return FuruSuperseded(
        f"attempt {attempt.record.number} at {short_name(obj)} does not publish, because another "
        "took over while this one gave no sign of life, or its folder was removed",
        node=short_name(obj),
        hash=obj.furu_hash,
        hint="raise FURU_LEASE_SECS if machines here stall for that long",
    )


def _finished_elsewhere(attempt: Attempt, error: BaseException) -> bool:
    """Whether another attempt has published, so that this one's error means nothing any more.

    An attempt that was taken for dead finds its files gone and fails for that reason alone; and one
    that is interrupted may just have published without knowing it.
    """
    if not isinstance(error, Exception):
        gone = not os.path.isdir(attempt.staging)
        return gone and _places.is_published(attempt.paths)
    broke_a_rule = isinstance(error, FuruProtocolError | FuruInvalidDependency)
    return not broke_a_rule and _places.is_published(attempt.paths)


def _end_failed(
    obj: ConfigObject,
    attempt: Attempt,
    error: BaseException,
    ending: Callable[[], NodeCancelled | None] | None,
) -> BaseException:
    """End the attempt with the status that `error` means, and return the exception to raise."""
    violation = None
    with suppress(OSError, ValueError):
        violation = _violation(obj, attempt)
    if violation is not None and isinstance(error, Exception):
        error = violation
    elif isinstance(error, Exception) and _claims.is_superseded(attempt):
        # The attempt's files are gone, and its error only follows from that.
        error = _superseded(obj, attempt)
    elif ending is not None and classify(error)[1] is FailureKind.COMPUTE:
        # If the process is being ended, the code may have failed because its children ended first.
        error = ending() or error
    error = _debuggers.refused(error, short_name(obj)) or error
    result = _translated(obj, attempt, error)
    status, kind = classify(error)
    ended = AttemptEnd(
        time=time.time(),
        kind=kind,
        error_type=type(error).__name__,
        message=_text.last_line(error),
        culprit=error.hash if isinstance(error, FuruInvalidDependency) else "",
    )
    _claims.keep_log(attempt.folder)
    _claims.end(attempt, status, ended)
    return result


def classify(error: BaseException) -> tuple[AttemptStatus, FailureKind | None]:
    """The status and failure kind of an attempt that ended with `error`."""
    while isinstance(error, FuruComputeError) and error.__cause__ is not None:
        error = error.__cause__  # what its code raised, or that of a node that it asked for
    match error:
        case FuruInvalidDependency():
            return AttemptStatus.INVALID, None
        case FuruSuperseded() | NodeLost():
            return AttemptStatus.LOST, FailureKind.LOST
        case NodeCancelled() | KeyboardInterrupt():
            return AttemptStatus.CANCELLED, FailureKind.CANCELLED
        case (
            FuruProtocolError()
            | FuruNestedRun()
            | FuruSelfDependency()
            | FuruDependencyError()
            | FuruDefinitionError()
            | FuruImportNameError()
            | FuruResultError()
            | FuruMutatedConfig()
            | FuruFormatError()
        ):
            return AttemptStatus.FAILED, FailureKind.PROTOCOL
        case _:
            return AttemptStatus.FAILED, FailureKind.COMPUTE


def _translated(obj: ConfigObject, attempt: Attempt, error: BaseException) -> BaseException:
    """The exception that the caller of `get()` gets for `error`."""
    name = short_name(obj)
    log = _attempts.log_of(attempt.folder)
    hint = f"the traceback is in {log}"
    if isinstance(error, FuruNodeError):
        if not error.hash:  # raised by code that did not know the node
            error.node, error.hash = name, obj.furu_hash
            error.message = f"{name} has no result: {error.message}"
        if error.hash == obj.furu_hash:
            error.log = error.log or log
            return error
        first = _first_failure(error)
        reason = f"because {error.message}"
        if len(reason) > _REASON_CHARACTERS:
            reason = f"because, further down, {first.message}"
        hint = first.hint or hint
    elif isinstance(error, FuruError | KeyboardInterrupt | NodeCancelled):
        return error
    elif not isinstance(error, Exception | SystemExit):
        # Such as `asyncio.CancelledError`: the caller expects this very exception.
        error.add_note(f"{name} failed; {hint}")
        return error
    else:
        reason = f"with {type(error).__name__}: {_text.last_line(error)}"
    if isinstance(error, RecursionError):
        hint += "; a chain deeper than Python recurses is for `furu run`, which needs no recursion"
    return FuruComputeError(
        f"{name} failed {reason}", node=name, hash=obj.furu_hash, log=log, hint=hint
    )


def _first_failure(error: FuruNodeError) -> FuruNodeError:
    """The first failure of the chain, from which the others followed."""
    while isinstance(error.__cause__, FuruNodeError):
        error = error.__cause__
    return error
