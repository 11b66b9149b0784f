"""Exit statuses of the `furu` command."""

import signal
from typing import Final

FAILED: Final = 1  # the run, or what was asked for, failed
USAGE: Final = 2  # the command line or a setting is wrong
INTERRUPTED: Final = 128 + signal.SIGINT
BROKEN_PIPE: Final = 128 + signal.SIGPIPE  # whoever read the output has had enough
