"""Nodes that leave something open below their folder."""

from __future__ import annotations

import gzip
import io
import logging
import logging.handlers
import mmap
import os
import queue
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from furu_core import Furu

kept: list[Any] = []  # what a program would hold in a global, a cache or a cycle
left = logging.getLogger("left.open")


def _plain_file(folder: Path) -> None:
    kept.append(file := open(folder / "file", "w"))  # noqa: SIM115 - left open on purpose
    file.write("written")


def _unreachable_cycle(folder: Path) -> None:
    cycle: list[Any] = [open(folder / "file", "w")]  # noqa: SIM115
    cycle[0].write("written")
    cycle.append(cycle)


def _gzip_of_text(folder: Path) -> None:
    kept.append(file := io.TextIOWrapper(gzip.open(folder / "file", "wb")))  # noqa: SIM115
    file.write("written")


def _zip(folder: Path) -> None:
    kept.append(archive := zipfile.ZipFile(folder / "file", "w"))
    archive.writestr("member", "written")


def _tar(folder: Path) -> None:
    kept.append(archive := tarfile.open(folder / "file", "w"))  # noqa: SIM115
    archive.add(__file__, "member")


def _stdout(folder: Path) -> None:
    sys.stdout = open(folder / "file", "w")  # noqa: SIM115
    print("written")


def _descriptor_of_stdout(folder: Path) -> None:
    with open(folder / "file", "w") as file:
        os.dup2(file.fileno(), 1)
    os.write(1, b"written")


def _handler(folder: Path) -> None:
    left.addHandler(logging.FileHandler(folder / "file"))
    left.warning("written")


def _handler_of_a_stream(folder: Path) -> None:
    kept.append(file := open(folder / "file", "w"))  # noqa: SIM115
    left.addHandler(logging.StreamHandler(file))
    left.warning("written")


def _handler_behind_a_buffer(folder: Path) -> None:
    file = logging.FileHandler(folder / "file")
    left.addHandler(logging.handlers.MemoryHandler(1000, target=file))
    left.warning("written")


def _handler_behind_a_queue(folder: Path) -> None:
    records: queue.Queue[Any] = queue.Queue()
    listener = logging.handlers.QueueListener(records, logging.FileHandler(folder / "file"))
    listener.start()
    left.addHandler(logging.handlers.QueueHandler(records))
    left.warning("written")
    kept.append(listener)


def _handler_that_has_not_opened(folder: Path) -> None:
    left.addHandler(logging.FileHandler(folder / "file", delay=True))


def _bare_descriptor(folder: Path) -> None:
    kept.append(os.open(folder / "file", os.O_WRONLY | os.O_CREAT))


def _map(folder: Path) -> None:
    with open(folder / "file", "wb+") as file:
        file.write(b"written")
        file.flush()
        kept.append(mmap.mmap(file.fileno(), 7))


def _child(folder: Path) -> None:
    with open(folder / "file", "w") as file:
        kept.append(subprocess.Popen(["sleep", "60"], stdout=file))


CLOSED: dict[str, Callable[[Path], None]] = {
    "a file": _plain_file,
    "a file that only a cycle refers to": _unreachable_cycle,
    "text in a gzip file": _gzip_of_text,
    "a zip archive": _zip,
    "a tar archive": _tar,
    "sys.stdout": _stdout,
    "descriptor 1": _descriptor_of_stdout,
    "a log handler": _handler,
    "a log handler of a stream": _handler_of_a_stream,
    "a log handler behind a buffer": _handler_behind_a_buffer,
    "a log handler behind a queue": _handler_behind_a_queue,
    "a log handler that has not opened its file": _handler_that_has_not_opened,
}
REFUSED: dict[str, Callable[[Path], None]] = {
    "a descriptor": _bare_descriptor,
    "a map": _map,
    "a child": _child,
}


class Leaves(Furu[str]):
    """Leaves something open."""

    what: str
    fails: bool = False

    def _create(self) -> str:
        {**CLOSED, **REFUSED}[self.what](self.furu_dir)
        if self.fails:
            raise ValueError("after that")
        return "done"
