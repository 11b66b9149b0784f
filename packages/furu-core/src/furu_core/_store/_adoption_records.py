"""The records of adoptions: which class took over the results of which, and under what hashes.

::

    <store>/adoptions/<id>.json     one adoption
    <store>/adoptions/lock          held while one is made or taken back

A record is written before the first alias is made, and removed after the last one was taken back.
So whatever is killed, the same command goes on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import attrs

from furu_core import _trust
from furu_core._files import list_folder, store_error
from furu_core._record_format import OMIT_EMPTY, RecordFormat
from furu_core._settings import _settings
from furu_core.errors import FuruError

FOLDER: Final = "adoptions"
ADOPTED: Final = "adopted"  # how records tell that a result is an alias
_SUFFIX: Final = ".json"


@attrs.frozen
class Alias:
    """A result that is found under a second name.

    Attributes:
        class_name: the class of the alias, by its name in hashes.
        hash: its hash.
        from_class: the class of the result that it is an alias of.
        from_hash: the hash of that.
    """

    class_name: str
    hash: str
    from_class: str
    from_hash: str


@attrs.frozen
class Adoption:
    """A class that took over the results of another one, or of an older form of itself.

    Attributes:
        id: tells it from other adoptions.
        old: the name in hashes of the class that computed the results.
        new: that of the class which took them over.
        importable: the name to import that by.
        map: new keys of fields, by the old ones.
        set: values of new fields, as tagged JSON, by their keys.
        drop: values of old fields that the new class lacks, as they were typed, by their keys.
        aliases: what was made, or is to be.
    """

    id: str
    old: str
    new: str
    importable: str
    map: dict[str, str] = attrs.field(factory=dict, metadata=OMIT_EMPTY)
    set: dict[str, str] = attrs.field(factory=dict, metadata=OMIT_EMPTY)
    drop: dict[str, str] = attrs.field(factory=dict, metadata=OMIT_EMPTY)
    aliases: tuple[Alias, ...] = ()

    @property
    def path(self) -> str:
        """The file of its record."""
        return f"{folder()}/{self.id}{_SUFFIX}"

    def is_like(self, other: Adoption) -> bool:
        """Whether both take over the same results in the same way."""
        return attrs.evolve(self, id="", aliases=()) == attrs.evolve(other, id="", aliases=())

    def write(self) -> None:
        """Write its record, in place of one that is there.

        Raises:
            FuruStoreError: the store cannot be written.
        """
        try:
            os.makedirs(folder(), exist_ok=True)
            _FORMAT.replace(self.path, self, sync=True, mode=_trust.OWNER_WRITES)
        except OSError as error:
            raise store_error(error, self.path) from error

    def remove(self) -> None:
        """Remove its record.

        Raises:
            FuruStoreError: the store cannot be written.
        """
        try:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
        except OSError as error:
            raise store_error(error, self.path) from error


_FORMAT: Final = RecordFormat(
    Adoption, "the record of an adoption", version=1, next_step="was it changed? Put it back"
)


def folder() -> str:
    """The folder of the records in the current store."""
    return f"{_settings.settings().path}/{FOLDER}"


def adoptions() -> list[Adoption]:
    """All adoptions in the current store, in the order of their ids, which is that of their times.

    Raises:
        FuruStoreError: the folder cannot be read.
        FuruDamagedRecord, FuruFormatError: a record cannot be read.
        FuruUntrustedFile: one is of somebody who may not say what is imported.
    """
    found = []
    try:
        for name in sorted(list_folder(folder())):
            if name.endswith(_SUFFIX) and not name.startswith("."):
                path = f"{folder()}/{name}"
                with suppress(FileNotFoundError):  # taken back in this moment
                    found.append(_FORMAT.from_bytes(_trust.read_trusted(path), path))
    except OSError as error:
        raise store_error(error, folder(), doing="read") from error
    return found


def adoption_of(identity: str) -> Adoption | None:
    """The newest adoption of the results of a class; None where there is none that can be read."""
    with suppress(FuruError):
        for adoption in reversed(adoptions()):
            if adoption.old == identity:
                return adoption
    return None
