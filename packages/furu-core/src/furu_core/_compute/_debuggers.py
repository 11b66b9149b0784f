"""Debuggers in a node's code: without a terminal, `breakpoint()` ends the node with a hint."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from furu_core._context import _context
from furu_core.errors import FuruProtocolError

_HINT: Final = (
    'compute the node where there is a terminal: with get() outside of executors, or with worker="inline" '
    "(`furu run -o worker=inline`)"
)
# Values of PYTHONBREAKPOINT for pdb; another debugger is the user's choice, and may need no terminal.
OWN: Final = (None, "", "pdb.set_trace")

_lock = threading.Lock()
_sessions = 0


@contextmanager
def without_terminal() -> Iterator[None]:
    """Let `breakpoint()` raise in nodes of workers that have no terminal.

    Its prompt would go to the log: in a worker process it gets no answer, and in a thread it waits
    for ever.
    """
    global _sessions
    with _lock:
        _sessions += 1
        if sys.breakpointhook is sys.__breakpointhook__:
            sys.breakpointhook = _breakpoint
    try:
        yield
    finally:
        with _lock:
            _sessions -= 1
            if not _sessions and sys.breakpointhook is _breakpoint:
                sys.breakpointhook = sys.__breakpointhook__


def refused(error: BaseException, node: str) -> FuruProtocolError | None:
    """The error for a node whose debugger was quit, or got no answer; None for any other error.

    It is never retried, because that would only start the debugger again.
    """
    bdb = sys.modules.get("bdb")
    if bdb is None or not isinstance(error, bdb.BdbQuit):
        return None
    return FuruProtocolError(
        f"the debugger in {node} was left, or got no answer for want of a terminal",
        asker=node,
        hint=_HINT,
    )


def _breakpoint(*args: Any, **kwargs: Any) -> Any:
    context = _context.exec_context()
    if os.environ.get("PYTHONBREAKPOINT") not in OWN:
        return sys.__breakpointhook__(*args, **kwargs)
    if context.strict and not context.echo:
        raise FuruProtocolError(
            f"{context.who} stops at breakpoint(), and its worker has no terminal",
            asker=context.who,
            hint=_HINT,
        )
    import pdb

    pdb.Pdb().set_trace(sys._getframe(1))  # noqa: SLF001 - the one that called breakpoint()
    return None
