"""`furu executors`."""

from __future__ import annotations

import click

from furu_core._cli._output import json_option, only_json, print_json


@click.command("executors")
@json_option
def command(as_json: bool) -> None:
    """List the installed executors, the distributions that bring them, and their health."""
    from furu_core._cli import _health
    from furu_core._executors import _registry

    with only_json(active=True):
        found = _registry.installed_executors()
    if as_json:
        print_json(_health.records(found))
    elif found:
        _health.show(found)
    else:
        click.echo("no executor is installed; furu-local brings one for this machine", err=True)
