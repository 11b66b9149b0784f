"""`furu plan MODULE:TARGET`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import click

from furu_core.command import (
    TargetCommand,
    command_with,
    harmless,
    json_option,
    only_json,
    print_json,
    rerun_option,
    rerunning,
    resolve_roots,
    say,
    say_next,
    target_options,
)
from furu_core.errors import FuruUsageError

if TYPE_CHECKING:
    from furu_core.planning import StaleNodes
    from furu_plan import DependencyPlan, PlanNode

_SHOWN: Final = 5


@click.command(
    "plan", cls=TargetCommand, short_help="Say what a run would compute and what it would load."
)
@target_options
@click.option("--tree", "as_tree", is_flag=True, help="Draw what depends on what.")
@click.option(
    "--depth", type=click.IntRange(min=0), default=20, show_default=True, help="Levels of the tree."
)
@click.option("--dot", "as_dot", is_flag=True, help="Print the graph in Graphviz' DOT language.")
@rerun_option
@json_option
@click.option(
    "--validate", is_flag=True, help="Call _validate as a run would, and move aside what is bad."
)
def plan(
    target: str,
    assignments: tuple[str, ...],
    as_tree: bool,
    depth: int,
    as_dot: bool,
    rerun: tuple[str, ...],
    as_json: bool,
    validate: bool,
) -> None:
    """Say what a run of a target would compute and what it would load.

    Nothing is computed, and without --validate nothing in the store changes. MODULE:TARGET is as for
    `furu run`.
    """
    if as_tree + as_dot + as_json > 1:
        raise FuruUsageError(
            "--tree, --dot and --json exclude each other", hint="leave all but one out"
        )
    from furu_core.planning import stale_results
    from furu_plan._build import build_plan
    from furu_plan._node import Status

    with only_json(as_json or as_dot):
        roots = resolve_roots(target, assignments)
        with rerunning(rerun):
            made = build_plan(roots, validate=validate)
        stale = stale_results(node.obj for node in made.with_status(Status.DONE))
    if as_json:
        print_json({**made.to_json(), "run": _forecast(made), "stale": stale.to_json()})
    elif as_dot:
        say(made.to_dot(), nl=False)
    else:
        if as_tree:
            say(made.to_tree(max_depth=depth))
        else:
            _print_table(made)
        say()
        for line in [*_sentences(made, validated=validate), *_stale_lines(stale)]:
            say(line)
        if _forecast(made)["compute"]:
            why = command_with("furu why", target, assignments, rerun)
            run = command_with("furu run", target, assignments, rerun)
            say_next(f"`{why}` says why, `{run}` computes it")


def _stale_lines(found: StaleNodes) -> list[str]:
    if not found.sentence:
        return []
    lines = [f"{found.sentence}; they are loaded all the same."]
    told = {**found.stale, **found.resting}
    for node, why in itertools.islice(told.items(), _SHOWN):
        lines.append(f"  {node.name}  {'; '.join(why.reasons)}")
    if len(told) > _SHOWN:
        lines.append(f"  ... and {len(told) - _SHOWN} more: `{found.listing}`")
    return lines


def _forecast(made: DependencyPlan) -> dict[str, int]:
    """What a run would do, in numbers of nodes."""
    from furu_plan._frontier import Frontier, Stage
    from furu_plan._node import Status

    counts = made.counts()
    blocked = Frontier(made).counts()[Stage.BLOCKED]
    return {
        "compute": counts[Status.TODO] - blocked,
        "load": counts[Status.DONE],
        "wait": counts[Status.IN_PROGRESS],
        "failed": counts[Status.FAILED],
        "blocked": blocked,
    }


def _print_table(made: DependencyPlan) -> None:
    from rich.console import Console
    from rich.table import Table

    from furu_plan._node import Status

    shown = [Status.TODO, Status.IN_PROGRESS, Status.FAILED, Status.DONE]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for status in shown:
        table.add_column(status.words, justify="right")
    for name, counts in made.counts_by_class().items():
        table.add_row(harmless(name), *(str(counts[status] or "-") for status in shown))
    Console(soft_wrap=True, highlight=False).print(table)


def _sentences(made: DependencyPlan, *, validated: bool) -> list[str]:
    from furu_core.executors import count
    from furu_core.planning import has_validator
    from furu_plan._node import Status

    forecast = _forecast(made)
    parts = [f"compute {count(forecast['compute'], 'node')}", f"load {forecast['load']}"]
    if forecast["wait"]:
        parts.append(f"wait for {forecast['wait']} that others compute")
    lines = [
        f"{count(len(made.roots), 'root')}: a run would {', '.join(parts[:-1])} and {parts[-1]}."
    ]
    if forecast["failed"]:
        blocked = forecast["blocked"]
        lines.append(
            f"{count(forecast['failed'], 'node')} failed before and would not be tried again "
            "(FURU_RETRY_FAILED is off)"
            + (f", so {count(blocked, 'node')} could not run." if blocked else ".")
        )
    again = sum(node.rerun for node in made)
    if again:
        lines.append(
            f"{count(again, 'node')} would be computed again (--rerun and FURU_ALWAYS_RERUN, with what "
            "depends on the classes named)."
        )
    checked = sum(has_validator(type(node.obj)) for node in made.with_status(Status.DONE))
    if checked and not validated:
        lines.append(
            f"{count(checked, 'node')} to load would be validated first, and computed again if invalid "
            "(--validate does so now)."
        )
    lines += _listed("computed elsewhere", made.with_status(Status.IN_PROGRESS), lambda n: n.holder)
    failed = [node for node in made if node.failure is not None and node.status is not Status.DONE]
    lines += _listed("failed last time", failed, lambda node: _failure(node.failure))
    return lines


def _listed(title: str, nodes: list[PlanNode], tell: Any) -> list[str]:
    if not nodes:
        return []
    lines = ["", f"{title}:"]
    for node in nodes[:_SHOWN]:
        said = tell(node)
        lines.append(f"  {node.name}" + ("" if said is None else f"  {said}"))
    if len(nodes) > _SHOWN:
        lines.append(f"  ... and {len(nodes) - _SHOWN} more, see --json")
    return lines


def _failure(failure: Any) -> str:
    return f"{failure.reason}" + (f"  {failure.log}" if failure.log else "")
