"""What the tests of the pool share beside furu_testing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from furu_testing import Program


def kill_before_its_end(controller: Program, store: Path) -> bool:
    """Kill a controller, unless its run has ended: then it ends by itself, and once more would be another run."""
    if controller.process.poll() is None:
        controller.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, controller.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if any((store / "runs").glob("*/controllers/*/ended-*")):
        if controller.process.poll() is None:
            controller.signal(signal.SIGCONT)
        return False
    controller.kill()
    return True
