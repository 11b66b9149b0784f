"""`furu doctor`: whether this place is fit for furu, and what is wrong with it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from furu_core import _plugins
from furu_core._cli._output import FAILED, json_option, only_json, print_json, say, styled
from furu_core._doctor import _checkup, _installation
from furu_core._doctor._installation import SettingOrigin
from furu_core._doctor._results import CheckLevel, CheckResult, problem
from furu_core._plugins import BrokenPlugin, EntryPointGroup, InstalledPlugin
from furu_core._settings import _settings
from furu_core._text import count, writable
from furu_core.errors import FuruSettingsError, FuruUsageError

if TYPE_CHECKING:
    from furu_core._cli._main import LazyGroup

FurtherChecks: TypeAlias = Callable[[float], Iterator[CheckResult]]

_COLOURS: Final = {CheckLevel.WARNING: "yellow", CheckLevel.PROBLEM: "red"}
_WAIT_SECS: Final = 300.0
_CHOSEN: Final = "further_"  # begins the names under which the command gets the further checks
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


class _DoctorCommand(click.Command):
    """A command that has an option for each further check that a distribution brings."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own options, and one for each further check."""
        return [*super().get_params(ctx), *self._further]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; for an option that is like none, the error says that it may be installed."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.removeprefix("--")
            if error.possibilities or not _NAME.fullmatch(name):
                raise
            raise FuruUsageError(
                f"furu doctor has no option --{name}, and nothing that is installed in this Python brings one",
                hint=f"pip install furu-{name}, if there is such a distribution; furu plugins lists what is installed",
            ) from None

    @cached_property
    def _further(self) -> list[click.Option]:
        found = _plugins.registered(EntryPointGroup.CHECKS)
        return [
            click.Option(
                [f"--{plugin.name}", f"{_CHOSEN}{number}"],
                is_flag=True,
                help=f"Check that as well, by {plugin.origin}.",
            )
            for number, plugin in enumerate(found)
            if _NAME.fullmatch(plugin.name)
        ]


@click.command(
    "doctor", cls=_DoctorCommand, short_help="Say whether furu can work here, and what is wrong."
)
@click.option(
    "--wait", "wait_secs", type=click.FloatRange(min=1), default=_WAIT_SECS, show_default=True,
    metavar="SECS", help="How long the checks of other distributions may wait, such as for a job.",
)  # fmt: skip
@json_option
@click.pass_context
def doctor(context: click.Context, /, wait_secs: float, as_json: bool, **chosen: bool) -> int:
    """Say whether this place is fit for furu, and what is wrong with it.

    Each line is `ok`, a `note`, a `warning` or a `problem`; below what is not ok stands what to do. It tries out
    the filesystem of the store in a folder that goes afterwards, and changes nothing else. The status is 1 if there is a
    problem.
    """
    group: Any = context.find_root().command
    names = [
        option.opts[0].removeprefix("--")
        for option in context.command.get_params(context)
        if chosen.get(str(option.name))
    ]
    further = [_load(name) for name in names]  # before it takes time
    results: list[CheckResult] = []
    origins: list[SettingOrigin] = []
    with only_json(active=as_json), closing(_results(group, origins, further, wait_secs)) as found:
        for result in found:
            results.append(result)
            if not as_json:
                say(_line(result))
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
        say(_summary(numbers))
    return FAILED if numbers[CheckLevel.PROBLEM] else 0


def _results(
    group: LazyGroup, origins: list[SettingOrigin], further: list[FurtherChecks], wait_secs: float
) -> Generator[CheckResult, None, None]:
    def plugins() -> list[InstalledPlugin]:
        from furu_core._cli._plugins import all_plugins

        return all_plugins(group)

    try:
        origins += _installation.setting_origins()
    except FuruSettingsError as error:
        # Without settings there is no store to be looked at.
        yield from _checkup.installation_checks(plugins)
        yield problem("settings", error.message, error.hint)
        return
    yield from _checkup.all_checks(plugins, origins)
    for checks in further:
        yield from checks(wait_secs)


def _load(name: str) -> FurtherChecks:
    """The further checks of a name.

    Raises:
        FuruUsageError: they cannot be used.
    """
    try:
        plugin = _plugins.find(EntryPointGroup.CHECKS, name)
        assert plugin is not None
        found: FurtherChecks = plugin.load()
    except BrokenPlugin as error:
        raise FuruUsageError(error.message, hint=error.hint) from error.__cause__
    return found


def _line(result: CheckResult) -> str:
    level = result.level
    word = f"{level.value:<7}"
    colour = _COLOURS.get(level)
    head = styled(word, colour) if colour else word
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
