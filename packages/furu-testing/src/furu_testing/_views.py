"""Folders behind caches, as a host on a network filesystem sees them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest


@contextmanager
def cached_view(folder: Path, view: Path, *, seconds: float) -> Iterator[Path]:
    """Mount a folder a second time, behind caches, as a host on a network filesystem sees it.

    A name that was looked up before another view created it stays absent in this one for a while,
    though a listing shows it at once.

    Args:
        folder: what is mounted.
        view: where to.
        seconds: how long the view believes what it saw.
    """
    view.mkdir(parents=True, exist_ok=True)
    options = f"attr_timeout={seconds},entry_timeout={seconds},negative_timeout={seconds}"
    subprocess.run(["bindfs", "-o", options, folder, view], check=True, capture_output=True)
    try:
        yield view
    finally:
        # Lazily, because a process that was killed a moment ago may still hold a file.
        unmount = ["umount", "-l"] if os.getuid() == 0 else ["fusermount", "-u", "-z"]
        subprocess.run([*unmount, view], check=True, capture_output=True)


@cache
def _lacks_cached_views() -> str:
    if shutil.which("bindfs") is None:
        return "needs bindfs: apt-get install bindfs"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("back", "view"):
            Path(folder, name).mkdir()
        try:
            with cached_view(Path(folder, "back"), Path(folder, "view"), seconds=1):
                return ""
        except (OSError, subprocess.CalledProcessError):
            return "needs bindfs to work: a machine with /dev/fuse, and the right to mount"


def needs_cached_views() -> None:
    """Skip where folders cannot be mounted behind caches."""
    if reason := _lacks_cached_views():
        pytest.skip(reason)
