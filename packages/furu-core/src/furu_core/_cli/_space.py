"""`furu du`: what takes up room in the store."""

from __future__ import annotations

import heapq
import shlex
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

from furu_core._cli._output import (
    csv_option,
    json_option,
    print_csv,
    print_json,
    refuse_csv_and_json,
    say,
    say_next,
)
from furu_core._cli._selection import say_none_chosen, selection_options
from furu_core._cli._tables import lined_up
from furu_core._tables._facts import FactReader, NodeFacts
from furu_core._tables._selection import Selection
from furu_core._text import RUN_PREFIX, size
from furu_core._trust import user_name
from furu_core._upkeep import _space
from furu_core._upkeep._space import SizeReader, Space

_LARGEST: Final = 5
_DAY_SECS: Final = 24 * 3600.0
_AGES: Final = ((1, "a day"), (7, "a week"), (30, "30 days"), (90, "90 days"), (365, "a year"))


@click.command("du", short_help="Say what takes up room, by class.")
@selection_options
@click.option(
    "--by",
    type=click.Choice(["class", "run", "age", "user"]),
    default="class",
    show_default=True,
    help="What the nodes are summed up by.",
)
@csv_option
@json_option
def du(by: str, as_csv: bool, as_json: bool, **selection: Any) -> int:
    """Say what takes up room: nodes by class, and the rest of the store.

    Bytes and files of results are those in their records, logs not counted. With a selection, only
    the chosen nodes are told.
    """
    refuse_csv_and_json(as_csv, as_json)
    chosen = any(selection.values())
    facts: Iterable[NodeFacts] = (
        (one for one, _ in Selection.of(**selection).rows()) if chosen else FactReader().nodes()
    )
    reader = SizeReader()
    key = _KEYS[by]
    sums: dict[str, Space] = {}
    largest: list[tuple[int, str, NodeFacts]] = []
    for one in facts:
        space = reader.of(one)
        name = key(one)
        sums[name] = sums.get(name, Space()) + space
        heapq.heappush(largest, (space.bytes, one.node.hash, one))
        if len(largest) > _LARGEST:
            heapq.heappop(largest)
    rows = sorted(sums.items(), key=lambda row: (-row[1].bytes, -row[1].inodes, row[0]))
    total = sum(sums.values(), Space())
    rest = {} if chosen else _space.others()
    biggest = sorted(largest, reverse=True, key=lambda one: one[:2])
    told = [{by: name, **_told(space)} for name, space in rows]
    if as_csv:
        print_csv(told, [by, *_told(Space())])
        return 0
    if as_json:
        print_json(
            {
                "by": by,
                "rows": told,
                "total": _told(total),
                "others": {name: _told(space) for name, space in rest.items()},
                "largest": [
                    {"hash": one.node.hash, "class": one.node.cls.name, "bytes": number}
                    for number, _, one in biggest
                ],
            }
        )
        return 0
    _print(by, rows, total, rest, biggest)
    others = any(given for name, given in selection.items() if name != "names")
    _print_next(() if others else selection["names"], total, rest)
    return 0


def _print(
    by: str,
    rows: list[tuple[str, Space]],
    total: Space,
    rest: dict[str, Space],
    largest: list[tuple[int, str, NodeFacts]],
) -> None:
    table = [[by, "nodes", "inodes", "size"]]
    table += [[name or "-", *_cells(space)] for name, space in rows]
    if len(rows) > 1:
        table.append(["all nodes", *_cells(total)])
    table += [[f"{name}/", "", *_cells(space)[1:]] for name, space in rest.items()]
    for line in lined_up(table, right=(1, 2, 3)):
        say(line)
    if largest and largest[0][0]:
        say("largest:")
        for number, _, one in largest:
            if number:
                say(f"  {size(number)}  {one.node.hash[:12]}  {one.node.cls.name}")


def _print_next(names: tuple[str, ...], total: Space, rest: dict[str, Space]) -> None:
    trash = rest.get("trash", Space())
    if trash.bytes > total.bytes:
        say_next("`furu rm --empty` frees what is in the trash")
        return
    if not total.nodes:
        say_none_chosen()
        return
    say_next("`furu gc` tells what of it nothing needs any more")
    if names and not any(name.startswith(RUN_PREFIX) for name in names):
        asked = shlex.join(names)
        say_next(
            f"`furu rm {asked}` moves all of it to the trash, `furu rm --empty` then frees the room"
        )


def _cells(space: Space) -> list[str]:
    return [f"{space.nodes:,}", f"{space.inodes:,}", size(space.bytes)]


def _told(space: Space) -> dict[str, int]:
    return {"nodes": space.nodes, "inodes": space.inodes, "bytes": space.bytes}


def _age(facts: NodeFacts) -> str:
    made = facts.ended or facts.started
    if made is None:
        return "unknown"
    days = (time.time() - made) / _DAY_SECS
    for limit, name in _AGES:
        if days < limit:
            return f"less than {name}"
    return "more than a year"


_KEYS: Final[dict[str, Callable[[NodeFacts], str]]] = {
    "class": lambda facts: facts.node.cls.name,
    "run": lambda facts: facts.run_id or "no run",
    "age": _age,
    "user": lambda facts: "unknown" if facts.owner is None else user_name(facts.owner),
}
