"""An observer of imports: it keeps the source of the project's modules as it was when they were imported.

A file that is read later, when a node has ended, may have been edited since its import. So a finder that stands
before all others lets them find the module, and notes its source while it is loaded. Python's own check whether
cached code fits its source compares whole seconds and sizes, which two edits in a second pass; where that could have
happened, the module is compiled from the source that is noted. So what runs is what is noted.

This is imported with furu itself, so it imports hardly anything.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.machinery import ModuleSpec, SourceFileLoader
from io import open_code
from itertools import count
from types import CodeType, FrameType
from typing import Any, Final

from furu_core._code._project import SUFFIX, is_furus, is_of_project

# Cached code that was written so long after its source was changed was made from what is there now.
SETTLED_SECS: Final = 2.0
_TICK_SECS: Final = 0.1
_HASHED: Final = 1  # in the flags of cached code: it is valid by the source's digest
_WORD: Final = 0xFFFF_FFFF
_READS: Final = SourceFileLoader.get_code.__code__
_EXECUTES: Final = SourceFileLoader.exec_module.__code__

Stat = tuple[int, int, int, int, int]


class SourceNote:
    """The source of one module, noted while it was loaded.

    Attributes:
        file: the file that was loaded.
        data: its contents; None where they could not be read.
        proven: whether it is certain that this is what was loaded.
        stat: the file's state before it was loaded, by which it can be proven later.
        archive: the file that holds it, a zip file for instance; else the file itself.
        code: the code that was running when it was noted, to be compared with the source.
        order: a number that is larger the later it was noted.
        digest: that of `data`, once somebody has asked for it.
    """

    __slots__ = ("archive", "code", "data", "digest", "file", "order", "proven", "stat")

    def __init__(
        self,
        file: str,
        data: bytes | None,
        *,
        proven: bool = False,
        stat: Stat | None = None,
        archive: str = "",
        code: CodeType | None = None,
    ) -> None:
        self.file = file
        self.data = data
        self.proven = proven
        self.stat = stat
        self.archive = archive or file
        self.code = code
        self.order = 0
        self.digest = ""


notes: Final[dict[str, list[SourceNote]]] = {}  # name in `sys.modules` -> its loads, oldest first
noted: Final[list[SourceNote]] = []  # all of them: it grows with every import
_orders: Final = count(1)
loaded_before: frozenset[str] = frozenset()  # names of the modules that were there before this one
# What the program that began the run had loaded: files, and the digests of their sources.
of_the_run: dict[str, str] = {}
began = time.time()  # before that, none of the others was loaded
observed_pid = os.getpid()


def note(name: str, found: SourceNote) -> None:
    """Note the source of a module that is being loaded."""
    found.order = next(_orders)
    notes.setdefault(name, []).append(found)
    noted.append(found)


def state_of(status: os.stat_result) -> Stat:
    """What changes whenever somebody changes a file."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


class _Finder:
    """Lets the finders behind it find modules, and sees to it that the sources of the project's are noted."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        finders = sys.meta_path
        try:
            behind = finders[finders.index(self) + 1 :]
        except ValueError:  # another thread has taken it away
            return None
        for finder in behind:
            find = getattr(finder, "find_spec", None)
            if find is None:
                return None  # one of Python's old kind: its import goes on past this finder
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                self._observe(spec)
                return spec
        return None

    def _observe(self, spec: ModuleSpec) -> None:
        file, loader = spec.origin, spec.loader
        if type(file) is not str or not file.endswith(SUFFIX) or loader is None:
            return
        if not is_of_project(file):
            return
        if type(loader) is SourceFileLoader:
            spec.loader = _NotingLoader(loader.name, loader.path)
        elif type(loader) is not _NotingLoader:
            archive = getattr(loader, "archive", file)
            note(spec.name, _looked_at(file, archive, loader))

    def invalidate_caches(self) -> None:
        """Nothing is cached here."""


def _looked_at(file: str, archive: Any, loader: Any) -> SourceNote:
    """A note of what another loader is about to load, which is proven if the file stays the same."""
    try:
        status = os.stat(archive)
        # Where the clock ticks slowly, another edit might leave the same state behind.
        is_fresh = status.st_ctime > time.time() - _TICK_SECS
        stat = None if is_fresh else state_of(status)
        data = loader.get_data(file) if archive != file else _contents(file)[0]
    except Exception:  # noqa: BLE001 - a loader of others may raise anything; the import goes on
        return SourceNote(file, None)
    return SourceNote(file, data, stat=stat, archive=archive)


class _NotingLoader(SourceFileLoader):
    """Loads a module as Python does, and notes its source.

    Only what Python's own loader asks for is another one here. Were `get_code` overridden, the traceback of each
    syntax error in a project would show it.
    """

    _before: os.stat_result | None = None

    def path_stats(self, path: Any) -> dict[str, Any]:
        self._before = status = os.stat(path)
        return {"mtime": status.st_mtime, "size": status.st_size}

    def get_data(self, path: Any) -> bytes:
        data, status = _contents(path)
        if _is_executing():
            if path == self.path:
                note(self.name, SourceNote(path, data, proven=True))
            else:
                self._note_cached(data, status)
        return data

    def _note_cached(self, cached: bytes, status: os.stat_result) -> None:
        """Note the source of cached code, if Python takes that for valid.

        Raises:
            OSError: it may be that of another source; Python then compiles the source.
        """
        before = self._before
        flags, mtime, size = (int.from_bytes(cached[at : at + 4], "little") for at in (4, 8, 12))
        doubtful = before is None
        if flags & _HASHED:
            from importlib.util import source_hash  # few programs have such code

            data, _ = _contents(self.path)
            doubtful = cached[8:16] != source_hash(data)
        elif before is not None:
            if (mtime, size) != (int(before.st_mtime) & _WORD, before.st_size & _WORD):
                return  # nor does Python
            data, now = _contents(self.path)
            settled = status.st_mtime >= before.st_ctime + SETTLED_SECS
            doubtful = not settled or state_of(now) != state_of(before)
        if doubtful:
            raise OSError("the cached code may be of an earlier source")
        note(self.name, SourceNote(self.path, data, proven=True))


def _is_executing() -> bool:
    """Whether the loader reads for an import: tools ask it for code as well, and execute that elsewhere."""
    frame = sys._getframe(2)  # noqa: SLF001
    back = frame.f_back
    return frame.f_code is _READS and back is not None and back.f_code is _EXECUTES


def _contents(path: str) -> tuple[bytes, os.stat_result]:
    with open_code(path) as file:
        status = os.fstat(file.fileno())
        return file.read(), status


_finder: Final = _Finder()


def install() -> None:
    """Observe the imports of this process from now on."""
    global loaded_before
    if _finder in sys.meta_path:
        return
    loaded_before = frozenset(sys.modules)
    sys.meta_path.insert(0, _finder)
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        _note_importer(frame)
        frame = frame.f_back


def _note_importer(frame: FrameType) -> None:
    """Note a module that is being executed while furu is imported: the script, for instance."""
    code = frame.f_code
    if code.co_name != "<module>":
        return
    name, file = frame.f_globals.get("__name__"), frame.f_globals.get("__file__")
    if type(name) is not str or type(file) is not str or code.co_filename != file:
        return
    file = os.path.abspath(file)
    if is_furus(file) or not is_of_project(file):
        return
    try:
        data, status = _contents(file)
    except OSError:
        return
    note(name, SourceNote(file, data, stat=state_of(status), code=code))
