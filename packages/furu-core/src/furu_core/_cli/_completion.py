"""`furu completion`: has the shell complete commands, hashes, classes, targets and fields."""

from __future__ import annotations

import os

import click

from furu_core._cli._output import say
from furu_core._cli._shells import SHELLS, script
from furu_core._files import replace_file
from furu_core.errors import FuruUsageError


@click.command("completion", short_help="Print the script that has a shell complete words.")
@click.argument("shell", type=click.Choice(sorted(SHELLS)))
@click.option("--install", is_flag=True, help="Write it to where the shell looks for it.")
@click.pass_context
def completion(context: click.Context, shell: str, install: bool) -> None:
    """Print the script that completes what is typed after `furu`, or install it.

    \b
    To have it in one shell only:
      bash, zsh: source <(furu completion bash)
      fish:      furu completion fish | source
    """
    text = script(context.find_root().command, shell)
    if not install:
        say(text, nl=False)
        return
    path = SHELLS[shell].place()
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace_file(path, text.encode())
    except OSError as error:
        raise FuruUsageError(
            f"{path} cannot be written: {error.strerror}",
            hint=f"have the shell read it when it starts: source <(furu completion {shell})",
        ) from error
    say(f"wrote {path}")
    say(SHELLS[shell].next_step.format(path=path))
