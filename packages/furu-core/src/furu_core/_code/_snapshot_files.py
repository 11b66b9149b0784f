"""What a snapshot of the project is made of: which folders, which files of them are copied, which linked.

Copied are Python files, and the settings beside them (`FURU_SNAPSHOT_ALSO`), up to a limit. All else is a
link to the project, a folder without Python files as a whole. So is what no code is in: hidden folders, virtual
environments, the store, and folders that git ignores.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

import attrs

from furu_core._code._project import is_installed, is_of_project, is_project_folder
from furu_core.errors import FuruUsageError

PYTHON: Final = "*.py"
ALWAYS: Final = (
    "pyproject.toml"  # it says where a project begins, and so how its modules are called
)
GIT: Final = ".git"
MOST_ENTRIES: Final = 100_000  # of a project, to be looked at
_MOST_LINKS: Final = 20_000
_GIT_SECS: Final = 10.0
_NO_CODE: Final = frozenset({"__pycache__", "node_modules"})
_MARKS: Final = ("pyvenv.cfg", "conda-meta", "furu.json")  # of virtual environments, and of stores


@attrs.frozen
class Tree:
    """What of a folder is to be in a snapshot; paths are relative to the folder.

    Attributes:
        live: the folder.
        copies: the files to copy, in order, and the state of each.
        links: files and folders to link to.
        inner: links in the project to other places of it, and where these lead.
        gits: where repositories begin, and the text of a file `.git` that leads to them.
        folders: the folders, in order, each after the one it is in.
        outside: folders with code that links in the project lead to.
        partly: whether the folder has too much in it, so that only the modules and packages in the folders of
            `sys.path` are taken.
    """

    live: str
    copies: dict[str, os.stat_result] = attrs.field(factory=dict)
    links: list[str] = attrs.field(factory=list)
    inner: dict[str, str] = attrs.field(factory=dict)
    gits: dict[str, str] = attrs.field(factory=dict)
    folders: list[str] = attrs.field(factory=list)
    outside: dict[str, str] = attrs.field(factory=dict)
    partly: bool = False


@attrs.frozen
class Places:
    """Where the project's code is imported from.

    Attributes:
        roots: folders of `sys.path` that are the project's.
        packages: editable installs that are found by their names: the folder or file of each.
    """

    roots: tuple[str, ...]
    packages: Mapping[str, str]


def project_places(roots: Iterable[str]) -> Places:
    """Where the project's code is imported from, by the rule of `_project`.

    Args:
        roots: the absolute folders that modules are imported from.
    """
    own = [root for root in dict.fromkeys(roots) if os.path.isdir(root) and is_project_folder(root)]
    packages = {
        name: path
        for name, path in _editable_installs()
        if os.path.exists(path)
        and is_project_folder(os.path.dirname(path))
        and os.path.dirname(path) not in own
    }
    return Places(tuple(own), packages)


def _editable_installs() -> Iterator[tuple[str, str]]:
    """Names of top-level modules that a finder or a link leads to, and their folders or files."""
    for finder in sys.meta_path:
        module = sys.modules.get(getattr(finder, "__module__", None) or type(finder).__module__)
        for where in (module, finder):
            for attribute in ("MAPPING", "NAMESPACES", "_redirections"):  # setuptools, editables
                known = getattr(where, attribute, None)
                for name, path in known.items() if isinstance(known, Mapping) else ():
                    for one in [path] if isinstance(path, str | os.PathLike) else path:
                        yield str(name), _folder_of(os.path.abspath(one))
    for entry in sys.path:
        if os.path.isabs(entry) and not is_project_folder(entry):
            for name, path in _links_in(entry):
                yield name, path
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        if spec is None or "." in name or spec.name != name or not isinstance(origin, str):
            continue
        path = _folder_of(origin)
        if (
            os.path.isabs(origin)
            and is_of_project(origin)
            and os.path.dirname(path) not in sys.path
        ):
            yield name, path


def _folder_of(path: str) -> str:
    """The folder of a package, given its file; any other path as it is."""
    folder, name = os.path.split(path)
    return folder if name == "__init__.py" else path


def _links_in(folder: str) -> Iterator[tuple[str, str]]:
    """The packages and modules of an installer's folder that are links to elsewhere."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink() and entry.name.partition(".")[0].isidentifier():
                    path = os.path.realpath(entry.path)
                    if os.path.isdir(path) or path.endswith(".py"):
                        yield entry.name.partition(".")[0], path
    except OSError:
        return


def anchor_of(folder: str) -> tuple[str, bool]:
    """The folder that a tree must begin with, so that modules in `folder` keep their names in hashes; and
    whether it is that of a project: it has a `pyproject.toml` or `.git`."""
    above = _package_root(folder)
    parents = [folder]
    while (parent := os.path.dirname(parents[-1])) != parents[-1]:
        parents.append(parent)
    for mark in (ALWAYS, GIT):
        for one in parents:
            if os.path.exists(os.path.join(one, mark)):
                # A project may be in a folder that is a package itself.
                return (min(one, above, key=len), True)
    return above, False


def _package_root(folder: str) -> str:
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder = os.path.dirname(folder)
    return folder


def pattern_of(also: Collection[str]) -> re.Pattern[str]:
    """What the names of copied files match."""
    return re.compile("|".join(map(fnmatch.translate, [PYTHON, ALWAYS, *sorted(also)])))


def tree_of(
    live: str,
    wanted: Collection[str],
    *,
    loaded: Collection[str],
    whole: bool,
    pattern: re.Pattern[str],
    store: str,
    most: int = MOST_ENTRIES,
) -> Tree:
    """What of a folder is to be in a snapshot.

    Args:
        live: the folder, an anchor.
        wanted: folders in it that modules are imported from, and packages, which are never left out.
        loaded: nor are these, from which this process has imported something.
        whole: whether all of it is a project; else only what is wanted is looked at.
        pattern: what the names of copied files match.
        store: the store, which is never looked at.
        most: how many files and folders may be looked at.

    Raises:
        FuruUsageError: there is too much even in the folders that modules are imported from.
    """

    def walk() -> _TreeWalk:
        return _TreeWalk(live, wanted, loaded, pattern, store, most)

    huge = live == os.path.dirname(live) or live == os.path.expanduser("~")
    found = walk().walk_all() if whole and not huge else None
    if found is None and not huge:
        found = walk().walk_wanted(deep=True)
    if found is None:
        found = walk().walk_wanted(deep=False)
        found = None if found is None else attrs.evolve(found, partly=True)
    if found is None or len(found.links) > _MOST_LINKS:
        raise FuruUsageError(
            f"there is too much in {live} to make a snapshot of the code in it: "
            + (
                f"more than {most:,} files and folders"
                if found is None
                else f"{len(found.links):,} files that are no code lie beside code"
            ),
            hint="move the code into a folder of its own, or the data into one without code; or let jobs "
            "import what is there when they start: FURU_CODE=live",
        )
    return found


class _TooMuch(Exception):
    """There are more files and folders than may be looked at."""


@attrs.define(eq=False)
class _Folder:
    """A folder that was looked at."""

    path: str  # relative; empty for the tree's own
    parent: _Folder | None
    real: bool = False  # whether it is a folder in the snapshot, too; else it is a link
    taken: list[str] = attrs.field(factory=list)
    left: list[str] = attrs.field(factory=list)
    git: bool = False
    stats: dict[str, os.stat_result] = attrs.field(factory=dict)
    linked: dict[str, str] = attrs.field(factory=dict)

    def become_real(self) -> None:
        folder: _Folder | None = self
        while folder is not None and not folder.real:
            folder.real, folder = True, folder.parent


class _TreeWalk:
    def __init__(
        self,
        live: str,
        wanted: Collection[str],
        loaded: Collection[str],
        pattern: re.Pattern[str],
        store: str,
        most: int,
    ) -> None:
        self._live = live
        self._wanted = [f"{one.rstrip('/')}/" for one in wanted]
        self._ways = {above for one in (*wanted, *loaded) for above in _ways_to(one, live)}
        self._matches = pattern.match
        self._store = store
        self._left = most
        self._folders: list[_Folder] = []
        self._real = os.path.realpath(live)

    def walk_all(self) -> Tree | None:
        """All of the folder; None where that is too much."""
        ignored = _ignored_by_git(self._live)

        def enters(path: str) -> bool:
            return path not in ignored or self._is_package(path)  # generated code, for instance

        return self._walked(enters)

    def walk_wanted(self, *, deep: bool) -> Tree | None:
        """The folders on the way to what is wanted and all in those; None where that is too much.

        Args:
            deep: with all folders in them; else with packages that have an `__init__.py` alone.
        """

        def enters(path: str) -> bool:
            full = f"{os.path.join(self._live, path)}/"
            return full.startswith(tuple(self._wanted)) and (deep or self._is_package(path))

        return self._walked(enters)

    def _is_package(self, path: str) -> bool:
        return os.path.isfile(os.path.join(self._live, path, "__init__.py"))

    def _walked(self, enters: Callable[[str], bool]) -> Tree | None:
        pending: list[tuple[str, _Folder | None]] = [("", None)]
        try:
            while pending:
                path, parent = pending.pop()
                folder = _Folder(path, parent)
                self._folders.append(folder)
                for name in self._look(folder):
                    inner = f"{path}/{name}" if path else name
                    full = os.path.join(self._live, inner)
                    if full in self._ways or (not self._has_no_code(name, full) and enters(inner)):
                        pending.append((inner, folder))
                    else:
                        folder.left.append(name)
        except _TooMuch:
            return None
        return self._tree()

    def _look(self, folder: _Folder) -> list[str]:
        """Look at what is in a folder; return the names of the folders in it."""
        inside = []
        where = os.path.join(self._live, folder.path) if folder.path else self._live
        try:
            with os.scandir(where) as entries:
                for entry in entries:
                    self._left -= 1
                    if self._left < 0:
                        raise _TooMuch
                    if entry.name == GIT:
                        folder.git = True
                    elif entry.is_symlink():
                        self._add_link(folder, entry)
                    elif entry.is_dir(follow_symlinks=False):
                        inside.append(entry.name)
                    elif self._matches(entry.name) and entry.is_file(follow_symlinks=False):
                        self._add_file(folder, entry)
                    else:
                        folder.left.append(entry.name)
        except PermissionError:
            return []  # nothing can be imported from there either
        except FileNotFoundError:
            return []  # it was removed at this moment
        return inside

    def _add_file(self, folder: _Folder, entry: os.DirEntry[str]) -> None:
        if entry.name.endswith(".py") and is_installed(entry.path):
            folder.left.append(entry.name)
            return
        try:
            folder.stats[entry.name] = entry.stat()
        except OSError:
            return  # it was removed at this moment
        folder.taken.append(entry.name)
        if entry.name.endswith(".py"):
            folder.become_real()

    def _add_link(self, folder: _Folder, entry: os.DirEntry[str]) -> None:
        """A link to a file of code counts as that file; one to a folder leads to the same folder."""
        try:
            if entry.is_file() and self._matches(entry.name):
                self._add_file(folder, entry)
                return
            if entry.is_dir():
                target = os.path.realpath(entry.path)
                if _has_python(target) and is_project_folder(target):
                    folder.linked[entry.name] = target
                    folder.become_real()
                    return
        except OSError:
            pass  # it leads in a circle, or nowhere
        folder.left.append(entry.name)

    def _has_no_code(self, name: str, full: str) -> bool:
        if name.startswith(".") or name in _NO_CODE or full == self._store:
            return True
        if any(os.path.exists(os.path.join(full, mark)) for mark in _MARKS):
            return True
        return not is_project_folder(full)

    def _tree(self) -> Tree:
        tree = Tree(self._live)
        copies: dict[str, os.stat_result] = {}
        self._folders[0].real = True
        for folder in self._folders:
            if not folder.real:
                if folder.parent is not None and folder.parent.real:
                    tree.links.append(folder.path)
                continue
            tree.folders.append(folder.path)
            start = f"{folder.path}/" if folder.path else ""
            copies.update({start + name: folder.stats[name] for name in folder.taken})
            tree.links.extend(start + name for name in folder.left if name != "__pycache__")
            if folder.git:
                tree.gits[start + GIT] = _git_file(os.path.join(self._live, folder.path, GIT))
            for name, target in folder.linked.items():
                if f"{target}/".startswith(f"{self._real}/"):
                    tree.inner[start + name] = os.path.relpath(target, self._real)
                else:
                    tree.outside[start + name] = target
        known = set(tree.folders)
        for path, target in list(tree.inner.items()):
            if target != "." and target not in known:  # it leads to what is left out
                del tree.inner[path]
                tree.links.append(path)
        tree.folders.sort()
        tree.links.sort()
        return attrs.evolve(tree, copies=dict(sorted(copies.items())))


def _ways_to(folder: str, live: str) -> Iterator[str]:
    """A folder, and those above it in a tree."""
    while len(folder) > len(live):
        yield folder
        folder = os.path.dirname(folder)


def _has_python(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".py") for entry in entries)


def _git_file(path: str) -> str:
    """The text of a file `.git` that leads to the repository of a folder."""
    target = path
    try:
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                told = file.read().removeprefix("gitdir:").strip()
            target = os.path.normpath(os.path.join(os.path.dirname(path), told))
    except OSError:
        pass
    return f"gitdir: {target}\n"


def _ignored_by_git(folder: str) -> frozenset[str]:
    """The folders that git ignores, relative to `folder`; none where there is no git."""
    above = folder
    while not os.path.exists(os.path.join(above, GIT)):
        above, below = os.path.dirname(above), above
        if above == below:
            return frozenset()
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--others", "--ignored"]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*command, "--exclude-standard", "--directory"],
            cwd=folder,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # then all folders are looked at
        return frozenset()
    names = os.fsdecode(done.stdout).split("\0")
    return frozenset(name.rstrip("/") for name in names if name.endswith("/") and name != "./")
