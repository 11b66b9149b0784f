"""Files that several processes, also of several hosts, write and read.

Whole files are replaced by one rename or created by one link, so no reader sees half of one; files
of lines lose at most the line that was being written when its writer was killed. An `OSError`
becomes a `FuruStoreError` where `store_error` or `store_errors` is used, and stays elsewhere.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Final, TypeVar

from furu_core.errors import FuruStoreError

try:
    from _blake2 import blake2b as blake2b
except ImportError:  # hashlib would load OpenSSL, which takes longer than all that a job imports
    from hashlib import blake2b as blake2b

T = TypeVar("T")

_CHUNK: Final = 1 << 14
_READ: Final = os.O_RDONLY | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_APPEND: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC

# Whole files


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The contents of a file, with as few system calls as that takes.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    return read_open_file(os.open(path, _READ))


def read_open_file(descriptor: int) -> bytes:
    """What is left to read of an open file, which is closed.

    Raises:
        OSError: it cannot be read.
    """
    try:
        data = os.read(descriptor, _CHUNK)
        while more := os.read(descriptor, max(_CHUNK, len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def write_file(
    path: str | os.PathLike[str], data: bytes, *, sync: bool = False, mode: int = 0o666
) -> None:
    """Write a file that no process reads yet, in place of one that is there.

    Args:
        path: the file.
        data: its whole contents.
        sync: have the system write it to the disk as well.
        mode: who may do what with it, as far as the umask allows.

    Raises:
        OSError: it cannot be written whole: the disk is full, for instance.
    """
    descriptor = os.open(path, _WRITE, mode)
    try:
        view = memoryview(data)
        while view:  # on a disk that is nearly full, a part is written before the error comes
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    sync: bool = False,
    staging: str | os.PathLike[str] | None = None,
    mode: int = 0o666,
) -> None:
    """Replace a whole file, so that readers see either the old contents or the new ones.

    Args:
        path: the file.
        data: its whole contents.
        sync: write it to the disk before it appears; a network filesystem shows other hosts only
            what was synced.
        staging: a folder of the same filesystem to write it in first; None for its own. If another
            process removed that folder, writing fails before anything appears at `path`.
        mode: as for `write_file`.

    Raises:
        OSError: it cannot be written; the old contents are still there.
    """
    temporary = _temporary(path, staging)
    try:
        write_file(temporary, data, sync=sync, mode=mode)
        if not move_file(temporary, path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), temporary)
    except BaseException:
        _unlink(temporary)
        raise


def create_file(path: str | os.PathLike[str], data: bytes, *, sync: bool = False) -> bool:
    """Write a whole file unless there is one: of several processes that do so, one succeeds.

    Args:
        path: the file.
        data: its whole contents.
        sync: as for `replace_file`.

    Returns:
        Whether it was written; False where one is there.

    Raises:
        OSError: it cannot be written.
    """
    temporary = _temporary(path, None)
    try:
        write_file(temporary, data, sync=sync)
        return link_file(temporary, path)
    finally:
        _unlink(temporary)


def link_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> bool:
    """Give a file a second name; False if that is taken, in which case a rename would overwrite.

    Raises:
        OSError: the first name is gone, or the second one cannot be made.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def move_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> bool:
    """Rename a file or folder; False when it is gone, because another process moved it.

    Args:
        source: what to move.
        target: a name in an existing folder that no other process moves anything to.

    Raises:
        OSError: it is there, and cannot be renamed.
    """
    try:
        os.rename(source, target)
    except FileNotFoundError:
        # When a file server's reply is lost, the rename was done, and its repetition finds nothing.
        return os.path.lexists(target)
    return True


def list_folder(folder: str | os.PathLike[str]) -> list[str]:
    """The names in a folder, in no order; an empty list where there is no such folder.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _temporary(path: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> str:
    """A name that no other process uses, and that readers of the folder can tell from a file's."""
    beside, name = os.path.split(os.fspath(path))
    where = beside if folder is None else os.fspath(folder)
    return os.path.join(where, f".{name}.{os.getpid()}-{os.urandom(3).hex()}.tmp")


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


# Files of lines


class LineFile:
    """Appends lines to a file that has no other writer at the same time.

    If only a part of a line could be written, the next line still begins on a new one; so only that
    line is lost. Readers must skip lines that they cannot read.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = os.open(path, _APPEND, 0o666)
        self._torn = self._ends_in_a_line()  # an earlier writer may have been killed while writing

    def append(self, line: bytes) -> None:
        """Append a line.

        Args:
            line: the line, without a newline.

        Raises:
            OSError: it could not be written, or only a part of it: the disk is full, for instance.
        """
        data = memoryview((b"\n" if self._torn else b"") + line + b"\n")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            self._torn = False
        except OSError:
            self._torn = self._ends_in_a_line()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _ends_in_a_line(self) -> bool:
        size = os.fstat(self._fd).st_size
        return size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"


def read_lines(path: str | os.PathLike[str]) -> list[bytes]:
    """The lines of a `LineFile`, without newlines; one that is being written is left out.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    return read_file(path).split(b"\n")[:-1]


# The disk


def sync_path(path: str | os.PathLike[str]) -> None:
    """Have the system write one file, or the entries of one folder, to the disk.

    Raises:
        OSError: the disk reports an error, or it cannot be opened.
    """
    descriptor = os.open(path, _READ)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: str) -> None:
    """Have the system write everything below `folder` to the disk, the folders' entries included.

    Args:
        folder: the folder; the caller syncs its own entry in its parent.

    Raises:
        OSError: the disk reports an error, or a file cannot be opened.
    """
    pending = [folder]
    while pending:
        current = pending.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    sync_path(entry.path)
        sync_path(current)


# Filesystems on which every process sees every change at once. All others are assumed to cache.
LOCAL: Final = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)


def is_local_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether `folder` is there, on a filesystem that only this machine changes."""
    if sys.platform != "linux":
        return False
    if folder in _local_folders:
        return True
    try:
        is_local = _is_local_device(os.stat(folder).st_dev)
    except OSError:
        return False
    if is_local:
        if len(_local_folders) >= _REMEMBERED:
            _local_folders.clear()
        _local_folders.add(folder)
    return is_local


_REMEMBERED: Final = 1000
_local_folders: Final[set[str | os.PathLike[str]]] = (
    set()
)  # which other filesystem would come there?


@lru_cache(maxsize=64)
def _is_local_device(device: int) -> bool:
    fields = _mount_of(device)
    return fields is not None and fields[2] in LOCAL


def mount_of(folder: str | os.PathLike[str]) -> tuple[str, str, str, str] | None:
    """The mount on which a folder is: where, its options, its type, and what is mounted.

    None where the system does not tell, as for a subvolume of btrfs, or has no such listing.

    Raises:
        OSError: there is no such folder.
    """
    return _mount_of(os.stat(folder).st_dev)


def _mount_of(device: int) -> tuple[str, str, str, str] | None:
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.rstrip("\n").split(" ")
                if fields[2] == number:
                    # Optional fields end with a dash, and the type comes after it.
                    kind, source, options = fields[fields.index("-", 6) + 1 :]
                    return fields[4], f"{fields[5]},{options}", kind, source
    except (OSError, ValueError, IndexError):
        return None
    return None  # for instance a btrfs subvolume, whose device number is not listed


PROBE: Final = ".probe-"  # prefix of files that are made only to read the filesystem's clock


def filesystem_time(folder: str | os.PathLike[str]) -> float:
    """The time by the clock that dates the files in `folder`, in seconds since the epoch.

    Comparing the time of another host's file with it compares no clocks of two hosts.

    Raises:
        OSError: no file can be made there.
    """
    path = os.path.join(folder, f"{PROBE}{os.getpid()}-{os.urandom(4).hex()}")
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        _unlink(path)


def once_visible(read: Callable[[], T], wait_secs: float, *, pause_secs: float = 1.0) -> T:
    """Read a file that was written before, waiting while a network filesystem does not show it yet.

    Args:
        read: reads it; raises an OSError while it is not visible.
        wait_secs: seconds after which a file that is not visible counts as missing.
        pause_secs: the longest pause between two looks.

    Raises:
        OSError: it cannot be read, or is not there in time.
    """
    deadline = time.monotonic() + wait_secs
    while True:
        try:
            return read()
        except OSError as error:
            left = deadline - time.monotonic()
            if error.errno not in {errno.ENOENT, errno.ESTALE} or left <= 0.0:
                raise
        time.sleep(min(pause_secs, max(0.02, wait_secs / 20), left))


# Removing folders

HIDDEN: Final = ".removed-"  # begins the name of what is being removed


def discard(folder: str, hide_in: str | None = None) -> None:
    """Remove a folder as far as that is possible."""
    with suppress(OSError):  # the store is read-only, for instance
        discard_or_raise(folder, hide_in)


def discard_or_raise(folder: str, hide_in: str | None = None) -> None:
    """Remove a folder: first rename it, so that no process finds it, then delete it.

    Raises:
        OSError: it is there and cannot be removed.
    """
    try:
        hidden = _renamed(folder, hide_in)
    except FileNotFoundError:
        return  # another process removed it
    remove_tree(hidden)


def hide(folder: str, where: str | None = None) -> str | None:
    """Rename a folder, so that no process finds it; its new name, or None where that fails."""
    try:
        return _renamed(folder, where)
    except OSError:
        return None  # another process removed it, or the store is read-only


def _renamed(folder: str, where: str | None) -> str:
    parent, _, name = folder.rpartition("/")
    hidden = f"{where or parent}/{HIDDEN}{name}-{os.urandom(4).hex()}"
    os.rename(folder, hidden)
    return hidden


def remove_tree(folder: str) -> None:
    """Remove a folder that no process looks for, as far as that is possible, with folders in it that are read-only.

    Of a link to a folder the link is removed, and nothing of what it leads to.
    """
    import shutil  # slow, as it imports compressors; rarely needed

    if os.path.islink(folder):
        _unlink(folder)
        return
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.isdir(folder):
        _open_folders(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _open_folders(folder: str) -> None:
    pending = [folder]
    while pending:
        one = pending.pop()
        with suppress(OSError):  # another user's, or removed in this moment
            os.chmod(one, 0o700)
        with suppress(OSError), os.scandir(one) as scan:
            pending += [entry.path for entry in scan if entry.is_dir(follow_symlinks=False)]


# Errors of the operating system

_ALSO: Final = ", and FURU_ALSO to that store, so that its results are found"
_REMEDIES: Final = {
    errno.ENOSPC: "the disk is full, of bytes or of files: free some room or set FURU_PATH to "
    "another disk",
    errno.EDQUOT: "your disk quota is used up: free some room or set FURU_PATH elsewhere",
    errno.EROFS: f"the filesystem is read-only: set FURU_PATH to a folder that can be written{_ALSO}",
    errno.EACCES: f"you may not write there: set FURU_PATH to a folder of yours{_ALSO}",
    errno.EPERM: f"you may not write there: set FURU_PATH to a folder of yours{_ALSO}",
    errno.ENAMETOOLONG: "the path is too long: set FURU_PATH to a folder with a shorter one",
    errno.ENOTDIR: "no folder stands there: move it away or set FURU_PATH elsewhere",
    errno.EEXIST: "no folder stands there: move it away or set FURU_PATH elsewhere",
}


def store_error(
    error: OSError, path: str | os.PathLike[str], *, doing: str = "write to"
) -> FuruStoreError:
    """An `OSError` as a `FuruStoreError`, whose hint says what to do.

    Args:
        error: the error.
        path: what was read or written, if the error does not say.
        doing: what was done, in words, such as ``write to``.
    """
    where = error.filename if isinstance(error.filename, str) else os.fspath(path)
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        where = _no_folder(where, error.filename2, os.fspath(path)) or where
    reason = error.strerror or type(error).__name__
    hint = _REMEDIES.get(error.errno or 0, "check the folder that FURU_PATH names")
    if doing == "read" and isinstance(error, PermissionError):
        hint = "you may not read there: ask the owner, or set FURU_PATH elsewhere"
    return FuruStoreError(f"cannot {doing} the store at {where}: {reason}", path=where, hint=hint)


def store_errors(path: str | os.PathLike[str], *, doing: str = "write to") -> _Translating:
    """Raise an `OSError` of the enclosed code as the `FuruStoreError` of `store_error`."""
    return _Translating(path, doing)


class _Translating:
    """A generator would take twice the time, and each node passes several of these."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: str | os.PathLike[str], doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise store_error(error, self._path, doing=self._doing) from error


def _no_folder(*paths: object) -> str | None:
    """The file that is in place of a folder in one of the paths; the system does not say which."""
    for path in paths:
        while isinstance(path, str) and path not in ("", "/"):
            if os.path.lexists(path) and not os.path.isdir(path):
                return path
            path = os.path.dirname(path)
    return None
