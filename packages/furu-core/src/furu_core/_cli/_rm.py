"""`furu rm HASH`."""

from __future__ import annotations

import click

from furu_core._cli import _status
from furu_core._cli._output import json_option, print_json
from furu_core._status import _deleting, _stored_nodes


@click.command("rm")
@click.argument("names", metavar="HASH...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def command(names: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Delete the artifacts and attempts of nodes; what is being computed or queued is refused."""
    found = [_stored_nodes.find(name) for name in names]
    for node in found:
        _deleting.refuse_held(node.name, node.paths)
    if not yes:
        for node in found:
            click.echo(f"{node.name}  {node.info().told.value}  {node.paths.artifact}", err=True)
        what = "this node" if len(found) == 1 else f"these {len(found)} nodes"
        if not click.confirm(f"Delete {what}?", err=True):
            click.echo("nothing was deleted", err=True)
            return _status.FAILED
    for node in found:
        _deleting.delete(node.name, node.paths)
        if not as_json:
            click.echo(f"deleted {node.name}")
    if as_json:
        print_json([{"hash": node.hash, "name": node.name} for node in found])
    return 0
