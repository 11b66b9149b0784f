"""How the code that made results differs from the code that is there now, class by class."""

from __future__ import annotations

from typing import Final

import attrs

from furu_core._code import _acceptances, _listings
from furu_core._code._acceptances import AcceptedChange
from furu_core._code._differences import CurrentCode, ModuleChange, ModuleDifference
from furu_core.errors import FuruFormatError

_SHOWN: Final = 3  # of the functions and classes of a module


@attrs.frozen
class CodeState:
    """How the code of a result differs from the code that is there now.

    Attributes:
        changed: the modules that changed.
        accepted: those that changed, of which somebody said that this does not matter.
        not_compared: why it is not known of others: the names of modules, and what they lack.
    """

    changed: tuple[ModuleDifference, ...] = ()
    accepted: tuple[ModuleDifference, ...] = ()
    not_compared: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """What changed, such as ``"model.py Encoder.forward"``, a text for each module."""
        return tuple(map(change_text, self.changed))


class CodeStates:
    """Compares results' code with the code that is there now; each module is read once."""

    def __init__(self) -> None:
        self._current = CurrentCode()
        self._differences: dict[str, tuple[ModuleDifference, ...] | None] = {}
        self._acceptances: dict[str, list[_acceptances.Acceptance]] = {}
        self._states: dict[tuple[str, str], CodeState] = {}

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
        changed: list[ModuleDifference] = []
        accepted: list[ModuleDifference] = []
        not_compared: list[str] = []
        for one in differences:
            match one.change:
                case ModuleChange.GONE:
                    not_compared.append(f"{one.name} is not found here")
                case ModuleChange.UNKNOWN:
                    not_compared.append(f"{one.name}: {one.module.unknown}")
                case ModuleChange.CHANGED:
                    known = self.acceptances(class_name)
                    fine = _acceptances.is_accepted(one.name, one.module.syntax, one.syntax, known)
                    (accepted if fine else changed).append(one)
        return CodeState(tuple(changed), tuple(accepted), tuple(not_compared))

    def _differences_of(self, digest: str) -> tuple[ModuleDifference, ...] | None:
        if digest not in self._differences:
            try:
                listing = _listings.read(digest) if digest else None
            except FuruFormatError:
                listing = None
            found = None if listing is None else self._current.differences(listing)
            self._differences[digest] = found
        return self._differences[digest]


def change_text(changed: ModuleDifference) -> str:
    """What changed in a module: its path, and the functions and classes, as far as that is known."""
    names = changed.definitions()
    shown = ", ".join(names[:_SHOWN])
    if len(names) > _SHOWN:
        shown += f" and {len(names) - _SHOWN} more"
    return f"{changed.module.path} {shown}".rstrip()


def as_accepted(changed: ModuleDifference) -> AcceptedChange:
    """A change of a module, for an acceptance of it."""
    return AcceptedChange(changed.name, changed.module.syntax, changed.syntax)
