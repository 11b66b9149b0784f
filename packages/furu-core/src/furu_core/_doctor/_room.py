"""Whether there is room for results, and whether others can use what is written."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from furu_core._doctor._results import CheckResult, note, ok, problem, warning
from furu_core._files import mount_of
from furu_core._text import size

_LEAST_BYTES: Final = 1 << 30
_LEAST_FILES: Final = 10_000  # a node is two or three
_SHARE: Final = 0.02  # of a disk or quota, below which little is left
_QUOTA_SECS: Final = 10.0
_FREE: Final = (
    "furu du tells what takes up room, furu rm --empty frees the trash, furu gc what nothing needs"
)


def space(folder: str) -> Iterator[CheckResult]:
    """Bytes and files that the disk has left."""
    told = os.statvfs(folder)
    free, total = told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize
    text = f"{size(free)} of {size(total)} are free"
    if free < max(_SHARE * total, min(_LEAST_BYTES, total / 2)):
        yield warning("space", text, _FREE)
    else:
        yield ok("space", text)
    if not told.f_files:
        yield ok("inodes", "the filesystem sets no limit to the number of files")
        return
    text = f"{told.f_favail:,} of {told.f_files:,} files may still be made"
    if told.f_favail < max(_SHARE * told.f_files, min(_LEAST_FILES, told.f_files / 2)):
        yield warning("inodes", f"{text}; a node is two or three", _FREE)
    else:
        yield ok("inodes", text)


def quota(folder: str) -> Iterator[CheckResult]:
    """What a quota of this user leaves, where the system tells one."""
    mount = mount_of(folder)
    if mount is None:
        return
    where, _, kind, _ = mount
    user = str(os.geteuid())
    command = (
        ["lfs", "quota", "-q", "-u", user, where]
        if kind == "lustre"
        else ["quota", "-w", "-p", "-f", where]
    )
    if shutil.which(command[0]) is None:
        return
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_QUOTA_SECS,
            stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        shown = " ".join(command)
        yield note("quota", f"`{shown}` did not answer in {_QUOTA_SECS:g} s", shown)
        return
    except OSError:
        return
    # A quota that is exceeded makes the command fail, but it tells all the same.
    limits = _limits(done.stdout)
    for name, used, limit in limits:
        left = max(0, limit - used)
        shown = size(1024 * left) if name == "bytes" else f"{left:,} files"
        of = size(1024 * limit) if name == "bytes" else f"{limit:,}"
        text = f"{shown} of {of} are left to you"
        if not left:
            yield problem("quota", text, _FREE)
        elif left < _SHARE * limit:
            yield warning("quota", text, _FREE)
        else:
            yield ok("quota", text)
    if not limits:
        yield ok("quota", f"`{command[0]}` tells of none")


def _limits(text: str) -> list[tuple[str, int, int]]:
    """What is used and what may be, of KiB and of files, by a listing of `quota` or of `lfs quota`."""
    for line in reversed(text.splitlines()):
        fields = line.split()[-8:]
        numbers = [field.rstrip("*") for field in fields]
        wanted = [numbers[i] for i in (0, 1, 2, 4, 5, 6)] if len(numbers) == 8 else []
        if wanted and all(number.isdecimal() for number in wanted):
            kib, soft, hard, files, soft_files, hard_files = map(int, wanted)
            found = (("bytes", kib, hard or soft), ("files", files, hard_files or soft_files))
            return [one for one in found if one[2]]
    return []


def access(store: str, folder: str) -> Iterator[CheckResult]:
    """Whether those who can use the store can use what this process writes there.

    Args:
        store: the store, which is there.
        folder: a folder in it that this process has just made.
    """
    about, made = os.stat(store), os.stat(folder)
    lost = about.st_mode & ~made.st_mode & stat.S_IRWXG
    umask = _umask()
    told = f"umask {umask:03o}" if umask is not None else "the umask of this process"
    if about.st_mode & stat.S_IWGRP and made.st_gid != about.st_gid:
        yield warning(
            "sharing",
            f"what is written here belongs to the group {_group(made.st_gid)}, and not to the store's, "
            f"{_group(about.st_gid)}",
            f"chmod g+s {store} (and the folders in it, see docs/shared-stores.md)",
        )
    elif lost & stat.S_IWGRP:
        yield warning(
            "sharing",
            f"the group {_group(about.st_gid)} may write to the store, but not to what you write ({told})",
            "umask 002",
        )
    elif lost:
        yield note(
            "sharing",
            f"the group {_group(about.st_gid)} may read the store, but not what you write ({told})",
            "umask 022",
        )
    else:
        who = "you alone" if not about.st_mode & stat.S_IRGRP else "all who may read the store"
        yield ok("sharing", f"what you write can be read by {who} ({told})")


def _umask() -> int | None:
    with (
        suppress(OSError, ValueError),
        open("/proc/self/status", encoding="ascii", errors="replace") as file,
    ):
        for line in file:  # setting it to read it would be seen by other threads
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
