"""`furu ls`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import click

from furu_core._cli._output import json_option, print_json
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredClass, StoredNode


@click.command("ls")
@click.argument("class_name", metavar="[CLASS]", required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in NodeState if state is not NodeState.ABSENT]),
    help="Only nodes in this state; may be repeated.",
)
@click.option("--paths", is_flag=True, help="Show the artifacts' folders.")
@click.option("--count", is_flag=True, help="Only count nodes, by class and state.")
@json_option
def command(
    class_name: str | None, states: tuple[str, ...], paths: bool, count: bool, as_json: bool
) -> None:
    """List the nodes in the store: state, hash, class.

    CLASS is a class name, with as much of its module as is needed. With --json each line is one
    JSON object, printed as it is found.
    """
    chosen = (
        _stored_nodes.classes() if class_name is None else _stored_nodes.classes_called(class_name)
    )
    wanted = frozenset(states)
    if count:
        _count(chosen, wanted, as_json)
        return
    # One write a line would be most of the time for 100,000 nodes.
    lines: list[str] = []
    for node, info in _stored_nodes.nodes(chosen):
        state = info.told.value
        if wanted and state not in wanted:
            continue
        if as_json:
            lines.append(_json_line(node, state))
        elif paths:
            where = node.paths.artifact if info.state is NodeState.DONE else node.paths.attempts
            lines.append(f"{state:<9} {node.hash[:12]}  {node.cls.name}  {where}")
        else:
            lines.append(f"{state:<9} {node.hash[:12]}  {node.cls.name}")
        if len(lines) >= 1000:
            click.echo("\n".join(lines))
            lines.clear()
    if lines:
        click.echo("\n".join(lines))


def _json_line(node: StoredNode, state: str) -> str:
    record = {
        "hash": node.hash,
        "class": node.cls.name,
        "name": node.name,
        "state": state,
        "path": node.paths.artifact,
    }
    return json.dumps(record, ensure_ascii=False)


def _count(chosen: Iterable[StoredClass], wanted: frozenset[str], as_json: bool) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for node, info in _stored_nodes.nodes(chosen):
        if not wanted or info.told.value in wanted:
            counts[node.cls.name, info.told.value] += 1
    if as_json:
        print_json([{"class": c, "state": s, "nodes": n} for (c, s), n in sorted(counts.items())])
        return
    for (name, state), number in sorted(counts.items()):
        click.echo(f"{number:>8}  {state:<9} {name}")
