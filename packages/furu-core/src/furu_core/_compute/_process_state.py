"""Restoring what a node's code changed in its process: working directory, umask, environment, etc.

Else a result would depend on which other nodes its worker had computed before, and files that furu
writes would get the permissions, or land in the folder, that an earlier node had set.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import attrs

from furu_core._context import _context
from furu_core._settings import _settings
from furu_core._settings._settings import INTERNAL_PREFIX, Settings

# `signal.getsignal` makes an enum of each answer, which takes most of the time of a look.
handler_of: Final = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)
_mask: Final = getattr(sys.modules.get("_signal"), "pthread_sigmask", signal.pthread_sigmask)
# Only signals that programs commonly handle: looking at all would double the time taken here.
_SIGNALS: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGXCPU,
)
_INTERNAL: Final = INTERNAL_PREFIX.encode()
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_IDLE: Final = (0.0, 0.0)


class Restored:
    """Undoes what the enclosed code of a node changes in this process.

    Restored are the working directory, the umask, the environment, furu's settings and, in the main
    thread, signal handlers and timers. Nothing is restored while another thread computes a node, or
    the main thread does something else, because then it is unknown whose changes they are.
    """

    def __enter__(self) -> None:
        self._before = _known() if _is_alone() else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _last
        if self._before is None:
            return
        if _is_alone():
            _put_back(self._before)
        else:
            _last = None


# How the process was when the code of the last node of a worker had ended, and which worker that was.
_last: tuple[object, int, _ProcessState] | None = None


def _known() -> _ProcessState:
    """How the process is now; in a worker nothing but furu runs between nodes, and imports."""
    global _last
    context = _context.exec_context()
    if not (context.strict and context.one_at_a_time):
        return _look()
    # Only the main thread has signal handlers, and each thread blocks signals for itself.
    worker = context.run_id, context.spec_key, threading.get_ident()
    if _last is not None and _last[0] == worker and _last[1] == len(sys.modules):
        then = _last[2]
        return _ProcessState(
            settings=_settings.settings(),
            environment=dict(_context.environment()),
            umask=then.umask,
            folder=then.folder,
            handlers=then.handlers,
            blocked=then.blocked,
            timers=then.timers,
        )
    state = _look()
    _last = worker, len(sys.modules), state
    return state


def _is_alone() -> bool:
    in_main = threading.current_thread() is threading.main_thread()
    return (in_main or _context.in_executor()) and _context.computes_alone()


@attrs.frozen
class _ProcessState:
    settings: Settings
    environment: Mapping[bytes, bytes]
    umask: int
    folder: str | None
    handlers: Mapping[int, Any]
    blocked: frozenset[int]
    timers: Mapping[int, tuple[float, float]]


def _look() -> _ProcessState:
    umask = os.umask(0o022)  # the only way to read it is to set it
    os.umask(umask)
    main = threading.current_thread() is threading.main_thread()
    return _ProcessState(
        settings=_settings.settings(),
        environment=dict(_context.environment()),
        umask=umask,
        folder=working_directory(),
        handlers={number: handler_of(number) for number in _SIGNALS} if main else {},
        blocked=frozenset(_mask(signal.SIG_BLOCK, ())),
        timers={which: signal.getitimer(which) for which in _TIMERS},
    )


def _put_back(before: _ProcessState) -> None:
    for which, timer in before.timers.items():  # first: one that expires now would end the process
        if timer == _IDLE and signal.getitimer(which) != _IDLE:
            signal.setitimer(which, 0.0)
    for number, handler in before.handlers.items():
        if handler is not None and handler_of(number) is not handler:
            signal.signal(number, handler)
    _mask(signal.SIG_SETMASK, before.blocked)
    os.umask(before.umask)
    if (now := _context.environment()) != before.environment:
        _put_back_environment(dict(now), before.environment)
    _settings.put_back(before.settings)
    if before.folder is not None and working_directory() != before.folder:
        with suppress(OSError):  # it was removed
            os.chdir(before.folder)


def _put_back_environment(now: Mapping[bytes, bytes], before: Mapping[bytes, bytes]) -> None:
    # furu itself maintains its variables for child processes.
    for name in now.keys() - before.keys():
        if not name.startswith(_INTERNAL):
            del os.environb[name]
    for name, value in before.items():
        if now.get(name) != value and not name.startswith(_INTERNAL):
            os.environb[name] = value


def working_directory() -> str | None:
    """The working directory; None when it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None
