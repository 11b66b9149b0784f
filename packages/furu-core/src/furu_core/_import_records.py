"""What was imported into a store from elsewhere: the records of that, and which results they mean.

::

    <store>/imports/<id>.json     one import: from where, when, by whom, and which results

Files that were imported belong to whoever imported them, so their owner says nothing about who made them.
A record names each result by the digest of its record file, which no other result has: what is computed
here later under the same hash is not meant, and what comes back from the trash is. Nothing is written into
the results themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

import attrs

from furu_core._files import HIDDEN, blake2b, list_folder, read_file, store_errors
from furu_core._process_ids import ProcessId
from furu_core._record_format import OMIT_EMPTY, RecordFormat
from furu_core._settings import _settings
from furu_core.errors import FuruDamagedRecord, FuruStoreError, FuruUntrustedFile

FOLDER: Final = "imports"
_SUFFIX: Final = ".json"
# In the folder of a result; `_store._layout`, which says so, is not known here.
NODE_RECORD: Final = ".furu.json"
_DIGEST_BYTES: Final = 16
Reader: TypeAlias = Callable[[str], bytes]


@attrs.frozen
class ImportRecord:
    """An import.

    Attributes:
        id: tells it from other imports.
        source: the name of the file, as it was given; ``-`` for a pipe.
        user: who imported it.
        time: when, in seconds since 1970.
        process: the process that did.
        nodes: what it brought: by class and hash, the digest of the record file.
        trusted: whether the user said that code in these results may run.
        ended: when it was done; 0 until then.
    """

    id: str
    source: str
    user: str
    time: float
    process: ProcessId
    nodes: dict[str, dict[str, str]]
    trusted: bool = attrs.field(default=False, metadata=OMIT_EMPTY)
    ended: float = attrs.field(default=0.0, metadata=OMIT_EMPTY)

    @property
    def path(self) -> str:
        """The file of the record, in the current store."""
        return f"{folder()}/{self.id}{_SUFFIX}"

    @property
    def staging(self) -> str:
        """The folder for what is not published yet and belongs to no class."""
        return f"{folder()}/{HIDDEN}{self.id}"

    def staging_of(self, class_dir: str, node_hash: str) -> str:
        """The folder that becomes a result; what has such a name is swept away when it is a day old."""
        return f"{class_dir}/{HIDDEN}import-{self.id}-{node_hash}"


RECORD: Final = RecordFormat(
    ImportRecord,
    "the record of an import",
    version=1,
    key="furu",
    next_step="put it back: without it, nobody knows whose the imported results are",
)


@attrs.frozen
class ImportOrigin:
    """Where an imported result comes from.

    Attributes:
        source: the file.
        user: who imported it.
        time: when.
        trusted: whether somebody who is believed said that code in it may run.
    """

    source: str
    user: str
    time: float
    trusted: bool


def folder(store: str | None = None) -> str:
    """The folder of the records of a store; default: of the current one."""
    return f"{_settings.settings().path if store is None else store}/{FOLDER}"


def records(store: str | None = None) -> Iterator[tuple[str, ImportRecord]]:
    """The records of a store with their paths, the newest last.

    Raises:
        FuruStoreError: one cannot be read.
    """
    where = folder(store)
    with store_errors(where, doing="read"):
        names = sorted(list_folder(where))
    for name in names:
        if name.endswith(_SUFFIX) and not name.startswith("."):
            with suppress(FileNotFoundError):  # taken back in this moment
                record = RECORD.read(f"{where}/{name}")
                if f"{record.id}{_SUFFIX}" != name:  # it is part of the names of what is removed
                    raise RECORD.damaged(f"{where}/{name}", "it has the id of another one")
                yield f"{where}/{name}", record


class _Imported:
    """The origins of results in a store, by hash and digest."""

    def __init__(self, store: str, reader: Reader) -> None:
        self.found: dict[tuple[str, str], ImportOrigin] = {}
        for path, record in records(store):
            trusted = record.trusted and _is_believed(path, reader)
            for nodes in record.nodes.values():
                for key in nodes.items():
                    # Who says that it may be trusted is believed, whichever import said so.
                    if key not in self.found or (trusted and not self.found[key].trusted):
                        self.found[key] = ImportOrigin(
                            record.source, record.user, record.time, trusted
                        )


def _is_believed(path: str, reader: Reader) -> bool:
    try:
        reader(path)
    except (FuruUntrustedFile, OSError):
        return False
    return True


# By store, and by whom the reader trusts: what was found, as long as no record is added.
_read: Final[dict[tuple[str, str], tuple[frozenset[str], _Imported]]] = {}


def _not_known(store: str, error: Exception) -> FuruStoreError:
    return FuruStoreError(
        f"what was imported into {store} is not known: {error}",
        path=folder(store),
        hint="mend or put back the file; without it nothing tells whom to trust",
    )


def origin_of(artifact: str, reader: Reader = read_file, whose: str = "") -> ImportOrigin | None:
    """Where the result in a folder was imported from; None where it was not.

    Args:
        artifact: its folder.
        reader: reads a record only if its writer is trusted.
        whose: tells apart readers that trust others.

    Raises:
        FuruStoreError: the records of imports cannot be read.
    """
    parts = artifact.split("/")
    stores = ["/".join(parts[:place]) for place, part in enumerate(parts) if part == "data"]
    settings = _settings.settings()
    # These as well, however it is reached: a record names what it means by its digest.
    for store in dict.fromkeys([*stores, str(settings.path), *map(str, settings.also)]):
        try:
            names = frozenset(os.listdir(folder(store)))
        except (FileNotFoundError, NotADirectoryError):
            continue  # nothing was ever imported there
        except OSError as error:
            raise _not_known(store, error) from error
        known, imported = _read.get((store, whose), (None, None))
        if imported is None or known != names:
            try:
                imported = _Imported(store, reader)
            except (OSError, FuruDamagedRecord) as error:
                raise _not_known(store, error) from error
            _read[store, whose] = names, imported
        with suppress(OSError):
            found = imported.found.get((parts[-1], digest_of_record(artifact)))
            if found is not None:
                return found
    return None


def digest_of_record(artifact: str) -> str:
    """The digest of a result's record file, by which records of imports name it.

    Raises:
        OSError: it cannot be read.
    """
    return digest(read_file(f"{artifact}/{NODE_RECORD}"))


def digest(data: bytes) -> str:
    """The digest of some bytes: BLAKE2b with 16 bytes, as 32 hexadecimal digits."""
    return blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()
