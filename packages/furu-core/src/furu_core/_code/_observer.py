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
from types import CodeType, FrameType
from typing import Any, Final

from furu_core._code._project import SUFFIX, is_furus, is_of_project

# Cached code that was written so long after its source was changed was made from what is there now.
SETTLED_SECS: Final = 2.0
_HASHED: Final = 1  # in the flags of cached code: it is valid by the source's digest
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
    """

    __slots__ = ("archive", "code", "data", "file", "order", "proven", "stat")

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


notes: Final[dict[str, list[SourceNote]]] = {}  # name in `sys.modules` -> its loads, oldest first
generation = 0  # raised by every note
loaded_before: frozenset[str] = frozenset()  # names of the modules that were there before this one
# What the program that began the run had loaded: files, and the digests of their sources.
of_the_run: dict[str, str] = {}
began = time.time()  # before that, none of the others was loaded
observed_pid = os.getpid()


def note(name: str, found: SourceNote) -> None:
    """Note the source of a module that is being loaded."""
    global generation
    found.order = generation = generation + 1
    notes.setdefault(name, []).append(found)


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
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
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
        stat = state_of(os.stat(archive))
        data = loader.get_data(file) if archive != file else _contents(file)[0]
    except Exception:  # noqa: BLE001 - a loader of others may raise anything; the import goes on
        return SourceNote(file, None)
    return SourceNote(file, data, stat=stat, archive=archive)


class _NotingLoader(SourceFileLoader):
    """Loads a module as Python does, and notes its source."""

    def get_code(self, fullname: str) -> CodeType | None:
        # Tools ask for the code of a module without executing it as that module, or long after.
        executes = sys._getframe(1).f_code is _EXECUTES  # noqa: SLF001
        if not executes:
            return super().get_code(fullname)
        once = _OneLoad(fullname, self.path)
        code = once.code_of(fullname)
        note(fullname, once.note())
        return code


class _OneLoad(SourceFileLoader):
    """One load of a module: keeps what Python's loader read meanwhile."""

    def __init__(self, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._before: os.stat_result | None = None
        self._source: bytes | None = None

    def code_of(self, fullname: str) -> CodeType | None:
        code = super().get_code(fullname)
        if self._source is not None:
            return code  # it was compiled from that
        try:
            data, status = _contents(self.path)
        except OSError:
            return code
        self._source = data
        if self._before is None or state_of(status) != state_of(self._before):
            compiled: CodeType = self.source_to_code(data, self.path)
            return compiled
        return code

    def note(self) -> SourceNote:
        return SourceNote(self.path, self._source, proven=self._source is not None)

    def path_stats(self, path: Any) -> dict[str, Any]:
        self._before = os.stat(path)
        return {"mtime": self._before.st_mtime, "size": self._before.st_size}

    def get_data(self, path: Any) -> bytes:
        data, status = _contents(path)
        if path == self.path:
            self._source = data
        elif self._is_doubtful(data, status):
            raise OSError("the cached code may be of an earlier source")  # then it is compiled
        return data

    def _is_doubtful(self, cached: bytes, status: os.stat_result) -> bool:
        """Whether cached code that Python takes for valid may be that of another source."""
        if int.from_bytes(cached[4:8], "little") & _HASHED:
            from importlib.util import source_hash  # few programs have such code

            return cached[8:16] != source_hash(self.get_data(self.path))
        return self._before is None or status.st_mtime < self._before.st_ctime + SETTLED_SECS


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
