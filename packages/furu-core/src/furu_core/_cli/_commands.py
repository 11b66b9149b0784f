"""Commands of other distributions."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import click

from furu_core import _plugins
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
        """The names under which a command answers, if only to say why it cannot be used."""
        return sorted({plugin.name for plugin in self._plugins} - self._taken)

    def command(self, name: str) -> click.Command | None:
        """The command of a name; one that cannot be used is one that says so."""
        if name not in self._known:
            found = [plugin for plugin in self._plugins if plugin.name == name]
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
        """All of them, each one tried."""
        return _plugins.examined(EntryPointGroup.COMMANDS, self._load)

    def broken(self) -> bool:
        """Whether one of those that were asked for cannot be used, or a name was furu's already."""
        stand_ins = any(isinstance(command, _StandIn) for command in self._known.values())
        return stand_ins or any(plugin.name in self._taken for plugin in self._plugins)

    def sign(self, error: BaseException, name: str) -> None:
        """Note on an error of a command who brought that command."""
        for plugin in self._plugins:
            if plugin.name == name:
                error.add_note(f"The command `furu {name}` is brought by {plugin.origin}.")

    @cached_property
    def _plugins(self) -> list[Plugin]:
        return _plugins.registered(EntryPointGroup.COMMANDS)

    def _load(self, plugin: Plugin) -> click.Command:
        if plugin.name in self._taken:
            raise BrokenPlugin(plugin, "has the name of one of furu's own, so it cannot be called")
        command = plugin.load()
        if not isinstance(command, click.Command):
            raise BrokenPlugin(plugin, f"is {plugin.target}, which is no click command")
        return command


class _StandIn(click.Command):
    """Stands in for a command that cannot be used, lest it take the others with it."""

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
