"""In whose name code runs: which node, under which executor, and where the node's files go.

The context is known in three places, because each alone is lost somewhere. A context variable
belongs to one thread; a process-wide value reaches the threads that a node's code starts; an
environment variable reaches its child processes, however they are started.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import attrs

from furu_core._attempts import VIOLATIONS, Attempt, Origin
from furu_core._layout import short_name
from furu_core._records import Submission
from furu_core.errors import FuruInvalidDependency, FuruMissingArtifact, FuruSpecMismatch

if TYPE_CHECKING:
    from furu_core._furu import Furu

CONTEXT_VARIABLE: Final = "FURU_EXEC_CONTEXT"
ACTIVE_VARIABLE: Final = "FURU_EXEC_ACTIVE"


@attrs.frozen
class ExecContext:
    """In whose name the calling code runs.

    Attributes:
        strict: whether it runs inside an executor, where `get()` loads and never computes.
        executor: the executor's name; empty when interactive.
        run_id: the executor's run.
        spec_key: the spec key of the worker.
        node: short name of the node whose code runs; empty outside of nodes.
        hash: its full hash.
        attempt: the folder of its attempt.
        chain: hashes of the nodes being computed around this code, the outermost first.
        submission: the scheduler's job that this process is, where there is one.
        known_done_wait_secs: seconds to wait until an artifact that the plan knows to be there
            becomes visible on a network filesystem.
        importing: whether a worker is importing the user's code.
        echo: whether the console shows what a node's code prints.
        one_at_a_time: whether this process computes one node at a time, so that whatever runs in it
            runs in the name of that node.
    """

    strict: bool = False
    executor: str = ""
    run_id: str = ""
    spec_key: str = ""
    node: str = ""
    hash: str = ""
    attempt: str = ""
    chain: tuple[str, ...] = ()
    submission: Submission | None = None
    known_done_wait_secs: float = 0.0
    importing: bool = False
    echo: bool = True
    one_at_a_time: bool = False

    @property
    def who(self) -> str:
        """The asker in the words of an error message."""
        return self.node or (
            f"a worker of run {self.run_id}" if self.strict else "the main program"
        )


@attrs.frozen
class Active:
    """An attempt whose node's code runs now.

    Attributes:
        staging: the folder that `furu_dir` means meanwhile.
        attempt: the attempt's folder.
        pid: the process that holds it.
    """

    staging: str
    attempt: str
    pid: int


def _inherited_context() -> ExecContext:
    raw = os.environ.get(CONTEXT_VARIABLE)
    if not raw:
        return ExecContext()
    fields = json.loads(raw)
    job = fields["submission"]
    fields["submission"] = None if job is None else Submission(**job)
    fields["chain"] = tuple(fields["chain"])
    return ExecContext(**fields)


def _inherited_active() -> dict[str, Active]:
    raw = os.environ.get(ACTIVE_VARIABLE)
    return {} if not raw else {key: Active(*value) for key, value in json.loads(raw).items()}


_process_context = _inherited_context()
_thread_context: ContextVar[ExecContext | None] = ContextVar("furu_context", default=None)
_active = _inherited_active()
_validating: ContextVar[frozenset[str]] = ContextVar("furu_validating", default=frozenset())
_mutex = threading.Lock()


def exec_context() -> ExecContext:
    """The context of the calling code.

    Example:
        >>> from furu_core import exec_context
        >>> exec_context().strict
        False
    """
    return _thread_context.get() or _process_context


def in_executor() -> bool:
    """Whether the calling code runs inside an executor, where `get()` never computes.

    Example:
        >>> from furu_core import in_executor
        >>> in_executor()
        False
    """
    return exec_context().strict


def active(node_hash: str) -> Active | None:
    """The attempt at a node whose code runs in this process or in one of its ancestors."""
    return _active.get(node_hash)


def is_waiting_for_itself(node_hash: str) -> bool:
    """Whether the calling code runs, directly or further out, in the node's own code."""
    running = _active.get(node_hash)
    return node_hash in exec_context().chain or (running is not None and running.pid != os.getpid())


@contextmanager
def session(context: ExecContext, *, process_wide: bool) -> Iterator[None]:
    """Run the enclosed code as a worker of an executor.

    Args:
        context: what the code belongs to.
        process_wide: whether the whole process belongs to the executor. A worker thread of an
            ordinary program passes True for the pool as a whole, outside of its threads, and False
            in each thread.
    """
    with _entered(context, process_wide=process_wide):
        yield


@contextmanager
def computing(obj: Furu[Any], attempt: Attempt) -> Iterator[None]:
    """Run the enclosed code as the code of `obj`, whose files go to the attempt's staging folder."""
    outer = exec_context()
    inner = attrs.evolve(
        outer,
        node=short_name(obj),
        hash=obj.furu_hash,
        attempt=attempt.folder,
        chain=(*outer.chain, obj.furu_hash),
    )
    running = Active(attempt.staging, attempt.folder, os.getpid())
    with _mutex:
        _active[obj.furu_hash] = running
        _export_active()
    try:
        with _entered(inner, process_wide=outer.one_at_a_time):
            yield
    finally:
        with _mutex:
            _active.pop(obj.furu_hash, None)
            _export_active()


@contextmanager
def _entered(context: ExecContext, *, process_wide: bool) -> Iterator[None]:
    global _process_context
    token = _thread_context.set(context)
    outer = _process_context
    if process_wide:
        _process_context = context
        _export_context(context)
    try:
        yield
    finally:
        if process_wide:
            _process_context = outer
            _export_context(outer)
        _thread_context.reset(token)


@contextmanager
def validating(node_hash: str) -> Iterator[None]:
    """Let `get()` of one node load what is there without validating it again."""
    token = _validating.set(_validating.get() | {node_hash})
    try:
        yield
    finally:
        _validating.reset(token)


def is_validating(node_hash: str) -> bool:
    """Whether the calling code is the node's own `_validate`."""
    return node_hash in _validating.get()


def origin(context: ExecContext) -> Origin:
    """What an attempt's record says of the context it was made in."""
    if not context.strict:
        return Origin()
    return Origin(context.executor, context.run_id, context.spec_key, context.submission)


_Violation = FuruMissingArtifact | FuruSpecMismatch | FuruInvalidDependency
_VIOLATIONS: Final = {
    cls.__name__: cls for cls in (FuruMissingArtifact, FuruSpecMismatch, FuruInvalidDependency)
}


def note_violation(context: ExecContext, error: _Violation) -> None:
    """Write into the attempt's folder that its code broke a rule, lest it swallow the error.

    A line that cannot be written is no reason to hide the error that is about to be raised.
    """
    if not context.attempt:
        return
    line = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    line |= {"node": error.node, "hash": error.hash}
    with (
        suppress(OSError),
        open(f"{context.attempt}/{VIOLATIONS}", "a", encoding="utf-8") as file,
    ):
        file.write(json.dumps(line) + "\n")


def noted_violation(attempt: Attempt) -> _Violation | None:
    """The first violation that was noted for an attempt."""
    try:
        with open(f"{attempt.folder}/{VIOLATIONS}", encoding="utf-8") as file:
            line = json.loads(file.readline())
    except FileNotFoundError:
        return None
    cls = _VIOLATIONS[line.pop("error")]
    return cls(line.pop("message"), **line)


def _export_context(context: ExecContext) -> None:
    if context == ExecContext():
        os.environ.pop(CONTEXT_VARIABLE, None)
    else:
        os.environ[CONTEXT_VARIABLE] = json.dumps(attrs.asdict(context))


def _export_active() -> None:
    if _active:
        os.environ[ACTIVE_VARIABLE] = json.dumps(
            {key: (value.staging, value.attempt, value.pid) for key, value in _active.items()}
        )
    else:
        os.environ.pop(ACTIVE_VARIABLE, None)
