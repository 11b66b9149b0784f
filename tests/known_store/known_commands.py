"""The `furu` command as if it were typed in a shell."""

from __future__ import annotations

import signal
import sys

import click
import fresh

from furu_core._cli._main import furu as group

# Imported once, before processes are forked.
CONTEXT = click.Context(group)
COMMANDS = [group.get_command(CONTEXT, name) for name in group.list_commands(CONTEXT)]


def furu(args: list[str], cwd: str, env: dict[str, str], streams: list[str]) -> int:
    """Run the command, so that the records of what it does tell this command line."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # jobs of a shell's background ignore it
    sys.argv = ["furu", *args]
    sys.orig_argv = [sys.executable, *sys.argv]
    return fresh.furu(args, cwd, env, streams)
