"""A command group that imports a command when it is called, and takes commands of plugins.

A distribution adds a command by an entry point of the group ``furu.commands``, named as the command,
whose object is a click command.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click

from furu_core._cli import _status
from furu_core.errors import FuruUsageError

GROUP: Final = "furu.commands"


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
        return sorted({*self._modules, *(point.name for point in self._plugins)})

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
        points = [point for point in self._plugins if point.name == cmd_name]
        return _load(points) if points else None

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but a closed pipe ends the command as SIGPIPE would."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1, as if the command had failed
            _status.silence_stdout()
            raise click.exceptions.Exit(_status.BROKEN_PIPE) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the likely command for an unknown one."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from difflib import get_close_matches

            likely = get_close_matches(args[0], self.list_commands(ctx), n=1)
            ctx.fail(
                f"No such command {args[0]!r}."
                + (f" Did you mean {likely[0]!r}?" if likely else "")
            )
        return super().resolve_command(ctx, args)

    @cached_property
    def _plugins(self) -> list[EntryPoint]:
        return [point for point in entry_points(group=GROUP) if point.name not in self._modules]


def _load(points: list[EntryPoint]) -> click.Command:
    owners = sorted({_owner(point) for point in points})
    if len(owners) > 1:
        return _broken(points[0].name, owners, "more than one distribution registers it")
    try:
        command = points[0].load()
    except Exception as error:  # noqa: BLE001 - whatever a third party's module raises on import
        return _broken(points[0].name, owners, f"{type(error).__name__}: {error}")
    if not isinstance(command, click.Command):
        return _broken(points[0].name, owners, f"{points[0].value} is no click command")
    return command


def _broken(name: str, owners: list[str], reason: str) -> click.Command:
    """A command that stands in for one that cannot be loaded, lest it take the others with it."""

    def fail(*_args: Any, **_options: Any) -> None:
        raise FuruUsageError(
            f"the command {name!r} of {' and '.join(owners)} cannot be loaded: {reason}",
            hint=f"reinstall or uninstall {' or '.join(owners)}",
        )

    return click.Command(
        name,
        callback=fail,
        params=[click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        short_help=f"(broken: {' and '.join(owners)})",
    )


def _owner(point: EntryPoint) -> str:
    return "an unknown distribution" if point.dist is None else point.dist.name
