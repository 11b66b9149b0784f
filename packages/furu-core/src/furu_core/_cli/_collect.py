"""`furu gc`: what nothing needs any more, always told before it goes, and put back when asked."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from furu_core._cli import _completing
from furu_core._cli._output import FAILED, confirmed, json_option, print_json, say, say_next
from furu_core._cli._tables import lined_up
from furu_core._config._objects import short_name_of
from furu_core._explain._config_changes import value_text
from furu_core._settings import _settings
from furu_core._status import _stored_nodes, _trash
from furu_core._status._trash import Entry
from furu_core._tables._conditions import time_of
from furu_core._tables._facts import NodeFacts
from furu_core._text import count, size, when
from furu_core._upkeep import _collecting, _space
from furu_core._upkeep._collecting import (
    Collected,
    Doomed,
    DoomedClass,
    DoomedFolder,
    GcPlan,
    Proposal,
    is_import_record,
)
from furu_core._upkeep._keepers import KeptBy
from furu_core._upkeep._space import Space
from furu_core.errors import FuruUsageError

_SHOWN: Final = 20
_DAY_SECS: Final = 24 * 3600.0
_WIDE: Final = 60
_SHORT: Final = 20  # characters of a value
_PLAN_ID: Final = re.compile(r"[0-9a-f]+")
_SHORTER_DAYS: Final = 30


@click.command("gc", short_help="Say what nothing needs any more, and remove it.")
@click.argument(
    "plan_id", metavar="[ID]", required=False, default="", shell_complete=_completing.a_plan
)
@click.option("--keep", metavar="TIME", help="What is needed since then stays: 90d, 2026-09-01.")
@click.option("--all-users", is_flag=True, help="Plan for the nodes of others, too.")
@click.option(
    "--runs", "with_runs", is_flag=True, help="Plan for folders of runs and snapshots of code, too."
)
@click.option(
    "--intermediate",
    multiple=True,
    metavar="CLASS",
    shell_complete=_completing.a_class,
    help="Plan for its results, too, where all that was made of them is there; may be repeated.",
)
@click.option("--do", "doing", is_flag=True, help="Move exactly what plan ID tells to the trash.")
@click.option("--undo", is_flag=True, help="Put back what plan ID took, or the last one.")
@click.option("--empty", is_flag=True, help="Remove for good what plan ID took, or all plans.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def gc(
    plan_id: str,
    keep: str | None,
    all_users: bool,
    with_runs: bool,
    intermediate: tuple[str, ...],
    doing: bool,
    undo: bool,
    empty: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Say what nothing needs any more; with --do and the plan's ID, move that to the trash.

    It stays what is pinned; what runs of the last 90 days (FURU_KEEP_DAYS) reach from their roots; what
    is computed now; what was made in that time; and all that these were made of.
    """
    flags = {"--do": doing, "--undo": undo, "--empty": empty}
    chosen = [flag for flag, given in flags.items() if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{chosen[0]} and {chosen[1]} exclude each other")
    if chosen and (keep is not None or all_users or with_runs or intermediate):
        raise click.UsageError(f"{chosen[0]} carries out a plan; its options belong to the plan")
    if plan_id and not chosen:
        if _PLAN_ID.fullmatch(plan_id):
            raise click.UsageError("what shall become of that plan? --do, --undo or --empty")
        raise FuruUsageError(
            f"{plan_id!r} is no id of a plan; furu gc plans for the whole store",
            hint=f"`furu rm {plan_id}` moves a class or a node to the trash; `furu gc --intermediate {plan_id}` "
            "plans for a class whose results are made into others",
        )
    if doing:
        if not plan_id:
            raise click.UsageError("--do takes the id of a plan, which `furu gc` tells")
        return carry_out(_collecting.planned(plan_id), as_json=as_json)
    if undo:
        return _undo(plan_id, as_json=as_json)
    if empty:
        return _empty(plan_id, yes=yes, as_json=as_json)
    return _propose(
        keep,
        all_users=all_users,
        with_runs=with_runs,
        intermediate=[
            cls.name for name in intermediate for cls in _stored_nodes.classes_called(name)
        ],
        as_json=as_json,
    )


# The plan


def _propose(
    keep: str | None, *, all_users: bool, with_runs: bool, intermediate: list[str], as_json: bool
) -> int:
    now = time.time()
    found = _collecting.propose(
        _keep_secs(keep, now),
        everybody=all_users,
        with_runs=with_runs,
        intermediate=intermediate,
        now=now,
    )
    if as_json:
        print_json(_proposed(found))
        return 0
    for line in _kept_lines(found):
        say(line)
    if not found.classes and not found.plan.folders:
        say("nothing would go")
        less = _less(found, now, "furu gc")
        say_next(f"{less}`furu du` tells what takes up room")
        return 0
    say("would go to the trash:")
    rows = [["class", "nodes", "size", "last used", "example"]] if found.classes else []
    rows += [_row(one, now) for one in found.classes]
    for line in lined_up([["", *row] for row in rows], right=(2, 3)):
        say(line)
    for line in _folder_lines(found.plan.folders):
        say(f"  {line}")
    room = size(sum(one.size for one in found.classes))
    what = _taken(len(found.plan.nodes), [one.path for one in found.plan.folders])
    _say_how(found, "furu gc", f"{what}, {room}")
    return 0


def _less(found: Proposal, now: float, command: str) -> str:
    """The command whose plan keeps less, where it is not as short a time already."""
    if now - found.plan.cutoff <= _SHORTER_DAYS * _DAY_SECS:
        return ""
    return f"`{command} --keep {_SHORTER_DAYS}d` keeps less; "


def _keep_secs(keep: str | None, now: float) -> float:
    """For how long things are kept: as the option says, else as the setting does."""
    if keep is None:
        return _settings.settings().keep_days * _DAY_SECS
    seconds = now - time_of(keep, now)
    if seconds < 0:
        raise FuruUsageError(f"{keep!r} has not come yet", hint="give a time of the past")
    return seconds


def propose_runs(keep: str | None, *, all_users: bool, as_json: bool) -> int:
    """Plan for the folders of old runs and unused snapshots of code, for `furu runs --prune`."""
    now = time.time()
    found = _collecting.propose(
        _keep_secs(keep, now), everybody=all_users, with_nodes=False, with_runs=True, now=now
    )
    if as_json:
        print_json(_proposed(found))
        return 0
    since = when(found.plan.cutoff)
    kept = len(found.survey.kept_runs)
    if kept:
        say(f"keeps {count(kept, 'run')} since {since}, or still going, or pinned")
    if not found.plan.folders:
        say("nothing would go")
        say_next(f"{_less(found, now, 'furu runs --prune')}`furu du` tells what takes up room")
        return 0
    say("would go to the trash:")
    for line in _folder_lines(found.plan.folders):
        say(f"  {line}")
    say("their results stay; `furu gc` counts them as needed by these runs no more")
    _say_how(found, "furu runs --prune", count(len(found.plan.folders), "folder"))
    return 0


def _say_how(found: Proposal, command: str, what: str) -> None:
    if found.is_noted:
        say(f"`{command} --do {found.plan.id}` moves exactly this to the trash: {what}")
    else:
        say("the plan cannot be written to the store, so it cannot be carried out from here")


def _kept_lines(found: Proposal) -> list[str]:
    numbers = _kept(found)
    since = when(found.plan.cutoff)
    texts = {
        KeptBy.PIN: f"by {count(len(found.survey.pins), 'pin')}",
        KeptBy.RUN: f"that {count(len(found.survey.kept_runs), 'run')} since {since} "
        "or still going reach from their roots",
        KeptBy.LIVING: "that are computed or queued now, with what they need",
        KeptBy.AGE: f"made since {since}, with what they were made of",
        KeptBy.UNREADABLE: "whose records cannot be read (`furu verify`), with what they need",
    }
    lines = [
        f"keeps {count(numbers[kind], 'node')} {text}"
        for kind, text in texts.items()
        if numbers[kind]
    ]
    if found.of_others:
        lines.append(
            f"leaves {count(found.of_others, 'node')} that nothing keeps to the users who made them "
            "(--all-users)"
        )
    return lines


def _taken(nodes: int, paths: Sequence[str]) -> str:
    """Numbers of nodes, folders and records of imports in words, without those that are 0 beside others."""
    records = sum(map(is_import_record, paths))
    folders = len(paths) - records
    parts = [count(nodes, "node")] if nodes or not paths else []
    parts += [count(folders, "folder")] if folders else []
    if records:
        parts.append("1 record of imports" if records == 1 else f"{records} records of imports")
    return ", ".join([*parts[:-2], " and ".join(parts[-2:])])


def _folder_lines(folders: Iterable[DoomedFolder]) -> list[str]:
    store = _settings.settings().path
    by_place: dict[str, list[str]] = {}
    for one in folders:
        place, _, name = one.path.rpartition("/")
        by_place.setdefault(place, []).append(name)
    return [
        f"{place}/: {count(len(names), 'record' if is_import_record(f'{place}/') else 'folder')}, "
        f"{size(sum(_space.below(f'{store}/{place}/{name}').bytes for name in names))}, such as {names[0]}"
        for place, names in by_place.items()
    ]


def _kept(found: Proposal) -> Counter[KeptBy]:
    there = found.survey.facts
    return Counter(keeper.kind for node_hash, keeper in found.keepers.items() if node_hash in there)


def _row(one: DoomedClass, now: float) -> list[str]:
    ago = _ago(now - one.last_used)
    return [
        one.name,
        f"{one.nodes:,}",
        size(one.size),
        ago,
        _example(one.example),
    ]


def _ago(seconds: float) -> str:
    days = seconds / _DAY_SECS
    if days < 1:
        return "today"
    if days < 60:
        return count(int(days), "day")
    return count(int(days / 30.44), "month") if days < 730 else count(int(days / 365.25), "year")


def _example(facts: NodeFacts) -> str:
    """A node as its config tells: ``Features(data=Digits(…), kind='hog')``."""
    fields = facts.config.get("fields") or {}
    text = ", ".join(f"{name}={_value(value)}" for name, value in fields.items())
    text = text if len(text) < _WIDE else f"{text[:_WIDE].rstrip('…')}…"
    return f"{facts.node.cls.short}({text})  {facts.node.hash[:12]}"


def _value(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("class"), str):
        return f"{value['class'].rpartition(':')[2]}(…)"
    if isinstance(value, list) and any(isinstance(one, dict) and "$ref" in one for one in value):
        more = ", …" if len(value) > 1 else ""
        return f"[{_value(value[0])}{more}]"
    text = value_text(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _proposed(found: Proposal) -> dict[str, Any]:
    kept = _kept(found)
    return {
        "plan": found.plan.id if found.is_noted else None,
        "cutoff": found.plan.cutoff,
        "keeps": {kind.value: kept[kind] for kind in KeptBy},
        "runs": found.survey.kept_runs,
        "pins": [pin.id for pin in found.survey.pins],
        "of_others": found.of_others,
        "nodes": len(found.plan.nodes),
        "bytes": sum(one.size for one in found.classes),
        "classes": [
            {
                "class": one.name,
                "nodes": one.nodes,
                "bytes": one.size,
                "last_used": one.last_used,
                "example": one.example.node.hash,
            }
            for one in found.classes
        ],
        "hashes": [one.hash for one in found.plan.nodes],
        "folders": [one.path for one in found.plan.folders],
    }


# Doing it, and back


def carry_out(plan: GcPlan, *, as_json: bool) -> int:
    """Move exactly what a plan tells to the trash, and say what became of it; an exit status."""
    done = _collecting.collect(plan)
    if as_json:
        print_json(
            {
                "plan": plan.id,
                "taken": [_told(one) for one in done.taken],
                "gone": [_told(one) for one in done.gone],
                "left": [{**_told(one), "reason": why} for one, why in done.left.items()],
                "folders": done.folders,
                "left_folders": done.left_folders,
            }
        )
    else:
        _print_done(plan.id, done)
    return FAILED if done.left or done.left_folders else 0


def _print_done(plan_id: str, done: Collected) -> None:
    say(f"moved {_taken(len(done.taken), done.folders)} to the trash")
    if done.gone:
        say(f"{count(len(done.gone), 'node')} of the plan had gone before")
    for one, reason in list(done.left.items())[:_SHOWN]:
        say(f"left {one.node.name}: {reason}")
    if len(done.left) > _SHOWN:
        say(f"left {count(len(done.left) - _SHOWN, 'more node')}")
    for path, reason in done.left_folders.items():
        say(f"left {path}: {reason}")
    if done.taken or done.folders:
        days = _settings.settings().trash_days
        say_next(
            f"for {days:g} days `furu gc --undo {plan_id}` puts them back; `furu gc --empty {plan_id}` "
            "frees the room"
        )


def _told(one: Doomed) -> dict[str, str]:
    return {"hash": one.hash, "name": one.node.name, "class": one.class_name}


def _undo(plan_id: str, *, as_json: bool) -> int:
    meant = _collecting.plan_called(plan_id)
    done = _collecting.undo(meant)
    put_back = {entry.hash: entry for entry in done.put_back}
    if as_json:
        print_json(
            {
                "plan": meant,
                "put_back": list(put_back),
                "refused": [
                    {"hash": entry.hash, "attempt": entry.attempt, "reason": why}
                    for entry, why in done.refused
                ],
                "folders": done.folders,
                "refused_folders": dict(done.refused_folders),
            }
        )
    else:
        say(f"put back {_taken(len(put_back), done.folders)} of plan {meant}")
        for path, why in done.refused_folders:
            say(f"left in the trash: {path}: {why}")
        for entry, why in done.refused[:_SHOWN]:
            say(f"left in the trash: {_name(entry)}: {why}")
        if len(done.refused) > _SHOWN:
            say(f"left in the trash: {len(done.refused) - _SHOWN} more")
    return FAILED if done.refused or done.refused_folders else 0


def _name(entry: Entry) -> str:
    return short_name_of(entry.class_path.rpartition("/")[2], entry.hash)


def _empty(plan_id: str, *, yes: bool, as_json: bool) -> int:
    if plan_id:
        plans = [_collecting.plan_called(plan_id, half_emptied=True)]
    else:
        plans = _collecting.carried_out(half_emptied=True)
    room = _room(plans)
    what = f"what {count(len(plans), 'plan')} took, {size(room.bytes)}"
    if plans and not yes and not confirmed(f"Remove {what}, for good?"):
        say("nothing was removed", err=True)
        return FAILED
    if plans:
        _collecting.empty(plans)
    if as_json:
        print_json({"removed": plans, "bytes": room.bytes, "inodes": room.inodes})
    elif plans:
        say(f"removed {what}, for good")
    else:
        say("the trash has nothing that a plan took")
    return 0


def _room(plans: Iterable[str]) -> Space:
    chosen = set(plans)
    found = (
        _space.below(one.folder) for one in _trash.mine(half_emptied=True) if one.plan in chosen
    )
    return sum(found, Space())
