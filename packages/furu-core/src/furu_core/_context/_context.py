"""The context of running code: its node, executor and run, and where the node's files go.

The context is kept in several places, because each alone is lost somewhere. A context variable
belongs to one thread; a process-wide value reaches the threads that a node's code starts; an
environment variable reaches its child processes. A child of multiprocessing's fork server, however,
has the environment and the output that the server was started with, perhaps by an earlier node; so
each such child is sent what an ordinary child would inherit.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import attrs

from furu_core._config._objects import short_name
from furu_core._context import _child_logging
from furu_core._costs import NodeTimer
from furu_core._process_ids import this_pid
from furu_core._settings import _settings

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject
    from furu_core._context._submission import JobTimes, Submission

CONTEXT_VARIABLE: Final = "FURU_EXEC_CONTEXT"
ACTIVE_VARIABLE: Final = "FURU_EXEC_ACTIVE"
_CONTEXT_NAME: Final = CONTEXT_VARIABLE.encode()
_ACTIVE_NAME: Final = ACTIVE_VARIABLE.encode()
_quoted: Final = json.encoder.encode_basestring_ascii
USED: Final = ".furu.used"  # in an attempt's folder: what children of the node's code loaded


@attrs.frozen
class ExecContext:
    """The context of the calling code: for which node, executor, run and spec key it runs.

    Attributes:
        strict: whether it runs inside an executor, where `get()` loads and never computes.
        executor: the executor's name; empty when interactive.
        run_id: the executor's run.
        spec_key: the spec key of the worker.
        node: short name of the node whose code runs; empty outside of nodes.
        hash: its full hash.
        attempt: the folder of its attempt.
        chain: hashes of the nodes being computed around this code, the outermost first.
        submission: the scheduler's job that this process runs in, where there is one.
        job_times: when that job was queued and began, as far as that is known.
        known_done_wait_secs: seconds to wait until an artifact that the plan knows to be there
            becomes visible on a network filesystem.
        importing: whether a worker is importing the user's code.
        echo: whether the console shows what a node's code prints.
        one_at_a_time: whether this process computes one node at a time, so that all code in it
            belongs to that node.
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
    job_times: JobTimes | None = None
    known_done_wait_secs: float = 0.0
    importing: bool = False
    echo: bool = True
    one_at_a_time: bool = False

    @property
    def who(self) -> str:
        """The running node, or the interactive session, as error messages name it."""
        return self.node or (
            f"a worker of run {self.run_id}" if self.strict else "the main program"
        )

    def within(self, node: str, hash: str, attempt: str) -> ExecContext:
        """The context of a node's code that runs in this one."""
        return ExecContext(
            strict=self.strict,
            executor=self.executor,
            run_id=self.run_id,
            spec_key=self.spec_key,
            node=node,
            hash=hash,
            attempt=attempt,
            chain=(*self.chain, hash),
            submission=self.submission,
            job_times=self.job_times,
            known_done_wait_secs=self.known_done_wait_secs,
            importing=self.importing,
            echo=self.echo,
            one_at_a_time=self.one_at_a_time,
        )


@attrs.frozen
class Active:
    """An attempt in which the node's code runs now.

    Attributes:
        folder: the attempt's folder, which `furu_dir` means meanwhile.
        pid: the process that holds it.
        timer: measures what it takes; None in other processes.
        used: the nodes whose results its code has loaded, with the digests of these.
        kinds_beside: kinds of folders that its code has put beside the attempt's.
    """

    folder: str
    pid: int
    timer: NodeTimer | None = None
    used: dict[str, str] = attrs.field(factory=dict)
    kinds_beside: set[str] = attrs.field(factory=set)


def _inherited_context() -> ExecContext:
    raw = os.environ.get(CONTEXT_VARIABLE)
    if not raw:
        return ExecContext()
    fields = json.loads(raw)
    job, times = fields["submission"], fields["job_times"]
    if job is not None or times is not None:
        from furu_core._context._submission import JobTimes, Submission  # imported only in a job

        fields["submission"] = None if job is None else Submission(**job)
        fields["job_times"] = None if times is None else JobTimes(**times)
    fields["chain"] = tuple(fields["chain"])
    return ExecContext(**fields)


def _inherited_active() -> dict[str, Active]:
    raw = os.environ.get(ACTIVE_VARIABLE)
    return {} if not raw else {key: Active(*value) for key, value in json.loads(raw).items()}


_PREFIX: Final = "FURU_"
_SENT: Final = "furu"  # in the configuration that multiprocessing sends with each process


class _Inheritance:
    """What a child of a fork server would inherit if this process had started it itself.

    It is pickled when a process is started, so it is never out of date.
    """

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        from multiprocessing import context

        if getattr(context.get_spawning_popen(), "method", "") != "forkserver":
            return type(None), ()
        told = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
        return _inherit, (told, _child_logging.output_to_send())


def _inherit(told: dict[str, str], output: dict[int, Any]) -> _Inheritance:
    """In a child of a fork server, replace outdated values by those that the parent sent."""
    global _process_context, _active
    _child_logging.lead_output_to(output)
    for name in [name for name in os.environ if name.startswith(_PREFIX)]:
        del os.environ[name]
    os.environ.update(told)
    _settings.forget()
    _process_context, _active = _inherited_context(), _inherited_active()
    _entries[:] = [(_process_context, os.environ.get(CONTEXT_VARIABLE))]
    _child_logging.log_as_child()
    return _inheritance  # for processes that this one starts, which come from the same server


_inheritance: Final = _Inheritance()
_child_logging.log_as_child()
_process_context = _inherited_context()
# The contexts that the process was given, the inherited one first, each as children inherit it as well.
_entries = [(_process_context, os.environ.get(CONTEXT_VARIABLE))]
_thread_context: ContextVar[ExecContext | None] = ContextVar("furu_context", default=None)
_active = _inherited_active()
being_validated: ContextVar[frozenset[str]] = ContextVar("furu_validating", default=frozenset())
_mutex = threading.Lock()
_sharing = 0
_unshared: dict[bytes, bytes | None] = {}


def _after_fork() -> None:
    # Another thread may have held the lock at the fork; in the child nothing would release it.
    global _mutex
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
    """Whether the calling code runs in the node's own code, directly or through other nodes."""
    running = _active.get(node_hash)
    return node_hash in exec_context().chain or (running is not None and running.pid != this_pid())


def note_used(node_hash: str, digest: str) -> None:
    """Note that the calling code, if it is a node's, loaded the result of another node.

    Args:
        node_hash: the hash of that node.
        digest: of its result; empty where it has none.
    """
    running = _active.get(exec_context().hash)
    if running is None:
        return
    if running.pid == this_pid():
        running.used[node_hash] = digest
        return
    # A child of the node's code: its parent reads this when the code has ended.
    with suppress(OSError), open(f"{running.folder}/{USED}", "a", encoding="ascii") as file:
        file.write(f"{node_hash} {digest}\n")


def note_beside(running: Active, kind: str) -> None:
    """Note that a node's code is about to put a folder beside its attempt's.

    Args:
        running: the attempt in which the code runs.
        kind: the kind of the folder.
    """
    if running.pid == this_pid():
        running.kinds_beside.add(kind)
        return
    # A child of the node's code: that the file is there tells its parent to look.
    with suppress(OSError), open(f"{running.folder}/{USED}", "a", encoding="ascii"):
        pass


def own_timer() -> NodeTimer | None:
    """What measures the node whose code calls; None outside of nodes and in their child processes."""
    context = _thread_context.get()
    if context is not None:
        return _timer_here(context.hash)
    # A thread that one of these nodes' code started, of which it is unknown which: what the thread does
    # is within the time of the outermost, and may be within that of the others.
    timers = [timer for one in _process_context.chain if (timer := _timer_here(one)) is not None]
    for timer in timers[1:]:
        timer.knows_shares = False
    return timers[0] if timers else None


def _timer_here(node_hash: str) -> NodeTimer | None:
    running = _active.get(node_hash)
    return None if running is None or running.pid != this_pid() else running.timer


def runs_here(attempt: str) -> bool:
    """Whether the code of the attempt with this folder runs in this process."""
    return any(running.folder == attempt for running in list(_active.values()))


def computes_alone() -> bool:
    """Whether this process computes only the calling code's node, and those it is nested in."""
    return _active.keys() <= set(exec_context().chain)


def is_child_of_node() -> bool:
    """Whether a node's code, in another process, started this process."""
    return any(running.pid != this_pid() for running in list(_active.values()))


def session(context: ExecContext, *, process_wide: bool) -> _Session:
    """Run the enclosed code as a worker of an executor.

    Args:
        context: the context of the code.
        process_wide: whether the whole process belongs to the executor. A worker thread of an
            ordinary program passes True for the pool as a whole, outside of its threads, and False
            in each thread.
    """
    return _Session(context, process_wide=process_wide)


@contextmanager
def computing(obj: ConfigObject, *, folder: str) -> Iterator[Active]:
    """Run the enclosed code as the code of `obj`.

    Args:
        obj: the node.
        folder: the attempt's folder, which `furu_dir` means meanwhile.
    """
    outer = exec_context()
    node_hash = obj.furu_hash
    inner = outer.within(short_name(obj), node_hash, folder)
    around = own_timer()
    began = None if around is None else around.begin_nested()
    with _mutex:
        alone = computes_alone()
        running = Active(folder, this_pid(), NodeTimer(alone=alone))
        _active[node_hash] = running
        _export_active()
    try:
        with _Session(inner, process_wide=outer.one_at_a_time):
            yield running
    finally:
        if around is not None and began is not None:
            around.end_nested(began)
        with _mutex:
            _active.pop(node_hash, None)
            _export_active()


class _Session:
    """Gives the enclosed code a context, and its child processes this and the settings of this one.

    A generator would take twice the time, and each node enters one.
    """

    def __init__(self, context: ExecContext, *, process_wide: bool) -> None:
        self._context = context
        self._process_wide = process_wide

    def __enter__(self) -> None:
        self._token = _thread_context.set(self._context)
        text = _text_of(self._context) if self._process_wide else None
        self._entry = self._context, text
        with _mutex:
            _share_settings()
            if self._process_wide:
                _entries.append(self._entry)
                _lead_process()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _mutex:
            if self._process_wide:
                # Not always the last one: threads of a node's code may compute nodes at once.
                _entries[:] = [entry for entry in _entries if entry is not self._entry]
                _lead_process()
            _stop_sharing_settings()
        _thread_context.reset(self._token)


def _lead_process() -> None:
    """Make the context that was entered last that of the process."""
    global _process_context
    _process_context, text = _entries[-1]
    _set_variable(_CONTEXT_NAME, text)
    prepare_fork_servers()


def environment() -> Mapping[bytes, bytes]:
    """The environment as bytes, as it is now; callers must not change it."""
    # The public interface decodes and encodes each name, and each node looks at all.
    data: Mapping[bytes, bytes] | None = getattr(os.environ, "_data", None)
    return os.environb if data is None else data


def _share_settings() -> None:
    """Give child processes the settings of this one, also those that were made in code.

    A relative path would mean another store after a change of directory, so paths are absolute.
    """
    global _sharing
    _sharing += 1
    if _sharing == 1:
        # Only what differs, as this is done for each node.
        known = environment()
        for name, value, is_default in _settings.variables():
            before = known.get(name)
            if before != value and (before is not None or not is_default):
                _unshared[name] = before
                os.environb[name] = value


def _stop_sharing_settings() -> None:
    global _sharing
    _sharing -= 1
    if not _sharing:
        for name, before in _unshared.items():
            if before is None:
                os.environb.pop(name, None)
            else:
                os.environb[name] = before
        _unshared.clear()


@contextmanager
def validating(node_hash: str) -> Iterator[None]:
    """Let `get()` of one node load what is there without validating it again."""
    token = being_validated.set(being_validated.get() | {node_hash})
    try:
        yield
    finally:
        being_validated.reset(token)


def _text_of(context: ExecContext) -> str | None:
    """A context as a variable tells it to children; None for that of an ordinary program."""
    if not context.hash and context == _ORDINARY:
        return None
    # By hand, because each node has one, and an encoder takes several times as long.
    chain = ", ".join([_quoted(one) for one in context.chain])
    own = (
        f'"node": {_quoted(context.node)}, "hash": {_quoted(context.hash)}, '
        f'"attempt": {_quoted(context.attempt)}, "chain": [{chain}]'
    )
    shared = _shared_text(
        context.strict,
        context.executor,
        context.run_id,
        context.spec_key,
        context.submission,
        context.job_times,
        context.known_done_wait_secs,
        context.importing,
        context.echo,
        context.one_at_a_time,
    )
    return f"{shared[:-1]}, {own}}}"


_ORDINARY: Final = ExecContext()


@lru_cache(maxsize=16)
def _shared_text(
    strict: bool,
    executor: str,
    run_id: str,
    spec_key: str,
    submission: Submission | None,
    job_times: JobTimes | None,
    known_done_wait_secs: float,
    importing: bool,
    echo: bool,
    one_at_a_time: bool,
) -> str:
    """What the contexts of a worker's nodes have in common."""
    return json.dumps(
        {
            "strict": strict,
            "executor": executor,
            "run_id": run_id,
            "spec_key": spec_key,
            "submission": None if submission is None else attrs.asdict(submission),
            "job_times": None if job_times is None else attrs.asdict(job_times),
            "known_done_wait_secs": known_done_wait_secs,
            "importing": importing,
            "echo": echo,
            "one_at_a_time": one_at_a_time,
        }
    )


def _export_active() -> None:
    known = [
        f"{_quoted(key)}: [{_quoted(value.folder)}, {value.pid}]" for key, value in _active.items()
    ]
    _set_variable(_ACTIVE_NAME, f"{{{', '.join(known)}}}" if known else None)
    prepare_fork_servers()


def _set_variable(name: bytes, value: str | None) -> None:
    if value is not None:
        os.environb[name] = value.encode("utf-8", "surrogateescape")
    elif name in environment():
        del os.environb[name]


def prepare_fork_servers() -> None:
    """Give the children of fork servers what the children of this process inherit."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is None:
        return  # no fork server runs yet, and one that this node starts has the right environment
    # Undocumented, but the only place that multiprocessing sends along with every process.
    config = getattr(multiprocessing.current_process(), "_config", None)
    if isinstance(config, dict):
        config[_SENT] = _inheritance
