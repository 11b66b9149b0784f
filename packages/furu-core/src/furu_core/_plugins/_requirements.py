"""What a distribution requires, compared with what is installed here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable

import attrs

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@attrs.frozen
class Unmet:
    """A requirement that what is installed does not meet.

    Attributes:
        requirement: without its marker, such as ``furu-core<0.2``.
        name: of the distribution that is required, in its canonical form.
        installed: its version here; empty where it is missing.
    """

    requirement: str
    name: str
    installed: str

    def __str__(self) -> str:
        if not self.installed:
            return f"{self.requirement}, which is not installed"
        return f"{self.requirement}, but {self.name} {self.installed} is installed"


def unmet(requires: Iterable[str], only: Collection[str] = ()) -> list[Unmet]:
    """The requirements that are not met; those of extras are nobody's.

    Args:
        requires: as in ``Requires-Dist``; what cannot be parsed is left to the installer.
        only: canonical names of the distributions to look at; all when empty.

    Example:
        >>> [str(one) for one in unmet(["furu-core>=0.1", "furu-core<0.0.1", "no-such-thing"])]
        ['furu-core<0.0.1, but furu-core ... is installed', 'no-such-thing, which is not installed']
    """
    return [
        one
        for text in requires
        if not only or name_of(text) in only
        if (one := _unmet(text)) is not None
    ]


def name_of(requirement: str) -> str:
    """The canonical name of the distribution that is required, or of one."""
    match = _NAME.match(requirement.strip())
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def command(verb: str, what: Iterable[str]) -> str:
    """What to type, such as ``pip install 'furu-core<0.2'``."""
    return shlex.join(["pip", *verb.split(), *what])


def _unmet(text: str) -> Unmet | None:
    name = name_of(text)
    here = _version(name)
    # The usual case; else `packaging` is imported, which takes as long as loading a small result.
    if here and text.replace(" ", "") == f"{name}=={here}":
        return None
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            return None
        fits = bool(here) and wanted.specifier.contains(here, prereleases=True)
    except (InvalidRequirement, ValueError, LookupError):
        return None
    wanted.marker, wanted.name = None, name
    return None if fits else Unmet(str(wanted), name, here)


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(name).metadata.get_all("Version")
    except (PackageNotFoundError, ValueError):  # ValueError: no name at all
        return ""
    return str(found[0]) if found else ""
