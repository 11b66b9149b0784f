"""P1 and P8: on a disk that is full, read-only or no folder at all, one clear error and no half artifact.

The disks are small ones in memory that the tests mount, which only root may do.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import disk_nodes as nodes
import pytest
from disk_nodes import PAGE, Fails, Value, WritesMuch, fill
from machine import mounted, nobody

import furu_core
from furu_core import NodeState, _provenance
from furu_core._code import _loaded
from furu_core._output import _spool
from furu_core._store._layout import attempted_in
from furu_core.errors import FuruComputeError, FuruError, FuruStoreError
from furu_core.executors import new_run_folder
from furu_core.planning import StateReader, invalidate_if_bad
from furu_core.workers import Outcome, run_node

PAGES = 96


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # In a checkout that is being worked on, its patch alone would fill pages of these disks.
    clean = attrs.evolve(_provenance.process_provenance(), git=None)
    monkeypatch.setattr(_provenance, "_captured", clean)
    # And so would the sources of all test modules that this process has loaded.
    monkeypatch.setattr(_loaded, "code_of", lambda _node: None)
    monkeypatch.setenv("FURU_CODE_LIMIT", "0")
    nodes.hooks.clear()
    with furu_core.use_settings(path=tmp_path / "warm"):
        Value(n=-1).get()  # so that what is imported late is imported while everything is well
    yield
    nodes.hooks.clear()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 384 kB, and on it the store."""
    with (
        mounted(tmp_path / "disk", f"size={PAGES * PAGE}") as folder,
        furu_core.use_settings(path=folder / "store"),
    ):
        yield folder


def remount(disk: Path, how: str) -> None:
    _spool._remove_all()  # a disk on which a file is open for writing cannot become read-only
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True, capture_output=True)


def artifacts(disk: Path) -> list[Path]:
    """Every artifact folder, complete or not."""
    found = (disk / "store" / "data").glob("**/*")
    return [path for path in found if len(path.name) == 32]


def left(disk: Path) -> list[Path]:
    """What is beside artifacts: attempts, and what belongs to them."""
    return [path for path in (disk / "store").rglob(".*.*") if attempted_in([path.name])]


def assert_clear(error: FuruError, disk: Path, remedy: str) -> None:
    """One error that names the place and the next step."""
    assert isinstance(error, FuruStoreError), repr(error)
    assert str(disk) in error.message
    assert remedy in error.hint
    assert "FURU_PATH" in error.hint
    assert "\n" not in str(error)


# A full disk


def test_a_full_disk_is_one_clear_error_and_after_making_room_the_same_get_succeeds(
    disk: Path,
) -> None:
    Value(n=1).get()
    filler = fill(disk)
    with pytest.raises(FuruStoreError) as caught:
        Value(n=2).get()
    assert_clear(caught.value, disk, "the disk is full")
    assert not Value(n=2).exists()
    assert Value(n=2).status() in (NodeState.ABSENT, NodeState.LOST)
    assert Value(n=1).get() == "value 1", "a hit needs no room"
    assert Value(n=1).exists()
    assert len(artifacts(disk)) == 1
    filler.unlink()
    assert Value(n=2).get() == "value 2"
    assert not left(disk), "nothing of the failed claim stays"


@pytest.mark.parametrize("leave", range(9))
def test_a_disk_that_becomes_full_at_any_stage_leaves_no_half_artifact(
    disk: Path, leave: int
) -> None:
    """With each page more that is left, another file is the first that does not fit any more."""
    node = Value(hook="fill", n=leave)
    nodes.hooks["fill"] = lambda: fill(disk, leave=leave)
    try:
        value = node.get()
    except FuruError as error:
        assert_clear(error, disk, "the disk is full")
        assert leave < 8, "there was room enough"
        assert artifacts(disk) == []
        assert not node.exists()
        kept = {path.name for folder in left(disk) for path in folder.rglob("*")}
        assert kept <= {".furu.json", ".furu.log"}, "files of ended attempts go"
        assert node.status() in (NodeState.FAILED, NodeState.LOST, NodeState.ABSENT)
    else:
        assert value == f"value {leave}"
        assert leave > 0, "the record needs another page"
    (disk / "filler").unlink()
    nodes.hooks.clear()
    assert node.get() == f"value {leave}"
    assert not left(disk)


@pytest.mark.parametrize("leave", range(3))
def test_a_full_disk_at_the_claim_leaves_nothing(disk: Path, leave: int) -> None:
    Value(n=1).get()
    filler = fill(disk, leave=leave)
    try:
        Value(n=2).get()
    except FuruStoreError as error:
        assert_clear(error, disk, "the disk is full")
    filler.unlink()
    assert Value(n=2).get() == "value 2"
    assert not left(disk)


def test_a_disk_that_is_reported_full_on_closing_leaves_no_damaged_record(
    furu_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File servers may do so, where a write only reached the client's memory."""
    close = os.close

    def full(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        close(descriptor)
        if path.endswith("/.furu.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", full)
        with pytest.raises(FuruStoreError, match="No space left"):
            Value().get()
    assert not list(furu_store.rglob(".furu.json"))
    assert attempted_in(path.name for path in furu_store.rglob("*")) == frozenset()
    assert Value().get() == Value().get()


def test_a_disk_without_inodes_is_full_as_well(tmp_path: Path) -> None:
    with mounted(tmp_path / "few", "size=4m,nr_inodes=160") as disk:
        (disk / "files").mkdir()
        with furu_core.use_settings(path=disk / "store"):
            Value(n=1).get()
            with contextlib.suppress(OSError):
                for number in range(160):
                    (disk / "files" / str(number)).touch()
            for free in range(9):
                if free:
                    (disk / "files" / str(free)).unlink()
                try:
                    assert Value(n=free + 2).get() == f"value {free + 2}"
                except FuruError as error:
                    assert_clear(error, disk, "full")
                    assert not Value(n=free + 2).exists()
                assert Value(n=1).get() == "value 1"
            for path in (disk / "files").iterdir():
                path.unlink()
            for free in range(9):
                assert Value(n=free + 2).get() == f"value {free + 2}"
            assert not left(disk)


def test_the_users_own_files_that_do_not_fit_fail_the_node_with_its_traceback(
    disk: Path,
) -> None:
    with pytest.raises(FuruComputeError, match="No space left on device") as caught:
        WritesMuch().get()
    assert isinstance(caught.value.__cause__, OSError)
    assert artifacts(disk) == []
    remount(disk, "size=8m")
    assert WritesMuch().get() == "written"


def test_a_failure_that_cannot_be_recorded_keeps_its_log_and_its_checkpoint(disk: Path) -> None:
    node = Fails(folder=disk)
    with pytest.raises(FuruComputeError, match="no room to write it down") as caught:
        node.get()
    assert caught.value.log is not None
    assert "a line in the log" in caught.value.log.read_text()
    assert node.status() in (NodeState.LOST, NodeState.FAILED), "nobody computes it any more"
    (progress,) = disk.rglob("progress")
    assert progress.read_text() == "a week of work"
    (disk / "filler").unlink()
    with pytest.raises(FuruComputeError):
        node.get()
    (progress,) = disk.rglob("progress")
    assert progress.parent.name.endswith(".2.checkpoint"), "handed to the next attempt"


def test_workers_report_a_full_disk_and_go_on(disk: Path, session: Any) -> None:
    filler = fill(disk)
    with session():
        result = run_node(Value(n=1))
        assert result.outcome is Outcome.FAILED
        assert result.failure.error_type == "FuruStoreError"
        assert "the disk is full" in result.failure.message
        filler.unlink()
        assert run_node(Value(n=1)).outcome is Outcome.COMPUTED


def test_a_run_cannot_start_on_a_full_disk_and_says_so(disk: Path) -> None:
    fill(disk)
    with pytest.raises(FuruStoreError) as caught:
        new_run_folder("test", furu_core.executors.named_roots([Value()]))
    assert_clear(caught.value, disk, "the disk is full")


# A read-only store


@pytest.fixture
def read_only(disk: Path) -> Path:
    """A disk that can only be read, with a good artifact and a truncated one."""
    Value(n=1).get()
    Value(n=3).get()
    (Value(n=3).furu_dir / ".furu.json").write_bytes(b"")
    remount(disk, "ro")
    return disk


def test_a_read_only_store_can_be_read(read_only: Path, session: Any) -> None:
    assert Value(n=1).get() == "value 1"
    assert Value(n=1).exists()
    assert not Value(n=2).exists()
    assert Value(n=1).status() is NodeState.DONE
    assert Value(n=2).status() is NodeState.ABSENT
    reader = StateReader()
    assert reader.state(Value(n=1)).state is NodeState.DONE
    assert reader.state(Value(n=2)).state is NodeState.ABSENT
    assert invalidate_if_bad(Value(n=1)) is False
    with session():
        assert Value(n=1).get() == "value 1"


def test_writing_to_a_read_only_store_is_one_clear_error(read_only: Path, session: Any) -> None:
    for write in (
        Value(n=2).get,
        Value(n=3).get,
        Value(n=1).delete,
        lambda: invalidate_if_bad(Value(n=3)),
        lambda: Value().raw_dir,
        lambda: new_run_folder("test", furu_core.executors.named_roots([Value()])),
    ):
        with pytest.raises(FuruStoreError) as caught:
            write()
        assert_clear(caught.value, read_only, "the filesystem is read-only")
    with session():
        result = run_node(Value(n=2))
    assert result.failure.error_type == "FuruStoreError"
    assert Value(n=1).get() == "value 1"
    remount(read_only, "rw")
    assert Value(n=2).get() == "value 2"
    assert Value(n=3).get() == "value 3"


# Rights


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder that anybody may enter; those of pytest are for one user alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_store_of_somebody_else_can_be_read_and_not_written(anybodys: Path) -> None:
    with furu_core.use_settings(path=anybodys / "store"):
        Value(n=1).get()
        if os.geteuid() != 0:
            for path in [anybodys, *anybodys.rglob("*")]:
                if path.is_dir():
                    path.chmod(0o555)
        with nobody():
            assert Value(n=1).get() == "value 1"
            assert not Value(n=2).exists()
            assert Value(n=2).status() is NodeState.ABSENT
            for write in (Value(n=2).get, Value(n=1).delete):
                with pytest.raises(FuruStoreError) as caught:
                    write()
                assert_clear(caught.value, anybodys, "you may not write there")
                assert "FURU_ALSO" in caught.value.hint
            assert Value(n=1).get() == "value 1"
        for path in [anybodys, *anybodys.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        assert Value(n=2).get() == "value 2"


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_store_that_may_not_be_read_is_an_error_and_no_miss(anybodys: Path, mode: int) -> None:
    with furu_core.use_settings(path=anybodys / "store"):
        Value(n=1).get()
        folder = Value(n=1).furu_dir.parent
        folder.chmod(mode)
        try:
            with nobody():
                for ask in (Value(n=1).get, Value(n=2).get, lambda: StateReader().state(Value())):
                    try:
                        answer = ask()
                        if answer == "value 1":
                            assert mode & 0o111, "a folder that may be entered can be read by name"
                        else:
                            assert answer.state is NodeState.ABSENT
                            assert mode & 0o444, "one that may be listed tells what is not there"
                    except FuruStoreError as error:
                        doing = "read" if "cannot read" in error.message else "write"
                        assert_clear(error, anybodys, f"you may not {doing} there")
        finally:
            folder.chmod(0o755)


# What is no folder


@pytest.mark.parametrize("below", ["", "deeper/down"])
def test_a_file_in_place_of_the_store_is_named(tmp_path: Path, session: Any, below: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with furu_core.use_settings(path=tmp_path / "file" / below):
        with pytest.raises(FuruStoreError) as caught:
            Value().get()
        assert_clear(caught.value, tmp_path / "file", "no folder stands there")
        assert not Value().exists()
        assert Value().status() is NodeState.ABSENT
        assert Value().delete() is False
        with pytest.raises(FuruStoreError):
            _ = Value().raw_dir
        with session():
            assert run_node(Value()).failure.error_type == "FuruStoreError"
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "away")
    with furu_core.use_settings(path=tmp_path / "link"):
        with pytest.raises(FuruStoreError) as caught:
            Value().get()
        assert_clear(caught.value, tmp_path, "")
        (tmp_path / "gone" / "away").mkdir(parents=True)
        assert Value().get() == "value 0"


@pytest.mark.parametrize("path", ["x" * 300, "/".join(["y" * 200] * 25)])
def test_a_path_that_is_too_long_is_named(tmp_path: Path, session: Any, path: str) -> None:
    with furu_core.use_settings(path=tmp_path / path):
        for ask in (Value().get, Value().exists, Value().status, lambda: Value().raw_dir):
            with pytest.raises(FuruStoreError) as caught:
                ask()
            assert_clear(caught.value, tmp_path, "too long")
        with session():
            assert run_node(Value()).failure.error_type == "FuruStoreError"


# The command


@pytest.mark.skipif(
    importlib.util.find_spec("furu_local") is None, reason="needs the executor of furu-local"
)
@pytest.mark.parametrize("problem", ["full", "read-only", "a file"])
def test_the_command_shows_one_paragraph_and_none_of_our_inside(
    disk: Path, fresh: Any, problem: str
) -> None:
    store = disk / "store"
    Value(n=0).get()
    (disk / "file").write_text("")
    match problem:
        case "full":
            fill(disk)
        case "read-only":
            remount(disk, "ro")
        case _:
            store = disk / "file"
    run = ("run", "disk_nodes:Value", "--set", "n=5", "-o", "worker=inline")
    for arguments in (run, ("rm", Value().furu_hash, "-y")):
        done = fresh.furu(arguments, Path(nodes.__file__).parent, FURU_PATH=str(store))
        text = done.text
        assert "Traceback" not in text, text
        if arguments[0] == "run":
            assert done.status not in (0, 130), text
            assert "FURU_PATH" in text, text
    remount(disk, "rw")
    if problem == "full":
        (disk / "filler").unlink()
    done = fresh.furu(run, Path(nodes.__file__).parent, FURU_PATH=str(disk / "store"))
    assert done.status == 0, done.err
    assert Value(n=5).get() == "value 5"
