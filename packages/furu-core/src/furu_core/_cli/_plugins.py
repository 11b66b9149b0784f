"""`furu plugins`."""

from __future__ import annotations

import click

from furu_core._cli._group import LazyGroup
from furu_core._cli._output import json_option, only_json, print_json


@click.command("plugins")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List what installed distributions add to furu, and its health.

    Executors, codecs for results, commands, settings: each with the distribution that brings it, and
    with what to do where it cannot be used. Each one is imported to see whether it can.
    """
    from furu_core._cli import _health
    from furu_core._codecs import _registry as _codec_registry
    from furu_core._executors import _registry
    from furu_core._settings import _settings

    furu = context.find_root().command
    assert isinstance(furu, LazyGroup)
    with only_json(active=True):
        found = [
            *_registry.installed_executors(),
            *_codec_registry.examined(),
            *furu.plugins.examined(),
            *_settings.examined_plugins(),
        ]
    if as_json:
        print_json(_health.records(found))
    elif found:
        _health.show_by_group(found)
    else:
        click.echo("no plugin is installed", err=True)
