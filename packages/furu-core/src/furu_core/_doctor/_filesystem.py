"""Whether the filesystem of the store does what furu's promises stand on, tried out in a folder of it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from furu_core import _locks
from furu_core._doctor._results import CheckLevel, CheckResult, note, ok, problem, warning
from furu_core._files import (
    LOCAL,
    create_file,
    filesystem_time,
    link_file,
    list_folder,
    mount_of,
    read_file,
    sync_path,
    write_file,
)
from furu_core._text import duration
from furu_core.errors import FuruStoreError

_CLOCK_SECS: Final = 2.0  # so far clocks may differ before people notice
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_ELSEWHERE: Final = "set FURU_PATH to a folder of another filesystem"
_NETWORK: Final = (
    frozenset({"afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "panfs", "smb3"})
    | frozenset({"9p", "virtiofs", "wekafs"})
)  # fmt: skip


# Files and folders


def operations(folder: str) -> Iterator[CheckResult]:
    """What furu asks of files and folders, each tried once.

    Raises:
        OSError: there is no room, so nothing can be tried.
    """
    began = time.monotonic()
    failed = 0
    for name, need, tried, level in _OPERATIONS:
        inner = f"{folder}/{name.replace(' ', '-')}"
        try:
            os.mkdir(inner)
            wrong = tried(inner)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            wrong = error.strerror or type(error).__name__
        if wrong:
            failed += 1
            yield CheckResult(
                "files", level, f"{name} does not work here: {wrong}; {need}", _ELSEWHERE
            )
    if not failed:
        names = ", ".join(name for name, *_ in _OPERATIONS)
        yield ok("files", f"{names} work, all in {duration(time.monotonic() - began)}")


def _mkdir(folder: str) -> str:
    os.mkdir(f"{folder}/claim")
    with suppress(FileExistsError):
        os.mkdir(f"{folder}/claim")
        return "a folder that is there can be made again"
    return ""


def _create(folder: str) -> str:
    if not create_file(f"{folder}/file", b"first"):
        return "a new file counts as there"
    exclusive = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with suppress(FileExistsError):
        os.close(os.open(f"{folder}/file", exclusive))
        return "a file that is there can be made again"
    return "" if read_file(f"{folder}/file") == b"first" else "the file has other contents"


def _rename(folder: str) -> str:
    for name in ("attempt", "taken"):
        os.mkdir(f"{folder}/{name}")
        write_file(f"{folder}/{name}/record", name.encode())
    try:
        os.rename(f"{folder}/attempt", f"{folder}/taken")
        return "a folder replaces another one that is not empty"
    except OSError:
        pass
    os.rename(f"{folder}/attempt", f"{folder}/artifact")
    if read_file(f"{folder}/artifact/record") != b"attempt" or os.path.lexists(f"{folder}/attempt"):
        return "a folder is not wholly moved"
    write_file(f"{folder}/new", b"new")
    os.rename(f"{folder}/new", f"{folder}/taken/record")
    return "" if read_file(f"{folder}/taken/record") == b"new" else "a file is not replaced"


def _link(folder: str) -> str:
    write_file(f"{folder}/one", b"one")
    if not link_file(f"{folder}/one", f"{folder}/two") or os.stat(f"{folder}/two").st_nlink != 2:
        return "a second name is no link"
    return "a link replaces a file" if link_file(f"{folder}/one", f"{folder}/two") else ""


def _symlink(folder: str) -> str:
    os.symlink("aim", f"{folder}/link")
    return "" if os.readlink(f"{folder}/link") == "aim" else "it leads elsewhere"


def _sync(folder: str) -> str:
    write_file(f"{folder}/file", b"synced", sync=True)
    sync_path(folder)
    return ""


def _case(folder: str) -> str:
    for name in ("model", "Model"):
        write_file(f"{folder}/{name}", name.encode())
    there = sorted(list_folder(folder))
    return "" if there == ["Model", "model"] else "they are the same as small letters"


_OPERATIONS: Final[tuple[tuple[str, str, Callable[[str], str], CheckLevel], ...]] = (
    ("exclusive mkdir", "two processes would compute one node", _mkdir, CheckLevel.PROBLEM),
    ("exclusive create", "two processes would hold one attempt", _create, CheckLevel.PROBLEM),
    ("rename", "results are published by it", _rename, CheckLevel.PROBLEM),
    ("link", "records are made by it", _link, CheckLevel.PROBLEM),
    ("symlink", "snapshots of code for jobs need it", _symlink, CheckLevel.WARNING),
    ("fsync", "files that other hosts are to see are synced", _sync, CheckLevel.PROBLEM),
    (
        "capitals",
        "classes that differ in case alone would share a folder",
        _case,
        CheckLevel.NOTE,
    ),
)


# Locks


def locks(folder: str) -> Iterator[CheckResult]:
    """Whether a lock that is held keeps others out."""
    path = f"{folder}/lock"
    with _locks.excluding(path, what="trying out locks"):
        try:
            with _locks.excluding(path, what="trying out locks twice", wait_secs=0.0):
                excludes = False
        except FuruStoreError:
            excludes = True
    if not excludes:
        yield warning(
            "locks",
            "locks keep nobody out: two programs that begin the same run, or `furu gc --do`, at the same moment "
            "may get in each other's way; results are safe",
            "mount it with locks (Lustre: -o flock), or begin one run at a time",
        )
        return
    alone = _locked_here_alone(folder)
    if alone:
        yield warning(
            "locks",
            f"locks keep out processes of this host alone (mounted with {alone}): begin runs on one host",
            f"have it mounted without {alone}",
        )
    else:
        yield ok("locks", "a lock that is held keeps others out")


def _locked_here_alone(folder: str) -> str:
    mount = mount_of(folder)
    options = [] if mount is None else mount[1].split(",")
    local = ("nolock", "local_lock=flock", "local_lock=all", "localflock")
    return next((option for option in options if option in local), "")


# The clock, and caches


def clock(folder: str, now: Callable[[], float] = time.time) -> Iterator[CheckResult]:
    """Whether the clock that dates files agrees with this host's, and with itself.

    Args:
        folder: where files are made.
        now: this host's clock.
    """
    off, touched_off = clock_offsets(folder, now)
    if abs(off - touched_off) > _CLOCK_SECS:
        yield problem(
            "clock",
            f"files that are touched and files that are made differ by {duration(abs(off - touched_off))}: signs "
            "of life cannot be told from old ones",
            _ELSEWHERE,
        )
    elif abs(off) > _CLOCK_SECS:
        ahead = "ahead of" if off > 0 else "behind"
        yield warning(
            "clock",
            f"the clock that dates files is {duration(abs(off))} {ahead} this host's: leases are judged by the "
            "first alone, but times in listings and of runs are off",
            "timedatectl status (is the clock of this host, or of the file server, set by NTP?)",
        )
    else:
        yield ok("clock", f"files are dated by a clock that differs by {duration(abs(off))}")


def clock_offsets(folder: str, now: Callable[[], float] = time.time) -> tuple[float, float]:
    """By how many seconds the filesystem's clock is ahead, for files made and for files touched.

    Raises:
        OSError: no file can be made there.
    """
    before = now()
    made = filesystem_time(folder)
    offset = _beyond(made, before, now())
    path = f"{folder}/touched"
    write_file(path, b"")
    before = now()
    os.utime(path)
    return offset, _beyond(os.stat(path).st_mtime, before, now())


def _beyond(time_told: float, before: float, after: float) -> float:
    """How far a time lies outside of the span in which it was written."""
    return min(0.0, time_told - before) + max(0.0, time_told - after)


def mount(folder: str) -> Iterator[CheckResult]:
    """What kind of filesystem it is, and how old what it shows may be."""
    found = mount_of(folder)
    if found is None:
        yield note(
            "mount",
            f"the system does not tell what {folder} is mounted from, so furu looks as on a network filesystem",
            f"findmnt --target {folder}",
        )
        return
    where, options, kind, source = found
    about = f"{kind} from {source} at {where}"
    if kind in LOCAL:
        yield ok(
            "mount", f"{about}: a disk of this host, which no other one sees unless it is exported"
        )
        return
    given = options.split(",")
    if "soft" in given or "softerr" in given:
        yield warning(
            "mount",
            f"{about} is mounted `soft`: when the server is slow, writes fail in the middle",
            "have it mounted `hard`",
        )
        return
    known = "a network filesystem" if kind in _NETWORK or kind.startswith("fuse") else "not local"
    yield ok("mount", f"{about}: {known}; what other hosts write may show {_cache(given)} late")


def _cache(options: list[str]) -> str:
    told = [
        option.partition("=")[2]
        for option in options
        if option.startswith(("actimeo=", "acdirmax=", "acregmax="))
    ]
    if "noac" in options:
        return "hardly"
    secs = max((int(one) for one in told if one.isdecimal()), default=60)
    return f"up to {secs} s"
