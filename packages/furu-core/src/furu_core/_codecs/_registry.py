"""Codecs of other distributions: all are imported to store a value, only one to load it."""

from __future__ import annotations

import functools
import logging
from typing import Final

import attrs

from furu_core import _plugins
from furu_core._codecs._codec import Codec
from furu_core._codecs._installed import Installed
from furu_core._codecs._own import OWN_NAMES
from furu_core._plugins import BrokenPlugin, EntryPointGroup, InstalledPlugin, Plugin
from furu_core.errors import FuruResultError

_log: Final = logging.getLogger("furu.codecs")


@attrs.frozen
class Registry:
    """The installed codecs, in the order in which they are asked."""

    codecs: tuple[Installed, ...]
    broken: tuple[BrokenPlugin, ...]


@functools.cache
def installed() -> Registry:
    """The codecs of other distributions; looked up once per process, which warns of broken ones."""
    plugins = _plugins.registered(EntryPointGroup.CODECS)
    codecs: list[Installed] = []
    broken: list[BrokenPlugin] = []
    for plugin in plugins:
        try:
            _plugins.refuse_clash(plugin, plugins)
            codecs.append(Installed(_codec_of(plugin), plugin.distribution))
        except BrokenPlugin as error:
            _log.warning("%s; until then results are stored without it", error)
            broken.append(error)
    return Registry(tuple(codecs), tuple(broken))


def examined() -> list[InstalledPlugin]:
    """All codecs that other distributions register, each one imported and made."""
    return _plugins.examined(EntryPointGroup.CODECS, _codec_of)


def find(name: str, distribution: str, *, path: str) -> Codec:
    """The codec of another distribution that a result was stored with; no other one is imported.

    Args:
        name: the codec's name.
        distribution: the distribution that brought it when the result was stored.
        path: the file to be loaded.

    Raises:
        FuruResultError: it is not installed here, or broken.
    """
    stored = f"{path} was stored by the codec {name!r} of {distribution}"
    try:
        return _named(name, _plugins.canonical_name(distribution))
    except BrokenPlugin as error:
        raise FuruResultError(
            f"{stored}, which cannot be used here: {error.message}", hint=error.hint
        ) from error.__cause__
    except LookupError:
        raise FuruResultError(
            f"{stored}, which is not installed here",
            hint=f"install it: pip install {distribution}",
        ) from None


def broken_note() -> str:
    """A note on broken codecs, to add to an error about a value that no codec takes."""
    found = installed().broken
    if not found:
        return ""
    return f" (codecs that could not be asked: {'; '.join(error.message for error in found)})"


@functools.cache
def _named(name: str, distribution: str) -> Codec:
    """The codec of a name; where several distributions have one, that of `distribution`.

    Raises:
        LookupError: there is none; this is not cached, since it may be installed later.
        BrokenPlugin: it cannot be used.
    """
    found = [
        plugin for plugin in _plugins.registered(EntryPointGroup.CODECS) if plugin.name == name
    ]
    same = [one for one in found if _plugins.canonical_name(one.distribution) == distribution]
    found = same or found  # else another distribution took the codec over
    if not found:
        raise LookupError(name)
    _plugins.refuse_clash(found[0], found)
    return _codec_of(found[0])


@functools.cache
def _codec_of(plugin: Plugin) -> Codec:
    codec: type[Codec] = plugin.load_class(Codec)
    if codec.name in OWN_NAMES:
        raise BrokenPlugin(plugin, "has the name of one of furu's own codecs")
    suffix = getattr(codec, "suffix", None)
    if not isinstance(suffix, str) or not suffix.startswith(".") or "/" in suffix:
        raise BrokenPlugin(plugin, f"needs a `suffix` that starts with a dot, got {suffix!r}")
    if type(codec.version) is not int:  # a manifest with another one would be read as damaged
        raise BrokenPlugin(plugin, f"needs a whole number as its `version`, got {codec.version!r}")
    try:
        return codec()
    except Exception as error:  # whatever a third party's class raises
        raise BrokenPlugin(plugin, f"cannot be made: {type(error).__name__}: {error}") from error
