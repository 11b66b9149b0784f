"""`furu code` and `furu accept`: which results are by other code than is there now, and which do not mind."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import attrs
import click

from furu_core._cli import _completing
from furu_core._cli._output import FAILED, json_option, print_json, say, say_exactly, say_next
from furu_core._cli._selection import say_none_chosen
from furu_core._code import _acceptances, _listings
from furu_core._code._acceptances import Acceptance, AcceptedChange
from furu_core._code._checkout import checkout
from furu_core._code._differences import CurrentCode
from furu_core._code._listings import CodeListing, ListedModule
from furu_core._explain._code_states import CodeState, CodeStates
from furu_core._explain._staleness import StalenessReader
from furu_core._files import read_file
from furu_core._status import _stored_nodes
from furu_core._status._links import LinkReader, Links
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._store._layout import is_hash
from furu_core._text import count, when
from furu_core.errors import FuruUsageError

_SHOWN: Final = 5  # reasons of a class


@click.command("code", short_help="Say which results are by other code than is there now.")
@click.argument(
    "names", metavar="[CLASS|HASH]...", nargs=-1, shell_complete=_completing.a_class_or_node
)
@click.option("--diff", is_flag=True, help="HASH [HASH]: how the code of a result differs.")
@click.option(
    "--checkout", "writes", is_flag=True, help="HASH|DIGEST DIR: write the code of a result there."
)
@json_option
def code(names: tuple[str, ...], diff: bool, writes: bool, as_json: bool) -> int:
    """Say of each class how many results are by other code than is there now, and what changed.

    Nothing is recomputed for that. --diff compares the code of a result with what is there now, or
    with that of another one. --checkout writes it to a new folder, from which it can be run.
    """
    if diff and writes:
        raise click.UsageError("--diff and --checkout exclude each other")
    if diff:
        if not 1 <= len(names) <= 2:
            raise click.UsageError("--diff takes one result or two: furu code --diff HASH [HASH]")
        return _print_diff(*names, as_json=as_json)
    if writes:
        if len(names) != 2:
            raise click.UsageError("--checkout takes two: furu code --checkout HASH DIR")
        return _check_out(*names, as_json=as_json)
    found = list(_summaries(names))
    if as_json:
        print_json([one.to_json() for one in found])
        return 0
    for one in found:
        for line in one.lines():
            say(line)
    if not found:
        say_none_chosen("result")
    changed = next((one for one in found if one.changed), None)
    if changed is not None:
        say_next(
            f"`furu code --diff HASH` shows the change; `furu rm {changed.name} --older-code` removes these "
            f'results; `furu accept {changed.name} "why it does not matter"` keeps them'
        )
    return 0


@click.command("accept", short_help="Say that a change of the code does not matter to results.")
@click.argument("class_name", metavar="CLASS", shell_complete=_completing.a_class)
@click.argument("reason", required=False)
@click.option("--undo", is_flag=True, help="Take back the last acceptance of the class.")
@json_option
def accept(class_name: str, reason: str | None, undo: bool, as_json: bool) -> int:
    """Say that the code of a class's results changed in a way that does not matter.

    What changed between the code of the results in the store and the code that is there now is
    recorded beside them, with REASON; then they count as by today's code.
    """
    if undo == (reason is not None):
        raise click.UsageError(
            "--undo takes no reason" if undo else 'Missing argument: the reason, "in quotes"'
        )
    cls = _one_class(class_name)
    if undo:
        taken_back = _acceptances.withdraw(cls.name)
        if as_json:
            print_json(attrs.asdict(taken_back))
        else:
            say(f"taken back: {taken_back.reason} ({when(taken_back.time)})")
            say_next(f"`furu code {cls.short}` tells how its results stand")
        return 0
    assert reason is not None
    states = CodeStates()
    changes: dict[AcceptedChange, str] = {}
    results = 0
    for _, state in _states_of(cls, states):
        results += bool(state.changed)
        changes |= {one.as_accepted: one.text for one in state.changed}
    if not changes:
        raise FuruUsageError(
            f"no result of {cls.name} is by other code than is there now, as far as that is known here",
            hint=f"`furu code {cls.short}` tells of them; run it in the project's folder",
        )
    if not reason.strip():
        raise FuruUsageError("the reason is empty", hint="say why the change does not matter")
    made = _acceptances.accept(cls.name, reason, changes)
    if as_json:
        print_json({**attrs.asdict(made), "results": results})
        return 0
    for text in dict.fromkeys(changes.values()):
        say(f"accepted: {text}")
    say(f"{count(results, 'result')} of {cls.name}; `furu accept {cls.short} --undo` takes it back")
    return 0


def _one_class(name: str) -> StoredClass:
    found = _stored_nodes.classes_called(name)
    if len(found) > 1:
        names = ", ".join(cls.name for cls in found)
        raise FuruUsageError(f"{name!r} means {names}", hint="give the module as well")
    return found[0]


def _states_of(
    cls: StoredClass, states: CodeStates, links: LinkReader | None = None
) -> Iterator[tuple[Links, CodeState]]:
    reader = LinkReader() if links is None else links
    for node_hash in cls.published():
        found = reader.at(StoredNode(cls, node_hash))
        if found is not None:
            yield found, states.of(cls.name, found.code)


@attrs.define
class _ClassSummary:
    """How the code of the results of a class stands."""

    name: str
    results: int = 0
    changed: Counter[tuple[str, ...]] = attrs.field(factory=Counter)
    unrelated: Counter[tuple[str, ...]] = attrs.field(factory=Counter)
    accepted: int = 0
    reasons: tuple[Acceptance, ...] = ()
    not_compared: Counter[str] = attrs.field(factory=Counter)
    resting: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "class": self.name,
            "results": self.results,
            "by_other_code": [
                {"changed": list(texts), "results": number}
                for texts, number in self.changed.most_common()
            ],
            "only_other_parts_changed": [
                {"changed": list(texts), "results": number}
                for texts, number in self.unrelated.most_common()
            ],
            "accepted": self.accepted,
            "acceptances": [attrs.asdict(one) for one in self.reasons],
            "not_compared": dict(self.not_compared),
            "resting": self.resting,
        }

    def lines(self) -> Iterator[str]:
        of = f"of {self.results}"
        told = [
            f"{number} {of} by other code: {', '.join(texts)} changed"
            for texts, number in self.changed.most_common(_SHOWN)
        ]
        if others := self.changed.total() - sum(n for _, n in self.changed.most_common(_SHOWN)):
            told.append(f"{others} {of} by further other code")
        if self.resting:
            told.append(f"{self.resting} {of} rest on stale results")
        if self.accepted:
            why = "; ".join(f"{one.reason} ({one.user})" for one in self.reasons)
            told.append(f"{self.accepted} {of} by code whose change is accepted: {why}")
        told += [
            f"{number} {of}: only what it does not use changed: {', '.join(texts)}"
            for texts, number in self.unrelated.most_common(_SHOWN)
        ]
        told += [
            f"{number} {of} not compared: {why}"
            for why, number in self.not_compared.most_common(_SHOWN)
        ]
        if not told:
            told.append(f"{count(self.results, 'result')}, by the code that is there now")
        yield f"{self.name}"
        yield from (f"  {line}" for line in told)


def _summaries(names: tuple[str, ...]) -> Iterator[_ClassSummary]:
    links = LinkReader()
    states = CodeStates()
    staleness = StalenessReader(links, states)
    for cls, nodes in _chosen(names).items():
        summary = _ClassSummary(cls.name, reasons=tuple(states.acceptances(cls.name)))
        for node in nodes:
            found = links.at(node)
            if found is None:
                continue
            state = states.of(cls.name, found.code)
            summary.results += 1
            if state.changed:
                summary.changed[state.texts] += 1
            elif staleness.of(node).rests_on is not None:
                summary.resting += 1
            if state.accepted and not state.changed:
                summary.accepted += 1
            if state.unrelated and not state.changed:
                summary.unrelated[tuple(one.text for one in state.unrelated)] += 1
            if state.not_compared and not state.changed:
                summary.not_compared[state.not_compared[0]] += 1
        if summary.results:
            yield summary


def _chosen(names: tuple[str, ...]) -> dict[StoredClass, list[StoredNode]]:
    found: dict[StoredClass, list[StoredNode]] = {}
    chosen = _stored_nodes.classes_or_nodes(names, also=True) if names else _stored_nodes.classes()
    for one in chosen:
        if isinstance(one, StoredNode):
            found.setdefault(one.cls, []).append(one)
        else:
            found[one] = [StoredNode(one, node_hash) for node_hash in one.published()]
    return found


# The code of single results


def _code_of(name: str) -> tuple[str, str, CodeListing]:
    """A result's short name, the digest of its code, and the code.

    Raises:
        FuruUsageError: none is known.
    """
    node = _stored_nodes.find(name, also=True)
    links = LinkReader().at(node)
    if links is None:
        raise FuruUsageError(f"{node.name} has no result", hint="`furu ls` lists what is there")
    listing = _listings.read(links.code) if links.code else None
    if listing is None:
        raise FuruUsageError(
            f"the code that made {node.name} was not recorded",
            hint="results that were made elsewhere, or by the first furu, have none",
        )
    return node.name, links.code, listing


def _print_diff(name: str, other: str | None = None, *, as_json: bool) -> int:
    told = code_diffs(name, other)
    if as_json:
        print_json(told)
    else:
        for one in told:
            say_exactly(one["diff"])
        if not told:
            what = f"{name} and {other} are by the same code" if other else "nothing changed since"
            say(what, err=True)
        elif other is None:
            say_next(
                f'`furu rm {name}` has it computed anew; `furu accept CLASS "why it does not matter"` keeps it'
            )
    return 0


def code_diffs(name: str, other: str | None = None) -> list[dict[str, str]]:
    """The modules that differ between the code of a result and that of another, or what is there now.

    Each has its `path`, and the `diff` of its sources.

    Raises:
        FuruUsageError: a name means no result, or its code was not recorded.
    """
    title, _, before = _code_of(name)
    if other is None:
        pairs = _pairs_with_now(before)
        after = "now"
    else:
        after, _, listing = _code_of(other)
        pairs = _pairs(before, listing)
    told = []
    for module, old, new in pairs:
        lines = difflib.unified_diff(
            _lines(old), _lines(new), f"{module.path} ({title})", f"{module.path} ({after})"
        )
        told.append({"path": module.path, "diff": "".join(lines)})
    return told


def _pairs_with_now(
    before: CodeListing,
) -> Iterator[tuple[ListedModule, bytes | None, bytes | None]]:
    for one in CurrentCode().differences(before):
        yield one.module, _listings.source_of(one.module), read_file(one.file) if one.file else None


def _pairs(
    before: CodeListing, after: CodeListing
) -> Iterator[tuple[ListedModule, bytes | None, bytes | None]]:
    for name in sorted({*before.modules, *after.modules}):
        old, new = before.modules.get(name), after.modules.get(name)
        if old is not None and new is not None and old.syntax == new.syntax:
            continue
        shown = old or new
        assert shown is not None
        yield (
            shown,
            None if old is None else _listings.source_of(old),
            None if new is None else _listings.source_of(new),
        )


def _lines(source: bytes | None) -> list[str]:
    if source is None:
        return ["(not known)\n"]
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines


def _check_out(name: str, folder: str, *, as_json: bool) -> int:
    digest = name
    if not _is_listing(name):
        digest = _code_of(name)[1]
    made = checkout(digest, folder)
    if as_json:
        print_json(attrs.asdict(made))
    else:
        say(f"PYTHONPATH={':'.join(made.roots)}")
        for module, why in made.missing.items():
            say(f"not written: {module}: {why}", err=True)
    return FAILED if made.missing else 0


def _is_listing(name: str) -> bool:
    return is_hash(name) and _listings.read(name) is not None
