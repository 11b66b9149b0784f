"""`furu table`: stored nodes as a table, for people, spreadsheets and scripts."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from furu_core._cli import _aligned, _completing
from furu_core._cli._output import (
    csv_option,
    json_option,
    print_csv,
    print_json,
    refuse_csv_and_json,
    say,
    say_next,
)
from furu_core._cli._selection import also_option, say_none_chosen, selection_options, sort_option
from furu_core._explain._staleness import StalenessReader
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._tables._selection import Selection
from furu_core._tables._table import NodeTable, TableOptions, table_of
from furu_core._text import count

_DONE: Final = NodeState.DONE.value
_COSTS: Final = frozenset({"took", "peak"})
_LOOK_SECS: Final = 0.25  # for stale results; `furu ls --stale` tells all


@click.command("table", short_help="Show parameters and results as a table.")
@selection_options
@click.option(
    "--columns",
    metavar="A,B",
    help="These columns, in place of those that vary.",
    shell_complete=_completing.a_column,
)
@sort_option
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.option(
    "--mean-over",
    multiple=True,
    metavar="FIELD",
    help="Average results over a field.",
    shell_complete=_completing.a_column,
)
@click.option("--all", "everything", is_flag=True, help="Also what is the same in all rows.")
@also_option
@csv_option
@json_option
def table(
    columns: str | None,
    sort: tuple[str, ...],
    top: int | None,
    mean_over: tuple[str, ...],
    everything: bool,
    as_csv: bool,
    as_json: bool,
    **selection: Any,
) -> None:
    """Show results as a table: the fields that vary, the parts of results, time and memory.

    Fields of nested configs have dotted names, such as data.seed. Nodes that failed or run are
    rows with --state only. In Python, furu_core.frame() gives the same as a data frame.
    """
    refuse_csv_and_json(as_csv, as_json)
    options = TableOptions(
        columns=tuple(name.strip() for name in (columns or "").split(",") if name.strip()),
        sort=sort,
        top=top,
        mean_over=mean_over,
        everything=everything,
    )
    gc.disable()  # all that is made lives until the end, and looking for what does not takes long
    found = table_of(Selection.of(**selection), options)
    if as_json:
        print_json(
            {
                "columns": list(found.columns),
                "rows": found.dicts(),
                "left_out": found.left_out,
                "states": dict(found.states),
                "constant": found.constant,
                "repeated": found.repeated,
            }
        )
    elif as_csv:
        print_csv(found.dicts(), found.columns)
    else:
        shown = found.columns if options.columns else _with_something(found.columns)
        hidden = _aligned.print_table(shown) if found.rows else 0
        say(_last_line(found, hidden, is_chosen=bool(options.columns)))
        done = (_stored_nodes.node_called(*one) for one in found.nodes)
        stale = StalenessReader().among(done, within_secs=_LOOK_SECS)
        if stale.sentence:
            say_next(f"{stale.sentence}: `{stale.listing}`")
        if found.rows:
            say_next("`furu show HASH` tells of one of them")
        else:
            say_none_chosen("result")


def _with_something(columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns without those of costs that no row has, as nodes have none that failed."""
    return {
        name: cells
        for name, cells in columns.items()
        if name not in _COSTS or any(cell is not None for cell in cells)
    }


def _last_line(found: NodeTable, hidden: int, *, is_chosen: bool) -> str:
    """How many nodes there are, of which kinds, and how to see more of them.

    Args:
        found: the table.
        hidden: how many of its columns the terminal has no room for.
        is_chosen: whether somebody said which columns it has.
    """
    states = dict(found.states)
    told = [f"{states.pop(_DONE, 0)} {_DONE}"]
    told += [f"{number} {state} (--state {state})" for state, number in sorted(states.items())]
    if found.left_out:
        told[0] = f"{found.rows} of {found.rows + found.left_out} rows, {told[0]}"
    if found.constant and not is_chosen:
        told.append(f"{count(len(found.constant), 'constant column')} hidden (--all)")
    if found.repeated:
        told.append(f"{count(len(found.repeated), 'repeated column')} hidden (--all)")
    if hidden:
        told.append(f"{count(hidden, 'column')} without room (--columns, --csv)")
    return ", ".join(told)
