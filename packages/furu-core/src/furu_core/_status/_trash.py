"""The trash: what was removed, until it is put back or is old enough to go for good.

::

    <store>/trash/<time>-<token>/<module path>/<Class>/<hash>          a result
    <store>/trash/<time>-<token>/<module path>/<Class>/.<hash>.<n>     an attempt, and what is beside it
    <store>/trash/<time>-<token>-<plan>/                               what `furu gc --do` took
    <store>/trash/<removal>/.store/runs/<run id>                       what is not below `data`

A removal is one folder there: what one process removed within an hour. Everything is moved by one
rename, so it is in one of the two places whenever a process is killed, and of two that put the same
node back, one does.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import attrs

from furu_core._attempts import _attempts, _liveness
from furu_core._files import HIDDEN, hide, list_folder, remove_tree, store_errors
from furu_core._settings import _settings
from furu_core._store._layout import NodeRef, attempt_of, beside_of, is_hash
from furu_core._text import writable

FOLDER: Final = "trash"
_STORE: Final = ".store"  # in a removal: what was not below `data`, at its path in the store
_PLACES: Final = (
    "runs",
    "code/snapshots",
    "imports",
)  # of which single folders or files are removed
_FEWEST_DIGITS: Final = 4  # of a hash: fewer would mean another one by accident
DAY_SECS: Final = 24 * 3600.0
_ONE_REMOVAL_SECS: Final = 3600.0
_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)

ANOTHER_RESULT: Final = "another result is there by now"
_LATER: Final = "a later attempt is there by now"

_removing: tuple[tuple[str, int, int, str], float, str] | None = None  # by whom, since when, folder
_plan = ""  # the id of the plan by which this process removes now


@attrs.frozen
class Removal:
    """What was removed at once.

    Attributes:
        name: the name of its folder, which begins with the time.
        folder: its folder.
        owner: the user id of who removed it.
    """

    name: str
    folder: str
    owner: int

    @property
    def plan(self) -> str:
        """The id of the plan that took it; empty for what was removed by name."""
        return "".join(self.name.split("-")[2:3])

    @property
    def is_half_emptied(self) -> bool:
        """Whether somebody began to remove it for good, and did not come to the end; nothing of it comes back."""
        return os.path.basename(self.folder).startswith(HIDDEN)

    @property
    def age_secs(self) -> float | None:
        """Seconds since then, by the filesystem's clock; None when it is gone."""
        return _liveness.lease_age(self.folder)

    def entries(self) -> list[Entry]:
        """What is in it: results first, then attempts in their order, and what is beside them."""
        return sorted(_entries(self.folder), key=lambda entry: entry.order)

    def folders(self) -> list[str]:
        """What is in it besides nodes: folders, and records of imports, at their paths in the store."""
        return [
            f"{place}/{name}"
            for place in _PLACES
            for name in sorted(list_folder(f"{self.folder}/{_STORE}/{place}"))
        ]


@attrs.frozen
class Entry:
    """A folder in the trash.

    Attributes:
        path: where it is.
        below: where it was, below `data` in the store.
        hash: the hash of its node.
        attempt: the number of the attempt that it is or belongs to; 0 for a result.
    """

    path: str
    below: str
    hash: str
    attempt: int

    @property
    def order(self) -> tuple[int, int, str]:
        """Attempts come back from the lowest number up, since those in use must have no gap."""
        return self.attempt, len(self.below), self.below

    @property
    def class_path(self) -> str:
        """The folder of its class, below `data` in the store."""
        return self.below.rpartition("/")[0]


@attrs.frozen
class Undone:
    """What came of putting things back.

    Attributes:
        put_back: what was put back.
        refused: what stays in the trash, and why.
        folders: the folders besides nodes that were put back, by their paths in the store.
        refused_folders: those that stay in the trash, and why.
    """

    put_back: list[Entry] = attrs.field(factory=list)
    refused: list[tuple[Entry, str]] = attrs.field(factory=list)
    folders: list[str] = attrs.field(factory=list)
    refused_folders: list[tuple[str, str]] = attrs.field(factory=list)


def move_here(folder: str) -> str:
    """Move a folder of `data` to the trash.

    Args:
        folder: its path.

    Returns:
        Its path in the trash.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be moved: it is another user's, for instance, or the disk is full.
    """
    return _move(folder, folder.removeprefix(f"{_settings.settings().path}/data/"))


def move_folder_here(path: str) -> str:
    """Move a folder, or the record of an import, that is not below `data` to the trash.

    Args:
        path: its path in the store, such as ``runs/20261128-...``.

    Returns:
        Its path in the trash.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be moved.
    """
    return _move(f"{_settings.settings().path}/{path}", f"{_STORE}/{path}")


def _move(folder: str, below: str) -> str:
    for fresh in (False, True):
        target = f"{_current(fresh=fresh)}/{below}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            _rename(folder, target)
        except OSError as error:
            if fresh or error.errno not in _TAKEN:
                raise
            continue  # this process removed the same node before
        return target
    raise AssertionError("unreachable")


def _rename(folder: str, target: str) -> None:
    """Rename a folder; also one that is read-only, as the code of its node made it, which cannot get another parent."""
    try:
        os.rename(folder, target)
    except PermissionError:
        status = os.stat(folder)
        if status.st_mode & stat.S_IWUSR or status.st_uid != os.geteuid():
            raise
        mode = stat.S_IMODE(status.st_mode)
        os.chmod(folder, mode | stat.S_IWUSR)
        renamed = folder
        try:
            os.rename(folder, target)
            renamed = target
        finally:
            os.chmod(renamed, mode)


@contextmanager
def removing_by(plan: str) -> Iterator[None]:
    """Note a plan's id with all that this process removes meanwhile."""
    global _plan
    before, _plan = _plan, plan
    try:
        yield
    finally:
        _plan = before


def _current(*, fresh: bool) -> str:
    """The folder of what this process removes now."""
    global _removing
    store = str(_settings.settings().path)
    whose = store, os.getpid(), os.geteuid(), _plan
    now = time.monotonic()
    if (
        fresh
        or _removing is None
        or _removing[0] != whose
        or now - _removing[1] > _ONE_REMOVAL_SECS
        or not os.path.isdir(_removing[2])
    ):
        when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = f"{store}/{FOLDER}/{when}-{os.urandom(3).hex()}"
        folder += f"-{_plan}" if _plan else ""
        os.makedirs(folder)
        _removing = whose, now, folder
    return _removing[2]


def removals() -> list[Removal]:
    """All removals in the trash of the current store, the newest first.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    where = f"{_settings.settings().path}/{FOLDER}"
    found = []
    with store_errors(where, doing="read"):
        for name in sorted(list_folder(where), reverse=True):
            if not name.startswith("."):
                with suppress(FileNotFoundError):  # emptied in this moment
                    found.append(
                        Removal(name, f"{where}/{name}", os.stat(f"{where}/{name}").st_uid)
                    )
    return found


def results_called(digits: str) -> set[tuple[str, str]]:
    """The removed results whose hashes begin so, each with the path of its class; none for fewer than four digits.

    Args:
        digits: the beginning of a hash.
    """
    if len(digits) < _FEWEST_DIGITS:
        return set()
    return {
        (entry.hash, entry.class_path)
        for removal in removals()
        for entry in removal.entries()
        if not entry.attempt and entry.hash.startswith(digits)
    }


def results_of(class_path: str) -> dict[str, Removal]:
    """The results of a class that are in the trash, by their hashes, with the last removal of each.

    Args:
        class_path: the folder of the class, below `data` in the store.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    found: dict[str, Removal] = {}
    for removal in removals():
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            for name in os.listdir(f"{removal.folder}/{class_path}"):
                if is_hash(name):
                    found.setdefault(name, removal)
    return found


def _entries(folder: str, below: str = "") -> Iterator[Entry]:
    try:
        with os.scandir(f"{folder}/{below}") as scan:
            # A result may be a link: somebody had moved it to another disk.
            found = [
                entry
                for entry in scan
                if entry.is_dir(follow_symlinks=False)
                or (entry.is_symlink() and is_hash(entry.name))
            ]
    except (FileNotFoundError, NotADirectoryError):
        return  # put back or emptied in this moment
    for entry in found:
        where = f"{below}{entry.name}"
        if is_hash(entry.name):
            yield Entry(entry.path, where, entry.name, 0)
        elif not entry.name.startswith("."):
            yield from _entries(folder, f"{where}/")
        else:
            node_hash, number, _ = beside_of(entry.name)
            if not node_hash:
                node_hash, number = attempt_of(entry.name)
            if node_hash:
                yield Entry(entry.path, where, node_hash, int(number))


def undo(
    removal: Removal,
    entries: Iterable[Entry] | None = None,
    folders: Iterable[str] | None = None,
) -> Undone:
    """Put back what was removed, where nothing else stands by now.

    Args:
        removal: what to put back.
        entries: which of its nodes, in the order of `Removal.entries`; None for all.
        folders: which of its other folders; None for all, or for none where `entries` are given.
    """
    done = Undone()
    data = f"{_settings.settings().path}/data"
    for entry in removal.entries() if entries is None else entries:
        target = f"{data}/{entry.below}"
        if entry.attempt and not _is_next(entry, NodeRef(os.path.dirname(target), entry.hash)):
            done.refused.append((entry, _LATER))
            continue
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.islink(entry.path):
                _refuse_taken(target)
                os.rename(entry.path, target)
            else:
                # The slashes keep it from replacing a file, such as a number that is kept.
                _rename(f"{entry.path}/", f"{target}/")
        except FileNotFoundError:
            continue  # another process put it back, or emptied the trash
        except OSError as error:
            done.refused.append((entry, _why(error, entry)))
        else:
            done.put_back.append(entry)
    if folders is None:
        folders = removal.folders() if entries is None else ()
    for path in folders:
        _put_folder_back(removal, path, done)
    _prune(removal.folder)
    return done


def _refuse_taken(path: str) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def _put_folder_back(removal: Removal, path: str, done: Undone) -> None:
    source, target = f"{removal.folder}/{_STORE}/{path}", f"{_settings.settings().path}/{path}"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(source):
            _rename(f"{source}/", f"{target}/")
        else:
            os.rename(source, target)
    except FileNotFoundError:
        return  # another process put it back, or emptied the trash
    except OSError as error:
        why = "another one is there by now" if error.errno in _TAKEN else str(error.strerror)
        done.refused_folders.append((path, why))
    else:
        done.folders.append(path)


def _is_next(entry: Entry, paths: NodeRef) -> bool:
    """Whether an attempt has the number that is next, or what lies beside one has the newest.

    One that runs now would take the attempt for its successor. One that begins in this moment does
    not get the number.
    """
    newest = _attempts.latest_of_any_furu(paths, lease_secs=_settings.settings().lease_secs)
    if newest is not None and newest.alive:
        return False
    number = 0 if newest is None else newest.number
    is_beside = bool(beside_of(entry.path.rpartition("/")[2])[0])
    return entry.attempt == (number if is_beside else number + 1)


def _why(error: OSError, entry: Entry) -> str:
    if error.errno in _TAKEN:
        return _LATER if entry.attempt else ANOTHER_RESULT
    if error.errno in (errno.EACCES, errno.EPERM):
        return "it belongs to another user"
    return writable(error.strerror or type(error).__name__)


def _prune(folder: str) -> None:
    """Remove folders in which nothing is left, but none that was removed itself."""
    with suppress(OSError), os.scandir(folder) as scan:
        for entry in scan:
            if not entry.name.startswith(".") and not is_hash(entry.name):
                _prune(entry.path)
    for place in (*_PLACES, "code", ""):
        with suppress(OSError):
            os.rmdir(f"{folder}/{_STORE}/{place}".rstrip("/"))
    with suppress(OSError):
        os.rmdir(folder)


def empty(chosen: Collection[Removal]) -> None:
    """Remove removals for good, as far as this user may."""
    for removal in chosen:
        hidden = removal.folder if removal.is_half_emptied else hide(removal.folder)
        if hidden is not None:
            remove_tree(hidden)


def empty_old() -> None:
    """Remove for good what this user removed longer ago than `FURU_TRASH_DAYS`."""
    limit = _settings.settings().trash_days * DAY_SECS
    with suppress(OSError):
        for removal in mine(half_emptied=True):
            age = removal.age_secs
            if age is not None and age > (DAY_SECS if removal.is_half_emptied else limit):
                empty([removal])


def mine(*, half_emptied: bool = False) -> list[Removal]:
    """The removals of this user, or all for the one who may do everything; the newest first.

    Args:
        half_emptied: also those of which only the rest is there, as whoever emptied them was killed.
    """
    me = os.geteuid()
    found = [*removals(), *(_half_emptied() if half_emptied else ())]
    return [removal for removal in found if me in (0, removal.owner)]


def _half_emptied() -> Iterator[Removal]:
    where = f"{_settings.settings().path}/{FOLDER}"
    for hidden in list_folder(where):
        if hidden.startswith(HIDDEN):
            name = hidden.removeprefix(HIDDEN).rpartition("-")[0]
            with suppress(FileNotFoundError):  # emptied in this moment
                yield Removal(name, f"{where}/{hidden}", os.stat(f"{where}/{hidden}").st_uid)
