"""The options by which all commands that list nodes choose them, and what they say where that is none."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps
from typing import Any, Final, TypeVar

import click

from furu_core._cli import _completing
from furu_core._cli._output import say_next
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState

F = TypeVar("F", bound=Callable[..., Any])

STATES: Final = tuple(state.value for state in NodeState if state is not NodeState.ABSENT)


sort_option = click.option(
    "--sort",
    multiple=True,
    metavar="COLUMN",
    help="Sort by it, such as took; -took: highest first.",
    shell_complete=_completing.a_column,
)


def say_none_chosen(what: str = "node") -> None:
    """Say that nothing was listed, and what to type next: the store is empty, or has other things only.

    Args:
        what: what was looked for, in the singular.
    """
    settings = _settings.settings()
    store = f"the store {settings.path}"
    also = hint_of_also("furu ls", is_given=_stored_nodes.are_further_included())
    if next(_stored_nodes.classes(), None) is None:
        say_next(f"{store} has no {what} yet; `furu run MODULE:TARGET` computes some{also}")
    else:
        say_next(
            f"{store} has no {what} that fulfils this; `furu ls --count` counts what is there{also}"
        )


def hint_of_also(command: str, *, is_given: bool) -> str:
    """The end of a hint where a listing was empty: that there are the stores of FURU_ALSO, too, if there are.

    Args:
        command: what lists those of theirs with `--also`.
        is_given: whether that option was given.
    """
    if is_given or not _settings.settings().also:
        return ""
    return f", `{command} --also` lists those in the stores of FURU_ALSO, too"


def also_option(command: F) -> F:
    """Give a command that lists nodes the option that has it list those of further stores, too."""

    @wraps(command)
    def listing(*args: Any, also: bool, **options: Any) -> Any:
        with _stored_nodes.including_further(also):
            return command(*args, **options)

    option = click.option("--also", is_flag=True, help="Also results in the stores of FURU_ALSO.")
    made: Any = option(listing)
    found: F = made
    return found


def selection_options(command: F) -> F:
    """Give a command the arguments and options that choose nodes, as parameters of `Selection.of`.

    These are `names`, `where`, `states`, `class_names`, `runs` and `since`.
    """
    options = [
        click.argument(
            "names",
            metavar="[CLASS|HASH|run:ID]...",
            nargs=-1,
            shell_complete=_completing.a_run_or_selection,
        ),
        click.option(
            "--where",
            multiple=True,
            metavar="COLUMN=VALUE",
            help="Only nodes that fulfil it; also != < <= > >= and ~ (a regular expression).",
            shell_complete=_completing.a_condition,
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice(STATES),
            help="Only nodes in this state; may be repeated.",
        ),
        click.option(
            "--class",
            "class_names",
            multiple=True,
            metavar="CLASS",
            help="Only nodes of it.",
            shell_complete=_completing.a_class,
        ),
        click.option(
            "--run",
            "runs",
            multiple=True,
            metavar="ID",
            help="Only nodes that it computed.",
            shell_complete=_completing.a_run,
        ),
        click.option(
            "--since", metavar="TIME", help="Only what ended since: 2h, 3d, 2026-11-28 15:30."
        ),
    ]
    return reduce(lambda made, option: option(made), reversed(options), command)
