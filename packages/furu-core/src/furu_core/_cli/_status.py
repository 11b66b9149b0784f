"""Exit statuses of the `furu` command, and how it ends when nobody reads its output."""

import os
import signal
from typing import Final

FAILED: Final = 1  # the run, or what was asked for, failed
USAGE: Final = 2  # the command line or a setting is wrong
INTERRUPTED: Final = 128 + signal.SIGINT
BROKEN_PIPE: Final = 128 + signal.SIGPIPE  # whoever read the output has had enough


def silence_stdout() -> None:
    """Let what is still buffered go nowhere: at exit Python would complain about the closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
