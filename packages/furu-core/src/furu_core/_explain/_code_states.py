"""How the code that made results differs from the code that is there now, class by class."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import attrs

from furu_core._code import _acceptances, _listings
from furu_core._code._acceptances import AcceptedChange
from furu_core._code._differences import CurrentCode, ModuleChange, ModuleDifference
from furu_core._code._reach import Reach
from furu_core._files import read_file
from furu_core.errors import FuruFormatError

_SHOWN: Final = 3  # of the functions and classes of a module
_REACHES: Final = 50  # kept at once; that of a thousand modules takes megabytes


@attrs.frozen
class ChangedModule:
    """A module that changed since a result was made.

    Attributes:
        difference: what differs.
        names: the functions and classes that changed; empty where that is not known.
    """

    difference: ModuleDifference
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """Its path and what changed in it, such as ``"model.py Encoder.forward"``."""
        shown = ", ".join(self.names[:_SHOWN])
        if len(self.names) > _SHOWN:
            shown += f" and {len(self.names) - _SHOWN} more"
        return f"{self.difference.module.path} {shown}".rstrip()

    @property
    def as_accepted(self) -> AcceptedChange:
        """The change, for an acceptance of it."""
        one = self.difference
        return AcceptedChange(one.name, one.module.syntax, one.syntax)


@attrs.frozen
class CodeState:
    """How the code of a result differs from the code that is there now.

    Attributes:
        changed: the modules that changed, with what of the changes the result may depend on.
        accepted: those that changed, of which somebody said that this does not matter.
        unrelated: those of which only parts changed that the result's class does not name.
        not_compared: why it is not known of others: the names of modules, and what they lack.
    """

    changed: tuple[ChangedModule, ...] = ()
    accepted: tuple[ChangedModule, ...] = ()
    unrelated: tuple[ChangedModule, ...] = ()
    not_compared: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """What changed, such as ``"model.py Encoder.forward"``, a text for each module."""
        return tuple(one.text for one in self.changed)


class CodeStates:
    """Compares results' code with the code that is there now; each module is read once."""

    def __init__(self) -> None:
        self._current = CurrentCode()
        self._differences: dict[str, tuple[ModuleDifference, ...] | None] = {}
        self._acceptances: dict[str, list[_acceptances.Acceptance]] = {}
        self._states: dict[tuple[str, str], CodeState] = {}
        self._reaches: dict[str, Reach | None] = {}

    def of(self, class_name: str, digest: str) -> CodeState:
        """How the code of a result differs.

        Args:
            class_name: the result's class, by its name in hashes.
            digest: of its listing of code; empty where none was recorded.
        """
        key = (class_name, digest)
        if key not in self._states:
            self._states[key] = self._judged(class_name, digest)
        return self._states[key]

    def acceptances(self, class_name: str) -> list[_acceptances.Acceptance]:
        """What was accepted of a class."""
        if class_name not in self._acceptances:
            self._acceptances[class_name] = _acceptances.acceptances(class_name)
        return self._acceptances[class_name]

    def _judged(self, class_name: str, digest: str) -> CodeState:
        differences = self._differences_of(digest)
        if differences is None:
            why = (
                "its code was not recorded" if not digest else f"the store lacks its code {digest}"
            )
            return CodeState(not_compared=(why,))
        home = class_name.partition(":")[0]
        if any(one.name == home and one.change is ModuleChange.GONE for one in differences):
            # From the folder of another project, where modules may have the same names.
            return CodeState(not_compared=(f"{home} is not found here",))
        changed: list[ChangedModule] = []
        accepted: list[ChangedModule] = []
        unrelated: list[ChangedModule] = []
        not_compared: list[str] = []
        known = self.acceptances(class_name)
        reach: frozenset[tuple[str, str]] | None = None
        is_reach_known = False
        for one in differences:
            match one.change:
                case ModuleChange.GONE:
                    not_compared.append(f"{one.name} is not found here")
                case ModuleChange.UNKNOWN:
                    not_compared.append(f"{one.name}: {one.module.unknown}")
                case ModuleChange.CHANGED if not one.syntax:
                    not_compared.append(
                        f"{one.name} is no Python now"
                    )  # in the middle of a merge, say
                case ModuleChange.CHANGED:
                    names = one.definitions()
                    found = ChangedModule(one, names)
                    if _acceptances.is_accepted(one.name, one.module.syntax, one.syntax, known):
                        accepted.append(found)
                        continue
                    if names and not is_reach_known:
                        reach, is_reach_known = self._reach(class_name, digest, differences), True
                    if not names or reach is None:
                        changed.append(found)
                    elif hit := tuple(name for name in names if (one.name, name) in reach):
                        changed.append(ChangedModule(one, hit))
                    else:
                        unrelated.append(found)
        return CodeState(tuple(changed), tuple(accepted), tuple(unrelated), tuple(not_compared))

    def _reach(
        self, class_name: str, digest: str, differences: tuple[ModuleDifference, ...]
    ) -> frozenset[tuple[str, str]] | None:
        """What of its code the results of a class may depend on; None for everything."""
        if digest not in self._reaches:
            if len(self._reaches) >= _REACHES:
                self._reaches.clear()
            self._reaches[digest] = _reach_of(digest, differences)
        reach = self._reaches[digest]
        return None if reach is None else reach.of(class_name)

    def _differences_of(self, digest: str) -> tuple[ModuleDifference, ...] | None:
        if digest not in self._differences:
            try:
                listing = _listings.read(digest) if digest else None
            except FuruFormatError:
                listing = None
            found = None if listing is None else self._current.differences(listing)
            self._differences[digest] = found
        return self._differences[digest]


def _reach_of(digest: str, differences: Iterable[ModuleDifference]) -> Reach | None:
    """What the classes of a listing reach, with the code that is there now; None for everything."""
    listing = _listings.read(digest)
    assert listing is not None
    before = {}
    for name, module in listing.modules.items():
        source = _listings.source_of(module)
        if source is not None:
            before[name] = source
        elif not module.is_script:
            return None  # nobody knows what it names
    now = {}
    for one in differences:
        if one.change is ModuleChange.CHANGED:
            with suppress(OSError):
                now[one.name] = read_file(one.file)
    return Reach.over(before, now)
