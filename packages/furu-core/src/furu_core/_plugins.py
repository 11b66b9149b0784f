"""Plugins of other distributions: found among their entry points, imported one at a time.

Nothing is cached here, so a plugin that was installed a moment ago is found; callers that ask often
cache the answer.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, Final

import attrs

from furu_core import _text

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

# All packages of furu share a version. A plugin that requires one of these needs its interface.
_INTERFACES: Final = frozenset({"furu-core", "furu-plan"})
_log = logging.getLogger("furu.plugins")
_unreadable: set[str] = set()  # distributions that were warned of


class EntryPointGroup(Enum):
    """The groups of entry points that furu reads."""

    EXECUTORS = "furu.executors"
    CODECS = "furu.codecs"
    COMMANDS = "furu.commands"
    SETTINGS = "furu.settings"
    CHECKS = "furu.checks"

    @property
    def one(self) -> str:
        """The word for one plugin of the group."""
        return self.value.removeprefix("furu.").removesuffix("s")


@attrs.frozen
class Plugin:
    """An entry point of an installed distribution.

    Attributes:
        group: the group of entry points.
        name: the name it is registered as.
        target: module and attribute.
        distribution: name of the distribution.
        version: the distribution's version.
        folder: where the distribution is installed.
        requires: the distribution's requirements, as in its metadata.
    """

    group: EntryPointGroup
    name: str
    target: str
    distribution: str
    version: str
    folder: str
    requires: tuple[str, ...] = attrs.field(repr=False)
    _point: EntryPoint = attrs.field(repr=False, eq=False)

    @property
    def origin(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}".rstrip()

    def load(self) -> Any:
        """Import the object.

        Raises:
            BrokenPlugin: it was made for another furu, or cannot be imported.
        """
        self._refuse_other_furu()
        match = self._point.pattern.match(self.target)
        if match is None:
            raise BrokenPlugin(
                self, f"has the entry point {self.target!r}, which is no module:attribute"
            )
        holder: Any = None
        try:
            found: Any = import_module(match["module"])
            for part in filter(None, (match["attr"] or "").split(".")):
                holder = found
                found = getattr(holder, part)
        except (Exception, SystemExit) as error:  # whatever a third party's module raises
            raise self._import_failure(error, holder) from error
        return found

    def load_class(self, base: type[Any]) -> Any:
        """Import a class whose `name` is that of the plugin.

        Args:
            base: what it must be a subclass of, with nothing left abstract.

        Raises:
            BrokenPlugin: it is no such class, or cannot be imported.
        """
        loaded = self.load()
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            public = f"{self.group.value.replace('furu.', 'furu_core.')}.{base.__name__}"
            raise BrokenPlugin(self, f"is {self.target}, which is no subclass of {public}")
        missing = sorted(getattr(loaded, "__abstractmethods__", ()))
        if missing:
            plural = "" if len(missing) == 1 else "s"
            raise BrokenPlugin(self, f"lacks the method{plural} {', '.join(missing)}")
        # Jobs and files on disk record the class's name; by that the plugin must be found again.
        own_name = getattr(loaded, "name", None)
        if own_name != self.name:
            raise BrokenPlugin(self, f"has a class whose `name` is {own_name!r}")
        return loaded

    def _refuse_other_furu(self) -> None:
        asked = [text for text in self.requires if canonical_name(text) in _INTERFACES]
        here = _version_of_furu()
        refused = [wanted for text in asked if (wanted := unmet(text, here))]
        if refused:
            names = {"furu-core", *map(canonical_name, asked)}
            raise BrokenPlugin(
                self,
                f"was made for another furu: it requires {' and '.join(refused)}, but furu-core "
                f"{here} is installed",
                hint="install versions that fit together: "
                + upgrade_command([self.distribution, *sorted(names)]),
            )

    def _import_failure(self, error: BaseException, holder: Any) -> BrokenPlugin:
        module = self.target.partition(":")[0].strip()
        said = str(error).strip().partition("\n")[0]
        reason = f"cannot be imported from {self.target}: {type(error).__name__}: {said}"
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            return BrokenPlugin(
                self,
                f"is registered as {self.target}, but there is no module {error.name}",
                hint=f"install it again, and if that does not help, {_report(self)}",
            )
        if isinstance(error, AttributeError) and holder is not None and error.obj is holder:
            near = _text.nearest(error.name or "", dir(holder))
            likely = f" (it has {near[0]})" if near else ""
            reason = f"is registered as {self.target}, but {said}{likely}"
            return BrokenPlugin(self, reason, hint=_report(self))
        newer = upgrade_command([self.distribution])  # this installs its requirements as well
        return BrokenPlugin(self, reason, hint=f"{newer}; if that does not help, {_report(self)}")


class BrokenPlugin(Exception):
    """A plugin that cannot be used; each registry raises or warns of it in its own way.

    Args:
        plugin: the plugin.
        reason: what is wrong with it, to be read after its name.
        hint: what to do about it; by default, to report it to its authors.
    """

    def __init__(self, plugin: Plugin, reason: str, *, hint: str = "") -> None:
        super().__init__(plugin, reason)
        self.plugin = plugin
        self.message = f"the {plugin.group.one} {plugin.name!r} of {plugin.origin} {reason}"
        self.hint = hint or _report(plugin)

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


@attrs.frozen
class InstalledPlugin:
    """A plugin and its health.

    Attributes:
        group: the group of entry points.
        name: the name it is registered as, for an executor that of `furu run --executor`.
        target: module and attribute.
        distribution: name of the distribution that brings it.
        version: the distribution's version.
        folder: where the distribution is installed.
        problem: why it cannot be used; empty when it can.
        hint: what to do about it.
    """

    group: str
    name: str
    target: str
    distribution: str
    version: str
    folder: str
    problem: str = ""
    hint: str = ""


def registered(group: EntryPointGroup) -> list[Plugin]:
    """All plugins that distributions register, broken or not, by name; none is imported."""
    if not _may_be_registered(group):
        return []
    from importlib.metadata import distributions  # takes 20 ms

    found: dict[tuple[str, str, str], Plugin] = {}
    for dist in distributions():
        try:
            plugins = _plugins_of(dist, group)
        except Exception as error:  # noqa: BLE001 - files of a third party, which must not harm others
            _warn_of(dist, error)
            continue
        for plugin in plugins:
            # Of two installations of one distribution the first counts, as for imports.
            name = canonical_name(plugin.distribution)
            found.setdefault((plugin.name, name, plugin.target), plugin)
    return sorted(found.values(), key=lambda plugin: (plugin.name, plugin.origin, plugin.target))


def _may_be_registered(group: EntryPointGroup) -> bool:
    """Whether a distribution may register anything in a group.

    Few bring codecs, and every worker asks for them. So this looks for the group's name in the files
    where the interpreter's own finder would look; where there are other finders, or archives, it is
    not known.
    """
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    if finders != [PathFinder]:
        return True
    heading = f"[{group.value}]".encode()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except FileNotFoundError:
            continue
        except OSError:  # an archive, for instance
            return True
        if folder.endswith(".egg"):
            return True
        for name in names:
            if not name.lower().endswith((".dist-info", ".egg-info")):
                continue
            try:
                with open(f"{folder or '.'}/{name}/entry_points.txt", "rb") as file:
                    if heading in b"".join(file.read().split()):
                        return True
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return True
    return False


def find(group: EntryPointGroup, name: str) -> Plugin | None:
    """The plugin registered under a name; None if there is none.

    Raises:
        BrokenPlugin: there is more than one.
    """
    found = [plugin for plugin in registered(group) if plugin.name == name]
    if not found:
        return None
    refuse_clash(found[0], found)
    return found[0]


def refuse_clash(plugin: Plugin, others: list[Plugin]) -> None:
    """Raise `BrokenPlugin` if one of the others, of the same group, has the same name."""
    same = [one for one in others if one.name == plugin.name and one != plugin]
    if not same:
        return
    origins = sorted({one.origin for one in same} - {plugin.origin})
    if not origins:
        raise BrokenPlugin(plugin, "is registered more than once by it")
    names = sorted({plugin.distribution, *(one.distribution for one in same)})
    raise BrokenPlugin(
        plugin,
        f"has the same name as that of {' and '.join(origins)}",
        hint="keep one of them: " + " or ".join(f"pip uninstall {name}" for name in names),
    )


def examined(group: EntryPointGroup, use: Callable[[Plugin], object]) -> list[InstalledPlugin]:
    """All plugins of a group, each one loaded to see whether it can be used.

    Args:
        group: the group.
        use: loads and checks one, and raises `BrokenPlugin`.
    """
    plugins = registered(group)
    found = []
    for plugin in plugins:
        problem = hint = ""
        try:
            refuse_clash(plugin, plugins)
            use(plugin)
        except BrokenPlugin as error:
            problem, hint = error.message, error.hint
        found.append(
            InstalledPlugin(
                *(group.value, plugin.name, plugin.target),
                *(plugin.distribution, plugin.version, plugin.folder, problem, hint),
            )
        )
    return found


def _plugins_of(dist: Distribution, group: EntryPointGroup) -> list[Plugin]:
    """The plugins that one installed distribution registers in a group."""
    # Most distributions have nothing for furu; parsing them all would take several times as long.
    if "furu." not in (dist.read_text("entry_points.txt") or ""):
        return []
    folder = str(dist.locate_file(""))
    name, version = about(dist, "Name"), about(dist, "Version")
    if _is_hidden(name, folder):
        return []
    requires = tuple(dist.requires or ())
    return [
        Plugin(
            *(group, point.name, point.value, name or f"a nameless distribution in {folder}"),
            *(version, folder, requires, point),
        )
        for point in dist.entry_points
        if point.group == group.value
    ]


def _is_hidden(name: str, folder: str) -> bool:
    """Whether another installation of a distribution comes earlier on the path."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return bool(name) and str(distribution(name).locate_file("")) != folder
    except PackageNotFoundError:
        return False


def _warn_of(dist: Distribution, error: Exception) -> None:
    folder = str(getattr(dist, "_path", None) or dist.locate_file(""))
    if folder not in _unreadable:  # each group is read on its own, so this is reached several times
        _unreadable.add(folder)
        try:
            who = f"{about(dist, 'Name')} {about(dist, 'Version')}"
        except Exception:  # noqa: BLE001 - the folder's name tells as much
            who = "a distribution"
        _log.warning(
            "the entry points of %s in %s cannot be read (%s: %s); install it again",
            *(who, folder, type(error).__name__, error),
        )


def about(dist: Distribution, key: str) -> str:
    """What a distribution's metadata has under a key; empty for nothing."""
    values = dist.metadata.get_all(key)  # a partly removed distribution may have no metadata
    return str(values[0]) if values else ""


def _report(plugin: Plugin) -> str:
    return f"report it to the authors of {plugin.distribution}"


def _version_of_furu() -> str:
    from importlib.metadata import version

    return version("furu-core")


def unmet(requirement: str, here: str) -> str:
    """A requirement, without its marker, if a version does not meet it; else nothing.

    Example:
        >>> unmet("furu-core <0.2,>=0.1; python_version > '3'", "0.2.0")
        'furu-core<0.2,>=0.1'
    """
    # The usual case; else `packaging` is imported, which takes as long as loading a small result.
    if requirement.replace(" ", "") == f"{canonical_name(requirement)}=={here}":
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
        for_others = wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})
        if for_others or wanted.specifier.contains(here, prereleases=True):
            return ""
    except (InvalidRequirement, ValueError, LookupError):  # judging it is the installer's task
        return ""
    return f"{canonical_name(requirement)}{wanted.specifier}"


def canonical_name(requirement: str) -> str:
    """The canonical name of a distribution, given its name or a requirement."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def upgrade_command(distributions: Iterable[str]) -> str:
    """The command that installs the newest versions of some distributions which fit together."""
    import shlex  # most plugins are well

    return shlex.join(["pip", "install", "--upgrade", *distributions])
