"""Settings of other distributions; `_settings` looks here for variables that are not furu's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core import _plugins
from furu_core._plugins import BrokenPlugin, EntryPointGroup, InstalledPlugin, Plugin
from furu_core.errors import FuruSettingsError

Normaliser = Callable[[str, Path], str]

_log: Final = logging.getLogger("furu.settings")


@attrs.frozen
class PluginSetting:
    """A variable that a distribution owns.

    Attributes:
        owner: the distribution that owns it.
        normalise: returns a text that means the same everywhere; None where the plugin is broken.
    """

    owner: str
    normalise: Normaliser | None

    @property
    def broken(self) -> bool:
        """Whether the plugin that reads the setting is broken."""
        return self.normalise is None

    def normalised(self, said: str, text: str, base: Path) -> str:
        """A text that means the same in every process and folder.

        Args:
            said: the name and the value, as errors show them.
            text: the value.
            base: the folder that relative paths start from.

        Raises:
            FuruSettingsError: the value is bad, or the plugin failed to read it.
        """
        assert self.normalise is not None
        try:
            meant: Any = self.normalise(text, base)
        except ValueError as error:
            raise FuruSettingsError(f"{said}: {error}", hint="correct it or leave it out") from None
        except Exception as error:  # whatever a third party's code raises
            raise FuruSettingsError(
                f"{said}, at which {self.owner} failed: {type(error).__name__}: {error}",
                hint="correct it or leave it out, and report it to the authors",
            ) from error
        if not isinstance(meant, str):
            raise FuruSettingsError(
                f"{said}, of which {self.owner} made a {type(meant).__name__} instead of a str",
                hint="leave it out, and report it to the authors",
            )
        return meant


known: Final[dict[str, PluginSetting]] = {}


def find(variable: str) -> PluginSetting | None:
    """The setting of a name; None if no distribution owns it. Warns once of a broken one."""
    if variable not in known:
        try:
            plugin = _plugins.find(EntryPointGroup.SETTINGS, variable)
            if plugin is None:
                return None
            known[variable] = PluginSetting(plugin.origin, _normaliser_of(plugin))
        except BrokenPlugin as error:
            # Only code that needs the setting must fail, and that comes with the same plugin.
            _log.warning("%s is ignored: %s", variable, error)
            known[variable] = PluginSetting(error.plugin.origin, None)
    return known[variable]


def names() -> set[str]:
    """The variables that distributions own; none is imported."""
    return {*known, *(plugin.name for plugin in _plugins.registered(EntryPointGroup.SETTINGS))}


def examined(fault_of_name: Callable[[str], str]) -> list[InstalledPlugin]:
    """All settings that other distributions register, each one imported.

    Args:
        fault_of_name: returns what is wrong with a name; empty if nothing is.
    """

    def use(plugin: Plugin) -> None:
        fault = fault_of_name(plugin.name)
        if fault:
            raise BrokenPlugin(plugin, fault)
        _normaliser_of(plugin)

    return _plugins.examined(EntryPointGroup.SETTINGS, use)


def _normaliser_of(plugin: Plugin) -> Normaliser:
    normalise: Normaliser = plugin.load()
    if not callable(normalise):
        raise BrokenPlugin(plugin, f"is {plugin.target}, which cannot be called")
    return normalise
