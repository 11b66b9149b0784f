"""`furu runs`: the runs in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

import click

from furu_core._cli import _completing
from furu_core._cli._output import (
    csv_option,
    json_option,
    print_csv,
    print_json,
    refuse_csv_and_json,
    say,
    say_next,
)
from furu_core._cli._selection import hint_of_also
from furu_core._cli._tables import lined_up
from furu_core._runs import _runs
from furu_core._runs._runs import DIED, RunStanding
from furu_core._settings import _settings
from furu_core._store._folders import run_ids
from furu_core._tables._columns import PREFIX, check_columns
from furu_core._tables._conditions import AS_FIELD, RUN, SPAN, TIME, Condition, Reading, time_of
from furu_core._tables._packed import ABSENT
from furu_core._tables._table import direction_of, in_order_of
from furu_core._text import count, duration, when
from furu_core.errors import FuruUsageError

RUN_STATES: Final = ("running", "done", "failed", "cancelled", DIED)
_TAG: Final = "tags."
_READINGS: Final[Mapping[str, Reading]] = {  # how conditions read what columns of runs hold
    "run": RUN,
    **dict.fromkeys(("took", "took_secs"), SPAN),
    **dict.fromkeys(("began", "ended"), TIME),
}
_SAMPLES: Final = 3  # runs whose columns completion offers


def _columns() -> list[str]:
    """The columns of runs, as a few runs have them."""
    some = islice(_runs.stored_runs(), _SAMPLES)
    return list(dict.fromkeys(chain(*(run_columns(_runs.standing(run).to_json()) for run in some))))


def _a_column(_ctx: click.Context, _param: click.Parameter, word: str) -> _completing.Items:
    return [_completing.item(name) for name in _columns() if name.startswith(word)]


def _a_condition(_ctx: click.Context, _param: click.Parameter, word: str) -> _completing.Items:
    """Columns of runs, to be followed by an operator and a value."""
    found = _columns()
    return [_completing.item(f"{name}=", is_open=True) for name in found if name.startswith(word)]


@click.command("runs", short_help="List the runs in the store, the newest first.")
@click.option("--since", metavar="TIME", help="Only what began since: 2h, 3d, 2026-11-28 15:30.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(RUN_STATES),
    help="Only runs in this state; may be repeated.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Only runs that have this tag.",
    shell_complete=_completing.a_tag,
)
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only runs that fulfil it, such as executor=local, failed>0, command~train or tags.NAME=VALUE.",
    shell_complete=_a_condition,
)
@click.option(
    "--sort",
    multiple=True,
    metavar="COLUMN",
    help="Sort by it, such as took; -took: highest first. Default: the newest first.",
    shell_complete=_a_column,
)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N.")
@click.option(
    "--prune", is_flag=True, help="Plan which folders of old runs go to the trash; changes nothing."
)
@click.option(
    "--keep", metavar="TIME", help="With --prune: what ended since then stays: 90d, 2026-09-01."
)
@click.option("--all-users", is_flag=True, help="With --prune: also runs of others.")
@click.option(
    "--do",
    "plan_id",
    metavar="ID",
    help="With --prune: move exactly what that plan told to the trash.",
    shell_complete=_completing.a_plan,
)
@click.option("--also", is_flag=True, help="Also runs in the stores of FURU_ALSO.")
@csv_option
@json_option
def runs(
    since: str | None,
    states: tuple[str, ...],
    tags: tuple[str, ...],
    where: tuple[str, ...],
    sort: tuple[str, ...],
    top: int | None,
    prune: bool,
    keep: str | None,
    all_users: bool,
    plan_id: str | None,
    also: bool,
    as_csv: bool,
    as_json: bool,
) -> int:
    """List the runs in the store, the newest first: how each stands, and what began it.

    With --prune, say which of them are old: as `furu gc --runs` does, for folders of runs and snapshots of code alone.
    """
    refuse_csv_and_json(as_csv, as_json)
    pruning = {"--keep": keep, "--all-users": all_users, "--do": plan_id}
    if prune:
        choosing = {"--since": since, "--state": states, "--tag": tags, "--where": where}
        shape = {"--sort": sort, "--top": top, "--also": also, "--csv": as_csv}
        _refuse({**choosing, **shape}, "lists runs, and --prune plans by age: --keep TIME")
        if plan_id is not None:
            _refuse({**pruning, "--do": None}, "belongs to the plan, which --do carries out")
        return _prune(plan_id, keep, all_users=all_users, as_json=as_json)
    _refuse(pruning, "goes with --prune")
    # Of a run all columns are built-in ones, and may be named so.
    conditions = [Condition.of(one.removeprefix(PREFIX)) for one in where]
    conditions += map(_tag_condition, tags)
    rows = []
    found: list[tuple[RunStanding, dict[str, Any]]] = []
    for told in chosen_runs(since, states, also=also):
        row = told.to_json()
        flat = run_columns(row)
        rows.append(flat)
        if all(_fulfils(flat, condition) for condition in conditions):
            found.append((told, row))
    order = [(name.removeprefix(PREFIX), down) for name, down in map(direction_of, sort)]
    named = [*(one.column for one in conditions), *(name for name, _ in order)]
    unseen = [name for name in named if not any(name in row for row in rows)]
    if unseen:  # a run that was not looked at, by its time or state, may have the column
        others = (run_columns(told.to_json()) for told in chosen_runs(None, (), also=also))
        check_columns(unseen, others, "run")
    flat_found = [run_columns(row) for _, row in found]
    places = list(range(len(found)))
    for name, is_descending in reversed(order):
        cells = [row.get(name) for row in flat_found]
        places = in_order_of(places, cells, is_descending=is_descending)
    found = [found[place] for place in places[:top]]
    if as_json:
        print_json([row for _, row in found])
        return 0
    if as_csv:
        print_csv((run_columns(row) for _, row in found), _CSV)
        return 0
    if not found:
        store = f"the store {_settings.settings().path}"
        elsewhere = hint_of_also("furu runs", is_given=also)
        if rows or run_ids():
            say_next(f"{store} has no run that fulfils this; `furu runs` lists all{elsewhere}")
        else:
            say_next(f"{store} has no run yet; `furu run MODULE:TARGET` begins one{elsewhere}")
        return 0
    _print(found)
    return 0


def _refuse(given: Mapping[str, Any], why: str) -> None:
    for option, value in given.items():
        if value:
            raise click.UsageError(f"{option} {why}")


def _prune(plan_id: str | None, keep: str | None, *, all_users: bool, as_json: bool) -> int:
    from furu_core._cli import _collect  # reads all records, which a listing does not
    from furu_core._upkeep import _collecting

    if plan_id is None:
        return _collect.propose_runs(keep, all_users=all_users, as_json=as_json)
    plan = _collecting.planned(plan_id)
    if plan.nodes:
        raise FuruUsageError(
            f"plan {plan.id} takes nodes as well", hint=f"`furu gc --do {plan.id}` carries it out"
        )
    return _collect.carry_out(plan, as_json=as_json)


def chosen_runs(
    since: str | None, states: Sequence[str], *, also: bool = False
) -> Iterator[RunStanding]:
    """How the runs stand that began since a time and are in one of some states; all where empty."""
    after = None if since is None else time_of(since)
    for run in _runs.stored_runs(also=also):
        if after is not None and run.began < after:
            continue
        told = _runs.standing(run)
        if not states or told.state in states:
            yield told


_CSV: Final = (
    *(
        "run",
        "executor",
        "state",
        "why",
        "began",
        "ended",
        "took_secs",
        "total",
        "computed",
        "loaded",
        "failed",
    ),
    *("user", "controller", "cwd", "go_on", "note", "roots", "folder", "command", "took"),
)


def run_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A run as a row of columns for conditions: of tags, each is one."""
    flat = {name: value for name, value in row.items() if name not in {"tags", "command"}}
    flat["command"] = _runs.command_text(tuple(row["command"]))
    flat["took"] = row["took_secs"]
    return flat | {f"{_TAG}{name}": value for name, value in row["tags"].items()}


def _fulfils(row: Mapping[str, Any], condition: Condition) -> bool:
    reading = _READINGS.get(condition.column, AS_FIELD)
    return condition.test_as(reading)(row.get(condition.column, ABSENT))


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
        place = f"in {told.run.store}" if told.run.is_elsewhere else ""
        notes.append("  ".join(part for part in (" ".join(said), row["note"], place) if part))
    shown = list(lined_up(lines, right={4, 5, 6, 7}))
    say(shown[0])
    for line, note in zip(shown[1:], notes, strict=True):
        say(f"{line}  [{note}]" if note else line)
    dead = [told.run.id for told, _ in found if told.state == DIED]
    if dead:
        say_next(
            f"{count(len(dead), 'run')} died: `furu status {dead[0]}` says why, and how to go on"
        )
        return
    failed = [told.run.id for told, _ in found if told.failed and not told.run.is_elsewhere]
    if failed:
        say_next(f"`furu failures {failed[0]}` says what failed")
    else:
        say_next(f"`furu status {found[0][0].run.id}` tells how one stands")
