"""`furu executors`."""

from __future__ import annotations

import attrs
import click

from furu_core._cli._output import json_option, print_json


@click.command("executors")
@json_option
def command(as_json: bool) -> None:
    """List the installed executors and the distributions that bring them."""
    from furu_core import _registry

    found = _registry.installed_executors()
    if as_json:
        print_json([attrs.asdict(executor) for executor in found])
        return
    if not found:
        click.echo("no executor is installed; furu-local brings one for this machine", err=True)
    for executor in found:
        source = f"{executor.distribution} {executor.version}"
        said = f"  broken: {executor.problem}" if executor.problem else ""
        click.echo(f"{executor.name:<16} {source:<28}{said}".rstrip())
