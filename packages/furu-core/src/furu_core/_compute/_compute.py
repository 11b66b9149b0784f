"""Running a node's code in an attempt, and publishing what it made."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from furu_core import _files, _provenance, _text
from furu_core._attempts import _attempts, _claims, _publishing, _records, _violations
from furu_core._attempts._attempts import Attempt
from furu_core._attempts._outcomes import FailureKind
from furu_core._attempts._records import AttemptEnd, AttemptStatus
from furu_core._code import _loaded
from furu_core._codecs import _store
from furu_core._compute import _debuggers, _hit, _open_files, _process_state
from furu_core._config import _identity
from furu_core._config._dependencies import dependencies, spec_key
from furu_core._config._objects import short_name
from furu_core._context import _context
from furu_core._forms import _python_text
from furu_core._output import _capture, _logging, _spool
from furu_core._settings import _settings
from furu_core._store import _manifest, _published, _record_file
from furu_core._store._layout import CHECKPOINT, LOG_FILE, RESULT_PREFIX, USED, VIOLATIONS
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
    given: tuple[object] | None = None,
) -> bool:
    """Run the code of `obj` in `attempt`, publish the result, and end the attempt.

    Args:
        obj: the node.
        attempt: the attempt, held by the caller; it has ended when this returns or raises.
        rerun: replace an artifact that is there.
        ending: called when the node's code has failed: returns the cancellation if the process is
            being ended, which then explains the failure.
        given: a result that was made elsewhere; the node's code does not run then.

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
        with _node_context(obj, attempt) as active:
            watched = _identity.watched(obj)
            _refuse_changed(obj, attempt, watched, "computed")
            stored, found = _run_code(obj, attempt, given)
            _refuse_if_broken(obj, attempt, found)
            _refuse_changed(obj, attempt, watched, "published")
            with _files.store_errors(attempt.folder):
                manifest = _manifest_bytes(obj, attempt, stored, found)
                story = _story(obj, attempt, active, found, given)
            attempt.kinds_beside.update(active.kinds_beside)
            if USED in found.own or attempt.record.number > 1:
                attempt.kinds_beside.add(CHECKPOINT)  # a child made it, or an earlier attempt
        with _files.store_errors(attempt.folder):
            published = _publish(obj, attempt, manifest, story, rerun=rerun)
    except BaseException as error:
        if not published and (rerun or not _finished_elsewhere(attempt, error)):
            try:
                failure = _end_failed(obj, attempt, error, ending)
            except BaseException:
                # Recording the end failed too, for instance because the stack is exhausted.
                _spool.retire(attempt.record.log)
                _claims.release(attempt)
                raise
            if failure is error:
                raise
            error.__traceback__ = _text.without_own_frames(error) or error.__traceback__
            raise failure from error
        _publishing.clean_up(attempt)
        if not isinstance(error, Exception):
            raise
    else:
        _publishing.clean_up(attempt, published=published and not rerun)
    return published


@contextmanager
def _node_context(obj: ConfigObject, attempt: Attempt) -> Iterator[_context.Active]:
    context = _context.exec_context()
    whole_process = context.one_at_a_time or not context.strict
    scope: _capture.Scope = "process" if whole_process else "thread"
    unattended = context.strict and not context.echo
    spool = _spool.taken(attempt.record.log)
    assert spool is not None
    with (
        _context.computing(obj, folder=attempt.folder) as active,
        _capture.node_log(spool, _log_of(attempt), echo=context.echo, scope=scope) as log,
        _debuggers.without_terminal() if unattended else nullcontext(),
    ):
        try:
            yield active
        except BaseException as error:
            _end_if_forked(attempt, error)
            # Outside of executors the error is raised, and the console shows it once more.
            if not log.write(_traceback(error), 2 if context.strict else None):
                _write_traceback(_log_of(attempt), error)
            with suppress(Exception):  # why the node failed says more
                _open_files.detach_handlers(attempt.folder)
                _open_files.close_all(attempt.folder, spool.path)
            raise


def _log_of(attempt: Attempt) -> str:
    return f"{attempt.folder}/{LOG_FILE}"


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
        spool = _files_output(attempt)
        _write_traceback(spool, error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status & 0xFF)


def _files_output(attempt: Attempt) -> str:
    return _attempts.output_file(attempt.record)


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


def _run_code(
    obj: ConfigObject, attempt: Attempt, given: tuple[object] | None
) -> tuple[_store.Stored | None, _manifest.Contents]:
    """Run the node's code and store its result; also what is in the attempt's folder then."""
    _refuse_other_spec_key(obj)
    with _process_state.Restored():
        value = obj._create() if given is None else given[0]
    _end_if_forked(attempt)
    folder = attempt.folder
    stored = None
    with _files.store_errors(folder):
        found = _contents(attempt)
        if not _hit.overrides(type(obj), "_load"):
            checkpoint = attempt.ref.beside(attempt.record.number, CHECKPOINT)
            stored = _store.store(value, f"{folder}/{RESULT_PREFIX}", folder, checkpoint)
            if not stored.value or stored.has_parts:
                found = _contents(attempt)
    if _hit.overrides(type(obj), "_validate"):
        _validate_fresh(obj, attempt, stored, found)
        found = _contents(attempt)
    return stored, found


def _contents(attempt: Attempt) -> _manifest.Contents:
    """What is in the attempt's folder, after closing what this process has open there."""
    folder = attempt.folder
    _open_files.detach_handlers(folder)
    found = _manifest.contents(folder)
    if not found.users:
        return found
    _open_files.close_all(folder, _attempts.output_file(attempt.record))
    return _manifest.contents(folder)


def _validate_fresh(
    obj: ConfigObject,
    attempt: Attempt,
    stored: _store.Stored | None,
    found: _manifest.Contents,
) -> None:
    """Refuse a result that `_validate` finds invalid; it may load what it judges."""
    manifest = _manifest_bytes(obj, attempt, stored, found, digest_limit=-1)
    _hit.fresh[attempt.folder] = _manifest.decode(manifest)
    try:
        with _process_state.Restored():
            reason = _hit.invalid_reason(obj)
    finally:
        _hit.fresh.pop(attempt.folder, None)
    if reason is not None:
        raise FuruValidationError(
            f"the fresh result of {short_name(obj)} is invalid: {reason}",
            node=short_name(obj),
            hash=obj.furu_hash,
            log=Path(_log_of(attempt)),
            hint="mend _create or _validate; nothing was published",
        )


def _refuse_other_spec_key(obj: ConfigObject) -> None:
    """Refuse a node whose spec key, computed in this worker, is not the worker's."""
    context = _context.exec_context()
    if not context.strict or (key := spec_key(obj)) == context.spec_key:
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


def _refuse_if_broken(obj: ConfigObject, attempt: Attempt, found: _manifest.Contents) -> None:
    """Refuse to publish after a violation, even where the node's code swallowed the error."""
    violation = _violation(obj, attempt) if VIOLATIONS in found.own else None
    if violation is not None:
        raise violation


def _refuse_changed(obj: ConfigObject, attempt: Attempt, watched: list[Any], done: str) -> None:
    changed = _identity.changed_since_hashing(watched)
    if changed is None:
        return
    name = short_name(obj)
    which = "its config" if changed is obj else f"the config of {short_name(changed)} in it"
    raise FuruMutatedConfig(
        f"{name} is not {done}: {which} changed after it was hashed, so its result would stand under "
        "the hash of another config",
        node=name,
        hash=obj.furu_hash,
        log=Path(_log_of(attempt)),
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
        declared = {dependency.furu_hash for dependency in dependencies(obj)}
    if found.hash not in declared:
        return found
    return FuruInvalidDependency(
        f"{short_name(obj)} depends on {found.node}, which was there and is there no more: it was "
        "removed while the run went on",
        node=found.node,
        hash=found.hash,
        hint="the executor computes it again; else run the same command again",
    )


def _manifest_bytes(
    obj: ConfigObject,
    attempt: Attempt,
    stored: _store.Stored | None,
    found: _manifest.Contents,
    digest_limit: float | None = None,
) -> bytes:
    """The manifest of what the node's code left, and nothing writes to any more."""
    folder = attempt.folder
    if found.users:
        _open_files.refuse_open(folder)
    return _manifest.manifest_bytes(
        folder,
        found,
        None if stored is None else stored.entry,
        "" if stored is None else stored.value,
        _identity.omitted_defaults(obj),
        digest_limit=_settings.settings().digest_limit if digest_limit is None else digest_limit,
    )


def _story(
    obj: ConfigObject,
    attempt: Attempt,
    active: _context.Active,
    found: _manifest.Contents,
    given: tuple[object] | None,
) -> bytes:
    """How the attempt went, for its record."""
    assert active.timer is not None
    more: dict[str, Any] = {"costs": active.timer.stop()}
    if given is not None:
        more["made_by"] = "put"
    declared = dependencies(obj)
    used = _used(attempt, active) if USED in found.own else active.used
    if declared or used:
        more["dependencies"] = {
            "declared": [dependency.furu_hash for dependency in declared],
            "used": used,
        }
    more["to_python"] = _python_text.python_text(
        obj, limit_chars=_python_text.LIMIT_CHARS
    ).expression
    if attempt.record.number > 1:
        earlier = _attempts.earlier(attempt)
        more["earlier"] = [_records.RECORD.to_json(past) for past in earlier]
    more["provenance"] = _provenance.stored_digest()
    if given is None and (code := _loaded.code_of(obj)) is not None:
        more["code"] = code.listing
        if code.edited:
            more["code_edited"] = code.edited
    more["claim"] = _record_file.digest(attempt.claim).decode()
    return _records.story_bytes(AttemptStatus.PUBLISHED, AttemptEnd(time.time()), more)


def _used(attempt: Attempt, active: _context.Active) -> dict[str, str]:
    """The digests of the results that the node's code loaded, also in its children."""
    used = dict(active.used)
    with suppress(FileNotFoundError), open(f"{attempt.folder}/{USED}", encoding="ascii") as file:
        for line in file:
            node_hash, _, digest = line.rstrip("\n").partition(" ")
            used.setdefault(node_hash, digest)
        os.unlink(file.name)
    return used


def _publish(
    obj: ConfigObject, attempt: Attempt, manifest: bytes, story: bytes, *, rerun: bool
) -> bool:
    durable = _settings.settings().durable
    ours = _claims.append(attempt, manifest, story)
    if durable:
        _files.sync_tree(attempt.folder)
    after = attempt.ref.attempt(attempt.record.number + 1)
    if not ours or os.path.lexists(after):
        if _published.is_published(attempt.ref):
            return False
        raise _superseded(obj, attempt)
    published = _publishing.publish(attempt, replace=rerun)
    if durable:
        try:
            _files.sync_path(attempt.ref.class_dir)
        except OSError as error:  # too late to take the artifact back: others may have loaded it
            _logging.log.warning(
                "%s is published, but may be gone after a power loss: its folder %s cannot be "
                "synced: %s",
                short_name(obj),
                attempt.ref.class_dir,
                error,
            )
    return published


def _superseded(obj: ConfigObject, attempt: Attempt) -> FuruSuperseded:
    if not os.path.lexists(attempt.folder):
        return FuruSuperseded(
            f"attempt {attempt.record.number} at {short_name(obj)} does not publish, because its "
            f"folder {attempt.folder} was removed while it ran",
            node=short_name(obj),
            hash=obj.furu_hash,
            hint="if its own code removes or renames furu_dir, let it write files there and leave the "
            "folder itself alone; else see what else removes files in the store",
        )
    return FuruSuperseded(
        f"attempt {attempt.record.number} at {short_name(obj)} does not publish, because another "
        "took over while this one gave no sign of life",
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
        gone = not os.path.isdir(attempt.folder)
        return gone and _published.is_published(attempt.ref)
    broke_a_rule = isinstance(error, FuruProtocolError | FuruInvalidDependency)
    return not broke_a_rule and _published.is_published(attempt.ref)


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
        at=_text.error_place(error),
    )
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
    log = Path(_log_of(attempt))
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
