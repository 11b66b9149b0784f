"""What packages build on that add a command to `furu`.

Such a package declares an entry point of the group ``furu.commands``, named as the command, whose
object is a click command. Errors of furu that it lets pass are shown as those of any other command.

Example:
    >>> import click
    >>> from furu_core.command import resolve_roots, target_options
    >>> @click.command()
    ... @target_options
    ... def count(target, assignments):
    ...     click.echo(len(resolve_roots(target, assignments).items))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from furu_core._cli._output import duration, json_option, only_json, print_json
from furu_core._cli._target import load_roots as resolve_roots

F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "duration",
    "json_option",
    "only_json",
    "print_json",
    "resolve_roots",
    "target_options",
]


def target_options(command: F) -> F:
    """Give a command the argument ``MODULE:TARGET`` and the option ``--set FIELD=VALUE``.

    Args:
        command: it gets them as `target` and `assignments`, and hands them to `resolve_roots`.
    """
    with_set = click.option(
        "--set", "assignments", multiple=True, metavar="FIELD=VALUE", help="May be repeated."
    )(command)
    return click.argument("target", metavar="MODULE:TARGET")(with_set)
