"""P1 and P8: whole files that many processes write, and what the operating system refuses."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from furu_core._files import sync_path, sync_tree, write_file
from furu_core.errors import FuruStoreError
from furu_core.executors import (
    create_file,
    list_folder,
    move_file,
    once_visible,
    read_file,
    replace_file,
    store_errors,
)


@pytest.mark.parametrize("size", [0, 1, 1 << 14, (1 << 14) + 1, 1 << 20])
def test_a_file_comes_back_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    for write in (write_file, replace_file, create_file):
        path = tmp_path / write.__name__
        write(path, data)
        assert read_file(path) == data
    assert len(list(tmp_path.iterdir())) == 3


def test_p1_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"0" * 100_000)
    over = threading.Event()

    def write(digit: int) -> None:
        for _ in range(200):
            replace_file(path, b"%d" % digit * 100_000)

    def read() -> set[bytes]:
        seen = set()
        while not over.is_set():
            data = read_file(path)
            seen |= {data[:1]} if data == data[:1] * 100_000 else {b"torn"}
        return seen

    with ThreadPoolExecutor() as threads:
        readers = [threads.submit(read) for _ in range(2)]
        for done in [threads.submit(write, digit) for digit in (1, 2)]:
            done.result()
        over.set()
        assert all(reader.result() <= {b"0", b"1", b"2"} for reader in readers)
    assert os.listdir(tmp_path) == ["file"]


def test_of_many_who_create_a_file_one_succeeds(tmp_path: Path) -> None:
    def create(number: int) -> bool:
        return create_file(tmp_path / "file", b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(create, range(64)))
    assert sum(created) == 1
    assert read_file(tmp_path / "file") == b"%d" % created.index(True)
    assert os.listdir(tmp_path) == ["file"]


def test_of_many_who_move_a_file_one_succeeds(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with ThreadPoolExecutor(8) as threads:
        moved = list(
            threads.map(
                lambda number: move_file(tmp_path / "file", tmp_path / f"{number}"), range(64)
            )
        )
    assert sum(moved) == 1
    assert os.listdir(tmp_path) == [str(moved.index(True))]


def test_a_rename_that_was_done_and_whose_reply_was_lost_counts_as_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def lost(source: Any, target: Any) -> None:
        real(source, target)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", source)

    monkeypatch.setattr(os, "rename", lost)
    (tmp_path / "file").touch()
    assert move_file(tmp_path / "file", tmp_path / "moved")
    replace_file(tmp_path / "new", b"data")
    assert read_file(tmp_path / "new") == b"data"


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_who_lost_its_own_folder_cannot_say_anything_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    own, real = tmp_path / "own", os.rename
    own.mkdir()

    def taken_away(source: Any, target: Any) -> None:
        real(own, tmp_path / "taken")
        real(source, target)

    if moment == "before":
        own.rename(tmp_path / "taken")
    else:
        monkeypatch.setattr(os, "rename", taken_away)
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "said", b"data", staging=own)
    assert not (tmp_path / "said").exists()


def test_a_file_that_cannot_be_written_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file(tmp_path / "file", b"old")

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for write in (replace_file, create_file):
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "file", b"new")
    assert read_file(tmp_path / "file") == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert list_folder(tmp_path / "nowhere") == list_folder(tmp_path / "file" / "below") == []
    assert list_folder(tmp_path) == ["file"]


def test_p6_what_another_host_wrote_is_waited_for_and_no_longer_than_that(tmp_path: Path) -> None:
    path = tmp_path / "file"
    looks: list[int] = []

    def read() -> bytes:
        looks.append(1)
        if len(looks) == 3:
            path.write_bytes(b"late")
        return path.read_bytes()

    assert once_visible(read, 10.0) == b"late"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        once_visible(path.read_bytes, 0.05)
    with pytest.raises(IsADirectoryError):
        once_visible(tmp_path.read_bytes, 60.0)


def test_what_is_synced_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"data")
    (tmp_path / "a" / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a" / "pipe")
    sync_tree(str(tmp_path))
    sync_path(tmp_path)
    write_file(tmp_path / "file", b"data", sync=True)
    assert read_file(tmp_path / "file") == b"data"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some room"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "check the folder"),
    ],
)
def test_p8_what_the_system_refuses_names_the_file_and_the_next_step(
    code: int, remedy: str
) -> None:
    refused = OSError(code, os.strerror(code), "/store/file")
    with pytest.raises(FuruStoreError, match=os.strerror(code)) as caught, store_errors("/store"):
        raise refused
    assert "/store/file" in caught.value.message
    assert remedy in caught.value.hint
    assert caught.value.__cause__ is refused
