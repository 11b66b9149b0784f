"""`furu status` and `furu failures`: how a run stands, and what failed."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import click

from furu_core._cli import _completing
from furu_core._cli._output import (
    FAILED,
    INTERRUPTED,
    csv_option,
    is_terminal,
    json_option,
    print_csv,
    print_json,
    print_json_line,
    refuse_csv_and_json,
    say,
)
from furu_core._cli._selection import selection_options
from furu_core._cli._tables import lined_up
from furu_core._runs import _runs
from furu_core._runs._failures import (
    FailedNode,
    FailureGroup,
    config_text,
    forget_command,
    grouped,
    place_text,
)
from furu_core._runs._run_status import STAGES, RunningNode, RunReport, RunWatch
from furu_core._runs._runs import DIED, RUNNING, StoredRun
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._store._folders import refuse_run_elsewhere, with_run_prefix
from furu_core._tables._selection import Selection
from furu_core._text import RUN_PREFIX, count, duration, harmless, when
from furu_core.errors import FuruUsageError

_LOOK_SECS: Final = 1.0
_SHOWN: Final = 8  # groups of failures
_COMMANDS: Final = 3  # to try again what failed
_WIDE: Final = 160  # characters of an error
_NO_FAILURES: Final = frozenset({"done", "running", "queued"})  # states
_EXIT: Final = {"done": 0, "cancelled": INTERRUPTED}


@click.command("status", short_help="Say how a run stands, and what to do next.")
@click.argument("run", metavar="[RUN]", required=False, shell_complete=_completing.a_run)
@click.option("-f", "--follow", is_flag=True, help="Show it until the run has ended.")
@click.option(
    "--every", type=click.FloatRange(min=0.05), default=_LOOK_SECS, show_default=True, metavar="SECS",
    help="With -f: how often to look.",
)  # fmt: skip
@json_option
def status(run: str | None, follow: bool, every: float, as_json: bool) -> int:
    """Say how a run stands: by class what is done and what is left, what failed, what is slow.

    RUN is the id of a run, the beginning or end of it, or its folder; default: your newest one. It may be in
    a store of FURU_ALSO. With -f the exit status is that of the run: 0 when it is done, 1 when it failed or died, 130
    when it was cancelled.
    """
    found = _runs.newest_run() if run is None else _runs.find_run(run, also=True)
    watch = RunWatch(found)
    gc.disable()  # of a long run there are hundreds of thousands of lists, none of them garbage
    if follow:
        return _follow(watch, every, as_json=as_json)
    report = watch.report()
    if as_json:
        print_json(report.to_json())
    else:
        say("\n".join(_lines(report)))
    return 0


def _follow(watch: RunWatch, every: float, *, as_json: bool) -> int:
    """Show a run until it has ended; the exit status that it stands for."""
    gc.enable()
    terminal = is_terminal(1) and os.environ.get("TERM") != "dumb"
    if as_json:
        last = _each(watch, every, lambda report: print_json_line(report.to_json()))
    elif terminal:
        last = _live(watch, every)
    else:
        last = _each(watch, every, lambda report: say(_change(report)))
        say("\n".join(_lines(last)))
    return _EXIT.get(last.standing.state, FAILED)


def _each(watch: RunWatch, every: float, show: Any) -> RunReport:
    """Show each report that tells something new; the last one, of a run that has ended, is returned."""
    before = ""
    while True:
        report = watch.report()
        line = _change(report)
        if line != before:
            show(report)
            before = line
        if report.standing.state != RUNNING:
            return report
        time.sleep(every)


def _live(watch: RunWatch, every: float) -> RunReport:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    screen = Console(highlight=False)
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while True:
            report = watch.report()
            if report.standing.state != RUNNING:
                break
            lines = _lines(report, is_followed=True)
            live.update(Text(harmless("\n".join(lines)), no_wrap=True), refresh=True)
            time.sleep(every)
    say("\n".join(_lines(report)))
    return report


def _change(report: RunReport) -> str:
    """The numbers of a run in one line."""
    told = report.standing
    sums = {stage: sum(counts[stage] for counts in report.classes.values()) for stage in STAGES}
    parts = [f"{sums[stage]} {stage}" for stage in STAGES if sums[stage] or stage == "done"]
    return f"{told.run.id}  {told.state}  {', '.join(parts)}"


def _lines(report: RunReport, *, is_followed: bool = False) -> list[str]:
    """A report for people; what to do next stands at the end, unless they do it."""
    told = report.standing
    parts = [told.run.id, told.run.executor, f"{told.state} {_span(report)}".strip(), _left(report)]
    lines = ["  ".join(part for part in parts if part)]
    if told.run.command:
        lines.append(f"  {_runs.short_command(told.run.command)}{_labels(told.run)}")
    lines += _table(report) + _failure_lines(report)
    lines += [_slow_line(node) for node in report.slowest]
    lines += [f"  {line}" for line in told.outlook.lines]
    return lines + _ending(report, is_followed=is_followed)


def _span(report: RunReport) -> str:
    told = report.standing
    if told.state == RUNNING:
        return duration(told.took)
    if told.state == DIED:
        return f"and was last heard of at {when(told.ended)}"
    return f"in {duration(told.took)}, at {when(told.ended)}"


def _left(report: RunReport) -> str:
    if report.standing.state != RUNNING:
        return ""
    names = ", ".join(name.rpartition(":")[2] for name in report.unknown)
    if report.left_secs is None:
        return f"time left unknown: no {names} has ended yet" if names else ""
    about = f"about {duration(report.left_secs)} left"
    return f"{about}, without {names}, of which none has ended" if names else about


def _labels(run: StoredRun) -> str:
    if run.record is None:
        return ""
    tags = " ".join(f"{name}={value}" for name, value in sorted(run.record.tags.items()))
    said = "  ".join(part for part in (tags, run.record.note) if part)
    return f"  [{said}]" if said else ""


def _table(report: RunReport) -> list[str]:
    told = report.standing
    if not report.classes:
        return [f"  {_runs.numbers_text(told)}"] if told.total else []
    seldom = {"blocked", "elsewhere"}
    used = {stage for counts in report.classes.values() for stage in counts if counts[stage]}
    shown = [stage for stage in STAGES if stage not in seldom or stage in used]
    names = _shortest(report.classes)
    rows = [["class", *shown]]
    rows += [
        [names[name], *(str(counts[stage]) for stage in shown)]
        for name, counts in report.classes.items()
    ]
    numbers = frozenset(range(1, len(shown) + 1))
    lines = [f"  {line}" for line in lined_up(rows, right=numbers)]
    if sum(counts.total() for counts in report.classes.values()) < told.total:
        lines.append(f"  of {_runs.numbers_text(told)}")  # without an outline, not all have a class
    return lines


def _shortest(names: Iterable[str]) -> dict[str, str]:
    """The names of classes without their modules, where that leaves them different."""
    names = list(names)
    short = [name.rpartition(":")[2] for name in names]
    return {
        name: one if short.count(one) == 1 else name for name, one in zip(names, short, strict=True)
    }


def _failure_lines(report: RunReport) -> list[str]:
    if not report.failures:
        return []
    lines = ["failed, by error:"]
    run = report.standing.run
    lines += [f"  {_group_line(group, run.before_commands)}" for group in report.failures[:_SHOWN]]
    more = len(report.failures) - _SHOWN
    if more > 0:
        lines.append(
            f"  and {count(more, 'other error')}: {run.before_commands}furu failures {run.id}"
        )
    return lines


def _group_line(group: FailureGroup, before_command: str) -> str:
    first = group.first
    error = first.error if len(first.error) <= _WIDE else f"{first.error[: _WIDE - 3]}..."
    parts = [f"{len(group.nodes)} x {first.short_class}", error]
    if first.at:
        parts.append(place_text(first.at))
    return "  ".join([*parts, before_command + group.next_command])


def _slow_line(node: RunningNode) -> str:
    usual = "" if node.usual_secs is None else f" (others {duration(node.usual_secs)})"
    host = f" on {node.host}" if node.host else ""
    line = f"running: {node.node} {duration(node.seconds)}{usual}{host}"
    if node.silent_secs is not None and node.silent_secs >= 60:
        line += f", no output for {duration(node.silent_secs)}"
    return line


def _ending(report: RunReport, *, is_followed: bool) -> list[str]:
    """Why a run ended so, and the next command."""
    told = report.standing
    furu = f"{told.run.before_commands}furu"
    if told.state == RUNNING:
        why = [f"it goes on: {told.why}"] if told.why else []
        return why if is_followed else [*why, f"follow it: {furu} status -f {told.run.id}"]
    if told.state == "done":
        here = f" run:{told.run.id}" if told.computed else ""  # what was there is another run's
        return [f"see the results beside each other: {furu} table{here}"]
    lines = [f"it died: {told.why}"] if told.state == DIED else []
    if report.failures:
        lines.append(f"what failed, and with which parameters: {furu} failures {told.run.id}")
    if told.again:
        lines.append(f"go on, computing only what is not there: {told.again}")
    return lines


# Failures


_CSV: Final = (
    "hash",
    "class",
    "message",
    "log",
    "host",
    "ended",
    "kind",
    "error_type",
    "at",
    "run",
)


@click.command("failures", short_help="List what failed, by error, with its parameters.")
@selection_options
@csv_option
@json_option
def failures(
    names: tuple[str, ...],
    where: tuple[str, ...],
    states: tuple[str, ...],
    class_names: tuple[str, ...],
    runs: tuple[str, ...],
    since: str | None,
    as_csv: bool,
    as_json: bool,
) -> int:
    """List the nodes that failed and have no result, grouped by error, with what to type next.

    The id of a run, or its beginning, may be given without `run:`. What failed and was computed since is not listed.
    """
    refuse_csv_and_json(as_csv, as_json)
    for state in _NO_FAILURES.intersection(states):
        raise FuruUsageError(
            f"what is {state} has not failed", hint=f"`furu ls --state {state}` lists it"
        )
    named = list(map(with_run_prefix, names))
    for one in (*(name for name in named if name.startswith(RUN_PREFIX)), *runs):
        # Nobody here tries again what failed there.
        refuse_run_elsewhere(one.removeprefix(RUN_PREFIX))
    with _stored_nodes.including_further(True):  # what has a result there is not tried again
        chosen = Selection.of(named, where, states or ("failed", "lost"), class_names, runs, since)
        groups = grouped(FailedNode.of(facts, row) for facts, row in chosen.rows())
    if as_json:
        print_json([group.to_json() for group in groups])
        return 0
    if as_csv:
        print_csv((node.row() for group in groups for node in group.nodes), _CSV)
        return 0
    if not groups:
        say("nothing has failed" + (" there" if names or where or runs or since else ""))
        return 0
    for number, group in enumerate(groups):
        if number:
            say()
        say("\n".join(_group_lines(group)))
    say()
    for line in _next_lines(groups):
        say(line)
    return 0


def _next_lines(groups: Sequence[FailureGroup]) -> Iterator[str]:
    """How what failed is tried again, and how that is forgotten."""
    runs = []
    for run_id in {one for group in groups for one in group.runs}:
        with suppress(FuruUsageError):  # the folder of the run was removed
            runs.append(_runs.find_run(run_id))
    runs.sort(key=lambda run: -run.began)
    commands = dict.fromkeys(run.again for run in runs if run.again)
    off = "" if _settings.settings().retry_failed else " (with FURU_RETRY_FAILED=1)"
    for command in list(commands)[:_COMMANDS]:
        yield f"try again, computing only what is not there{off}: {command}"
    if len(commands) > _COMMANDS:
        yield f"and the commands of {count(len(commands) - _COMMANDS, 'more run')}: furu runs --state failed"
    if not commands:
        yield f"tried again by the next get() or run that needs them{off}"
    forget = forget_command([node for group in groups for node in group.nodes])
    yield f"forget that they failed, with their logs and checkpoints: {forget}"


def _group_lines(group: FailureGroup) -> Iterator[str]:
    first = group.first
    yield f"{len(group.nodes)} x {first.class_name}  {first.error}"
    if first.at:
        yield f"  at {first.at}"
    names = group.differing
    for node in group.nodes[:_SHOWN]:
        told = config_text(node, names) or "(the same in all columns)"
        yield f"  {node.short_class}({node.hash[:6]})  {told}"
    more = len(group.nodes) - _SHOWN
    if more > 0:
        yield f"  and {more} more: --json lists them"
    short = first.hash[:6]
    if first.log:
        yield f"  furu log {short}      what it printed"
    yield f"  furu debug {short}    run it here, under pdb"
