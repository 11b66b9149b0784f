"""From a value to files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from furu_core._codecs import _pickles, _registry
from furu_core._codecs._arrays import ArrayCodec
from furu_core._codecs._bytes import BytesCodec
from furu_core._codecs._frames import FrameCodec, SeriesCodec
from furu_core._codecs._paths import Base
from furu_core._manifest import ResultEntry
from furu_core._values import NotExact, dumps
from furu_core.codecs import Codec
from furu_core.errors import FuruResultError

OWN: Final[tuple[Codec, ...]] = (ArrayCodec(), FrameCodec(), SeriesCodec(), BytesCodec())
FILE_TAG: Final = "file"
PATH_TAG: Final = "furu_path"
JSON_FILE: Final = "result.json"
PICKLE_FILE: Final = "result.pickle"
_MAX_FILES: Final = 64  # beside one result; thousands of small arrays are better off in a pickle
_SIMPLE: Final = (type(None), bool, int, float, str, list, dict, tuple)


def store(value: object, folder: str, base: str) -> ResultEntry:
    """Store a result.

    Args:
        value: any value.
        folder: where the files go.
        base: the folder that paths in the value are made relative to.

    Raises:
        FuruResultError: nothing can store the value.
        OSError: the disk is full, or something like it.
    """
    files = _Files(folder)
    if type(value) not in _SIMPLE:
        entry = files.add(value, "result")
        if entry is not None:
            return entry
    within = Base(base)

    def leaf(part: Any) -> Any:
        relative = within.encode(part)
        if relative is not None:
            return {f"${PATH_TAG}": relative}
        if type(part) in _SIMPLE:
            return NotImplemented
        entry = files.add(part, f"result.{len(files.names)}")
        return NotImplemented if entry is None else {f"${FILE_TAG}": entry.to_json()}

    try:
        text = dumps(value, leaf=leaf)
    except NotExact:
        files.remove()
        data = _pickles.dump(value, within)
        _write(f"{folder}/{PICKLE_FILE}", data)
        return ResultEntry("pickle", PICKLE_FILE)
    _write(f"{folder}/{JSON_FILE}", text.encode())
    return ResultEntry("json", JSON_FILE)


class _Files:
    """The files of codecs, beside or instead of the JSON file."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.names: list[str] = []

    def add(self, value: Any, stem: str) -> ResultEntry | None:
        """Store a value with the first codec that takes it; None when none does."""
        for codec, distribution in _asked(value):
            if len(self.names) >= _MAX_FILES:
                raise NotExact(
                    f"the result has more than {_MAX_FILES} parts with files of their own"
                )
            name = stem + codec.suffix
            path = Path(self._folder, name)
            try:
                codec.save(value, path)
            except NotExact:
                with suppress(FileNotFoundError):
                    path.unlink()
                continue
            except (FuruResultError, OSError):
                raise
            except Exception as error:  # foreign code, whose author must be told
                raise FuruResultError(
                    f"the codec {codec.name!r} of {distribution or 'furu'} failed to store a "
                    f"{type(value).__qualname__}: {type(error).__name__}: {error}",
                    hint="report it to its authors, or uninstall it",
                ) from error
            self.names.append(name)
            return ResultEntry(codec.name, name, codec.version, distribution)
        return None

    def remove(self) -> None:
        """Remove what was stored so far."""
        for name in self.names:
            os.unlink(f"{self._folder}/{name}")
        self.names.clear()


def _asked(value: Any) -> Iterator[tuple[Codec, str]]:
    for installed in _registry.installed().codecs:
        if installed.codec.accepts(value):
            yield installed.codec, installed.distribution
    for codec in OWN:
        if codec.accepts(value):
            yield codec, ""


def _write(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
