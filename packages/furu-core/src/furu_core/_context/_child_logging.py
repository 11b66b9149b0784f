"""Logging in child processes of a node: their stdout and stderr lead to the node's log."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import logging

# Tells child processes that their stderr is a node's log.
LOG_VARIABLE: Final = "FURU_EXEC_LOG"
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_usual: logging.Handler | None = None  # Python's `lastResort`, while a child's own replaces it


def log_as_child() -> None:
    """Let a child process of a node log like the node itself: to stderr, INFO records too.

    It replaces `logging.lastResort`, which Python uses only if the child's code adds no handler.
    """
    global _usual
    inside = bool(os.environ.get(LOG_VARIABLE))
    if inside == (_usual is not None):
        return
    import logging  # a program that only loads has nothing to log

    root = logging.getLogger()
    if not inside:  # a node started this fork server, but no node started this child
        logging.lastResort, _usual = _usual, None
        if root.level == logging.INFO:
            root.setLevel(logging.WARNING)
    elif not root.handlers and root.level == logging.WARNING:
        _usual = logging.lastResort
        logging.lastResort = logging.StreamHandler(sys.stderr)
        logging.lastResort.setFormatter(logging.Formatter(FORMAT))
        root.setLevel(logging.INFO)


def output_to_send() -> dict[int, Any]:
    """This process's stdout and stderr, to be sent to a child that a fork server is to start."""
    from multiprocessing import reduction

    sent = {}
    for number in (1, 2):
        with suppress(OSError):  # closed: sending it would make the child's start fail
            os.fstat(number)
            sent[number] = reduction.DupFd(number)
    return sent


def lead_output_to(sent: Mapping[int, Any]) -> None:
    """Point stdout and stderr at the files that `output_to_send` of the parent sent."""
    for number, stream in ((1, sys.__stdout__), (2, sys.__stderr__)):
        if number not in sent:
            continue
        descriptor = sent[number].detach()
        # A server that was started without the stream may use this descriptor for a socket.
        if stream is not None and stream.fileno() == number:
            os.dup2(descriptor, number)
        os.close(descriptor)
