"""A snapshot of the project's code, and how a process comes to import from it.

::

    $FURU_PATH/code/snapshots/<digest>/snapshot.json    which folder each tree is of
                                       <tree>/...       copies of code, links for all else

`_snapshot_files` says what is copied, `_snapshot_store` makes a snapshot. A job only needs this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Final

import attrs

from furu_core import _text
from furu_core._code._project import is_project_folder
from furu_core._files import once_visible
from furu_core._record_format import RecordFormat
from furu_core.errors import FuruStoreError

FILE: Final = "snapshot.json"
_PATH: Final = "PYTHONPATH"
_ROOM: Final = __name__.rpartition(".")[0]


@attrs.frozen
class CodeSnapshot:
    """A snapshot of the code of one or several projects.

    Attributes:
        digest: its name: of what is copied, and of the folders that it is copied from.
        folder: where it is.
        trees: each project's folder, and the folder in the snapshot that stands for it.
        packages: packages and modules that the interpreter finds in no folder of `sys.path`, because they
            are editable installs, and where they are in the snapshot.
    """

    digest: str
    folder: str
    trees: Mapping[str, str]
    packages: Mapping[str, str] = attrs.field(factory=dict)

    def place_of(self, path: str) -> str:
        """The path in the snapshot that stands for one of the project; any other path as it is.

        Example:
            >>> snapshot = CodeSnapshot("3f", "/store/3f", {"/home/ann/exp": "/store/3f/exp"})
            >>> snapshot.place_of("/home/ann/exp/src"), snapshot.place_of("/home/ann/other")
            ('/store/3f/exp/src', '/home/ann/other')
        """
        found = ""
        if not f"{path}/".startswith(f"{self.folder}/"):
            for live in self.trees:
                if len(live) > len(found) and f"{path}/".startswith(f"{live.rstrip('/')}/"):
                    found = live
        return (self.trees[found] + path[len(found.rstrip("/")) :]).rstrip("/") if found else path

    def __str__(self) -> str:
        return f"snapshot {self.digest[:12]}"


CODE_SNAPSHOT: Final = RecordFormat(
    CodeSnapshot,
    "the record of a snapshot",
    version=1,
    next_step="was it changed? Remove the snapshot's folder and run the same command again",
)

_entered: CodeSnapshot | None = None


def entered_snapshot() -> CodeSnapshot | None:
    """The snapshot that this process imports the project from; None where it imports what is there now."""
    return _entered


def enter_snapshot(snapshot: CodeSnapshot, *, wait_secs: float = 0.0) -> None:
    """Import the project from a snapshot from now on, in this process and in those that it starts.

    What stands for a folder of the project in `sys.path` and `PYTHONPATH` takes its place; also when the
    code adds a folder of the project to `sys.path` later. The process must not have imported modules of the
    project yet.

    Args:
        snapshot: the snapshot.
        wait_secs: how long to wait for it, which a network filesystem may show late.

    Raises:
        FuruStoreError: it is not there.

    Example:
        >>> from furu_core.workers import CodeSnapshot, enter_snapshot
        >>> enter_snapshot(CodeSnapshot("3f", "/store/code/snapshots/3f", {"/exp": "/store/3f/exp"}))
        Traceback (most recent call last):
            ...
        furu_core.errors.FuruStoreError: ...
    """
    global _entered
    try:
        once_visible(lambda: os.stat(snapshot.folder), wait_secs)
    except OSError as error:
        raise FuruStoreError(
            f"the snapshot of the code that this process is to import, {snapshot.folder}, is not there: "
            f"{error.strerror}",
            path=snapshot.folder,
            hint="was it removed? Run the same command again, which makes a new one",
        ) from error
    _entered = snapshot
    _text.name_files_of({copy: origin for origin, copy in snapshot.trees.items()})
    finder = _SnapshotFinder(snapshot)
    sys.path[:] = finder.search(sys.path)
    # Behind a finder of furu's own that observes what the others find.
    behind = [type(one).__module__.startswith(_ROOM) for one in sys.meta_path[:1]]
    sys.meta_path.insert(sum(behind), finder)
    if os.environ.get(_PATH):
        before = os.environ[_PATH].split(os.pathsep)
        os.environ[_PATH] = os.pathsep.join(finder.search(before))


class _SnapshotFinder:
    """Finds modules where the snapshot has them: before the finders of editable installs, which would find
    them where they are now, and whatever the code adds to `sys.path`."""

    def __init__(self, snapshot: CodeSnapshot) -> None:
        self._snapshot = snapshot
        self._seen: list[str] = []
        self._search: list[str] | None = None

    def search(self, entries: Sequence[str]) -> list[str]:
        """Folders to search, with those of the snapshot in place of those of the project."""
        return list(dict.fromkeys(map(self._place_of, entries)))

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None:
            return None  # a module in a package, which is in the snapshot or is not
        if name in self._snapshot.packages:
            return _spec_of(name, self._snapshot.packages[name])
        if sys.path != self._seen:
            self._seen = list(sys.path)
            search = self.search(self._seen)
            self._search = None if search == self._seen else search
        if self._search is None or name in sys.builtin_module_names:
            return None
        return PathFinder.find_spec(name, self._search, target)

    def _place_of(self, entry: str) -> str:
        try:
            folder = os.path.abspath(entry)
        except (OSError, TypeError):  # the working directory was deleted; it is no path
            return entry
        place = self._snapshot.place_of(folder)
        # An environment in the project's folder stays where it is; and so does what came later.
        mapped = place != folder and is_project_folder(folder) and os.path.exists(place)
        return place if mapped else entry


def _spec_of(name: str, place: str) -> ModuleSpec | None:
    """The spec of a top-level module that is in a file, or of a package that is a folder."""
    from importlib.util import spec_from_file_location  # few projects are found in this way

    start = os.path.join(place, "__init__.py")
    if os.path.isfile(start):
        return spec_from_file_location(name, start, submodule_search_locations=[place])
    if os.path.isdir(place):  # a package without `__init__.py`
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [place]
        return spec
    return spec_from_file_location(name, place) if os.path.isfile(place) else None
