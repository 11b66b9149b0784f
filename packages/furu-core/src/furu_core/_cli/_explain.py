"""`furu why` and `furu diff`: why something would be computed, and how two results differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from furu_core._cli import _completing
from furu_core._cli._output import (
    INCOMPLETE,
    json_option,
    only_json,
    print_json,
    rerun_option,
    say,
    say_exactly,
    say_next,
)
from furu_core._cli._target_command import TargetCommand, command_with, set_option
from furu_core._text import RUN_PREFIX
from furu_core.errors import FuruUsageError

if TYPE_CHECKING:
    from furu_core._explain._explanations import Explanation


_SHORT_NAME: Final = re.compile(r"\([0-9a-fA-F]+…?\)\s*$")


@click.command(
    "why", cls=TargetCommand, short_help="Say why nodes would be computed, down to the field."
)
@click.argument(
    "name", metavar="MODULE:TARGET|HASH|run:ID", shell_complete=_completing.a_target_or_node
)
@set_option
@click.option(
    "-j", "--max-workers", type=click.IntRange(min=1), metavar="N",
    help="Nodes at once, to reckon the time with; default: the processors here.",
)  # fmt: skip
@rerun_option
@json_option
def why(
    name: str,
    assignments: tuple[str, ...],
    max_workers: int | None,
    rerun: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say why nodes of a target would be computed, or how a stored node stands.

    A node that was never computed is compared with the stored result nearest to it, down to the field
    that differs. MODULE:TARGET is as for `furu run`; for a HASH nothing is imported, nor for a run, of
    which it is told why it had to compute what it did. The exit status is 0 if everything is there, and
    3 if something would be computed. Nothing is computed or changed.
    """
    with only_json(as_json):
        found = _explanation(name, assignments, max_workers, rerun)
    if as_json:
        print_json(found.to_json())
    else:
        say(str(found))
        if not found.is_complete and is_target(name):
            say_next(
                f"`{command_with('furu run', name, assignments, rerun)}` computes what is not there"
            )
    if found.run and not as_json:
        say_next(f"`furu status {found.run}` tells how the run went")
    return 0 if found.is_complete or found.run else INCOMPLETE


def _explanation(
    name: str, assignments: tuple[str, ...], workers: int | None, rerun: tuple[str, ...]
) -> Explanation:
    from furu_core._explain._why import why as explain

    if not is_target(name):
        if assignments or rerun:
            raise click.UsageError(
                "--set and --rerun are for a MODULE:TARGET, not for a HASH or run"
            )
        return explain(name, workers=workers)
    from furu_core._cli import _target

    roots = _target.resolve_roots(name, assignments)
    with _target.rerunning(rerun):
        return attrs.evolve(explain(roots, workers=workers), target=name)


@click.command("diff", short_help="Say how two nodes differ: config, code, results.")
@click.argument("first", metavar="A", shell_complete=_completing.a_target_or_node)
@click.argument("second", metavar="B", shell_complete=_completing.a_target_or_node)
@click.option("--cost", "only_cost", is_flag=True, help="Only what they took.")
@click.option(
    "--code", "only_code", is_flag=True, help="Only the code, with the lines that differ."
)
@json_option
def diff(first: str, second: str, only_cost: bool, only_code: bool, as_json: bool) -> int:
    """Say how two nodes differ: config, costs, code, dependencies, results.

    A and B are hashes, the names of classes that have one node, or MODULE:TARGET of one object. Nested
    configs that differ are compared in turn.
    """
    from furu_core._explain._diff import diff as compare

    with only_json(as_json):
        nodes = [_one_node(name) for name in (first, second)]
        found = compare(*nodes)
    if as_json:
        print_json(found.to_json())
        return 0
    parts = [part for part, wanted in (("cost", only_cost), ("code", only_code)) if wanted]
    say(found.text(tuple(parts)))
    if only_code and any(not change.node for change in found.code):
        from furu_core._cli._code import code_diffs

        for one in code_diffs(found.before.hash, found.after.hash):
            say_exactly(one["diff"])
    elif found.code and not parts:
        say_next(f"`furu diff --code {first} {second}` shows the lines of code")
    return 0


def _one_node(name: str) -> Any:
    """What `furu_core.diff` takes for a name on the command line."""
    if not is_target(name):
        return name
    from furu_core._cli import _target

    roots = _target.resolve_roots(name, ())
    if len(roots.items) != 1:
        raise FuruUsageError(
            f"{name} means {len(roots.items)} nodes",
            hint="name a target of one object, or the hash of a node",
        )
    return roots.items[0]


def is_target(name: str) -> bool:
    """Whether a name is MODULE:TARGET, and not that of a stored node such as ``exp.train:Train(3fa9c1)``."""
    is_run = name.startswith(RUN_PREFIX)
    return ":" in name and not is_run and _SHORT_NAME.search(name) is None
