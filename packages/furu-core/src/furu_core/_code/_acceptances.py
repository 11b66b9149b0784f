"""Acceptances: what users said of changes of code, that they do not matter to the results of a class.

::

    <store>/accepted/<module path>/<Class>/<id>.json         an acceptance
    <store>/accepted/<module path>/<Class>/<id>.withdrawn    one that was taken back

They stand beside the results and are in no record of theirs, so what a record says stays true.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import attrs

from furu_core import _files, _trust
from furu_core._config._class_names import relpath_of
from furu_core._files import store_errors
from furu_core._record_format import RecordFormat
from furu_core._settings import _settings
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruUsageError

FOLDER: Final = "accepted"
_SUFFIX: Final = ".json"
_WITHDRAWN: Final = ".withdrawn"


@attrs.frozen
class AcceptedChange:
    """A change of a module that does not matter.

    Attributes:
        module: its name in listings.
        then: the digest of its syntax tree, as results were computed by it.
        now: that after the change.
    """

    module: str
    then: str
    now: str


@attrs.frozen
class Acceptance:
    """A user's word that changes do not matter to the results of a class.

    Attributes:
        class_name: the class, by its name in hashes.
        reason: why, in the user's words.
        user: who said so.
        time: when.
        changes: which.
    """

    class_name: str
    reason: str
    user: str
    time: float
    changes: tuple[AcceptedChange, ...]


_FORMAT: Final = RecordFormat(
    Acceptance,
    "the record of an acceptance",
    version=1,
    key="furu",
    next_step="remove it, and accept the changes once more",
)


def accept(class_name: str, reason: str, changes: Iterable[AcceptedChange]) -> Acceptance:
    """Record that changes do not matter to the results of a class.

    Raises:
        FuruStoreError: the store cannot be written.
    """
    made = Acceptance(
        class_name, reason, _trust.user_name(os.getuid()), time.time(), tuple(changes)
    )
    folder = _folder(class_name)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(made.time)) + f"{made.time % 1:.6f}"[1:]
    with store_errors(folder):
        os.makedirs(folder, exist_ok=True)
        _FORMAT.create(f"{folder}/{stamp}-{secrets.token_hex(3)}{_SUFFIX}", made)
    return made


def withdraw(class_name: str) -> Acceptance:
    """Take back the last acceptance of a class; the record stays, under another name.

    Raises:
        FuruUsageError: there is none.
        FuruStoreError: the store cannot be written.
    """
    folder = _folder(class_name)
    with store_errors(folder):
        for path in reversed(_paths(folder)):
            found = _FORMAT.read(path)
            with suppress(FileNotFoundError):  # another process took it back in this moment
                os.rename(path, path.removesuffix(_SUFFIX) + _WITHDRAWN)
                return found
    raise FuruUsageError(
        f"nothing was accepted of {class_name}",
        hint="`furu code` tells which results are by other code",
    )


def acceptances(class_name: str) -> list[Acceptance]:
    """The acceptances of a class, in the order of their times; without those that cannot be read."""
    found = []
    for path in _paths(_folder(class_name)):
        with suppress(OSError, FuruDamagedRecord, FuruFormatError):
            found.append(_FORMAT.read(path))
    return found


def is_accepted(module: str, then: str, now: str, known: Iterable[Acceptance]) -> bool:
    """Whether the way from one state of a module to another one leads over accepted changes.

    Args:
        module: its name in listings.
        then: the digest of its syntax tree in a result's listing.
        now: the digest now.
        known: the acceptances of the result's class.
    """
    steps = [change for one in known for change in one.changes if change.module == module]
    reached = {then}
    grew = True
    while grew and now not in reached:
        further = {step.now for step in steps if step.then in reached}
        grew = not further <= reached
        reached |= further
    return now in reached


def _folder(class_name: str) -> str:
    return f"{_settings.settings().path}/{FOLDER}/{relpath_of(class_name)}"


def _paths(folder: str) -> list[str]:
    try:
        names = sorted(_files.list_folder(folder))
    except OSError:
        return []
    return [
        f"{folder}/{name}" for name in names if name.endswith(_SUFFIX) and not name.startswith(".")
    ]
