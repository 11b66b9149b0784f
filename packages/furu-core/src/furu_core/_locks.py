"""Locks, by which processes exclude each other for a moment; only this module uses filelock.

A lock is `flock` on a file, through filelock's `UnixFileLock`. The kernel gives it back when its holder
ends, however that ends, so there is nothing to take over and nothing to clean up; the file may stay.
On NFS, Linux has the server lock it, so hosts exclude each other as well. filelock's soft locks, which
are files that somebody has to remove, are never used: one left by a killed process would keep everybody
out.

filelock 3.30 is the first release that does what is needed here. Those before leave a killed holder's lock
to the children that it had forked, and where the filesystem has no `flock` they turn to a soft lock (3.24 to
3.29) or wait in vain (up to 3.23). With 3.30 came an audit hook, see `_let_threads_fork`.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from furu_core._files import read_file, store_error
from furu_core._process_ids import this_process
from furu_core.errors import FuruStoreError

if TYPE_CHECKING:
    from filelock import UnixFileLock

_log = logging.getLogger("furu")

_SILENT_SECS: Final = 1.0  # a longer wait is logged
# Filesystems without `flock` (Lustre has a mount option for it), and a lock file of another user.
_CANNOT_LOCK: Final = frozenset(
    {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EACCES, errno.EPERM}
)


@contextmanager
def excluding(
    path: str | os.PathLike[str], *, what: str, wait_secs: float = 60.0
) -> Iterator[None]:
    """Run the enclosed code while no other process or thread holds the same lock file.

    For code that takes a moment. Where the filesystem has no locks, or the lock file is another user's
    and cannot be written, nothing is excluded, which is logged: the code must be harmless then, too.
    It cannot be nested: waiting for the same lock again, in the same thread, never succeeds.

    Args:
        path: the lock file; it is made where there is none, and stays.
        what: what is done, for messages: ``"beginning a run"``.
        wait_secs: seconds after which the wait for another one ends.

    Raises:
        FuruStoreError: it took too long, or the file cannot be made.

    Example:
        >>> import tempfile
        >>> from furu_core.executors import excluding
        >>> with tempfile.TemporaryDirectory() as folder, excluding(f"{folder}/lock", what="counting"):
        ...     print("alone")
        alone
    """
    path = os.fspath(path)
    _let_threads_fork()
    from filelock import UnixFileLock  # 60 ms, which only those pay that exclude anybody

    # An error in place of a soft lock, where there is no flock.
    lock = UnixFileLock(path, fallback_to_soft=False, on_acquired=_write_holder)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        _acquire(lock, path, what, wait_secs)
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise store_error(error, path) from error
        _log.warning(
            "%s without excluding others: %s cannot be locked: %s",
            *(what, path, error.strerror),
        )
    try:
        yield
    finally:
        lock.release()  # which does nothing where there was no lock


def _acquire(lock: UnixFileLock, path: str, what: str, wait_secs: float) -> None:
    from filelock import Timeout

    with suppress(Timeout):
        lock.acquire(timeout=min(_SILENT_SECS, wait_secs))
        return
    if wait_secs > _SILENT_SECS:
        _log.info("%s: waiting for %s, which does the same", what, _holder(path))
    try:
        lock.acquire(timeout=max(0.0, wait_secs - _SILENT_SECS))
    except Timeout:
        raise FuruStoreError(
            f"{what}: waited {wait_secs:g} s for {_holder(path)}, which does the same and holds {path}",
            path=path,
            hint="run the same command again; if it holds the lock still, end that process: its lock "
            "ends with it, and the file may stay",
        ) from None


def _write_holder(descriptor: int) -> None:
    """Write the holder into the lock file, for the messages of processes that wait for it."""
    with suppress(OSError):  # the disk is full, for instance, which is no reason not to go on
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(this_process()).encode(), 0)


def _holder(path: str) -> str:
    with suppress(OSError):
        return read_file(path).decode(errors="replace") or "another process"
    return "another process"


# Forks of a process that has imported filelock

_EVENTS: Final = frozenset({"os.fork", "os.forkpty"})
# After that a fork goes on, and may fail as it would without all this: one that was announced may
# never have happened.
_PATIENCE_SECS: Final = 30.0
_gate = threading.Condition()
_forking: dict[int, float] = {}  # the threads that fork now, and since when


def _let_threads_fork() -> None:
    """Prepare for the import of filelock, so that threads which fork at the same moment wait for each other.

    filelock forbids them to, 3.30 to 3.32 with every Python and 4.0 to 4.3 from Python 3.12 on: while one
    thread forks, its audit hook raises RuntimeError out of another's `os.fork`, and so out of a user's code,
    for as long as the process lives. Hooks are asked in the order in which they came, so one that came
    before lets the second thread wait until the first has its child.

    A program may have imported filelock long before; then it has chosen for itself.
    """
    if "filelock" in sys.modules:
        return
    sys.addaudithook(_before_the_audit_of_filelock)
    import filelock  # noqa: F401

    # Hooks after a fork run in the order in which they came, those before it in the opposite one: this
    # counts a thread as forking before filelock does, and until after.
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
    with _gate:  # whoever began to fork meanwhile does not tell when that is over
        _forking.clear()
        _gate.notify_all()


# The default outlives the module, whose names are gone when the last events of a program come.
def _before_the_audit_of_filelock(event: str, _: object, events: frozenset[str] = _EVENTS) -> None:
    if event not in events:
        return
    me = threading.get_ident()
    with _gate:
        _gate.wait_for(lambda: not _others(me), _PATIENCE_SECS)
        _forking[me] = time.monotonic()


def _others(me: int) -> bool:
    recent = time.monotonic() - _PATIENCE_SECS
    return any(thread != me and since > recent for thread, since in _forking.items())


def _before_fork() -> None:
    with _gate:  # `subprocess` with a `preexec_fn` forks without the event
        _forking[threading.get_ident()] = time.monotonic()


def _after_in_parent() -> None:
    with _gate:
        _forking.pop(threading.get_ident(), None)
        _gate.notify_all()


def _after_in_child() -> None:
    global _gate
    _gate = threading.Condition()
    _forking.clear()
