"""Plugins and their health, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import attrs
import click

from furu_core._plugins import InstalledPlugin


def records(plugins: Sequence[InstalledPlugin]) -> list[dict[str, Any]]:
    """Plugins for `print_json`."""
    return [attrs.asdict(plugin) for plugin in plugins]


def show(plugins: Sequence[InstalledPlugin], margin: str = "") -> None:
    """Print one line a plugin, and for a broken one what is wrong and what to do."""
    names = max(len(plugin.name) for plugin in plugins)
    origins = max(len(_origin(plugin)) for plugin in plugins)
    ok = "ok    " if any(plugin.problem for plugin in plugins) else "ok"
    for plugin in plugins:
        health = click.style("broken", fg="red") if plugin.problem else ok
        line = f"{plugin.name:<{names}}  {_origin(plugin):<{origins}}  {health}  {plugin.target}"
        click.echo(margin + line)
        if plugin.problem:
            click.echo(f"{margin}  {plugin.problem}")
            click.echo(f"{margin}  {click.style('hint:', fg='cyan')} {plugin.hint}")
            click.echo(f"{margin}  installed in {plugin.folder}")


def show_by_group(plugins: Sequence[InstalledPlugin]) -> None:
    """Print plugins below the names of their groups."""
    for group, members in groupby(plugins, key=lambda plugin: plugin.group):
        click.echo(click.style(group, bold=True))
        show(list(members), margin="  ")


def _origin(plugin: InstalledPlugin) -> str:
    return f"{plugin.distribution} {plugin.version}".rstrip()
