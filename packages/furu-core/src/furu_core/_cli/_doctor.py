"""`furu doctor`: whether this place is fit for furu, and what is wrong with it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import click

from furu_core import _plugins
from furu_core._cli._output import FAILED, json_option, only_json, print_json
from furu_core._doctor import _checkup, _installation
from furu_core._doctor._installation import SettingOrigin
from furu_core._doctor._results import CheckLevel, CheckResult, problem
from furu_core._plugins import BrokenPlugin, EntryPointGroup, InstalledPlugin
from furu_core._settings import _settings
from furu_core._text import count, writable
from furu_core.errors import FuruSettingsError, FuruUsageError

if TYPE_CHECKING:
    from furu_core._cli._main import LazyGroup

_COLOURS: Final = {CheckLevel.WARNING: "yellow", CheckLevel.PROBLEM: "red"}
_WAIT_SECS: Final = 300.0
_SLURM: Final = "slurm"


@click.command("doctor")
@click.option(
    "--slurm", is_flag=True,
    help="Check Slurm, and the store from a node, by one small job; furu-slurm brings it.",
)  # fmt: skip
@click.option(
    "--wait", "wait_secs", type=click.FloatRange(min=1), default=_WAIT_SECS, show_default=True,
    metavar="SECS", help="With --slurm: how long to wait for the job.",
)  # fmt: skip
@json_option
@click.pass_context
def doctor(context: click.Context, slurm: bool, wait_secs: float, as_json: bool) -> int:
    """Say whether this place is fit for furu, and what is wrong with it.

    Each line is `ok`, a `note`, a `warning` or a `problem`; below what is not ok stands what to do. It tries out
    the filesystem of the store in a folder that goes afterwards, and changes nothing else. The status is 1 if there is a
    problem.
    """
    group: Any = context.find_root().command
    results: list[CheckResult] = []
    origins: list[SettingOrigin] = []
    with only_json(active=as_json), closing(_results(group, origins, slurm, wait_secs)) as found:
        for result in found:
            results.append(result)
            if not as_json:
                click.echo(_line(result))
    numbers = Counter(result.level for result in results)
    if as_json:
        print_json(
            {
                "store": str(_settings.settings().path) if origins else None,
                "host": os.uname().nodename,
                "levels": {level.value: numbers[level] for level in CheckLevel},
                "results": [result.to_json() for result in results],
                "settings": [one.to_json() for one in origins],
            }
        )
    else:
        click.echo(_summary(numbers))
    return FAILED if numbers[CheckLevel.PROBLEM] else 0


def _results(
    group: LazyGroup, origins: list[SettingOrigin], slurm: bool, wait_secs: float
) -> Generator[CheckResult, None, None]:
    def plugins() -> list[InstalledPlugin]:
        from furu_core._cli._plugins import all_plugins

        return all_plugins(group)

    further = _further(_SLURM, "furu-slurm") if slurm else None  # before it takes time
    try:
        origins += _installation.setting_origins()
    except FuruSettingsError as error:
        # Without settings there is no store to be looked at.
        yield from _checkup.installation_checks(plugins)
        yield problem("settings", error.message, error.hint)
        return
    yield from _checkup.all_checks(plugins, origins)
    if further is not None:
        yield from further(wait_secs)


def _further(name: str, distribution: str) -> Any:
    """The checks that another distribution brings."""
    try:
        plugin = _plugins.find(EntryPointGroup.CHECKS, name)
        if plugin is not None:
            return plugin.load()
    except BrokenPlugin as error:
        raise FuruUsageError(error.message, hint=error.hint) from error.__cause__
    raise FuruUsageError(
        f"--{name} is brought by {distribution}, which is not installed in this Python",
        hint=f"pip install {distribution}",
    )


def _line(result: CheckResult) -> str:
    level = result.level
    word = f"{level.value:<7}"
    colour = _COLOURS.get(level)
    head = click.style(word, fg=colour) if colour else word
    host = f"on {result.host}: " if result.host else ""
    text = f"{head}  {result.check:<9}  {host}{result.what}"
    if result.next_step:
        text += f"\n{'':20}next: {result.next_step}"
    return writable(text)


def _summary(numbers: Counter[CheckLevel]) -> str:
    wrong = numbers[CheckLevel.PROBLEM]
    said = f"{numbers[CheckLevel.OK]} ok, {count(numbers[CheckLevel.NOTE], 'note')}"
    said += f", {count(numbers[CheckLevel.WARNING], 'warning')}, {count(wrong, 'problem')}"
    return f"{said}: {'furu cannot work as it should' if wrong else 'furu can work'} here"
