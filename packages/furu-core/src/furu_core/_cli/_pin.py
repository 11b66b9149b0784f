"""`furu pin` and `furu unpin`: what is kept, with all that it was made of."""

from __future__ import annotations

from typing import Any

import click

from furu_core._cli import _completing
from furu_core._cli._output import json_option, print_json, say, say_next
from furu_core._cli._tables import lined_up
from furu_core._text import when
from furu_core._upkeep import _pins
from furu_core._upkeep._pins import Pin


@click.command("pin", short_help="Keep nodes from being removed.")
@click.argument(
    "name", metavar="CLASS|HASH|run:ID", required=False, shell_complete=_completing.a_selection
)
@click.argument("reason", required=False, default="")
@click.option("--list", "listing", is_flag=True, help="List what is pinned.")
@json_option
def pin(name: str | None, reason: str, listing: bool, as_json: bool) -> int:
    """Keep a node, all nodes of a class, or what a run needed, with all that these were made of.

    `furu gc` leaves it, and `furu rm` refuses it, until `furu unpin`.
    """
    if listing == (name is not None):
        raise click.UsageError(
            "--list takes no name" if listing else "Missing argument: what to pin, or --list"
        )
    found = _pins.pins() if name is None else _pins.pin(name, reason)
    if as_json:
        print_json([_told(one) for one in found])
    elif name is None:
        rows = [[one.shown, one.user, when(one.time), one.reason] for one in found]
        for line in lined_up(rows):
            say(line)
        if not found:
            say_next('nothing is pinned; `furu pin HASH "why"` keeps a node')
        else:
            say_next("`furu unpin NAME` takes one back")
    else:
        for one in found:
            say(f"pinned {one.shown}")
        say_next("`furu unpin` takes it back, `furu pin --list` tells what is pinned")
    return 0


@click.command("unpin", short_help="Take back what `furu pin` said.")
@click.argument("name", metavar="CLASS|HASH|run:ID", shell_complete=_completing.a_selection)
@json_option
def unpin(name: str, as_json: bool) -> int:
    """Take back what `furu pin` said of a node, a class or a run."""
    found = _pins.unpin(name)
    if as_json:
        print_json([_told(one) for one in found])
    else:
        for one in found:
            say(f"no longer pinned: {one.shown}")
        say_next("`furu gc` tells what nothing needs any more")
    return 0


def _told(one: Pin) -> dict[str, Any]:
    return {
        "id": one.id,
        "what": one.what.value,
        "name": one.name,
        "shown": one.shown,
        "reason": one.reason,
        "user": one.user,
        "time": one.time,
    }
