"""P5: progress is a change of what a checkpoint folder holds, told with bounded work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from furu_core._attempts._checkpoints import fingerprint

LARGE = 40 << 20


def append(folder: Path) -> None:
    with (folder / "log").open("a") as file:
        file.write("more\n")


def overwrite(folder: Path) -> None:
    with (folder / "large").open("r+b") as file:
        file.seek(LARGE - 1)
        file.write(b"x")


def replace_all(folder: Path) -> None:
    (folder / "large").write_bytes(b"\x01" * LARGE)


def point_latest(folder: Path) -> None:
    (folder / "latest").unlink()
    (folder / "latest").symlink_to("step-2")


CHANGES: list[Callable[[Path], object]] = [
    append,
    overwrite,
    replace_all,
    point_latest,
    lambda folder: (folder / "step-1" / "state").write_text("2"),  # of the same size
    lambda folder: (folder / "step-1" / "state").rename(folder / "step-2" / "state"),
    lambda folder: (folder / "done-3").touch(),
    lambda folder: (folder / "step-3").mkdir(),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def write(folder: Path) -> None:
    for step in (1, 2):
        (folder / f"step-{step}").mkdir(exist_ok=True)
    (folder / "step-1" / "state").write_text("1")
    (folder / "log").write_text("begun\n")
    (folder / "caf\udce9").touch()
    (folder / "latest").unlink(missing_ok=True)
    (folder / "latest").symlink_to("step-1")
    (folder / "gone").unlink(missing_ok=True)
    (folder / "gone").symlink_to("nowhere")
    with (folder / "large").open("wb") as file:
        file.truncate(LARGE)


@pytest.mark.parametrize("change", CHANGES)
def test_p5_whatever_changes_in_a_checkpoint_is_progress(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = fingerprint(str(folder))
    change(folder)
    assert fingerprint(str(folder)) != before


def test_p5_the_same_bytes_written_once_more_are_no_progress(folder: Path) -> None:
    before = fingerprint(str(folder))
    write(folder)
    for entry in folder.iterdir():
        os.utime(entry, (1, 1), follow_symlinks=False)
    assert fingerprint(str(folder)) == before
    assert fingerprint(str(folder / "step-2")) == fingerprint(str(folder / "none")) == ""


@pytest.mark.parametrize(("files", "size"), [(1, 1 << 40), (100, 1 << 30), (5000, 3)])
def test_p5_progress_is_told_with_bounded_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, size: int
) -> None:
    for number in range(files):
        with (tmp_path / f"{number}").open("wb") as file:
            file.truncate(size)
    read = []

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return b""

    monkeypatch.setattr(os, "pread", pread)
    fingerprint(str(tmp_path))
    assert 0 < len(read) <= 4096
    assert sum(read) <= 64 << 20


def test_p6_a_pipe_in_a_checkpoint_is_not_read(folder: Path) -> None:
    before = fingerprint(str(folder))
    os.mkfifo(folder / "pipe")
    assert fingerprint(str(folder)) != before
