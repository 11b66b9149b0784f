"""`furu adopt`: the results of a class that was renamed or changed, found again under its new name."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs
import click

from furu_core import _text
from furu_core._cli import _completing, _target
from furu_core._cli._output import FAILED, json_option, print_json, say, say_next
from furu_core._config._objects import config_class
from furu_core._forms._typed_text import convert
from furu_core._forms._values import dumps
from furu_core._status import _stored_nodes
from furu_core._store._adoption_records import Adoption, Alias
from furu_core._text import count
from furu_core._upkeep import _adoptions
from furu_core._upkeep._adoptions import Done, Plan
from furu_core.errors import FuruError, FuruUsageError

_SHOWN: Final = 10


@click.command("adopt", short_help="Have results found under the new name of a class.")
@click.argument("old", metavar="OLD", shell_complete=_completing.a_class)
@click.argument("new", metavar="NEW", shell_complete=_completing.a_target)
@click.option(
    "--map",
    "maps",
    metavar="OLD=NEW",
    multiple=True,
    help="A field that was renamed.",
    shell_complete=_completing.a_renaming,
)
@click.option(
    "--set",
    "sets",
    metavar="FIELD=VALUE",
    multiple=True,
    help="A field that is new.",
    shell_complete=_completing.an_assignment,
)
@click.option(
    "--drop",
    "drops",
    metavar="FIELD=VALUE",
    multiple=True,
    help="A field that is gone.",
    shell_complete=_completing.a_former_field,
)
@click.option("--do", "doing", is_flag=True, help="Do what is shown without it.")
@click.option("--undo", is_flag=True, help="Take it back.")
@json_option
def adopt(
    old: str,
    new: str,
    maps: tuple[str, ...],
    sets: tuple[str, ...],
    drops: tuple[str, ...],
    doing: bool,
    undo: bool,
    as_json: bool,
) -> int:
    """Have the results of the class OLD, and all that depend on them, found as those of NEW.

    OLD is a name that `furu ls` shows, and its code may be gone; NEW is one to import. Without --do it
    shows what would be done. A new field without --set gets its default. Results are given a second
    name; no data is copied, nothing is computed, and the first name stays.
    """
    if undo:
        if doing or maps or sets or drops:
            raise click.UsageError("--undo takes OLD and NEW alone")
        return _undo(old, new, as_json=as_json)
    given = (("--map", maps), ("--set", sets), ("--drop", drops))
    options = [part for option, pairs in given for pair in pairs for part in (option, pair)]
    asked = shlex.join(["furu", "adopt", old, new, *options])
    adoption = _adoption(old, new, maps, sets, drops)
    if not doing:
        plan = _adoptions.plan(adoption)
        _refuse_nothing(plan, old)
        if as_json:
            print_json(_plan_as_json(plan))
            return 0
        say("\n".join(_plan_lines(plan)))
        if plan.aliases:
            say(f"nothing was changed; to do it: `{asked} --do`")
        return 0
    plans: list[Plan] = []
    done = _adoptions.adopt(adoption, plans.append)
    _refuse_nothing(plans[0], old)
    if as_json:
        print_json(_plan_as_json(plans[0]) | {"done": _told(done.aliases), "failed": done.failed})
        return FAILED if done.failed else 0
    say("\n".join(_plan_lines(plans[0])))
    for name, why in done.failed.items():
        say(f"not done: {name}: {why}")
    say(f"done: {count(len(done.aliases), 'result')} found under a second name")
    if done.aliases:
        say(f"to take it back: `furu adopt {old} {new} --undo`")
    return FAILED if done.failed else 0


def _adoption(
    old: str, new: str, maps: Iterable[str], sets: Iterable[str], drops: Iterable[str]
) -> Adoption:
    cls = _target.class_called(new)
    return _adoptions.adoption_of(
        _old_class(old),
        cls,
        map=dict(_pairs("--map", maps)),
        set={field: _value(cls, field, text) for field, text in _pairs("--set", sets)},
        drop=dict(_pairs("--drop", drops)),
    )


def _old_class(name: str) -> str:
    """The one class in the store that a name means; a whole name may also be one without results."""
    try:
        found = _stored_nodes.classes_called(name)
    except FuruUsageError:
        if ":" in name:
            return name
        raise
    if len(found) > 1:
        raise FuruUsageError(
            f"{name!r} means {len(found)} classes: {', '.join(cls.name for cls in found)}",
            hint="write the whole name",
        )
    return found[0].name


def _pairs(option: str, given: Iterable[str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for text in given:
        field, mark, value = text.partition("=")
        if not mark or not field or field in seen:
            why = "gives the same field again" if field in seen else "is no FIELD=VALUE"
            raise FuruUsageError(
                f"{option} {text!r} {why}", hint=f"write for example {option} lr=learning_rate"
            )
        seen.add(field)
        yield field, value


def _value(cls: type, name: str, text: str) -> str:
    """The value that a text means for a field, as tagged JSON."""
    for field in config_class(cls).fields:
        if field.name == name:
            try:
                return dumps(field.fit(convert(text, field.shape())))
            except (ValueError, FuruError) as error:
                raise FuruUsageError(
                    f"--set {name}={text}: {error}", hint=f"give what {cls.__name__}.{name} takes"
                ) from None
    return "null"  # `adoption_of` refuses the field


def _refuse_nothing(plan: Plan, old: str) -> None:
    if plan.aliases or plan.made or plan.there or plan.refused:
        return
    adoption = plan.adoption
    names = [cls.name for cls in _stored_nodes.classes()]
    if adoption.old == adoption.new and adoption.old in names:
        raise FuruUsageError(
            f"all results of {old} are of the class as it is today",
            hint="say what changed: --map, --set, --drop",
        )
    raise FuruUsageError(
        f"the store has no result of {old}, and none that depends on it"
        + _text.did_you_mean_class(old, names),
        hint="`furu ls` lists what is there",
    )


def _plan_lines(plan: Plan) -> Iterator[str]:
    adoption = plan.adoption
    yield f"{adoption.old} -> {adoption.importable}"
    for old, new in adoption.map.items():
        yield f"  field {old} -> {new}"
    for field, text in adoption.set.items():
        yield f"  field {field} = {text}, which is new"
    for field, text in adoption.drop.items():
        yield f"  field {field} = {text}, which is gone"
    for field, text in plan.defaults.items():
        if field not in adoption.set:
            yield f"  field {field} = {text}, which is new: its default (else --set {field}=VALUE)"
    own = [one.alias for one in plan.aliases if not one.depends]
    depends = Counter(one.alias.class_name for one in plan.aliases if one.depends)
    yield from _alias_lines(f"{count(len(own), 'result')} to be found under a second name", own)
    if depends:
        classes = ", ".join(f"{many} of {name}" for name, many in sorted(depends.items()))
        verbs = "depends on them comes" if depends.total() == 1 else "depend on them come"
        yield f"{count(depends.total(), 'result')} that {verbs} along: {classes}"
    if plan.made:
        yield f"{count(len(plan.made), 'result')} done before"
    if plan.there:
        yield f"{count(len(plan.there), 'result')} computed under the new name already, left as they are"
    if plan.refused:
        yield f"{count(len(plan.refused), 'result')} left out:"
        by_reason = Counter(plan.refused.values())
        for reason, many in by_reason.most_common(_SHOWN):
            name = next(name for name, why in plan.refused.items() if why == reason)
            yield f"  {name}{f' and {many - 1} more' if many > 1 else ''}: {reason}"
        if len(by_reason) > _SHOWN:
            yield f"  and for {len(by_reason) - _SHOWN} more reasons (see --json)"


def _alias_lines(title: str, aliases: list[Alias]) -> Iterator[str]:
    yield f"{title}{':' if aliases else ''}"
    for alias in aliases[:_SHOWN]:
        yield f"  {alias.from_hash[:12]} -> {alias.hash[:12]}"
    if aliases[_SHOWN:]:
        yield f"  and {len(aliases) - _SHOWN} more"


def _plan_as_json(plan: Plan) -> dict[str, Any]:
    adoption = plan.adoption
    return {
        "old": adoption.old,
        "new": adoption.new,
        "import": adoption.importable,
        "aliases": [{**attrs.asdict(one.alias), "depends": one.depends} for one in plan.aliases],
        "made": _told(plan.made),
        "there": _told(plan.there),
        "refused": plan.refused,
        "defaults": plan.defaults,
    }


def _told(aliases: Iterable[Alias]) -> list[dict[str, str]]:
    return [attrs.asdict(alias) for alias in aliases]


def _undo(old: str, new: str, *, as_json: bool) -> int:
    done: Done = _adoptions.undo(old, new)
    if as_json:
        print_json(
            {
                "undone": _told(done.aliases),
                "left": [{**attrs.asdict(one), "reason": why} for one, why in done.left.items()],
                "failed": done.failed,
            }
        )
        return FAILED if done.failed else 0
    say(f"moved {count(len(done.aliases), 'second name')} of results to the trash")
    for why, many in Counter(done.left.values()).most_common():
        say(f"left {count(many, 'result')}: {why}")
    for name, why in done.failed.items():
        say(f"not taken back: {name}: {why}")
    if done.aliases and not done.more:
        say_next(f"`furu adopt {old} {new}` shows what doing it again would do")
    if done.more:
        say("an earlier adoption with other options is still there; --undo again takes it back")
    return FAILED if done.failed else 0
