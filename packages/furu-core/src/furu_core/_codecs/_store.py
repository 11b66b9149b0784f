"""Storing a result in files."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core import _text, _trust
from furu_core._codecs import _installed, _load
from furu_core._codecs._exact import refuse_inexact
from furu_core._codecs._installed import Installed
from furu_core._codecs._own import JSON_FILE, OWN_CODECS, PICKLE_FILE, STEM, TAG_FILE, TAG_PATH
from furu_core._codecs._paths import Base
from furu_core._files import write_file
from furu_core._forms import _values
from furu_core._forms._tagged_json import NotExact
from furu_core._record_format import to_json
from furu_core._store import _manifest
from furu_core._store._manifest import ResultEntry
from furu_core.errors import FuruError, FuruResultError

_SCALARS: Final = (type(None), bool, int, float, str)
_PLAIN: Final = frozenset((*_SCALARS, list, dict))
_SMALL_BYTES: Final = 16 << 10  # up to here a result stands in the record
_CHECKED_BYTES: Final = 64 << 20  # larger pickles are not read back: it would double the memory
# Thousands of small files would make each load slow; beyond this a pickle holds the parts.
_MAX_PARTS: Final = 64
_OWN: Final = tuple(Installed(codec, "") for codec in OWN_CODECS)
_log = logging.getLogger("furu.codecs")


@attrs.frozen
class Stored:
    """A result that was stored.

    Attributes:
        entry: what `load` needs, for the manifest.
        value: the JSON text of a small result; empty where it has a file.
        has_parts: whether parts of it have files.
    """

    entry: ResultEntry
    value: str = ""
    has_parts: bool = False


def store(value: object, prefix: str, folder: str, aside: str | None = None) -> Stored:
    """Write a result into files, or as text if it is small, that give it back equal in value and type.

    Whether parts of the result are one and the same object is kept by pickles only.

    Args:
        value: the result.
        prefix: with what the paths of the result's files begin.
        folder: the artifact's folder; paths below it are stored relative to it.
        aside: a folder that is gone when the result is loaded.

    Raises:
        FuruResultError: no codec takes the value; the message names the place in it. Or it holds a
            path below the folders that does not exist, or will not when the result is loaded.
        FuruError: a codec of another distribution raised it.
        OSError: the disk is full, or the folder cannot be written.
    """
    return _Store(prefix, Base(folder, aside)).store(value)


class _Store:
    """One result on its way to files; `files` lists those written for parts of it."""

    def __init__(self, prefix: str, base: Base) -> None:
        self.prefix = prefix
        self.base = base
        self.codecs: tuple[Installed, ...] = ()
        self.files: list[str] = []
        self.parts: dict[int, tuple[object, ResultEntry | None]] = {}

    def store(self, value: object) -> Stored:
        kind = type(value)
        if kind in _SCALARS:
            return self._json(value)
        from furu_core._codecs import _registry  # finding other distributions' codecs takes time

        third_party = _registry.installed().codecs
        self.codecs = third_party
        if kind is dict or kind is list:
            entry = self._file(value, STEM, third_party)
        else:
            entry = self._file(value, STEM, (*third_party, *_OWN))
        if entry is not None:
            return Stored(entry)
        try:
            return self._json(value)
        except (NotExact, RecursionError):
            self._forget_parts()
        return Stored(self._pickle(value))

    # ---- JSON ----

    def _json(self, value: object) -> Stored:
        text = _values.dumps(value, default=self._default)
        data = text.encode("ascii")
        self._warn_about_paths(data)
        if len(data) <= _SMALL_BYTES:
            return Stored(ResultEntry("json", tagged='"$' in text), text, bool(self.files))
        write_file(f"{self.prefix}{JSON_FILE}", data)
        return Stored(ResultEntry("json", JSON_FILE))

    def _default(self, value: Any) -> Any:
        inside = self.base.encode(value)
        if inside is not None:
            return {TAG_PATH: inside}
        entry = self._part(value, (*self.codecs, *_OWN))
        if len(self.files) > _MAX_PARTS:
            raise NotExact(f"more than {_MAX_PARTS} parts would have a file of their own")
        if entry is not None:
            return {TAG_FILE: to_json(entry)}
        refuse_inexact(value)
        return NotImplemented

    # ---- pickle ----

    def _pickle(self, value: object) -> ResultEntry:
        from furu_core._codecs import _pickles

        path = f"{self.prefix}{PICKLE_FILE}"
        try:
            with open(path, "wb", opener=_for_owner) as file:
                _pickles.dump(value, file, self.base, self._elsewhere)
        except OSError as error:
            if error.errno is not None:
                raise  # the disk, not the value
            raise self._refused(value, error) from error
        except (FuruResultError, MemoryError):
            raise  # with more memory the same value may be stored
        except Exception as error:
            with suppress(OSError):
                os.unlink(path)
            raise self._refused(value, error) from error
        entry = ResultEntry("pickle", PICKLE_FILE)
        if os.path.getsize(path) <= _CHECKED_BYTES:
            self._check_pickle(value, entry, path)
        return entry

    def _elsewhere(self, value: object) -> ResultEntry | None:
        if not self.codecs or type(value) in _PLAIN:
            return None
        return self._part(value, self.codecs)

    def _check_pickle(self, value: object, entry: ResultEntry, path: str) -> None:
        try:
            back = _load.load(entry, self.prefix, self.base.folder)
        except (FuruError, _manifest.DamagedArtifact) as error:
            cause = error.__cause__ or error
            raise FuruResultError(
                f"the result, a {_name(type(value))}, can be pickled but not unpickled: "
                f"{type(cause).__name__}: {cause}",
                hint=_HINT,
            ) from error
        if type(back) is not type(value):
            raise FuruResultError(
                f"the result, a {_name(type(value))}, comes back from its pickle as a "
                f"{_name(type(back))}",
                hint=_HINT,
            )
        with open(path, "rb") as file:
            self._warn_about_paths(file.read())

    def _refused(self, value: object, error: Exception) -> FuruResultError:
        if isinstance(error, RecursionError):
            return FuruResultError("the result is nested too deeply to be stored", hint=_HINT)
        from furu_core._codecs import _pickles, _registry

        place, culprit = _pickles.find_culprit(value, self.base, self._elsewhere)
        return FuruResultError(
            f"{place} is of type {_name(type(culprit))}, which can be stored in no form: "
            f"{type(error).__name__}: {_text.error_text(error)}{_registry.broken_note()}",
            hint=_HINT,
        )

    # ---- files of their own ----

    def _part(self, value: object, codecs: tuple[Installed, ...]) -> ResultEntry | None:
        known = self.parts.get(id(value))
        if known is None:
            entry = self._file(value, f"{STEM}.{len(self.files)}", codecs)
            # The object is kept, since another one could get its `id` once it is gone.
            known = self.parts[id(value)] = (value, entry)
        return known[1]

    def _file(self, value: object, stem: str, codecs: tuple[Installed, ...]) -> ResultEntry | None:
        for installed in codecs:
            codec = installed.codec
            file = f"{stem}{codec.suffix}"
            try:
                if not _installed.accepts(installed, value):
                    continue
                codec.save(value, Path(f"{self.prefix}{file}"))
                if installed.distribution:  # it may be a kind of pickle
                    _trust.keep_to_owner(f"{self.prefix}{file}")
            except NotExact:
                with suppress(FileNotFoundError):
                    os.unlink(f"{self.prefix}{file}")
                continue
            except (OSError, FuruError, MemoryError):
                raise
            except Exception as error:
                raise FuruResultError(
                    f"the codec {codec.name!r}{_from(installed)} failed to store a "
                    f"{_name(type(value))}: {type(error).__name__}: {_text.error_text(error)}",
                    hint="report it to whoever wrote the codec",
                ) from error
            self.files.append(file)
            return ResultEntry(
                codec.name,
                file,
                version=codec.version,
                distribution=installed.distribution,
            )
        return None

    def _forget_parts(self) -> None:
        for file in self.files:
            os.unlink(f"{self.prefix}{file}")
        self.files.clear()
        self.parts.clear()

    def _warn_about_paths(self, data: bytes) -> None:
        if self.base.mentioned_in(data):
            _log.warning(
                "the result mentions the folder %s in a string, which gets another name when the "
                "node is done; return Path objects, which follow it",
                self.base.folder,
            )


_HINT: Final = (
    "return plain values, arrays or tables; or write files under self.furu_dir and give the class a "
    "_load that reads them"
)


def _from(installed: Installed) -> str:
    return f" of {installed.distribution}" if installed.distribution else ""


def _name(cls: type) -> str:
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _trust.OWNER_WRITES)
