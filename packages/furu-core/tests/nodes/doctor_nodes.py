"""What doctors of other processes do, and what they find."""

from __future__ import annotations

import os
import signal

from furu_core import Furu
from furu_core._doctor import _checkup
from furu_core.executors import EventKind, EventLog, named_roots, new_run_folder


class Killed(Furu[int]):
    """Its process dies in the middle of it."""

    def _create(self) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


def examine() -> list[str]:
    """Check the store, and return what is no more than well."""
    return [str(result) for result in _checkup.store_checks() if result.next_step]


def run_until_killed() -> None:
    """Begin a run, and die in it, as a controller does that is killed."""
    root = Killed()
    _, folder = new_run_folder("inline", named_roots([root]))
    EventLog(folder).write(EventKind.RUN_STARTED, detail="1 node")
    root.get()
