"""Commands of other distributions, and the commands `furu plugins` and `furu executors`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import attrs
import click

from furu_core import _plugins
from furu_core._cli._output import json_option, only_json, print_json, say, say_next, styled
from furu_core._plugins import BrokenPlugin, EntryPointGroup, InstalledPlugin, Plugin
from furu_core.errors import FuruUsageError


class Commands:
    """The commands that other distributions add to `furu`, each imported when it is asked for.

    Args:
        taken: names of furu's own commands.
    """

    def __init__(self, taken: frozenset[str]) -> None:
        self._taken = taken
        self._known: dict[str, click.Command] = {}

    def names(self) -> list[str]:
        """The names of all commands, also of those that can only say why they cannot be used."""
        return sorted({plugin.name for plugin in self._found} - self._taken)

    def command(self, name: str) -> click.Command | None:
        """The command of a name; for one that cannot be used, a command that says so."""
        if name not in self._known:
            found = [plugin for plugin in self._found if plugin.name == name]
            if not found:
                return None
            try:
                _plugins.refuse_clash(found[0], found)
                self._known[name] = self._load(found[0])
            except BrokenPlugin as error:
                origins = sorted({plugin.origin for plugin in found})
                self._known[name] = _StandIn(name, error, " and ".join(origins))
        return self._known[name]

    def examined(self) -> list[InstalledPlugin]:
        """All commands of other distributions, each one imported to see whether it can be used."""
        return _plugins.examined(EntryPointGroup.COMMANDS, self._load)

    def broken(self) -> bool:
        """Whether a command that was looked up cannot be used, or has the name of one of furu's."""
        stand_ins = any(isinstance(command, _StandIn) for command in self._known.values())
        return stand_ins or any(plugin.name in self._taken for plugin in self._found)

    def sign(self, error: BaseException, name: str) -> None:
        """Add to a command's error which distribution brought that command."""
        for plugin in self._found:
            if plugin.name == name:
                error.add_note(f"The command `furu {name}` is brought by {plugin.origin}.")

    @cached_property
    def _found(self) -> list[Plugin]:
        return _plugins.registered(EntryPointGroup.COMMANDS)

    def _load(self, plugin: Plugin) -> click.Command:
        if plugin.name in self._taken:
            raise BrokenPlugin(plugin, "has the name of one of furu's own, so it cannot be called")
        command = plugin.load()
        if not isinstance(command, click.Command):
            raise BrokenPlugin(plugin, f"is {plugin.target}, which is no click command")
        return command


class _StandIn(click.Command):
    """Stands in for a command that cannot be used, so that the other commands still work."""

    def __init__(self, name: str, error: BrokenPlugin, origin: str) -> None:
        def fail(*_args: Any, **_options: Any) -> None:
            raise FuruUsageError(error.message, hint=error.hint) from error.__cause__

        super().__init__(
            name,
            callback=fail,
            params=[click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED)],
            context_settings={"ignore_unknown_options": True, "help_option_names": []},
            short_help=f"(broken: {origin})",
        )


@click.command("executors", short_help="List the installed executors, and their health.")
@json_option
def executors(as_json: bool) -> None:
    """List the installed executors, the distributions that bring them, and their health."""
    from furu_core._executors import _registry

    with only_json(active=True):
        found = _registry.installed_executors()
    if as_json:
        print_json(_records(found))
    elif found:
        _show(found)
        say_next("`furu run MODULE:TARGET --executor NAME` has one compute")
    else:
        say_next("no executor is installed; `pip install furu-local` brings one for this machine")


@click.command("plugins", short_help="List what plugins add to furu, and their health.")
@json_option
@click.pass_context
def plugins(context: click.Context, as_json: bool) -> None:
    """List what installed distributions add to furu, and its health.

    Executors, codecs for results, commands, settings: each with the distribution that brings it,
    and with what to do where it cannot be used. Each one is imported to see whether it can.
    """
    with only_json(active=True):
        found = all_plugins(context.find_root().command)
    if as_json:
        print_json(_records(found))
    elif found:
        _show_by_group(found)
    else:
        say("no plugin is installed", err=True)


def all_plugins(furu: Any) -> list[InstalledPlugin]:
    """All that installed distributions add to furu, each imported to see whether it can be used.

    Args:
        furu: the command group, a `LazyGroup`.
    """
    from furu_core._codecs import _registry as _codec_registry
    from furu_core._executors import _registry
    from furu_core._settings import _settings

    return [
        *_registry.installed_executors(),
        *_codec_registry.examined(),
        *furu.plugins.examined(),
        *_settings.examined_plugins(),
        *_plugins.examined(EntryPointGroup.CHECKS, Plugin.load),
    ]


def _records(plugins: Sequence[InstalledPlugin]) -> list[dict[str, Any]]:
    """Plugins for `print_json`."""
    return [attrs.asdict(plugin) for plugin in plugins]


def _show(plugins: Sequence[InstalledPlugin], margin: str = "") -> None:
    """Print one line per plugin, and for a broken one what is wrong and what to do."""
    names = max(len(plugin.name) for plugin in plugins)
    origins = max(len(_origin(plugin)) for plugin in plugins)
    ok = "ok    " if any(plugin.problem for plugin in plugins) else "ok"
    for plugin in plugins:
        health = styled("broken", "red") if plugin.problem else ok
        line = f"{plugin.name:<{names}}  {_origin(plugin):<{origins}}  {health}  {plugin.target}"
        say(margin + line)
        if plugin.problem:
            say(f"{margin}  {plugin.problem}")
            say(f"{margin}  {styled('hint:', 'cyan')} {plugin.hint}")
            say(f"{margin}  installed in {plugin.folder}")


def _show_by_group(plugins: Sequence[InstalledPlugin]) -> None:
    """Print plugins below the names of their groups."""
    for group, members in groupby(plugins, key=lambda plugin: plugin.group):
        say(styled(group, bold=True))
        _show(list(members), margin="  ")


def _origin(plugin: InstalledPlugin) -> str:
    return f"{plugin.distribution} {plugin.version}".rstrip()
