"""Loading a result from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from furu_core._codecs._paths import Base
from furu_core._files import read_file
from furu_core._record_format import from_json
from furu_core._store._manifest import NO_VALUE, DamagedArtifact, ResultEntry
from furu_core.errors import FuruError, FuruFormatError, FuruResultError, FuruUntrustedFile

if TYPE_CHECKING:
    from furu_core._codecs._codec import Codec

_VERSION: Final = 1  # of the JSON and pickle formats


def load(entry: ResultEntry, prefix: str, folder: str, value: Any = NO_VALUE) -> Any:
    """The result that `store` wrote.

    A pickle is loaded only where the manifest says that the result as a whole is one.

    Args:
        entry: the manifest's entry for the result.
        prefix: with what the paths of the result's files begin.
        folder: the artifact's folder, which relative paths start from.
        value: the JSON of a result that has no file.

    Raises:
        FuruResultError: a class or codec that it needs cannot be imported here, or it is a pickle of
            somebody whose pickles are not loaded.
        FuruFormatError: a newer furu, or a newer codec, wrote it.
        DamagedArtifact: a file is missing or not what was written.
        OSError: the disk reports an error.
    """
    if value is not NO_VALUE:
        if entry.version != _VERSION:
            _refuse_newer(entry, f"the record in {folder}", _VERSION, "furu-core")
        if not entry.tagged:
            return value
        return _decoded(value, f"the record in {folder}", prefix, Base(folder))
    try:
        return _load(entry, prefix, folder)
    except FileNotFoundError as error:
        raise DamagedArtifact(str(error.filename), "the file is missing") from None
    except FuruUntrustedFile as error:
        raise FuruResultError(error.message, hint=error.hint) from error


def _load(entry: ResultEntry, prefix: str, folder: str) -> Any:
    path = f"{prefix}{entry.file}"
    if entry.codec == "json" and entry.version == _VERSION:
        data = read_file(path)
        try:
            written = json.loads(data.decode())
        except ValueError as error:
            raise DamagedArtifact(path, f"it is no JSON: {error}") from error
        # Most results are plain JSON, without any tag to decode.
        return _decoded(written, path, prefix, Base(folder)) if b'"$' in data else written
    if entry.codec in ("json", "pickle"):
        from furu_core._codecs import _pickles  # plain JSON results need none

        _refuse_newer(entry, path, _VERSION, "furu-core")
        return _pickles.load(path, Base(folder), lambda part: _file(part, prefix))
    return _file(entry, prefix)


def _decoded(written: Any, path: str, prefix: str, base: Base) -> Any:
    from furu_core._forms import _values  # plain JSON results need none

    def object_hook(tag: str, payload: Any) -> Any:
        if tag == "furu_dir":
            return base.decode(*payload)
        if tag == "file":
            return _file(from_json(ResultEntry, payload), prefix)
        return NotImplemented

    try:
        return _values.from_json(written, object_hook=object_hook)
    except (FuruResultError, FuruFormatError):
        raise
    except FuruError as error:
        raise FuruResultError(
            f"{path} cannot be loaded: {error.message}",
            hint=error.hint or "delete the artifact with `furu rm` and compute it again",
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedArtifact(path, f"it is not what furu writes: {error!r}") from error


def _file(entry: ResultEntry, prefix: str) -> object:
    path = f"{prefix}{entry.file}"
    codec = _codec(entry, path)
    _refuse_newer(entry, path, codec.version, entry.distribution or "furu-core")
    try:
        return codec.load(Path(path), entry.version)
    except (OSError, FuruError, MemoryError):
        raise
    except ImportError as error:
        raise FuruResultError(
            f"{path} needs {error.name or 'a module'}, which cannot be imported here: {error}",
            hint=f"install {error.name}" if error.name else "install what it needs",
        ) from error
    except (ValueError, EOFError) as error:
        raise DamagedArtifact(path, f"{type(error).__name__}: {error}") from error
    except Exception as error:
        raise FuruResultError(
            f"the codec {entry.codec!r} failed to load {path}: {type(error).__name__}: {error}",
            hint="delete the artifact with `furu rm` and compute it again",
        ) from error


def _codec(entry: ResultEntry, path: str) -> Codec:
    from furu_core._codecs._own import OWN_CODECS  # plain JSON, which is most results, needs none

    if not entry.distribution:
        for own in OWN_CODECS:
            if own.name == entry.codec:
                return own
        raise FuruResultError(
            f"{path} was stored by the codec {entry.codec!r}, which this furu-core does not have",
            hint="upgrade furu-core here",
        )
    from furu_core._codecs import _registry  # finding other distributions' codecs takes time

    return _registry.find(entry.codec, entry.distribution, path=path)


def _refuse_newer(entry: ResultEntry, path: str, version: int, distribution: str) -> None:
    if entry.version > version:
        raise FuruFormatError(
            f"{path} has version {entry.version} of the format {entry.codec!r}, this "
            f"{distribution} reads up to {version}",
            path=path,
            hint=f"upgrade {distribution} here",
        )
