"""Files that a node's code left open below its folder: closed if this process can, else refused.

A program that goes on writing to a file of a published artifact damages it, and data that is still
in a buffer is missing for readers. So the files are closed before the manifest records their sizes.
"""

from __future__ import annotations

import fcntl
import gc
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from furu_core._output import _console
from furu_core._store._layout import RECORD_FILE, RESULT_PREFIX
from furu_core.errors import FuruResultError

_OWN: Final = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
_GET_PATH: Final[int | None] = getattr(fcntl, "F_GETPATH", None)  # where there is no /proc
_PATIENCE_SECS: Final = 2.0  # for child processes that are just ending
_INNER: Final = (
    "buffer",
    "raw",
    "fileobj",
    "fp",
    "_fp",
)  # where a file keeps the one that it wraps


def close_all(folder: str, log: str) -> None:
    """Close what this process has open for writing below a folder, after `detach_handlers`.

    Args:
        folder: the folder of a node whose code has ended.
        log: the file to point descriptors 1 and 2 at, if the code pointed them below the folder.

    Raises:
        OSError: buffered data cannot be written.
    """
    if not _holds_files(folder) or not _open_here(folder):
        return
    for number in _open_here(folder).keys() & set(_console.STANDARD):
        _console.flush(_console.stream(number))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        os.dup2(descriptor, number)
        os.close(descriptor)
    for file in _files_of(_open_here(folder)):
        _take_from_streams(file)
        file.close()
    if _open_here(folder):
        # Not before: in a cycle of files it may close the innermost first and lose buffered data.
        gc.collect()


def refuse_open(folder: str) -> None:
    """Refuse a folder in which a file is still open for writing after `close_all`.

    Open files of this process and its child processes are found; not a program that opens the file
    anew for each write, nor one that detached itself.

    Raises:
        FuruResultError: names the file and who has it open.
    """
    if not _holds_files(folder):
        return
    deadline = time.monotonic() + _PATIENCE_SECS
    pause = 0.005
    while True:
        who = "this process"
        found = _open_here(folder)
        if not found:
            for pid in _children():
                found = _open_files(f"/proc/{pid}/fd", folder)
                if found:
                    who = f"its child process {pid}"
                    break
            else:
                return
            if time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(2 * pause, 0.1)
                continue
        number, path = next(iter(found.items()))
        raise FuruResultError(
            f"{path!r} is still open for writing in {who} (descriptor {number}) though _create has "
            "returned, and a published artifact must not change",
            hint="close it, and end what writes to it, before _create returns",
        )


def _holds_files(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(not entry.name.startswith(RESULT_PREFIX) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False  # the attempt was taken for dead, and its folder removed


def _open_here(folder: str) -> dict[int, str]:
    return _open_files(_OWN, folder)


def _open_files(descriptors: str, folder: str) -> dict[int, str]:
    """The files below a folder that a process has open for writing, by their descriptors."""
    roots = _roots(folder)
    found = {}
    try:
        numbers = os.listdir(descriptors)
    except OSError:
        return {}  # the process has ended, or is another user's
    for number in numbers:
        with suppress(OSError):  # closed meanwhile
            path = _path_of(descriptors, number)
            if path.endswith(f"/{RECORD_FILE}"):
                continue  # by which furu shows that it lives
            # A file that was removed is no part of the artifact.
            if path.startswith(roots) and _is_written(descriptors, number) and os.path.exists(path):
                found[int(number)] = path
    return found


def _roots(folder: str) -> tuple[str, ...]:
    return (f"{folder}/", f"{os.path.realpath(folder)}/")


def _path_of(descriptors: str, number: str) -> str:
    if _GET_PATH is None:
        return os.readlink(f"{descriptors}/{number}")
    return os.fsdecode(fcntl.fcntl(int(number), _GET_PATH, bytes(1024)).rstrip(b"\0"))


def _is_written(descriptors: str, number: str) -> bool:
    if descriptors == _OWN:
        flags = fcntl.fcntl(int(number), fcntl.F_GETFL)
    else:
        with open(f"{descriptors}info/{number}", encoding="ascii") as file:
            flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
    return flags & os.O_ACCMODE != os.O_RDONLY


def _children() -> Iterator[int]:
    """The descendants of this process, on systems that list them."""
    pending = [os.getpid()]
    while pending:
        parent = pending.pop()
        with suppress(OSError):  # it ended meanwhile
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                    children = [int(pid) for pid in file.read().split()]
                yield from children
                pending += children


# ---- Python's own files ----


def _files_of(descriptors: Iterable[int]) -> list[Any]:
    """The file objects of some descriptors, and archives in them, outermost first.

    Closing the outermost one writes its buffer, and those of the files that it wraps.
    """
    wanted = frozenset(descriptors)
    archives = tuple(
        getattr(sys.modules[module], name)
        for module, name in (("zipfile", "ZipFile"), ("tarfile", "TarFile"))
        if module in sys.modules
    )
    found = {}
    for candidate in gc.get_objects():
        kind = type(candidate)
        if issubclass(kind, (io.IOBase, *archives)) and _descriptor(candidate) in wanted:
            found[id(candidate)] = candidate

    def depth(file: Any) -> int:
        inner = (getattr(file, name, None) for name in _INNER)
        return 1 + max((depth(one) for one in inner if id(one) in found), default=0)

    return sorted(found.values(), key=depth, reverse=True)


def _descriptor(file: Any) -> int | None:
    if not isinstance(file, io.IOBase):
        file = getattr(file, "fp", None) or getattr(file, "fileobj", None)
    try:
        number: int = file.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or not a file with a descriptor
        return None
    return number


def _take_from_streams(file: Any) -> None:
    for number, name in ((1, "__stdout__"), (2, "__stderr__")):
        if _console.stream(number) is file:
            usual = _console.originals.streams.get(number, getattr(sys, name))
            _console.set_stream(number, usual)


# ---- log handlers ----


_seen_handlers: tuple[Any, ...] = ()


def detach_handlers(folder: str) -> None:
    """Detach and close the log handlers that write below the folder of a node whose code ended."""
    global _seen_handlers
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return
    listed = tuple(logging._handlerList)  # noqa: SLF001 - those that no logger has stand here alone
    if listed == _seen_handlers:
        return  # all were there before the node, whose folder is new
    _seen_handlers = listed
    handlers = [found for ref in listed if (found := ref()) is not None]
    roots = _roots(folder)
    below = [handler for handler in handlers if _target(handler).startswith(roots)]
    if not below:
        return
    listeners = _listeners_to(below)
    feeding = [
        handler
        for handler in handlers
        if getattr(handler, "target", None) in below
        or any(getattr(handler, "queue", None) is listener.queue for listener in listeners)
    ]
    mine = [*feeding, *below]
    for logger in (logging.root, *list(logging.root.manager.loggerDict.values())):
        for handler in mine if isinstance(logger, logging.Logger) else ():
            logger.removeHandler(handler)
    for listener in listeners:
        with suppress(AttributeError):  # it was never started
            listener.stop()
    for handler in mine:
        handler.close()


def _target(handler: Any) -> str:
    """The file that a handler writes to, which it may open only with the first record."""
    path = getattr(handler, "baseFilename", None)
    if path is not None:
        return str(path)
    try:
        return _path_of(_OWN, str(handler.stream.fileno()))
    except (AttributeError, OSError, ValueError):
        return ""


def _listeners_to(handlers: list[Any]) -> list[Any]:
    module: Any = sys.modules.get("logging.handlers")
    if module is None:
        return []
    return [
        found
        for found in gc.get_objects()
        if issubclass(type(found), module.QueueListener)
        and any(handler in handlers for handler in found.handlers)
    ]
