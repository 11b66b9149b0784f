"""`furu ls`: the nodes in the store, one in a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import click

from furu_core import _text
from furu_core._cli._output import (
    csv_option,
    json_line,
    json_option,
    print_csv,
    print_json,
    print_json_line,
    refuse_csv_and_json,
    say,
    say_next,
)
from furu_core._cli._selection import (
    STATES,
    also_option,
    say_none_chosen,
    selection_options,
    sort_option,
)
from furu_core._explain._staleness import StalenessReader
from furu_core._status import _stored_nodes
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core.errors import FuruUsageError

_DONE: Final = NodeState.DONE.value
_LOOK_SECS: Final = 1.0  # for stale results at the end of a listing; `--stale` tells all
_AT_ONCE: Final = 1000  # lines: one write for each would take most of the time for 100,000 nodes
_LONG: Final = ("took", "peak", "size", "ended", "host", "run")


@click.command("ls", short_help="List nodes: all, the slowest, failed or stale ones.")
@selection_options
@click.option("-l", "--long", is_flag=True, help="Also time, memory, size, end, host and run.")
@sort_option
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N.")
@click.option("--paths", is_flag=True, help="Show the artifacts' folders.")
@click.option("--count", is_flag=True, help="Only count nodes, by class and state.")
@click.option(
    "--stale", "only_stale", is_flag=True, help="Only results that are stale, or rest on such."
)
@also_option
@csv_option
@json_option
def ls(
    states: tuple[str, ...],
    long: bool,
    sort: tuple[str, ...],
    top: int | None,
    paths: bool,
    count: bool,
    only_stale: bool,
    as_csv: bool,
    as_json: bool,
    **selection: Any,
) -> None:
    """List the nodes in the store: state, hash, class.

    CLASS is a class name, with as much of its module as is needed. With --json each line is one
    JSON object, printed as it is found. A result is stale if it used another result of a dependency,
    or ran other code, than is there now.
    """
    refuse_csv_and_json(as_csv, as_json)
    _refuse_together({"--stale": only_stale}, {"--count": count, "--state": states})
    shape = {"--long": long, "--sort": sort, "--top": top}
    _refuse_together({"--stale": only_stale, "--count": count}, shape)
    if long or sort or top is not None:
        wanted = {**selection, "states": states or STATES}
        _print_sorted(wanted, sort, top, long=long, paths=paths, as_csv=as_csv, as_json=as_json)
        return
    nodes = _chosen(selection, frozenset(states))
    if only_stale:
        _print_stale(nodes, paths=paths, as_csv=as_csv, as_json=as_json)
    elif count:
        _print_counts(nodes, as_csv=as_csv, as_json=as_json)
    elif as_csv:
        print_csv((_record(node, state) for node, state in nodes), _RECORD)
    else:
        _print_all(nodes, paths=paths, as_json=as_json)


def _refuse_together(those: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    for one in (name for name, given in those.items() if given):
        for other in (name for name, given in others.items() if given):
            raise FuruUsageError(
                f"{one} and {other} exclude each other", hint="leave one of them out"
            )


def _chosen(
    selection: Mapping[str, Any], states: frozenset[str]
) -> Iterator[tuple[StoredNode, str]]:
    """The nodes that a command line chooses, and their states."""
    if not any(selection.values()):
        for node, info in _stored_nodes.nodes(_stored_nodes.classes()):
            if not states or info.told.value in states:
                yield node, info.told.value
        return
    from furu_core._tables._selection import Selection  # not for a plain listing, which is fast

    wanted = Selection.of(**selection, states=tuple(states))
    for node, state in wanted.nodes_and_states():
        yield node, state.value


def _print_all(nodes: Iterable[tuple[StoredNode, str]], *, paths: bool, as_json: bool) -> None:
    lines: list[str] = []
    done: list[StoredNode] = []
    states: Counter[str] = Counter()
    for node, state in nodes:
        lines.append(_line(node, state, paths=paths, as_json=as_json))
        states[state] += 1
        if state == _DONE:
            done.append(node)
        if len(lines) >= _AT_ONCE:
            say("\n".join(lines))
            lines.clear()
    if lines:
        say("\n".join(lines))
    if not as_json:
        stale = StalenessReader().among(done, within_secs=_LOOK_SECS)
        if stale.sentence:
            say_next(f"{stale.sentence}: `{stale.listing}`")
        _say_next(states)


def _say_next(states: Mapping[str, int]) -> None:
    """What to type next after a listing with so many nodes in each state."""
    failed = states.get(NodeState.FAILED.value, 0) + states.get(NodeState.LOST.value, 0)
    if not sum(states.values()):
        say_none_chosen()
    elif failed:
        say_next(f"{failed} failed: `furu failures` says why")
    else:
        say_next("`furu show HASH` tells of one, `furu table` shows results beside each other")


def _line(node: StoredNode, state: str, *, paths: bool, as_json: bool) -> str:
    if as_json:
        return json_line(_record(node, state))
    folder = f"  {node.folder}" if paths else ""
    return f"{state:<9} {node.hash[:12]}  {node.cls.name}{folder}"


def _print_sorted(
    selection: Mapping[str, Any],
    sort: tuple[str, ...],
    top: int | None,
    *,
    long: bool,
    paths: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    from furu_core._cli import _aligned
    from furu_core._tables._columns import PREFIX
    from furu_core._tables._selection import Selection
    from furu_core._tables._table import TableOptions, table_of

    names = ["state", "node", "class", *(_LONG if long else ())]
    options = TableOptions(
        columns=tuple(PREFIX + name for name in names),
        sort=sort or (f"{PREFIX}class", f"{PREFIX}node"),
        top=top,
    )
    found = table_of(Selection.of(**selection), options)
    columns = {name: found.columns[PREFIX + name] for name in names}
    stored = map(_stored_nodes.node_called, columns["class"], columns["node"])
    nodes = list(zip(stored, columns["state"], strict=True))
    if as_json or as_csv:
        cells = (
            zip(*(columns[name] for name in names[3:]), strict=True) if long else ((),) * len(nodes)
        )
        records = [
            _record(node, state, **dict(zip(names[3:], row, strict=True)))
            for (node, state), row in zip(nodes, cells, strict=True)
        ]
        if as_csv:
            print_csv(records, [*_RECORD, *names[3:]])
        for record in records if as_json else ():
            print_json_line(record)
        return
    if not long:
        for node, state in nodes:
            say(_line(node, state, paths=paths, as_json=False))
    elif nodes:
        more = {"path": [node.folder for node, _ in nodes]} if paths else {}
        hidden = _aligned.print_table({**columns, **more})
        if hidden:
            say_next(f"{_text.count(hidden, 'column')} without room (--csv)")
    _say_next(Counter(state for _, state in nodes))


def _print_stale(
    nodes: Iterable[tuple[StoredNode, str]], *, paths: bool, as_csv: bool, as_json: bool
) -> None:
    found = StalenessReader().among(node for node, state in nodes if state == _DONE)
    stale = {**found.stale, **found.resting}
    if as_csv:
        records = (_record(node, _DONE, stale=why.reasons) for node, why in stale.items())
        print_csv(records, [*_RECORD, "stale"])
        return
    for node, why in stale.items():
        if as_json:
            print_json_line(_record(node, _DONE, stale=why.reasons))
            continue
        shown = f"  {node.folder}" if paths else ""
        say(f"{node.hash[:12]}  {node.cls.name}{shown}  {'; '.join(why.reasons)}")
    if not as_json and found.stale:
        say_next("`furu rm --stale` removes those that are stale")
    elif not as_json and not found.resting:
        say_next("nothing is stale")


_RECORD: Final = ("hash", "class", "name", "state", "path")


def _record(node: StoredNode, state: str, **more: object) -> dict[str, Any]:
    return {
        "hash": node.hash,
        "class": node.cls.name,
        "name": node.name,
        "state": state,
        "path": node.artifact if state == _DONE else node.folder,
        **more,
    }


def _print_counts(nodes: Iterable[tuple[StoredNode, str]], *, as_csv: bool, as_json: bool) -> None:
    counts = Counter((node.cls.name, state) for node, state in nodes)
    if as_json or as_csv:
        rows = [{"class": c, "state": s, "nodes": n} for (c, s), n in sorted(counts.items())]
        if as_csv:
            print_csv(rows, ["class", "state", "nodes"])
        else:
            print_json(rows)
        return
    for (name, state), number in sorted(counts.items()):
        say(f"{number:>8}  {state:<9} {name}")
    sums: Counter[str] = Counter()
    for (_, state), number in counts.items():
        sums[state] += number
    _say_next(sums)
