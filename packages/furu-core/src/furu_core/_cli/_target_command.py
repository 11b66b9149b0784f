"""Commands that take a target: their options, and a help that tells of the target where one is named."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click

from furu_core._cli import _completing

_ARGS = "furu_core.args"

set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    shell_complete=_completing.an_assignment,
    help="May be repeated; FIELD=A,B is a sweep over numbers and choices.",
)


def command_with(
    command: str, target: str, assignments: Sequence[str], rerun: Sequence[str] = ()
) -> str:
    """A command for a target with its ``--set`` and ``--rerun``, as one types it.

    Example:
        >>> command_with("furu run", "exp.train:Train", ["note=a b"])
        "furu run exp.train:Train --set 'note=a b'"
    """
    given = [part for one in assignments for part in ("--set", one)]
    given += [part for one in rerun for part in ("--rerun", one)]
    return f"{command} {shlex.join([target, *given])}"


class TargetCommand(click.Command):
    """A command whose first argument is a target: ``--help`` after one tells of its fields or arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does."""
        ctx.meta[_ARGS] = list(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, and what is known of the target."""
        super().format_epilog(ctx, formatter)
        target = self._target(ctx)
        if target is not None and ":" in target:
            from furu_core._cli._target_help import told_of

            formatter.write("\n" + "\n".join(told_of(target, f"furu {ctx.info_name}")) + "\n")

    def _target(self, ctx: click.Context) -> str | None:
        """The target on the command line, which click gives to nobody before it handles ``--help``."""
        argument = next(one for one in self.params if isinstance(one, click.Argument))
        given: dict[str, Any] = self.make_parser(ctx).parse_args(list(ctx.meta.get(_ARGS, ())))[0]
        found = given.get(argument.name or "")
        return found if isinstance(found, str) else None
