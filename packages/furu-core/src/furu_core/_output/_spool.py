"""Spools: the files that running nodes print to, each used for one node after the other.

A node that prints nothing leaves no file. What one printed becomes the log in its folder when it
ends: a small text is copied, and the spool is used again; a large one, or one that a child of the
node may still write to, is renamed. When a process is killed, the record of its node's attempt
tells where the output is.
"""

from __future__ import annotations

import atexit
import errno
import os
import time
from contextlib import suppress
from typing import Final

from furu_core import _process_ids
from furu_core._files import write_file
from furu_core._output import _console
from furu_core._settings import _settings

FOLDER: Final = "output"
_SEEN_SECS: Final = 0.2
_COPIED_BYTES: Final = 1 << 16
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


class Spool:
    """A file that the output of one running node goes to.

    Attributes:
        name: its path below the store.
        path: its whole path.
        fd: a descriptor of it.
        clean: whether there was nothing in it when the last node ended.
    """

    def __init__(self, store: str) -> None:
        self.name = f"{FOLDER}/{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}.log"
        self.path = f"{store}/{self.name}"
        try:
            fd = os.open(self.path, _OPEN, 0o666)
        except FileNotFoundError:
            os.makedirs(f"{store}/{FOLDER}", exist_ok=True)
            fd = os.open(self.path, _OPEN, 0o666)
        self.fd = _console.above_standard(fd)
        self._second = -1
        self._is = os.fstat(self.fd)
        self._seen = time.monotonic()
        self.clean = True

    @property
    def usable(self) -> bool:
        """Whether another node may print to it."""
        return self.fd >= 0

    def second_fd(self) -> int:
        """A descriptor that does not share its position with the first.

        Raises:
            OSError: it cannot be opened.
        """
        if not _leads_to(self._second, self._is):
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._second = _console.above_standard(fd)
        return self._second

    def is_in_place(self) -> bool:
        """Whether the file is still there under its path.

        Somebody may have removed it; and the output of a node that is taken for dead is moved away.
        Nobody does so at once, so a spool that was looked at just now is not looked at again.
        """
        if time.monotonic() - self._seen < _SEEN_SECS:
            return True
        self._seen = time.monotonic()
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except OSError:
            return False

    def is_empty(self) -> bool:
        """Whether nothing was printed.

        Raises:
            OSError: the node's code closed the descriptor, which may be that of another file now.
        """
        self.clean = False
        try:
            found = os.fstat(self.fd)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise
            return False  # a network filesystem is away
        if not os.path.samestat(found, self._is):
            raise OSError(errno.EBADF, "the code of the node closed the descriptor", self.path)
        self.clean = not found.st_size
        return self.clean

    def keep_as(self, log: str) -> None:
        """Make what was printed the log of the node, if there is anything; forget it here.

        Args:
            log: the path of the log, which is replaced.

        Raises:
            OSError: it can be neither copied nor renamed.
        """
        size = os.fstat(self.fd).st_size
        if not size:
            self.clean = True
            return
        if size <= _COPIED_BYTES and not _process_ids.may_have_children():
            with suppress(OSError):  # a full disk; renaming needs no room
                write_file(log, os.pread(self.fd, size, 0))
                os.ftruncate(self.fd, 0)
                self.clean = True
                return
        os.rename(self.path, log)
        self.close()

    def remove(self) -> None:
        """Close and remove the file."""
        self.close()
        with suppress(OSError):
            os.unlink(self.path)

    def close(self) -> None:
        """Close the file, which is some node's log by now."""
        if _leads_to(self._second, self._is):
            os.close(self._second)
        fd, self.fd, self._second = self.fd, -1, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)


def _leads_to(fd: int, file: os.stat_result) -> bool:
    """Whether a descriptor is that of a file; the code of a node may have closed or replaced it."""
    try:
        return fd >= 0 and os.path.samestat(os.fstat(fd), file)
    except OSError:
        return False


_free: dict[str, list[Spool]] = {}
_taken: dict[str, tuple[str, Spool]] = {}


def take() -> Spool:
    """A spool of the current store, until it is given back.

    Raises:
        OSError: none can be made.
    """
    store = str(_settings.settings().path)
    spare = _free.setdefault(store, [])
    while spare:
        spool = spare.pop()
        if spool.is_in_place():
            break
        spool.close()
    else:
        spool = Spool(store)
    _taken[spool.name] = store, spool
    return spool


def taken(name: str) -> Spool | None:
    """The spool with this name, if this process has taken it."""
    found = _taken.get(name)
    return None if found is None else found[1]


def give_back(name: str) -> None:
    """Let other nodes use a spool."""
    store, spool = _taken.pop(name, ("", None))
    if spool is None or not spool.usable:
        return
    if spool.clean and spool.is_in_place():
        _free[store].append(spool)
        return
    spool.close()


def retire(name: str) -> None:
    """Let no other node use a spool: its node's record may still name it as running."""
    _, spool = _taken.pop(name, ("", None))
    if spool is not None:
        spool.close()


def _remove_all() -> None:
    for spares in _free.values():
        for spool in spares:
            spool.remove()
    _free.clear()


def _after_fork() -> None:
    _free.clear()
    _taken.clear()


atexit.register(_remove_all)
os.register_at_fork(after_in_child=_after_fork)
