"""Waiting for something in a test: with a deadline, and saying for what."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

WAIT_SECS: Final = 180.0  # many times what a wait takes, since the machine may be busy


def wait_until(
    what: str, true: Callable[[], object], seconds: float = WAIT_SECS, *, pause_secs: float = 0.02
) -> None:
    """Wait until a condition holds.

    Args:
        what: what is waited for, for the error message.
        true: the condition.
        seconds: the deadline.
        pause_secs: the longest pause between two looks; more where a look is dear.

    Raises:
        TimeoutError: it does not hold in time.

    Example:
        >>> wait_until("nothing", lambda: True)
    """
    deadline = time.monotonic() + seconds
    pause = 0.001
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)
        pause = min(2 * pause, pause_secs)
