"""A node's output: everything it prints, natively too, and every record it logs, in its own file.

While a node computes, file descriptors 1 and 2 of the process lead straight into a file. So the
output of C code and child processes needs no pipe and no thread, a crash loses none of it, and a
child that outlives the node can go on writing. Three further parts write there or read it:

- `RecordHandler` on the root logger writes log records.
- `_Router` takes the place of `sys.stdout` and `sys.stderr` where these do not lead to descriptors
  1 and 2 (a notebook, pytest), where several nodes share a process (`scope="thread"`), and where
  the console is to see the output as well (`echo=True`).
- With `echo=True` one thread for all nodes copies native output from the log to the console, ten
  times a second; before anything else is written there, what is missing is copied first.

When the node has ended, only the last state of each line is kept that a progress bar wrote over.

Nodes nest: while one node's code asks for another node, output belongs to the inner one.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Literal, Self

from furu_core._context import _context
from furu_core._context._child_logging import FORMAT, LOG_VARIABLE
from furu_core._files import store_errors
from furu_core._output import _console
from furu_core._output._console import STANDARD, originals
from furu_core._output._spool import Spool

Scope = Literal["process", "thread"]
_LOG_NAME: Final = LOG_VARIABLE.encode()
_CHUNK: Final = 1 << 20


def node_log(
    spool: Spool, path: str | os.PathLike[str], *, echo: bool, scope: Scope = "process"
) -> NodeLog:
    """Send a node's output to its log for as long as a ``with`` block lasts.

    Args:
        spool: the file that it goes to meanwhile.
        path: the log, which is there afterwards if there was any output.
        echo: whether the console shows the output too. No effect inside a node without echo.
        scope: ``"process"`` takes native output and that of all threads; ``"thread"`` takes what
            Python code prints and logs in this thread and in threads started by it, for processes
            that compute several nodes at once. While one node has scope ``"process"``, a node in
            another thread gets ``"thread"`` in any case.

    Example:
        >>> import pathlib, tempfile
        >>> from furu_core._output import _spool
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "furu.log"
        >>> with node_log(_spool.take(), path, echo=False):
        ...     print("in the log")
        >>> path.read_text()
        'in the log\\n'
    """
    return NodeLog(spool, os.fspath(path), echo=echo, scope=scope)


class NodeLog:
    """The log of one node while it is written; made by `node_log`."""

    def __init__(self, spool: Spool, log: str, *, echo: bool, scope: Scope) -> None:
        self.path = spool.path
        self._log = log
        self._spool = spool
        self.echo = echo
        self.scope: Scope = scope
        self._mirrors = echo  # a forked child writes to the log only: its parent copies from there
        self._lock = threading.RLock()  # reentrant: a signal handler may print while we write
        self._fd = -1
        self._copied = 0  # how much of the file the console has seen
        self._outer: NodeLog | None = None
        self._routers: list[_Router] = []

    def __enter__(self) -> Self:
        self._fd = self._spool.fd
        self._spool.clean = False
        with store_errors(self._log), _lock:
            self._fit_in()
            self._take_streams()
            _open_logs.append(self)
            if len(_open_logs) == 1:
                _listen()
        if self._copies:
            _copier.wake()
        _here.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _here.set(self._outer)
        with _lock:
            _open_logs.remove(self)
            if not _open_logs and not self._stays():
                _stop_listening()
            self._give_back_streams()
        with self._lock:
            self._copy_native()
            self._fd = -1
        if not self._spool.is_empty():
            with suppress(OSError):  # a log that cannot be tidied or kept must not fail a node
                _keep_last_states(self._spool.fd, self.path)
            with suppress(OSError):
                self._spool.keep_as(self._log)
            if not self._spool.usable:
                _release()  # nobody writes to the log of a node that has ended

    @property
    def is_open(self) -> bool:
        """Whether output can be written here."""
        return self._fd >= 0

    def write(self, text: str, console: int | None) -> bool:
        """Append `text`, and show it on the console's stdout (1) or stderr (2) if that echoes.

        Returns:
            False if the log was closed already.
        """
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._fd < 0:
                return False
            if self._copies:
                self._copy_native()
            with suppress(OSError):  # a full disk must not end a node because it prints
                written = os.write(self._fd, data)
                if self._copies:
                    # This descriptor's position is where its own last write ended; what lies
                    # between the copied part and that write came from native code meanwhile.
                    end = os.lseek(self._fd, 0, os.SEEK_CUR)
                    self._copy_native(end - written)
                    self._copied = max(self._copied, end)
            if self._mirrors and console is not None:
                originals.write(console, text)
        return True

    def catch_up(self) -> None:
        """Show on the console what native code has written up to now."""
        with self._lock:
            self._copy_native()

    def after_fork(self) -> None:
        """Make the log usable in a forked child, where no other thread can release its lock."""
        self._lock = threading.RLock()
        self._mirrors = False

    @property
    def _copies(self) -> bool:
        return self._mirrors and self.scope == "process"

    def _copy_native(self, end: int | None = None) -> None:
        if not self._copies or self._fd < 0:
            return
        if end is None:
            end = os.fstat(self._fd).st_size
        while self._copied < end:
            data = os.pread(self._fd, min(end - self._copied, 1 << 16), self._copied)
            if not data:
                break
            self._copied += len(data)
            # To stderr, because it is unknown which of the two was meant, and a stdout that leads
            # to a file may be data. Where both lead to one terminal it makes no difference.
            originals.write_fd(2, data)

    def _fit_in(self) -> None:
        """Find the node that this one is nested in, and set the scope and echo it allows."""
        outer = _here.get()
        self._outer = outer if outer is not None and outer.is_open else None
        top = _stack[-1] if _stack else None
        if self._outer is not top:
            # Another thread's node has the descriptors, which cannot serve two at once.
            self.scope = "thread"
        around = self._outer or top
        if around is not None and not around.echo:
            self.echo = self._mirrors = False

    def _take_streams(self) -> None:
        if self.scope == "process":
            if not _stack:
                originals.take()
                _report_crashes()
            else:
                _console.flush_streams()
            _stack.append(self)
            self.point_here()
        else:
            _follow_threads()
        for number in STANDARD:
            self._route(number)

    def _route(self, number: int) -> None:
        stream = _console.stream(number)
        native = number in originals.fds and _console.leads_to(stream, number)
        if isinstance(stream, _Router):
            router = stream
        elif self.echo or self.scope == "thread" or not native:
            router = _Router(stream, number, native)
            _console.set_stream(number, router)
        else:
            _console.buffer_lines(stream)
            return
        router.users += 1
        self._routers.append(router)

    def _give_back_streams(self) -> None:
        for router in self._routers:
            router.users -= 1
            if not router.users and _console.stream(router.number) is router:
                _console.set_stream(router.number, router.original)
        self._routers.clear()
        if self.scope != "process":
            return
        _console.flush_streams()
        was_top = _stack[-1] is self
        _stack.remove(self)
        if not _stack:
            self.catch_up()
            if not self._stays():
                _give_back()
        elif was_top:
            _stack[-1].point_here()

    def _stays(self) -> bool:
        """Whether descriptors and handlers stay here for the next node, which begins at once."""
        return _keeps and self.scope == "process" and not self.echo

    def point_here(self) -> None:
        """Point the process's descriptors here, at the start and again after an inner node."""
        path = os.fsencode(self.path)
        if _context.environment().get(_LOG_NAME) != path:
            os.environb[_LOG_NAME] = path
        _context.prepare_fork_servers()
        # While it is copied, `self._fd` must not share its position with that output.
        originals.point_to(self._spool.second_fd() if self.echo else self._fd)


def _keep_last_states(log: int, path: str) -> None:
    """Keep only the last state of each line of a log: progress bars write a line many times.

    The file is rewritten in place, because a child that outlives the node goes on appending to it.

    Args:
        log: a descriptor of the log, open for reading.
        path: the log.
    """
    states = _LastStates(path)
    read = 0
    try:
        while True:
            while chunk := os.pread(log, _CHUNK, read):
                read += len(chunk)
                states.add(chunk)
            if os.fstat(log).st_size == read:  # else a child has written meanwhile
                states.finish()
                return
    finally:
        states.close()


class _LastStates:
    """Rewrites a log in place while it is read; writing never overtakes reading, or holds a line."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1  # opened only when there is something to leave out
        self._size = 0
        self._line = 0  # where the last line begins
        self._held = b""  # a carriage return at the line's end, which matters if the line goes on

    def add(self, chunk: bytes) -> None:
        if self._fd < 0 and b"\r" in chunk:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        whole, newline, part = chunk.rpartition(b"\n")
        if newline:
            first, more, lines = whole.partition(b"\n")
            self._go_on(first)
            if b"\r" in lines:
                lines = b"\n".join(map(_last_state, lines.split(b"\n")))
            self._write(more + lines + newline)
            self._line, self._held = self._size, b""
        self._go_on(part)

    def finish(self) -> None:
        self._write(self._held)
        if self._fd >= 0:
            os.ftruncate(self._fd, self._size)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def _go_on(self, part: bytes) -> None:
        part = self._held + part
        text = part.rstrip(b"\r")
        self._held = part[len(text) :][:1]
        if b"\r" in text:
            text = text.rpartition(b"\r")[2]
            self._size = self._line
        self._write(text)

    def _write(self, data: bytes) -> None:
        place, self._size = self._size, self._size + len(data)
        while self._fd >= 0 and data:
            written = os.pwrite(self._fd, data, place)
            data, place = data[written:], place + written


def _last_state(line: bytes) -> bytes:
    return line.rstrip(b"\r").rpartition(b"\r")[2] if b"\r" in line else line


class RecordHandler(logging.Handler):
    """Writes log records to the log of the node that they come from."""

    def emit(self, record: logging.LogRecord) -> None:
        """Append one record, unless another handler prints it, which takes it to the log as well."""
        target = target_log()
        if target is None or _is_printed(record, target):
            return
        try:
            # Without any handler Python shows warnings on stderr; with this one it does not.
            shown = record.levelno >= logging.WARNING and record.name.split(".")[0] != "furu"
            quiet = not shown or has_other_handlers()
            target.write(self.format(record) + "\n", None if quiet else 2)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not fail a node
            self.handleError(record)


class _Router(_console.Unwrap):
    """Stands in for `sys.stdout` or `sys.stderr`; each write goes to the log of the running node."""

    def __init__(self, original: Any, number: int, native: bool) -> None:
        self.original = original
        self.number = number
        self.native = native
        self.users = 0

    def write(self, text: str) -> int:
        target = target_log()
        if target is not None and self.native and target.scope == "process" and not target.echo:
            target = None  # the descriptor leads to the log anyway
        if target is not None and target.write(text, self.number):
            return len(text)
        if self.original is not None:
            self.original.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self.original is not None:
            self.original.flush()

    def isatty(self) -> bool:
        return target_log() is None and self.original is not None and bool(self.original.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


_here: ContextVar[NodeLog | None] = ContextVar("furu_node_log", default=None)
_open_logs: list[NodeLog] = []
_stack: list[NodeLog] = []  # those of scope "process"; the last one has the descriptors
_lock = threading.RLock()
_handler: Final = RecordHandler()
_handler.setFormatter(logging.Formatter(FORMAT))
_root_level: int | None = None
_threads_followed = False
_reports_crashes = False
_keeps = False


def _report_crashes() -> None:
    """Let `faulthandler` write to the log where the interpreter crashed, such as by a segfault."""
    global _reports_crashes
    if 2 in originals.fds and (_reports_crashes or not faulthandler.is_enabled()):
        faulthandler.enable(file=2)  # descriptor 2 leads to the log of the node being computed
        _reports_crashes = True


def keep_between_nodes() -> None:
    """Let output lead to the log of the node that ends until the next one begins, or `let_go`.

    For a worker whose next node begins at once: giving all back and taking it again costs more than
    the code of a brief node. What furu itself says meanwhile goes to the console all the same.
    """
    global _keeps
    _keeps = True


def let_go() -> None:
    """Let output lead again to where it led before the nodes that have ended."""
    global _keeps
    if not _keeps:
        return
    _keeps = False
    _release()


def _release() -> None:
    with _lock:
        if not _stack and originals.taken:
            _console.flush_streams()
            _give_back()
        if not _open_logs:
            _stop_listening()


def _give_back() -> None:
    _leave_crashes()
    originals.give_back()
    if _LOG_NAME in _context.environment():
        del os.environb[_LOG_NAME]


def _leave_crashes() -> None:
    global _reports_crashes
    if _reports_crashes:
        faulthandler.disable()
        _reports_crashes = False


def target_log() -> NodeLog | None:
    """The log that output of the calling thread belongs to."""
    here = _here.get()
    if here is not None and here.is_open:
        return here
    return _stack[-1] if _stack else None


def console_is_open() -> bool:
    """Whether the console shows what happens here; not inside a worker's node."""
    target = target_log()
    return target is None or target.echo


def has_other_handlers() -> bool:
    """Whether the application set up handlers of its own on the root logger."""
    return any(handler is not _handler for handler in logging.getLogger().handlers)


def _listen() -> None:
    global _root_level
    root = logging.getLogger()
    if _handler in root.handlers:  # it stayed after the last node
        return
    if not root.handlers and root.level == logging.WARNING:
        # The program did not configure logging, and Python's default keeps INFO records out.
        _root_level = root.level
        root.setLevel(logging.INFO)
    root.addHandler(_handler)


def _stop_listening() -> None:
    global _root_level
    root = logging.getLogger()
    root.removeHandler(_handler)
    if _root_level is not None and root.level == logging.INFO:
        root.setLevel(_root_level)
    _root_level = None


def _is_printed(record: logging.LogRecord, target: NodeLog) -> bool:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and record.levelno >= handler.level:
            stream = handler.stream
            if isinstance(stream, _Router):
                return True
            if target.scope == "process" and any(
                _console.leads_to(stream, number) for number in originals.fds
            ):
                return True
    return False


def _follow_threads() -> None:
    """Let threads inherit the log of the thread that starts them; Python gives them no context."""
    global _threads_followed
    if _threads_followed:
        return
    _threads_followed = True
    start = threading.Thread.start

    def start_in_node(thread: threading.Thread) -> None:
        log = _here.get()
        if log is not None and log.is_open:
            run = thread.run

            def run_in_node() -> None:
                _here.set(log)
                run()

            thread.run = run_in_node  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = start_in_node  # type: ignore[method-assign, assignment]


def _catch_up_all() -> bool:
    for log in tuple(_stack):
        with suppress(OSError):  # the log's file system may be gone; the node will tell
            log.catch_up()
    return bool(_stack)


def _after_fork() -> None:
    global _lock, _copier
    _lock = threading.RLock()
    _copier = _console.Copier(_catch_up_all)
    for log in _open_logs:
        log.after_fork()


_copier = _console.Copier(_catch_up_all)
_console.console.before_write = _catch_up_all
os.register_at_fork(after_in_child=_after_fork)
