"""A miss of `get()`: the node is computed, waited for or refused."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from furu_core import _costs
from furu_core._attempts import _attempts, _publishing, _violations
from furu_core._attempts._attempts import Attempt, LatestAttempt
from furu_core._compute import _acquire, _compute, _hit, _invalid, _reruns
from furu_core._compute._hit import MISSING, BadArtifact, Miss
from furu_core._config._dependencies import spec_key
from furu_core._config._objects import short_name
from furu_core._context import _context
from furu_core._context._context import ExecContext
from furu_core._files import is_local_folder
from furu_core._output import _logging
from furu_core._settings import _settings
from furu_core._store import _published
from furu_core._store._layout import NodeRef, ref_of
from furu_core.errors import (
    FuruInvalidDependency,
    FuruMissingArtifact,
    FuruSelfDependency,
    FuruSpecMismatch,
    FuruStoreError,
    FuruSuperseded,
    FuruUsageError,
    FuruValidationError,
    FuruWaitTimeout,
)

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

_FIRST_POLL_SECS: Final = 0.005
_ANNOUNCE_SECS: Final = 60.0


def compute_or_wait(obj: ConfigObject, miss: Miss, *, force: bool) -> Any:
    """The result of a node that could not just be loaded.

    Args:
        obj: the node.
        miss: what `hit` found.
        force: as for `Furu.get`.
    """
    ref, bad = miss.ref, miss.bad
    context = _context.exec_context()
    if bad is not None:
        if context.strict and not force:
            raise _give_up_invalid(obj, ref, context, bad)
        _logging.log.warning("%s is invalid: %s", short_name(obj), bad)
    if _context.is_waiting_for_itself(obj.furu_hash):
        name = short_name(obj)
        raise FuruSelfDependency(
            f"the code of {name} asks for {name} itself, which would wait for ever",
            node=name,
            hash=obj.furu_hash,
            hint="return the value from _create instead of asking for it there",
        )
    if context.strict:
        if not force:
            return _load_late_or_refuse(obj, ref, context)
        _require_same_spec_key(obj, context)
    return _compute_when_free(obj, ref, suspect=bad is not None, rerun=miss.rerun)


def _compute_when_free(obj: ConfigObject, ref: NodeRef, *, suspect: bool, rerun: bool) -> Any:
    wait = _Wait(obj)
    vanished = False
    while True:
        # Then only this host's caches are waited for, and a claim each time would disturb others.
        unseen = wait.has_begun and not suspect and _published.is_published(ref)
        found = None
        if not unseen:
            found = _acquire.acquire(obj, ref, suspect=suspect, rerun=rerun)
        match found:
            case Attempt() as attempt:
                state = "invalid" if suspect else "missing"
                _logging.event("get", short_name(obj), state, "create")
                if not (suspect or rerun or type(obj) in _met):
                    _note_relatives(obj)
                try:
                    _compute.compute(obj, attempt, rerun=rerun)
                except FuruSuperseded as superseded:
                    if vanished and not os.path.lexists(attempt.folder):
                        raise  # its own code may remove it, each time
                    vanished = not os.path.lexists(attempt.folder)
                    _logging.log.warning("%s", superseded)
                    continue
                if rerun:
                    _reruns.note_rerun(obj.furu_hash)
                    rerun = False
                value = _load_fresh(obj, ref)
                if value is not MISSING:
                    return value
                continue  # deleted already, so compute it once more
            case LatestAttempt() as other:
                wait.for_holder(other)
            case None:
                wait.for_visibility(ref)
        try:
            value = _hit.load(obj, ref)
        except BadArtifact:
            suspect = True
            continue
        if value is not MISSING:
            _logging.event("get", short_name(obj), "done", "load")
            return value


_met: set[type] = set()  # the classes of nodes that this process has computed


def _note_relatives(obj: ConfigObject) -> None:
    _met.add(type(obj))
    if not _context.exec_context().strict:
        from furu_core._compute import _relatives  # a worker needs none

        _relatives.note_relatives([obj])


def put(obj: ConfigObject, value: object) -> None:
    """Store a result that was made elsewhere; see `Furu.put`."""
    name = short_name(obj)
    context = _context.exec_context()
    if context.strict:
        raise FuruUsageError(
            f"{context.who} would put a result of {name}, and inside an executor a node has only "
            "its own",
            hint="return the value from _create, or put it before the run",
        )
    if _hit.overrides(type(obj), "_load"):
        raise FuruUsageError(
            f"the class of {name} has a _load of its own, so its result is files and no value",
            hint="write the files in _create",
        )
    match _acquire.acquire(obj, ref_of(obj)):
        case Attempt() as attempt:
            _compute.compute(obj, attempt, given=(value,))
        case LatestAttempt() as other:
            raise FuruUsageError(
                f"{name} is being computed by {other.who}", hint="wait until it has ended"
            )
        case None:
            raise FuruUsageError(
                f"{name} has a result already, and results are never changed",
                hint=f"remove it first: `furu rm {obj.furu_hash[:12]}`",
            )


def _load_fresh(obj: ConfigObject, ref: NodeRef) -> Any:
    """Load what was just computed, so that the first `get()` returns what every later one does.

    Returns `MISSING` when the artifact was deleted meanwhile.
    """
    wait = _Wait(obj)
    began = time.monotonic()
    while True:
        try:
            value = _hit.load(obj, ref)
        except BadArtifact as bad:
            waited = time.monotonic() - began
            if not is_local_folder(ref.class_dir) and waited < _visibility_secs():
                # Another host, whose caches still show the bad artifact, may move this one aside.
                wait.for_visibility(ref)
                continue
            # Computing the node once more would end here again, for ever.
            raise FuruValidationError(
                f"{short_name(obj)} was just computed, and is invalid when loaded: {bad}",
                node=short_name(obj),
                hash=obj.furu_hash,
                hint="_validate must judge the published files as it judged the fresh ones",
            ) from None
        if value is not MISSING or not _published.is_published(ref):
            return value
        wait.for_visibility(ref)


def _load_late_or_refuse(obj: ConfigObject, ref: NodeRef, context: ExecContext) -> Any:
    """Load an artifact that this host's caches hid at first; raise an error if there is none."""
    began = time.monotonic()
    deadline = began + context.known_done_wait_secs
    pauses = _Pauses()
    while True:
        if _published.is_listed(ref):
            try:
                value = _hit.load(obj, ref)
            except BadArtifact as bad:
                raise _give_up_invalid(obj, ref, context, str(bad)) from None
            if value is not MISSING:
                return value
            deadline = began + _visibility_secs()
        elif _settings.settings().also and _is_listed_elsewhere(ref):
            try:
                value = _hit.load_elsewhere(obj, ref)
            except BadArtifact as bad:
                raise _give_up_invalid(obj, ref, context, str(bad)) from None
            if value is not MISSING:
                return value
            deadline = began + _visibility_secs()
        elif _publishing.is_being_replaced(ref):
            deadline = began + _visibility_secs()
        if time.monotonic() >= deadline:
            break
        pauses.sleep(1.0)
    name = short_name(obj)
    hint = (
        f"make {name} a field of {context.node or 'the node that asks'} or return it from "
        "_dependencies, so that the executor computes it first; where it is one, it was removed "
        "meanwhile, and the same command computes it again; "
        "if only a result names it, ask with "
        "get(force=True): see `A node that a result names` in docs/how-it-works.md"
    )
    if context.importing:
        hint = (
            "a worker was importing this code: move calls of get() at the top of the file under "
            '`if __name__ == "__main__":` or into a function'
        )
    error = FuruMissingArtifact(
        f"{context.who} asked for {name}, which is not there, and inside an executor get() never "
        "computes",
        asker=context.who,
        node=name,
        hash=obj.furu_hash,
        hint=hint,
    )
    _violations.note_violation(context, error)
    raise error


def _is_listed_elsewhere(ref: NodeRef) -> bool:
    from furu_core._store import _further_stores  # few settings name further stores

    return ref.hash in _further_stores.listed_elsewhere(ref.class_dir)


def _require_same_spec_key(obj: ConfigObject, context: ExecContext) -> None:
    key = spec_key(obj)
    if key == context.spec_key:
        return
    name = short_name(obj)
    error = FuruSpecMismatch(
        f"{context.who} asked for {name} with force=True, whose spec key is {key!r}; this worker's "
        f"is {context.spec_key!r}",
        asker=context.who,
        node=name,
        hash=obj.furu_hash,
        hint=f"declare {name} as a dependency, so that a worker of its own kind computes it",
    )
    _violations.note_violation(context, error)
    raise error


def _give_up_invalid(
    obj: ConfigObject, ref: NodeRef, context: ExecContext, reason: str
) -> FuruInvalidDependency:
    """Move a bad artifact aside, note that the calling node cannot go on; return what to raise."""
    _invalid.invalidate(obj, ref, reason)
    name = short_name(obj)
    error = FuruInvalidDependency(
        f"{context.who} asked for {name}, whose artifact is bad: {reason}",
        node=name,
        hash=obj.furu_hash,
        hint="it was moved aside; the executor computes it again, or run the same command again",
    )
    _violations.note_violation(context, error)
    return error


def _visibility_secs() -> float:
    # Caches of network filesystems hide a new folder for up to a minute; leases exceed that.
    return max(_settings.settings().lease_secs, 60.0)


class _Pauses:
    """The pauses between the looks of one wait, each longer than the last.

    The costs of the node whose code waits have the time from the beginning to the end of the last one.
    """

    def __init__(self) -> None:
        self._next = _FIRST_POLL_SECS
        self._timer: _costs.NodeTimer | None = None
        self._began: _costs.Moment | None = None

    def begin(self) -> _costs.Moment:
        """Begin the wait, unless it has begun; the first pause does so as well."""
        if self._began is None:
            self._timer = _context.own_timer()
            self._began = _costs.this_moment()
        return self._began

    def sleep(self, longest: float) -> None:
        began = self.begin()
        time.sleep(self._next)
        self._next = min(1.5 * self._next, longest)
        if self._timer is not None:
            self._timer.waits[self] = began, _costs.this_moment()


class _Wait:
    """Waiting for another process: it is named, watched, and given up at the deadline."""

    def __init__(self, obj: ConfigObject) -> None:
        self._obj = obj
        self.has_begun = False
        self._pauses = _Pauses()
        self._began = time.monotonic()
        self._announce = self._began
        self._unseen_since: float | None = None

    def for_holder(self, other: LatestAttempt) -> None:
        """Let a moment pass while another process computes the node.

        Raises:
            FuruWaitTimeout: `FURU_MAX_WAIT_SECS` have passed.
        """
        self._pauses.begin()
        now = time.monotonic()
        limit = _settings.settings().max_wait_secs
        name = short_name(self._obj)
        holder = other.who
        if limit is not None and now - self._began >= limit:
            raise FuruWaitTimeout(
                f"waited {now - self._began:.0f} s for {name}, which {holder} computes in attempt "
                f"{other.number}",
                node=name,
                hash=self._obj.furu_hash,
                holder=holder,
                waited=now - self._began,
                hint=f"see {_attempts.log_of(other.folder)}, and raise FURU_MAX_WAIT_SECS",
            )
        if now >= self._announce:
            _logging.event("get", name, f"running, attempt {other.number}", f"wait for {holder}")
            self._announce = now + _ANNOUNCE_SECS
        self._sleep()

    def for_visibility(self, ref: NodeRef) -> None:
        """Let a moment pass until a published artifact becomes visible here.

        Raises:
            FuruStoreError: it did not in the time for which network filesystems cache.
        """
        now = time.monotonic()
        if self._unseen_since is None:
            self._unseen_since = now
            self.has_begun = True
            return
        limit = _visibility_secs()
        if now - self._unseen_since > limit and _published.is_listed(ref):
            raise FuruStoreError(
                f"{ref.artifact} is listed but could not be opened for {limit:.0f} s",
                path=ref.artifact,
                hint="check the network filesystem and its caches",
            )
        self._sleep()

    def _sleep(self) -> None:
        self.has_begun = True
        self._pauses.sleep(_settings.settings().poll_interval_secs)
