"""How worker processes end, in words."""

from __future__ import annotations

from typing import Final

from furu_core.executors import exit_text
from furu_local._wire import ExitCode

_OWN_ENDS: Final = {
    ExitCode.FORKED: "after a fork in the node's code returned from it",
    ExitCode.NO_CONNECTION: "because the node's code closed file descriptors that are not its own",
}


def described_exit(pid: int, code: int | None) -> str:
    """How a worker process ended, in words.

    Args:
        pid: its process id.
        code: the exit status; negative for the number of a signal; None for one that did not end
            although it had closed its connection.
    """
    who = f"worker process {pid}"
    if code is None:
        return f"{who} closed its connection {_OWN_ENDS[ExitCode.NO_CONNECTION]}"
    if code in _OWN_ENDS:
        return f"{who} ended {_OWN_ENDS[ExitCode(code)]}"
    return f"{who} {exit_text(code)}"
