"""A command group that imports a command when it is called, and takes commands of plugins."""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from furu_core import _text
from furu_core._cli import _status

if TYPE_CHECKING:
    from furu_core._cli._commands import Commands


class LazyGroup(click.Group):
    """The group.

    Args:
        commands_by_module: for each built-in command the module that holds it as `command`.
    """

    def __init__(self, *args: Any, commands_by_module: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = commands_by_module

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, those of plugins included."""
        return sorted({*self._modules, *self.plugins.names()})

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        """The command of a name; a plugin that cannot be imported gives one that says so."""
        if cmd_name in self._modules:
            command = importlib.import_module(self._modules[cmd_name]).command
            assert isinstance(command, click.Command)
            return command
        return self.plugins.command(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but a closed pipe ends the command as SIGPIPE would."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1, as if the command had failed
            _status.silence_stdout()
            raise click.exceptions.Exit(_status.BROKEN_PIPE) from None
        except Exception as error:
            if ctx.invoked_subcommand not in {None, *self._modules}:
                self.plugins.sign(error, str(ctx.invoked_subcommand))
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, with a line about plugins that add no command though they are to."""
        if self.plugins.broken():
            self.epilog = "Some plugins are broken; `furu plugins` says why and what to do."
        super().format_epilog(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the likely command for an unknown one."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            likely = _text.nearest(args[0], self.list_commands(ctx))
            ctx.fail(
                f"No such command {args[0]!r}."
                + (f" Did you mean {likely[0]!r}?" if likely else "")
            )
        return super().resolve_command(ctx, args)

    @cached_property
    def plugins(self) -> Commands:
        """The commands of other distributions."""
        from furu_core._cli._commands import (
            Commands,
        )  # takes 20 ms, and most commands are furu's own

        return Commands(frozenset(self._modules))
