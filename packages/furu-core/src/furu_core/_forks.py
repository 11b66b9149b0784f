"""Preparing for filelock, so that threads which fork at the same moment wait for each other.

From Python 3.12 on it forbids them to: while one thread forks, its audit hook raises RuntimeError
out of another's `os.fork`, and so out of a node's code. Hooks are asked in the order in which they
came, so one that came before lets the second thread wait until the first has its child.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Final

_FORBIDDEN: Final[bool] = sys.version_info >= (3, 12)
_EVENTS: Final = frozenset({"os.fork", "os.forkpty"})
# After that a fork goes on, and may fail as it would without all this: one that was announced may
# never have happened.
_PATIENCE_SECS: Final = 30.0
_gate = threading.Condition()
_forking: dict[int, float] = {}  # the threads that fork now, and since when


def prepare_for_filelock() -> None:
    """To be called before filelock is imported, which a program may have done long before."""
    if not _FORBIDDEN or "filelock" in sys.modules:
        return
    sys.addaudithook(_before_the_audit_of_filelock)
    import filelock  # noqa: F401

    # Hooks after a fork run in the order in which they came, this one after filelock's.
    os.register_at_fork(after_in_parent=_after_in_parent, after_in_child=_after_in_child)
    with _gate:  # whoever began to fork meanwhile does not tell when that is over
        _forking.clear()
        _gate.notify_all()


# The default outlives the module, whose names are gone when the last events of a program come.
def _before_the_audit_of_filelock(event: str, _: object, events: frozenset[str] = _EVENTS) -> None:
    if event not in events:
        return
    me = threading.get_ident()
    with _gate:
        _gate.wait_for(lambda: not _others(me), _PATIENCE_SECS)
        _forking[me] = time.monotonic()


def _others(me: int) -> bool:
    recent = time.monotonic() - _PATIENCE_SECS
    return any(thread != me and since > recent for thread, since in _forking.items())


def _after_in_parent() -> None:
    with _gate:
        _forking.pop(threading.get_ident(), None)
        _gate.notify_all()


def _after_in_child() -> None:
    global _gate
    _gate = threading.Condition()
    _forking.clear()
