"""Logging in child processes that a node's code starts: their stderr is the node's log."""

from __future__ import annotations

import os
import sys
from typing import Final

# Tells child processes that what they write to stderr is a node's log.
LOG_VARIABLE: Final = "FURU_EXEC_LOG"
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_as_child() -> None:
    """Let a child process of a node log like the node itself: by stderr, INFO records too.

    By way of Python's last resort, which gives way to whatever the child's own code sets up.
    """
    if not os.environ.get(LOG_VARIABLE):
        return
    import logging  # a program that only loads has nothing to log

    root = logging.getLogger()
    if not root.handlers and root.level == logging.WARNING:
        logging.lastResort = logging.StreamHandler(sys.stderr)
        logging.lastResort.setFormatter(logging.Formatter(FORMAT))
        root.setLevel(logging.INFO)
