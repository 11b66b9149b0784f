"""Making a snapshot of the project's code: once for each state of the code, shared by all runs.

A snapshot is made beside its place and renamed, so it is there as a whole or not at all. What did not change
since the project's last snapshot is a second name of the same file. Links are only ever added::

    $FURU_PATH/code/snapshots/<digest>/        a snapshot, see `_snapshot`
                              .last-<digest>   what is known of the files of one project, to be read once
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import attrs

from furu_core import _files, _text
from furu_core._code._project import SUFFIX, is_of_project
from furu_core._code._snapshot import (
    CODE_SNAPSHOT,
    FILE,
    CodeSnapshot,
    entered_snapshot,
)
from furu_core._code._snapshot_files import (
    Places,
    Tree,
    anchor_of,
    pattern_of,
    project_places,
    tree_of,
)
from furu_core._config._module_names import SNAPSHOTS, import_roots
from furu_core._settings import _settings
from furu_core._settings._settings import LIVE
from furu_core._store._by_content import content_digest
from furu_core._trust import is_trusted_user
from furu_core.errors import FuruStoreError, FuruUsageError

_log = logging.getLogger("furu.code")

_TRIES: Final = 20
_PAUSE_SECS: Final = 0.1
_FILE_SHARE: Final = 100  # one file may have a hundredth of what all may have
_SHOWN: Final = 5
_YOUNG_SECS: Final = 3.0  # a file that was changed so lately may change again at the same time
_LEFT_SECS: Final = 86400.0  # what a killed process left is removed after so long
_COPY_MODE: Final = 0o444  # a job that would change a copy would change it for all others
_FOLDER_MODE: Final = 0o755  # nobody else may put code into it
# What a job would write beside its code would not come into the project, so that is an error at once.
_CLOSED_MODE: Final = 0o555
_TEMPORARY: Final = ".new-"
_LAST: Final = ".last-"


def take_snapshot(roots: Iterable[str] | None = None) -> CodeSnapshot | None:
    """A snapshot of the project's code as it is now; what is there already is used again.

    A process that runs from a snapshot gets that one.

    Args:
        roots: the folders that modules are imported from; default: `import_roots()`.

    Returns:
        The snapshot; None where `FURU_CODE` is ``live``, or nothing that is imported is the project's.

    Raises:
        FuruUsageError: there is too much in the project's folder.
        FuruStoreError: the snapshot cannot be written.

    Example:
        >>> from furu_core import use_settings
        >>> from furu_core.workers import take_snapshot
        >>> with use_settings(code="live"):
        ...     print(take_snapshot())
        None
    """
    if entered_snapshot() is not None:
        return entered_snapshot()
    if _settings.settings().code == LIVE:
        return None
    places = project_places(import_roots() if roots is None else roots)
    if not places.roots and not places.packages:
        return None
    store = str(_settings.settings().path)
    try:
        return _Taking(places, store).take()
    except OSError as error:
        told = _files.store_error(error, store, doing="put a snapshot of the code into")
        raise FuruStoreError(
            told.message,
            path=told.path,
            hint=f"{told.hint}; or let jobs import what is there when they start: FURU_CODE=live",
        ) from error


@attrs.define(eq=False)
class _Known:
    """What the project's last snapshot tells: the file's state and digest, by path; and where copies are."""

    files: dict[str, list[Any]] = attrs.field(factory=dict)
    snapshot: str = ""
    tree: str = ""


class _Taking:
    """One snapshot, from looking at the project to the folder in the store."""

    def __init__(self, places: Places, store: str) -> None:
        settings = _settings.settings()
        self._places = places
        self._store = store
        self._folder = store + SNAPSHOTS
        self._limit = settings.snapshot_limit
        self._pattern = pattern_of(settings.snapshot_also)
        self._left_out: list[tuple[int, str]] = []  # size and path
        self._read: dict[str, bytes] = {}  # contents of files that changed
        self._began = time.time()

    def take(self) -> CodeSnapshot:
        os.makedirs(self._folder, exist_ok=True)
        for _ in range(_TRIES):
            self._left_out.clear()
            trees = self._limited(self._trees())
            known = {tree.live: self._read_known(tree.live) for tree in trees}
            try:
                digests = {tree.live: self._digests(tree, known[tree.live]) for tree in trees}
                return self._taken(trees, known, digests)
            except _Changed as change:
                changed = str(change)
                time.sleep(_PAUSE_SECS)
        raise FuruUsageError(
            f"{changed} changes all the time, so no snapshot of the code can be made",
            hint="wait until what changes it has ended, such as a checkout; or let jobs import what is there "
            "when they start: FURU_CODE=live",
        )

    def _taken(
        self,
        trees: list[Tree],
        known: Mapping[str, _Known],
        digests: Mapping[str, dict[str, str]],
    ) -> CodeSnapshot:
        names = _names_of(trees)
        text = json.dumps(
            [[tree.live, tree.gits, tree.inner, tree.outside, digests[tree.live]] for tree in trees]
        ).encode()
        digest = content_digest(text)
        for name in (digest, f"{digest}-{os.geteuid()}"):
            snapshot = self._placed(digest, name, names)
            there = os.path.isdir(snapshot.folder)
            if not there and self._make(snapshot, trees, names, known, digests):
                break
            if self._is_usable(snapshot, trees, names):
                break
        else:
            raise FuruUsageError(
                f"{snapshot.folder} belongs to a user whose code is not to be run (FURU_TRUST_PICKLES), or "
                "who keeps it from you",
                hint="remove it, or let jobs import what is there when they start: FURU_CODE=live",
            )
        with suppress(OSError):  # another user's; it tells `furu gc` that somebody just took it
            os.utime(snapshot.folder)
        for tree in trees:
            self._write_known(
                tree, known[tree.live], digests[tree.live], snapshot, names[tree.live]
            )
        self._tell(trees)
        return snapshot

    # What is in it

    def _trees(self) -> list[Tree]:
        """The trees of all folders of projects, those in other ones' trees left out."""
        wanted: dict[str, set[str]] = {}
        whole: dict[str, bool] = {}
        packages = self._places.packages.values()
        found: list[Tree] = []
        followed: set[str] = set()  # where links in the project lead
        loaded = _loaded_folders()
        pending = [*self._places.roots, *packages]
        while pending:
            for place in pending:
                folder = place if os.path.isdir(place) else os.path.dirname(place)
                anchor, is_project = anchor_of(folder)
                whole[anchor] = is_project
                wanted.setdefault(anchor, set()).add(folder)
            done = {tree.live for tree in found}
            for anchor in sorted(wanted, key=lambda one: (len(one), one)):
                if anchor in done or _is_in(anchor, found):
                    continue
                inside = f"{anchor.rstrip('/')}/"
                tree = tree_of(
                    anchor,
                    {one for few in wanted.values() for one in few if f"{one}/".startswith(inside)},
                    loaded=[one for one in loaded if f"{one}/".startswith(inside)],
                    whole=whole[anchor],
                    pattern=self._pattern,
                    store=self._store,
                )
                found.append(tree)
            pending = sorted(
                {target for tree in found for target in tree.outside.values()} - followed
            )
            followed.update(pending)
        return sorted(found, key=lambda tree: tree.live)

    def _limited(self, trees: list[Tree]) -> list[Tree]:
        """The trees with links in place of what is too large to copy."""
        most = self._limit // _FILE_SHARE
        files = [
            (state.st_size, tree.live, path)
            for tree in trees
            for path, state in tree.copies.items()
        ]
        left = sum(size for size, _, _ in files) - self._limit
        out: dict[str, set[str]] = {}
        for size, live, path in sorted(files, reverse=True):
            if size <= most and left <= 0:
                break
            left -= size
            out.setdefault(live, set()).add(path)
            self._left_out.append((size, os.path.join(live, path)))
        return [_without(tree, out.get(tree.live, set())) for tree in trees]

    def _digests(self, tree: Tree, known: _Known) -> dict[str, str]:
        """The digest of each file that is copied; a file that did not change is not read."""
        found = {}
        for path, state in tree.copies.items():
            before = known.files.get(path)
            if before is not None and before[:-1] == _state(state):
                found[path] = before[-1]
                continue
            full = os.path.join(tree.live, path)
            try:
                self._read[full] = data = _files.read_file(full)
                found[path] = content_digest(data)
            except (
                OSError
            ):  # it was removed at this moment, or is nobody's to read: nor is it a job's
                tree.links.append(path)
        for path in set(tree.copies).difference(found):
            del tree.copies[path]
        # Of a checkout that goes on meanwhile, a snapshot would have some files before and some after it.
        for path, state in tree.copies.items():
            full = os.path.join(tree.live, path)
            if _state_now(full) != _state(state):
                raise _Changed(full)
        return found

    def _placed(self, digest: str, name: str, names: Mapping[str, str]) -> CodeSnapshot:
        folder = f"{self._folder}/{name}"
        placed = CodeSnapshot(
            digest, folder, {live: f"{folder}/{tree}" for live, tree in names.items()}
        )
        packages = {name: placed.place_of(path) for name, path in self._places.packages.items()}
        return attrs.evolve(placed, packages=packages)

    # Writing it

    def _is_usable(
        self, snapshot: CodeSnapshot, trees: list[Tree], names: Mapping[str, str]
    ) -> bool:
        """Whether a snapshot can be used that is there, perhaps of another user; it gets all links."""
        owner = os.stat(snapshot.folder).st_uid
        if not is_trusted_user(owner):
            return False
        try:
            self._add_links(snapshot, trees, names)
        except OSError:
            if owner == os.geteuid():
                raise
            return False  # it lacks links, and others may not make them, or may not read it at all
        return True

    def _make(
        self,
        snapshot: CodeSnapshot,
        trees: list[Tree],
        names: Mapping[str, str],
        known: Mapping[str, _Known],
        digests: Mapping[str, Mapping[str, str]],
    ) -> bool:
        """Make a snapshot; False where another process was faster."""
        self._remove_leftovers()
        temporary = f"{self._folder}/{_TEMPORARY}{snapshot.digest}-{os.urandom(4).hex()}"
        os.mkdir(temporary, _FOLDER_MODE)
        try:
            for tree in trees:
                self._copy(
                    tree,
                    f"{temporary}/{names[tree.live]}",
                    known[tree.live],
                    digests[tree.live],
                )
                self._link(snapshot, tree, f"{temporary}/{names[tree.live]}")
            record = attrs.evolve(snapshot, packages={})  # those of each run are its own
            _files.write_file(f"{temporary}/{FILE}", CODE_SNAPSHOT.to_bytes(record))
            try:
                os.rename(temporary, snapshot.folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                _files.remove_tree(temporary)
                return False
            for tree in trees:
                for path in tree.folders:
                    os.chmod(os.path.join(snapshot.trees[tree.live], path), _CLOSED_MODE)
            return True
        except BaseException:
            _files.remove_tree(temporary)
            raise

    def _copy(self, tree: Tree, place: str, known: _Known, digests: Mapping[str, str]) -> None:
        before = f"{self._folder}/{known.snapshot}/{known.tree}" if known.snapshot else ""
        for path in tree.folders:
            os.mkdir(os.path.join(place, path) if path else place, _FOLDER_MODE)
        for path in {os.path.dirname(path) for path in digests if path.endswith(SUFFIX)}:
            os.mkdir(os.path.join(place, path, "__pycache__"), _FOLDER_MODE)  # jobs fill it
        for path, digest in digests.items():
            target = f"{place}/{path}"
            old = known.files.get(path)
            if before and old is not None and old[-1] == digest:
                try:
                    os.link(f"{before}/{path}", target)
                    continue
                except OSError:
                    pass  # that snapshot is gone, or the filesystem has no second names
            full = os.path.join(tree.live, path)
            data = self._read.get(full)
            if data is None:
                data = _files.read_file(full)
                if content_digest(data) != digest:
                    raise _Changed(full)
            _files.write_file(target, data, mode=_COPY_MODE)
        for path, text in tree.gits.items():
            _files.write_file(f"{place}/{path}", os.fsencode(text))

    def _link(self, snapshot: CodeSnapshot, tree: Tree, place: str) -> None:
        """Make links in a snapshot that is new."""
        for path, target in _targets(snapshot, tree):
            os.symlink(target, f"{place}/{path}")

    def _add_links(
        self, snapshot: CodeSnapshot, trees: list[Tree], names: Mapping[str, str]
    ) -> None:
        """Add links to what came into the project since the snapshot was made."""
        for tree in trees:
            place = f"{snapshot.folder}/{names[tree.live]}"
            there = {
                path: set(_files.list_folder(os.path.join(place, path) if path else place))
                for path in {os.path.dirname(link) for link in tree.links}
            }
            opened = set()
            for path in tree.links:
                inside = os.path.dirname(path)
                if os.path.basename(path) not in there[inside]:
                    _add_link(os.path.join(tree.live, path), f"{place}/{path}")
                    opened.add(inside)
            for path in opened:
                os.chmod(os.path.join(place, path), _CLOSED_MODE)

    def _remove_leftovers(self) -> None:
        for name in _files.list_folder(self._folder):
            path = f"{self._folder}/{name}"
            with suppress(OSError):
                if (
                    name.startswith(_TEMPORARY)
                    and self._began - os.stat(path).st_mtime > _LEFT_SECS
                ):
                    _files.remove_tree(path)

    # What is known of the files of a project

    def _known_file(self, live: str) -> str:
        return f"{self._folder}/{_LAST}{content_digest(os.fsencode(f'{os.geteuid()} {live}'))}"

    def _read_known(self, live: str) -> _Known:
        path = self._known_file(live)
        try:
            if os.stat(path).st_uid != os.geteuid():
                return _Known()
            raw = json.loads(_files.read_file(path))
            return _Known(raw["files"], raw["snapshot"], raw["tree"])
        except (OSError, ValueError, KeyError, TypeError):
            return _Known()

    def _write_known(
        self,
        tree: Tree,
        known: _Known,
        digests: Mapping[str, str],
        snapshot: CodeSnapshot,
        name: str,
    ) -> None:
        files = {
            # A state that may be that of two contents tells nothing; the digest still tells what is copied.
            path: [*(_state(state) if self._is_settled(state) else [0]), digests[path]]
            for path, state in tree.copies.items()
        }
        folder = os.path.basename(snapshot.folder)
        if (files, folder, name) != (known.files, known.snapshot, known.tree):
            raw = {"snapshot": folder, "tree": name, "files": files}
            with suppress(OSError):  # then the next one reads all files again
                _files.replace_file(self._known_file(tree.live), json.dumps(raw).encode())

    def _is_settled(self, state: os.stat_result) -> bool:
        return max(state.st_mtime, state.st_ctime) < self._began - _YOUNG_SECS

    def _tell(self, trees: list[Tree]) -> None:
        if self._left_out:
            largest = ", ".join(
                f"{path} ({_text.size(size)})"
                for size, path in sorted(self._left_out)[::-1][:_SHOWN]
            )
            _log.warning(
                "jobs import %s as they are then, because they are too large for a snapshot of the code: %s; "
                "FURU_SNAPSHOT_LIMIT is %s",
                _text.count(len(self._left_out), "file"), largest, _text.size(self._limit),
            )  # fmt: skip
        for tree in trees:
            if tree.partly:
                _log.warning(
                    "%s is no folder of code alone, so of what is in it the snapshot of the code has only "
                    "the modules and the packages with an __init__.py; put the project into a folder "
                    "of its own, with a pyproject.toml",
                    tree.live,
                )


class _Changed(Exception):
    """A file changed while the snapshot was made."""


def _is_in(folder: str, trees: Iterable[Tree]) -> bool:
    """Whether a folder is one of a tree, and no link in it."""
    for tree in trees:
        inside = f"{tree.live.rstrip('/')}/"
        if folder == tree.live or (
            folder.startswith(inside) and folder[len(inside) :] in tree.folders
        ):
            return True
    return False


def _without(tree: Tree, paths: set[str]) -> Tree:
    if not paths:
        return tree
    copies = {path: state for path, state in tree.copies.items() if path not in paths}
    return attrs.evolve(tree, copies=copies, links=sorted([*tree.links, *paths]))


def _targets(snapshot: CodeSnapshot, tree: Tree) -> Iterator[tuple[str, str]]:
    """The links of a tree, and where each leads."""
    for path in tree.links:
        yield path, os.path.join(tree.live, path)
    for path, inner in tree.inner.items():
        yield path, os.path.relpath(inner, os.path.dirname(path) or ".")
    for path, target in tree.outside.items():
        yield path, snapshot.place_of(target)


def _add_link(target: str, path: str) -> None:
    """Make a link in a folder that is closed, and that another process may close again."""
    for _ in range(_TRIES):
        try:
            os.symlink(target, path)
        except FileExistsError:
            return
        except PermissionError:
            os.chmod(os.path.dirname(path), _FOLDER_MODE)
        else:
            return


def _names_of(trees: Iterable[Tree]) -> dict[str, str]:
    """The name of each tree in the snapshot: that of its folder, so that users know it again."""
    names: dict[str, str] = {}
    for tree in trees:
        name = first = os.path.basename(tree.live) or "root"
        number = 1
        while name in names.values() or name == FILE:
            number += 1
            name = f"{first}-{number}"
        names[tree.live] = name
    return names


def _loaded_folders() -> set[str]:
    """The folders of the project's modules that this process has loaded."""
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and is_of_project(file):
            found.add(os.path.dirname(os.path.abspath(file)))
    return found


def _state(state: os.stat_result) -> list[int]:
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _state_now(path: str) -> list[int]:
    try:
        return _state(os.stat(path))
    except OSError:
        return []
