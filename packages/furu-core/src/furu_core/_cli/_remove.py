"""`furu rm`: removing nodes, putting them back, and emptying the trash."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from furu_core import _text, _trust
from furu_core._cli._output import FAILED, confirmed, json_option, print_json, say, say_next
from furu_core._cli._selection import selection_options
from furu_core._cli._tables import lined_up
from furu_core._config._objects import short_name_of
from furu_core._explain._staleness import StalenessReader
from furu_core._settings import _settings
from furu_core._status import _deleting, _stored_nodes, _trash
from furu_core._status._links import LinkReader
from furu_core._status._states import NodeInfo, NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core._status._trash import Entry, Removal
from furu_core._store._folders import class_in
from furu_core._text import RUN_PREFIX, count, when
from furu_core._upkeep import _pins
from furu_core.errors import FuruUsageError

_SHOWN: Final = 20
_FAILED: Final = (NodeState.FAILED, NodeState.LOST)


@click.command("rm", short_help="Remove results, or put back what was removed (--undo).")
@selection_options
@click.option("--dependents", is_flag=True, help="Also all results that were made of these.")
@click.option("--stale", is_flag=True, help="Only those that are stale; without names, of all.")
@click.option("--failed", is_flag=True, help="Only those that failed and have no result.")
@click.option("--older-code", is_flag=True, help="Only those by other code than is there now.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--forever", is_flag=True, help="Remove at once, and not to the trash.")
@click.option("--undo", is_flag=True, help="Put back the last removal, or the nodes named.")
@click.option("--trash", "listing", is_flag=True, help="List what can be put back.")
@click.option("--empty", is_flag=True, help="Remove for good what is in the trash.")
@json_option
def rm(
    names: tuple[str, ...],
    dependents: bool,
    stale: bool,
    failed: bool,
    older_code: bool,
    yes: bool,
    forever: bool,
    undo: bool,
    listing: bool,
    empty: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Move results and attempts of nodes to the trash, from where --undo puts them back.

    The nodes are chosen as by `furu ls`; the name of a class means all of its nodes. What is being computed or queued
    is refused. Whatever is older than FURU_TRASH_DAYS goes for good when something else is removed.
    """
    flags = {"--forever": forever, "--undo": undo, "--trash": listing, "--empty": empty}
    chosen = [flag for flag, given in flags.items() if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{chosen[0]} and {chosen[1]} exclude each other")
    choosing = {
        "--dependents": dependents,
        "--stale": stale,
        "--failed": failed,
        "--older-code": older_code,
    }
    for flag, given in choosing.items():
        if given and chosen and chosen != ["--forever"]:
            raise click.UsageError(f"{flag} and {chosen[0]} exclude each other")
    narrowing = _narrowing(names, options)
    if narrowing and chosen and chosen != ["--forever"]:
        raise click.UsageError(f"{chosen[0]} takes no {narrowing}")
    if undo:
        return _undo(names, as_json=as_json)
    if (listing or empty) and names:
        raise click.UsageError(f"{chosen[0]} takes no names")
    if listing:
        return _list(as_json=as_json)
    if empty:
        return _empty(yes=yes, as_json=as_json)
    if failed and (dependents or stale or older_code):
        raise click.UsageError("--failed chooses what has no result, and the others what has one")
    if not names and not narrowing and not stale and not failed:
        raise click.UsageError("Missing argument: the nodes to remove, or --undo")
    found = _selected(names, options if narrowing else {}, failed=failed)
    if not failed:
        found = _further_chosen(found, dependents=dependents, stale=stale, older_code=older_code)
    return _remove(found, yes=yes, forever=forever, as_json=as_json)


def _selected(
    names: tuple[str, ...], options: Mapping[str, Any], *, failed: bool
) -> list[StoredNode]:
    """The nodes that names and options choose; all where there are none. With `failed` those that failed of these."""
    if options:
        from furu_core._tables._selection import Selection  # reads records, which names need not

        found = Selection.of(names, **options).nodes_and_states()
        return [node for node, state in found if not failed or state in _FAILED]
    if failed:
        return [node for node, info in _nodes_and_states(names) if info.told in _FAILED]
    return list(_nodes_called(names) if names else _stored_nodes.nodes_of(_stored_nodes.classes()))


def _narrowing(names: Sequence[str], options: Mapping[str, Any]) -> str:
    """What the command line says that is no name of a node or class: the option, or `run:ID`; else empty."""
    flags = {"where": "--where", "states": "--state", "class_names": "--class", "runs": "--run"}
    given = [flags.get(name, f"--{name}") for name, value in options.items() if value]
    given += [f"{RUN_PREFIX}ID" for name in names if name.startswith(RUN_PREFIX)]
    return given[0] if given else ""


def _further_chosen(
    found: list[StoredNode], *, dependents: bool, stale: bool, older_code: bool
) -> list[StoredNode]:
    """Of some nodes fewer by --stale and --older-code, and more by --dependents."""
    links = LinkReader()
    if stale or older_code:
        among = StalenessReader(links).among(found).stale
        found = [node for node, why in among.items() if why.code or (stale and why.replaced)]
    if dependents:
        found += links.dependents(found)
    return found


def _nodes_and_states(names: tuple[str, ...]) -> Iterable[tuple[StoredNode, NodeInfo]]:
    if names:
        return ((node, node.info()) for node in _nodes_called(names))
    return _stored_nodes.nodes(_stored_nodes.classes())


def _remove(found: list[StoredNode], *, yes: bool, forever: bool, as_json: bool) -> int:
    if not found:
        if as_json:
            print_json([])
        else:
            say("there is nothing to remove", err=True)
        return 0
    _pins.refuse_pinned(found)
    for node in found:
        _deleting.refuse_held(node)
    if not yes:
        for node in found[:_SHOWN]:
            say(f"{node.name}  {node.info().told.value}  {node.artifact}", err=True)
        if found[_SHOWN:]:
            say(f"and {count(len(found) - _SHOWN, 'more node')}", err=True)
        what = "this node" if len(found) == 1 else f"these {len(found)} nodes"
        how = " for good" if forever else ""
        if not confirmed(f"Remove {what}{how}?"):
            say("nothing was removed", err=True)
            return FAILED
    for number, node in enumerate(found):
        _deleting.delete(node, for_good=forever)
        if not as_json and number < _SHOWN:
            say(f"removed {node.name}")
    days = _settings.settings().trash_days
    if as_json:
        print_json([{"hash": node.hash, "name": node.name} for node in found])
        return 0
    if found[_SHOWN:]:
        say(f"removed {count(len(found) - _SHOWN, 'more node')}")
    if days and not forever:
        say_next(
            f"for {days:g} days `furu rm --undo` puts {'it' if len(found) == 1 else 'them'} back; "
            "`furu rm --empty` frees the room"
        )
    return 0


def _nodes_called(names: tuple[str, ...]) -> dict[StoredNode, None]:
    """The nodes that names mean, of which that of a class means all of its nodes."""
    found: dict[StoredNode, None] = {}
    for chosen in _stored_nodes.classes_or_nodes(names):
        if isinstance(chosen, StoredNode):
            found[chosen] = None
        else:
            found |= dict.fromkeys(_stored_nodes.nodes_of([chosen]))
    return found


def _undo(names: tuple[str, ...], *, as_json: bool) -> int:
    chosen = _chosen(names)
    put_back: list[Entry] = []
    refused: list[tuple[Entry, str]] = []
    for removal, entries in chosen:
        done = _trash.undo(removal, entries)
        put_back += done.put_back
        refused += done.refused
    if as_json:
        print_json(
            {
                "put_back": [_told(entry) for entry in _nodes(put_back)],
                "refused": [{**_told(entry), "reason": reason} for entry, reason in refused],
            }
        )
        return FAILED if refused else 0
    nodes = _nodes(put_back)
    for entry in nodes[:_SHOWN]:
        say(f"put back {_name(entry)}")
    if nodes[_SHOWN:]:
        say(f"put back {count(len(nodes) - _SHOWN, 'more node')}")
    for entry, reason in refused:
        what = f"attempt {entry.attempt} at {_name(entry)}" if entry.attempt else _name(entry)
        say(f"left in the trash: {what}: {reason}")
    replaced = [entry for entry, reason in refused if reason == _trash.ANOTHER_RESULT]
    if replaced:
        short = replaced[0].hash[:12]
        say_next(
            f"to have it in place of that: `furu rm --forever {short}` and `furu rm --undo {short}`"
        )
    if not put_back and not refused:
        say("another process put it back, or emptied the trash, in this moment")
    return FAILED if refused else 0


def _chosen(names: tuple[str, ...]) -> list[tuple[Removal, list[Entry]]]:
    """What to put back: the last removal of this user, or the newest copy of each node named.

    Raises:
        FuruUsageError: the trash has no such thing.
    """
    if not names:
        for removal in _trash.mine():
            if entries := removal.entries():
                return [(removal, entries)]
        raise FuruUsageError(
            "the trash has nothing that you removed",
            hint="`furu rm --undo HASH` puts back what somebody else removed; `furu rm --trash` lists it",
        )
    found: list[tuple[Removal, list[Entry]]] = []
    missing = dict.fromkeys(names)
    seen: set[str] = set()
    for removal in _trash.removals():
        meant = {
            entry: called
            for entry in removal.entries()
            if entry.hash not in seen and (called := [n for n in names if _means(n, entry)])
        }
        if meant:
            found.append((removal, list(meant)))
            seen |= {entry.hash for entry in meant}
            for name in itertools.chain(*meant.values()):
                missing.pop(name, None)
    for name in missing:
        raise FuruUsageError(
            f"the trash has no node {name!r}", hint="`furu rm --trash` lists what is in it"
        )
    return found


def _means(name: str, entry: Entry) -> bool:
    digits = name.rpartition("(")[2].rstrip(")…")
    by_hash = bool(digits) and entry.hash.startswith(digits)
    class_name = _class_name(entry)
    return by_hash or bool(_text.meant(name.strip(), [class_name]))


def _class_name(entry: Entry) -> str:
    return class_in(entry.class_path)


def _name(entry: Entry) -> str:
    return short_name_of(_class_name(entry).rpartition(":")[2], entry.hash)


def _nodes(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for each node."""
    return list({entry.hash: entry for entry in reversed(list(entries))}.values())[::-1]


def _told(entry: Entry) -> dict[str, str]:
    return {"hash": entry.hash, "name": _name(entry)}


def _list(*, as_json: bool) -> int:
    found = _trash.removals()
    if as_json:
        print_json(
            [
                {
                    "removal": removal.name,
                    "owner": _trust.user_name(removal.owner),
                    "nodes": [_told(entry) for entry in _nodes(removal.entries())],
                }
                for removal in found
            ]
        )
        return 0
    rows = [
        [_time_of(removal), _trust.user_name(removal.owner), entry.hash[:12], _class_name(entry)]
        for removal in found
        for entry in _nodes(removal.entries())
    ]
    for line in lined_up(rows):
        say(line)
    if found:
        say_next("`furu rm --undo HASH` puts one back, `furu rm --empty` frees the room of yours")
    else:
        say("the trash is empty")
    return 0


def _time_of(removal: Removal) -> str:
    age = removal.age_secs
    return when(None if age is None else time.time() - age)


def _empty(*, yes: bool, as_json: bool) -> int:
    found = _trash.mine(half_emptied=True)
    what = count(len(found), "removal")
    if found and not yes and not confirmed(f"Remove {what} for good?"):
        say("nothing was removed", err=True)
        return FAILED
    _trash.empty(found)
    if as_json:
        print_json({"removed": [removal.name for removal in found]})
    elif found:
        say(f"removed {what} for good")
    else:
        say("the trash has nothing that you removed")
    return 0
