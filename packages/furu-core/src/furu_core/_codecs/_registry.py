"""Codecs of other distributions, found by entry point."""

from __future__ import annotations

import functools
from typing import Any, Final

import attrs

from furu_core._codecs._own import OWN_CODECS, OWN_NAMES
from furu_core.codecs import Codec
from furu_core.errors import FuruResultError

GROUP: Final = "furu.codecs"


@attrs.frozen
class Installed:
    """A codec and where it comes from.

    Attributes:
        codec: the instance that serves this process.
        distribution: the distribution's name.
    """

    codec: Codec
    distribution: str


@attrs.frozen
class Broken:
    """An entry point that could not be made into a codec.

    Attributes:
        name: of the entry point.
        distribution: the distribution's name.
        reason: what is wrong, in words.
    """

    name: str
    distribution: str
    reason: str


@attrs.frozen
class Registry:
    """What is installed, in the order in which it is asked."""

    codecs: tuple[Installed, ...]
    broken: tuple[Broken, ...]


@functools.cache
def installed() -> Registry:
    """The codecs of other distributions, by name; looked up once in a process."""
    from importlib.metadata import entry_points  # costs more than a cached result does

    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, _distribution(point)))
    codecs: list[Installed] = []
    broken: list[Broken] = []
    for point in points:
        distribution = _distribution(point)
        try:
            codec = point.load()()
        except Exception as error:  # noqa: BLE001 - foreign code; reported when it is needed
            broken.append(Broken(point.name, distribution, f"{type(error).__name__}: {error}"))
            continue
        problem = _problem(codec, codecs)
        if problem:
            broken.append(Broken(point.name, distribution, problem))
        else:
            codecs.append(Installed(codec, distribution))
    return Registry(tuple(codecs), tuple(broken))


def find(name: str, distribution: str, *, path: str) -> Codec:
    """The codec that a result was stored with.

    Args:
        name: the codec's name.
        distribution: which distribution brought it then.
        path: the file to be loaded.

    Raises:
        FuruResultError: it is not installed here, or broken.
    """
    for own in OWN_CODECS:
        if own.name == name and not distribution:
            return own
    registry = installed()
    for entry in registry.codecs:
        if entry.codec.name == name:
            return entry.codec
    for broken in registry.broken:
        if broken.distribution == distribution:
            raise FuruResultError(
                f"{path} was stored by the codec {name!r} of {distribution}, whose entry point "
                f"{broken.name!r} is broken here: {broken.reason}",
                hint=f"repair the installation of {distribution}",
            )
    raise FuruResultError(
        f"{path} was stored by the codec {name!r} of {distribution}, which is not installed here",
        hint=f"install it: pip install {distribution}",
    )


def broken_note() -> str:
    """What to add to an error about a value that nobody takes, when codecs are broken."""
    found = installed().broken
    if not found:
        return ""
    names = "; ".join(f"{item.name!r} of {item.distribution}: {item.reason}" for item in found)
    return f" (codecs that could not be asked: {names})"


def _problem(codec: Any, others: list[Installed]) -> str:
    if not isinstance(codec, Codec):
        return f"{type(codec).__qualname__} is no furu_core.codecs.Codec"
    name, suffix = getattr(codec, "name", None), getattr(codec, "suffix", None)
    if not isinstance(name, str) or not name:
        return "its codec has no name"
    if not isinstance(suffix, str) or not suffix.startswith(".") or "/" in suffix:
        return f"its codec {name!r} needs a suffix that starts with a dot, got {suffix!r}"
    if name in OWN_NAMES:
        return f"the name {name!r} is one of furu's own codecs"
    for other in others:
        if other.codec.name == name:
            return f"{other.distribution} brings a codec {name!r} too; uninstall one of them"
    return ""


def _distribution(point: Any) -> str:
    return "" if point.dist is None else str(point.dist.name)
