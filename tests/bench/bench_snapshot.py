"""A snapshot of a project of 1,000 files: the first one, one of unchanged code, one after an edit.

The bare reference copies the files to a new folder, as who keeps the code of each submission in a folder of its
own would do.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.row import Row
from furu_core import use_settings
from furu_core.workers import take_snapshot

_LINES = 100


def make_project(folder: Path, count: int) -> None:
    """A project of so many modules of a hundred lines, in packages of fifty."""
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    for number in range(count):
        package = folder / "src" / "exp" / f"part{number // 50}"
        if number % 50 == 0:
            package.mkdir(parents=True)
            (package / "__init__.py").touch()
        text = "".join(f"value_{line} = {line * number}\n" for line in range(_LINES))
        (package / f"module{number}.py").write_text(text)


def seconds(root: Path) -> float:
    """How long a snapshot takes."""
    began = time.perf_counter()
    take_snapshot([str(root)])
    return time.perf_counter() - began


def rows(count: int = 1_000, settled_secs: float = 3.5) -> Iterator[Row]:
    """The rows of the table.

    Args:
        count: how many files there are.
        settled_secs: a file that was changed later than this may change again at the same time.
    """
    folder = Path(tempfile.mkdtemp(prefix="furu-bench-"))
    try:
        project = folder / "project"
        make_project(project, count)
        root = project / "src"
        began = time.perf_counter()
        shutil.copytree(project, folder / "copy")
        bare = time.perf_counter() - began
        time.sleep(settled_secs)
        with use_settings(path=folder / "store", code="snapshot"):
            first = seconds(root)
            unchanged = min(seconds(root) for _ in range(3))
            (root / "exp/part0/module0.py").write_text("edited = True\n")
            edited = seconds(root)
        there = {path.lstat().st_ino for path in (folder / "store/code").rglob("*")}
        size = f"{count:,} files"
        note = f"{len(there):,} inodes for both"
        yield Row(f"snapshot of {size}, the first", first, bare, limit=2.0)
        yield Row(f"snapshot of {size}, unchanged", unchanged, bare, limit=0.2)
        yield Row(f"snapshot of {size}, one edited", edited, bare, limit=2.0, note=note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
