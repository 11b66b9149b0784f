"""Whether this Python and what is installed in it fit each other, and which settings there are and where from."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from typing import Any, Final

import attrs

from furu_core import _plugins
from furu_core._doctor._results import CheckResult, ok, problem
from furu_core._plugins import InstalledPlugin
from furu_core._settings import _settings
from furu_core._text import count

OURS: Final = "furu-"  # begins the names of furu's distributions, and of most plugins'


def python() -> Iterator[CheckResult]:
    """Which Python runs, and where."""
    yield ok("python", f"Python {platform.python_version()} at {sys.executable}")


@attrs.frozen
class InstalledPackage:
    """A distribution of furu, or one that requires furu.

    Attributes:
        name: its canonical name.
        version: its version.
        requires: what it requires, as in its metadata.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()


def installed_packages() -> dict[str, InstalledPackage]:
    """What is installed of furu, and what requires it, by name."""
    found: dict[str, InstalledPackage] = {}
    for dist in distributions():
        name = _plugins.canonical_name(_plugins.about(dist, "Name"))
        if not name or name in found:
            continue  # partly removed, or hidden by one that comes before
        requires = tuple(dist.requires or ())
        if name.startswith(OURS) or any(
            _plugins.canonical_name(one) == "furu-core" for one in requires
        ):
            found[name] = InstalledPackage(name, dist.version, requires)
    return dict(sorted(found.items()))


def packages(found: Mapping[str, InstalledPackage]) -> Iterator[CheckResult]:
    """Whether the distributions of furu, and those that require it, fit each other."""
    misfits = 0
    for one in found.values():
        for requirement in one.requires:
            name = _plugins.canonical_name(requirement)
            other = found.get(name)
            if other is None and not name.startswith(OURS):
                continue
            unmet = _plugins.unmet(requirement, "0" if other is None else other.version)
            if unmet:
                misfits += 1
                there = "is not installed" if other is None else f"{other.version} is installed"
                yield problem(
                    "packages",
                    f"{one.name} {one.version} requires {unmet}, but {name} {there}",
                    _plugins.upgrade_command(sorted({one.name, name})),
                )
    if not misfits:
        yield ok("packages", f"{versions_text(found)} fit each other")


def versions_text(found: Mapping[str, InstalledPackage]) -> str:
    """Names and versions, those of one version together."""
    by_version: dict[str, list[str]] = {}
    for one in found.values():
        by_version.setdefault(one.version, []).append(one.name)
    return "; ".join(f"{', '.join(names)} {version}" for version, names in by_version.items())


def plugins(found: list[InstalledPlugin]) -> Iterator[CheckResult]:
    """Whether what other distributions add can be imported."""
    broken = [one for one in found if one.problem]
    for one in broken:
        yield problem("plugins", one.problem, one.hint)
    if not broken:
        yield ok("plugins", f"{count(len(found), 'plugin')} can be imported")


@attrs.frozen
class SettingOrigin:
    """A setting, and what gave it.

    Attributes:
        name: its variable.
        value: its value, as a variable would have it.
        origin: what gave it; empty for the default.
    """

    name: str
    value: str
    origin: str

    def to_json(self) -> dict[str, Any]:
        """It as JSON."""
        return {"name": self.name, "value": self.value, "origin": self.origin or "default"}


def setting_origins() -> list[SettingOrigin]:
    """All settings of this process, and what gave each.

    Raises:
        FuruSettingsError: a value is bad, or a name is nearly that of a setting.
    """
    given = _settings.origins()
    told = _settings.settings_to_env(_settings.settings())
    del told[_settings.COMPLETE]
    return [
        SettingOrigin(
            name,
            value,
            "the environment" if given.get(name) == name else given.get(name, ""),
        )
        for name, value in told.items()
    ]


def settings(found: list[SettingOrigin]) -> Iterator[CheckResult]:
    """The settings that have not their defaults, and where they come from."""
    for one in found:
        if one.origin:
            origin = one.origin.partition(" in ")[2] or one.origin
            yield ok("settings", f"{one.name}={one.value} (from {origin})")
    rest = sum(not one.origin for one in found)
    what = "setting" if rest == len(found) else "other setting"
    yield ok("settings", f"{count(rest, what)} as by default; --json lists them")
