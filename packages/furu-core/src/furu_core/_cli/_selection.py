"""The options by which all commands that list nodes choose them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Final, TypeVar

import click

from furu_core._status._states import NodeState

F = TypeVar("F", bound=Callable[..., Any])

STATES: Final = tuple(state.value for state in NodeState if state is not NodeState.ABSENT)


def selection_options(command: F) -> F:
    """Give a command the arguments and options that choose nodes, as parameters of `Selection.of`.

    These are `names`, `where`, `states`, `class_names`, `runs` and `since`.
    """
    options = [
        click.argument("names", metavar="[CLASS|HASH|run:ID]...", nargs=-1),
        click.option(
            "--where",
            multiple=True,
            metavar="COLUMN=VALUE",
            help="Only nodes that fulfil it; also != < <= > >= and ~ (a regular expression).",
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice(STATES),
            help="Only nodes in this state; may be repeated.",
        ),
        click.option(
            "--class", "class_names", multiple=True, metavar="CLASS", help="Only nodes of it."
        ),
        click.option(
            "--run", "runs", multiple=True, metavar="ID", help="Only nodes that it computed."
        ),
        click.option(
            "--since", metavar="TIME", help="Only what ended since: 2h, 3d, 2026-11-28 15:30."
        ),
    ]
    return reduce(lambda made, option: option(made), reversed(options), command)
