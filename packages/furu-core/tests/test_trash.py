"""P1 and P7: what was removed is in the store or in the trash, whole, and comes back as it was."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import get_nodes as nodes
import pytest
import removed
from get_nodes import Does, Square
from machine import NOBODY, fill, mounted, nobody

from furu_core import NodeState, use_settings
from furu_core._attempts import _attempts, _claims, _liveness
from furu_core._code import _loaded
from furu_core._compute import _acquire
from furu_core._status import _deleting, _trash
from furu_core._store._layout import ref_of
from furu_core.errors import FuruComputeError, FuruStoreError
from furu_testing import Host, KillAtEvent, Kills

pytestmark = pytest.mark.timeout(600)
NODES = Path(__file__).parent / "nodes"
EVENTS_APART = 1 if os.environ.get("TEST_THOROUGH") else 3


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    settings = {"log_level": "ERROR"}
    with Host(folder, modules=["removed"], sys_path=[NODES], settings=settings) as started:
        yield started


def test_what_was_removed_comes_back_byte_for_byte(store: Path) -> None:
    removed.compute()
    before = removed.tree(str(store))
    assert removed.remove() == 4
    assert removed.tree(str(store)) == {}
    assert not Square(side=1).exists()
    (removal,) = _trash.removals()
    done = _trash.undo(removal)
    assert not done.refused
    assert removed.tree(str(store)) == before
    assert _trash.removals() == []
    assert Square(side=1).load_existing() == 1
    node = removed.Resumes(attempts=9)
    assert node.status() is NodeState.FAILED
    with pytest.raises(FuruComputeError, match="attempt 3"):
        node.get()  # it went on from its checkpoint


def test_nothing_is_put_back_in_place_of_what_came_since(store: Path) -> None:
    Square().get()
    first = Square().provenance()["token"]
    Square().delete()
    Square().get()
    second = Square().provenance()["token"]
    (removal,) = _trash.removals()
    ((entry, reason),) = _trash.undo(removal).refused
    assert (entry.hash, reason) == (Square().furu_hash, "another result is there by now")
    assert Square().provenance()["token"] == second
    Square().delete()
    newer, older = sorted(_trash.removals(), key=lambda one: one.name == removal.name)
    assert _trash.undo(newer).put_back
    assert Square().provenance()["token"] == second
    Square().delete(), _trash.undo(older)
    assert Square().provenance()["token"] == first


def test_p4_attempts_are_not_put_back_beside_one_that_runs(store: Path) -> None:
    """It would take them for its successors, and not publish."""
    nodes.hooks["flaky"] = lambda: 1 / 0
    node = Does(hook="flaky")
    for _ in range(2):
        with pytest.raises(FuruComputeError):
            node.get()
    assert node.delete()
    paths = ref_of(node)
    attempt = _acquire.acquire(node, paths)
    assert isinstance(attempt, _attempts.Attempt)
    _liveness.held[attempt.record.token] = 0  # as if another thread computed
    (removal,) = _trash.removals()
    done = _trash.undo(removal)
    assert not done.put_back
    assert [reason for _, reason in done.refused] == ["a later attempt is there by now"] * 2
    assert not _claims.is_superseded(attempt)
    _claims.withdraw(attempt)
    assert len(_trash.undo(removal).put_back) == 2
    assert _attempts.numbers(paths) == [1, 2]


def test_p4_of_two_that_undo_at_once_each_node_is_put_back_by_one(
    host: Host, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    host.run("removed:fill_and_remove", 150, path=str(store))
    gate = tmp_path / "go"
    children = [host.start("removed:wait_and_undo", str(gate), path=str(store)) for _ in range(3)]
    gate.touch()
    assert sum(child.result() for child in children) == 150
    assert len(list((store / "data").rglob(".furu.json"))) == 150
    assert not any((store / "trash").iterdir())


@pytest.mark.parametrize("killed", ["remove", "undo_all"])
def test_p7_a_kill_while_removing_or_undoing_loses_nothing(
    host: Host, tmp_path: Path, killed: str
) -> None:
    kills = Kills(apart=EVENTS_APART, at_least=10)
    for number in kills:
        place = tmp_path / str(number)
        store = place / "store"
        place.mkdir()
        host.run("removed:compute", path=str(store))
        before = host.run("removed:tree", str(store))
        if killed == "undo_all":
            host.run("removed:remove", path=str(store))
        die = KillAtEvent(number, place)
        kills.wait(host.start(f"removed:{killed}", path=str(store), die=die))
        host.run("removed:undo_all", path=str(store))
        after = host.run("removed:tree", str(store))
        missing = {name for name in before if before[name] != after.get(name)}
        # A killed `rm` may leave the attempt that it had claimed, with the checkpoint, which the next one gets.
        missing -= {name for name in missing if name.replace(".2.c", ".3.c") in after}
        assert not missing, missing
        assert host.run("removed:values", path=str(store)) == [1, 4, "hello", 3]


def test_what_was_removed_long_ago_goes_when_something_else_is_removed(store: Path) -> None:
    for side in (1, 2, 3):
        Square(side=side).get()
    Square(side=1).delete()
    (old,) = _trash.removals()
    day = 24 * 3600.0
    stale = os.stat(old.folder).st_mtime - 8 * day
    os.utime(old.folder, (stale, stale))
    with use_settings(trash_days=9):
        Square(side=2).delete()
    assert len(_trash.removals()[-1].entries()) == 2  # one process, one removal
    os.utime(old.folder, (stale, stale))
    Square(side=3).delete()
    assert _trash.removals() == []


def test_without_days_what_is_removed_goes_at_once(store: Path) -> None:
    with use_settings(trash_days=0):
        Square().get()
        assert Square().delete()
    assert not (store / "trash").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become another user")
def test_another_users_result_stays_where_it_is_and_is_told_so() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        with use_settings(path=Path(folder, "store")):
            Square(side=3).get(), Square(side=4).get()
            for path in Path(folder).rglob("*"):
                if path.is_dir() and path.name != Square(side=3).furu_hash:
                    path.chmod(0o777)  # as a group's store is, but its results are their owners'
            for path in (Square(side=4).furu_dir, *Square(side=4).furu_dir.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            with nobody():
                with pytest.raises(FuruStoreError, match="Permission denied") as caught:
                    Square(side=3).delete()
                assert Square(side=3).furu_hash in str(caught.value.path)
                assert Square(side=3).get() == 9
                Square(side=4).delete()
                (mine,) = _trash.mine()
                assert mine.owner == NOBODY
            Square(side=3).delete()
            (others,) = [one for one in _trash.removals() if one.owner == 0]
            stale = os.stat(others.folder).st_mtime - 8 * 24 * 3600.0
            os.utime(others.folder, (stale, stale))
            with nobody():
                assert [one.owner for one in _trash.mine()] == [NOBODY]
                _trash.empty_old()
            assert {one.owner for one in _trash.removals()} == {0, NOBODY}


def test_a_result_whose_folder_is_read_only_goes_and_comes_back_as_it_was() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        with nobody(), use_settings(path=Path(folder, "store")):
            Square(side=3).get()
            Square(side=3).furu_dir.chmod(0o555)
            assert Square(side=3).delete()
            (removal,) = _trash.removals()
            (entry,) = _trash.undo(removal).put_back
            assert entry.hash == Square(side=3).furu_hash
            assert Square(side=3).load_existing() == 9
            assert stat.S_IMODE(Square(side=3).furu_dir.stat().st_mode) == 0o555
            Square(side=3).furu_dir.chmod(0o755)


def test_of_a_result_that_is_a_link_to_another_place_the_link_alone_is_removed(
    store: Path, tmp_path: Path
) -> None:
    Square(side=3).get()
    folder, elsewhere = Square(side=3).furu_dir, tmp_path / "elsewhere"
    (folder / "closed").mkdir()
    (folder / "closed").chmod(0o555)
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    assert _deleting.delete(ref_of(Square(side=3)), for_good=True)
    assert os.listdir(folder.parent) == []
    assert stat.S_IMODE((elsewhere / "closed").stat().st_mode) == 0o555


def test_a_result_that_is_a_link_to_another_place_comes_back_as_such(
    store: Path, tmp_path: Path
) -> None:
    Square(side=3).get()
    folder = Square(side=3).furu_dir
    for _ in range(2):
        elsewhere = tmp_path / os.urandom(4).hex()
        if not folder.is_symlink():
            folder.rename(elsewhere)
            folder.symlink_to(elsewhere)
        leads_to = os.readlink(folder)
        assert Square(side=3).delete()
        (removal,) = _trash.removals()
        assert [entry.hash for entry in removal.entries()] == [folder.name]
        assert len(_trash.undo(removal).put_back) == 1
        assert os.readlink(folder) == leads_to
        assert Square(side=3).load_existing() == 9
    Square(side=3).delete()
    Square(side=3).get()
    (removal,) = _trash.removals()
    ((_, why),) = _trash.undo(removal).refused
    assert why == _trash.ANOTHER_RESULT
    folder.rename(tmp_path / "another")
    folder.symlink_to(tmp_path / "another")
    assert len(_trash.undo(removal).refused) == 1
    assert os.readlink(folder) == str(tmp_path / "another")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "size=4m,nr_inodes=120") as disk:
        yield disk


@pytest.mark.parametrize("what", ["bytes", "files"])
def test_p8_on_a_full_disk_removing_says_how_to_make_room_and_does(
    small_disk: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sources of all test modules that this process has loaded would fill the disk.
    monkeypatch.setattr(_loaded, "code_of", lambda _node: None)
    with use_settings(path=small_disk / "store"):
        for side in (1, 2, 3):
            Square(side=side).get()
        Square(side=3).delete()
        fill(small_disk, what)
        with pytest.raises(FuruStoreError, match="No space left") as caught:
            Square(side=1).delete()
        assert "furu rm --forever" in caught.value.hint
        assert "furu rm --empty" in caught.value.hint
        assert Square(side=1).get() == 1
        with use_settings(trash_days=0):
            assert Square(side=1).delete()
        assert not Square(side=1).exists()
        _trash.empty(_trash.removals())
        assert _trash.removals() == []
        assert Square(side=2).delete()
        assert len(_trash.removals()) == 1


def test_p8_attempts_that_cannot_be_removed_on_a_full_disk_say_no_command_that_was_just_given(
    small_disk: Path,
) -> None:
    nodes.hooks["flaky"] = lambda: 1 / 0
    with use_settings(path=small_disk / "store", trash_days=0):
        with pytest.raises(FuruComputeError):
            Does(hook="flaky").get()
        fill(small_disk, "files")
        with pytest.raises(FuruStoreError, match="No space left") as caught:
            Does(hook="flaky").delete()
        assert "--forever" not in caught.value.hint
        assert "free some room" in caught.value.hint
        assert Does(hook="flaky").status() is NodeState.FAILED
