"""`furu log HASH`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from furu_core._attempts import _attempts
from furu_core._status import _stored_nodes
from furu_core._status._stored_nodes import StoredNode
from furu_core._store._layout import LOG_FILE, META
from furu_core.errors import FuruUsageError


@click.command("log")
@click.argument("name", metavar="HASH")
@click.option("--attempt", type=int, help="The log of this attempt instead of the newest.")
@click.option("--path", "only_path", is_flag=True, help="Print where the log is.")
def command(name: str, attempt: int | None, only_path: bool) -> None:
    """Print what a node printed and logged: of its artifact, else of its newest attempt."""
    node = _stored_nodes.find(name)
    path = find_log(node, attempt)
    if only_path:
        click.echo(path)
        return
    if sys.stdout is not None:
        sys.stdout.flush()
        with path.open("rb") as log:  # as bytes: a node may have printed anything
            while chunk := log.read(1 << 16):
                sys.stdout.buffer.write(chunk)


def find_log(node: StoredNode, attempt: int | None) -> Path:
    """The log to show.

    Raises:
        FuruUsageError: there is none.
    """
    numbers = _attempts.numbers(node.paths)
    published = Path(node.paths.artifact, META, LOG_FILE)
    if attempt is not None:
        found = _attempts.log_of(f"{node.paths.attempts}/{attempt}")
        number = _published_number(node)
        if not found.exists() and number == attempt:
            found = published
        known = sorted({*numbers, *([number] if number else [])})
        if not found.exists():
            listed = ", ".join(map(str, known)) or "none"
            raise FuruUsageError(
                f"{node.name} has no log of attempt {attempt}; attempts on disk: {listed}",
                hint="leave --attempt out for the newest; logs of earlier attempts go when the "
                "artifact is published",
            )
        return found
    candidates = [published]
    candidates += [_attempts.log_of(f"{node.paths.attempts}/{n}") for n in reversed(numbers)]
    for candidate in candidates:
        if os.path.exists(candidate):
            return candidate
    raise FuruUsageError(
        f"{node.name} has no log yet", hint=f"`furu show {node.hash[:12]}` tells how it stands"
    )


def _published_number(node: StoredNode) -> int | None:
    metadata = node.meta("metadata.json")
    try:
        return int(metadata["attempt"]["number"])
    except (KeyError, TypeError, ValueError):
        return None
