"""A small disk and a user without rights, for tests that root runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own in a folder, whose size and number of files the options limit."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs: run as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Let this process have no rights of root for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def fill(disk: Path, what: str) -> None:
    """Fill a disk until it takes no more bytes, or no more files."""
    folder = disk / "filler"
    folder.mkdir()
    try:
        for number in range(10_000):
            with open(folder / str(number), "wb", buffering=0) as file:
                while what == "bytes" and file.write(bytes(4096)):
                    pass
    except OSError:
        return
    raise AssertionError("the disk has room without end")
