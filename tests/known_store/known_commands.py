"""The `furu` command as if it were typed in a shell."""

from __future__ import annotations

import sys

import fresh


def furu(args: list[str], cwd: str, env: dict[str, str], streams: list[str]) -> int:
    """Run the command, so that the records of what it does tell this command line."""
    sys.argv = ["furu", *args]
    sys.orig_argv = [sys.executable, *sys.argv]
    return fresh.furu(args, cwd, env, streams)
