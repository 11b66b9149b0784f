"""`furu runs`: the runs in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

import click

from furu_core._cli import _completing
from furu_core._cli._output import json_option, print_json
from furu_core._cli._tables import lined_up
from furu_core._status import _runs
from furu_core._status._columns import Condition, check_columns
from furu_core._status._runs import DIED, RunStanding
from furu_core._status._selection import time_of
from furu_core._text import count, duration, when
from furu_core.errors import FuruUsageError

RUN_STATES: Final = ("running", "done", "failed", "cancelled", DIED)
_TAG: Final = "tags."
_SAMPLES: Final = 3  # runs whose columns completion offers


def _a_condition(_ctx: click.Context, _param: click.Parameter, word: str) -> _completing.Items:
    """Columns of runs, as a few runs have them, to be followed by an operator and a value."""
    some = islice(_runs.stored_runs(), _SAMPLES)
    names = dict.fromkeys(chain(*(run_columns(_runs.standing(run).to_json()) for run in some)))
    return [_completing.item(f"{name}=", is_open=True) for name in names if name.startswith(word)]


@click.command("runs")
@click.option("--since", metavar="TIME", help="Only what began since: 2h, 3d, 2026-11-28 15:30.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(RUN_STATES),
    help="Only runs in this state; may be repeated.",
)
@click.option(
    "--tag", "tags", multiple=True, metavar="NAME[=VALUE]", help="Only runs that have this tag."
)
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only runs that fulfil it, such as executor=local, failed>0, command~train or tags.NAME=VALUE.",
    shell_complete=_a_condition,
)
@json_option
def runs(
    since: str | None,
    states: tuple[str, ...],
    tags: tuple[str, ...],
    where: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the runs in the store, the newest first: how each stands, and what began it."""
    conditions = [*map(Condition.of, where), *map(_tag_condition, tags)]
    rows = []
    found: list[tuple[RunStanding, dict[str, Any]]] = []
    for told in chosen_runs(since, states):
        row = told.to_json()
        flat = run_columns(row)
        rows.append(flat)
        if all(condition.matches(flat) for condition in conditions):
            found.append((told, row))
    named = [condition.column for condition in map(Condition.of, where)]
    check_columns((name for name in named if not name.startswith(_TAG)), rows)
    if as_json:
        print_json([row for _, row in found])
        return
    if not found:
        what = "no run that fulfils this" if rows or since or states else "no run yet"
        click.echo(f"the store has {what}", err=True)
        return
    _print(found)


def chosen_runs(since: str | None, states: Sequence[str]) -> Iterator[RunStanding]:
    """How the runs stand that began since a time and are in one of some states; all where empty."""
    after = None if since is None else time_of(since)
    for run in _runs.stored_runs():
        if after is not None and run.began < after:
            continue
        told = _runs.standing(run)
        if not states or told.state in states:
            yield told


def run_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A run as a row of columns for conditions: of tags, each is one."""
    flat = {name: value for name, value in row.items() if name not in {"tags", "command"}}
    flat["command"] = _runs.command_text(tuple(row["command"]))
    flat["took"] = row["took_secs"]
    return flat | {f"{_TAG}{name}": value for name, value in row["tags"].items()}


def _tag_condition(text: str) -> Condition:
    name, equals, value = text.partition("=")
    if not name:
        raise FuruUsageError(
            f"--tag {text!r} names no tag", hint="write --tag name or --tag name=value"
        )
    return (
        Condition(f"{_TAG}{name}", "=", value)
        if equals
        else Condition(f"{_TAG}{name}", "!=", "none")
    )


def _print(found: Sequence[tuple[RunStanding, dict[str, Any]]]) -> None:
    lines = [
        ("run", "executor", "state", "began", "took", "computed", "loaded", "failed", "command")
    ]
    notes: list[str] = []
    for told, row in found:
        numbers = (str(told.computed), str(told.loaded), str(told.failed))
        command = _runs.short_command(run_columns(row)["command"])
        began = when(told.run.began)
        took = duration(told.took)
        lines.append((told.run.id, told.run.executor, told.state, began, took, *numbers, command))
        said = [f"{name}={value}" for name, value in sorted(row["tags"].items())]
        notes.append("  ".join(part for part in (" ".join(said), row["note"]) if part))
    shown = list(lined_up(lines, right={4, 5, 6, 7}))
    click.echo(shown[0])
    for line, note in zip(shown[1:], notes, strict=True):
        click.echo(f"{line}  [{note}]" if note else line)
    dead = [told.run.id for told, _ in found if told.state == DIED]
    if dead:
        click.echo(
            f"{count(len(dead), 'run')} died: `furu status {dead[0]}` says why, and how to go on",
            err=True,
        )
