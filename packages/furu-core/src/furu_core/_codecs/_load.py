"""From files to a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from furu_core._codecs import _registry
from furu_core._codecs._paths import Base
from furu_core._manifest import DamagedArtifact, ResultEntry
from furu_core._values import loads
from furu_core.codecs import Codec
from furu_core.errors import FuruError, FuruFormatError, FuruImportNameError, FuruResultError

_VERSION: Final = 1  # of the formats "json" and "pickle"


def load(entry: ResultEntry, folder: str, base: str) -> Any:
    """The value that `store` took.

    Args:
        entry: what `store` returned.
        folder: where the files are.
        base: the folder that paths in the value are relative to.

    Raises:
        DamagedArtifact: a file is not what was stored.
        FuruResultError: a class, package or codec is missing here.
        FuruFormatError: a newer furu or codec stored it.
    """
    path = f"{folder}/{entry.file}"
    if entry.codec == "json":
        _require_version(entry, _VERSION, path)
        return _load_json(path, folder, base)
    if entry.codec == "pickle":
        from furu_core._codecs import _pickles

        _require_version(entry, _VERSION, path)
        return _pickles.load(_read(path), Base(base), path)
    return _load_file(entry, path)


def _load_json(path: str, folder: str, base: str) -> Any:
    def unleaf(tag: str, payload: Any) -> Any:
        if tag == "furu_path":
            return Base(base).decode(*payload)
        if tag == "file":
            part = ResultEntry.from_json(payload)
            return _load_file(part, f"{folder}/{part.file}")
        return NotImplemented

    try:
        return loads(_read(path), leaf=unleaf)
    except (FuruResultError, FuruFormatError):
        raise
    except FuruImportNameError as error:
        raise FuruResultError(
            f"{path} cannot be loaded: {error.message}",
            hint=error.hint or "restore the class that it names, or delete the node's result",
        ) from error
    except (FuruError, ValueError, KeyError, TypeError) as error:
        raise DamagedArtifact(path, f"{type(error).__name__}: {error}") from None


def _load_file(entry: ResultEntry, path: str) -> Any:
    codec = _codec(entry, path)
    _require_version(entry, codec.version, path)
    try:
        return codec.load(Path(path), entry.version)
    except FileNotFoundError:
        raise DamagedArtifact(path, "the file is missing") from None
    except ImportError as error:
        raise FuruResultError(
            f"{path} cannot be loaded: {error}", hint="install the package that it names"
        ) from error
    except ValueError as error:
        raise DamagedArtifact(path, f"{type(error).__name__}: {error}") from None


def _codec(entry: ResultEntry, path: str) -> Codec:
    if entry.distribution:
        return _registry.find(entry.codec, entry.distribution, path=path)
    from furu_core._codecs._store import OWN

    for codec in OWN:
        if codec.name == entry.codec:
            return codec
    raise FuruFormatError(
        f"{path} was stored by the codec {entry.codec!r}, which this furu does not know",
        path=path,
        hint="use the furu that stored it or a newer one",
    )


def _require_version(entry: ResultEntry, known: int, path: str) -> None:
    if entry.version > known:
        raise FuruFormatError(
            f"{path} has version {entry.version} of the format {entry.codec!r}, and only versions "
            f"up to {known} can be read here",
            path=path,
            hint="use the furu or codec that stored it or a newer one",
        )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except FileNotFoundError:
        raise DamagedArtifact(path, "the file is missing") from None
