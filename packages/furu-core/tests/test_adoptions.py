"""P2, P7 and P10: results adopted by another class are found, and taken back as if nothing had been."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adopted
import pytest
from adopted import New, Old, Report
from machine import nobody

from furu_core import Furu, use_settings
from furu_core._status import _trash
from furu_core._store import _record_file
from furu_core._store._layout import ref_of
from furu_core._tables._facts import FactReader
from furu_core._upkeep import _adoptions, _collecting, _pins, _verify
from furu_core._upkeep._space import SizeReader
from furu_core.errors import FuruMissingArtifact, FuruUsageError
from furu_testing import Host, KillAtEvent, Kills

pytestmark = pytest.mark.timeout(600)
NODES = Path(__file__).parent / "nodes"
EVENTS_APART = 1 if os.environ.get("TEST_THOROUGH") else 17
VALUES = [0.0, 0.25, 0.5, 0.25, 0.25]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    settings = {"log_level": "ERROR"}
    with Host(folder, modules=["adopted"], sys_path=[NODES], settings=settings) as started:
        yield started


def adopt(old: type | str = Old, new: type = New, **how: dict[str, str]) -> _adoptions.Plan:
    """What was planned, and done."""
    name = old if isinstance(old, str) else old.__furu_class__.identity_name  # type: ignore[attr-defined]
    given = {"map": {}, "set": {}, "drop": {}} | how
    plans: list[_adoptions.Plan] = []
    done = _adoptions.adopt(_adoptions.adoption_of(name, new, **given), plans.append)
    assert not done.failed
    return plans[0]


def test_p10_the_plan_changes_nothing_and_undoing_leaves_the_store_as_it_was(store: Path) -> None:
    adopted.compute()
    before = adopted.tree(str(store))
    plan = _adoptions.plan(adopted.adoption())
    assert [one.depends for one in plan.aliases] == [False, False, False, True, True]
    assert plan.defaults == {"dropout": "0.0"}
    assert adopted.tree(str(store)) == before
    assert not (store / "adoptions").exists()

    assert adopted.do() == (5, {})
    assert adopted.values() == VALUES
    assert adopted.do() == (0, {})
    assert [type(one) for one in New.stored()] == [New] * 3
    verified = _verify.verify(None, deep=True, progress=lambda _: None)
    assert (verified.artifacts, verified.damage, verified.notes) == (10, [], [])

    assert adopted.undo() == 5
    assert adopted.tree(str(store)) == before
    assert not (store / "adoptions").exists()
    with pytest.raises(FuruUsageError, match="New has adopted nothing of Old"):
        adopted.undo()
    (removal,) = _trash.removals()
    assert len(_trash.undo(removal).put_back) == 5  # and that, too, can be taken back
    assert adopted.values() == VALUES


def test_results_that_came_since_are_adopted_by_the_same_command(store: Path) -> None:
    adopted.compute()
    adopted.do()
    Old(learning_rate=7.0).get()
    assert adopted.do() == (1, {})
    assert New(lr=7.0).load_existing()["lr"] == 7.0
    assert len(list((store / "adoptions").glob("*.json"))) == 1
    assert adopted.undo() == 6


def test_an_alias_has_the_whole_result_without_a_copy_and_without_the_first_one(
    store: Path,
) -> None:
    adopted.compute()
    was = Old(learning_rate=0.5).provenance()
    inode = os.stat(Old(learning_rate=0.5).furu_dir / "sub" / "w.bin").st_ino
    adopted.do()
    obj = New(lr=0.5)
    assert os.stat(obj.furu_dir / "sub" / "w.bin").st_ino == inode
    for node in adopted.old():
        node.delete()
    _trash.empty(_trash.removals())
    value = obj.load_existing()
    assert value["own"].config == {Old(learning_rate=0.5)}  # its class is still there
    assert value["path"] == obj.furu_dir / "sub"
    assert os.readlink(obj.furu_dir / "last") == "sub/w.bin"
    told = obj.provenance()
    assert told["made_by"] == "adopted"
    assert told["adopted_from"]["hash"] == was["hash"]
    assert told["adopted_from"]["class"] == was["class_name"]
    assert told["to_python"] == "New(lr=0.5, dropout=0.0, tags=())"
    assert told["costs"] == was["costs"]
    assert told["provenance"] == was["provenance"]
    used = Report(models=[New(lr=0.0), New(lr=0.25)]).provenance()["dependencies"]
    assert used["declared"] == [New(lr=0.0).furu_hash, New(lr=0.25).furu_hash]
    assert used["used"].keys() == set(used["declared"])
    assert not _verify.verify(None, deep=True, progress=lambda _: None).damage


def test_files_that_two_results_share_count_once_and_are_freed_by_both(store: Path) -> None:
    adopted.compute()

    def sizes() -> int:
        reader = SizeReader()
        return sum(reader.of(facts).bytes for facts in FactReader().nodes())

    def freed() -> int:
        return sum(one.size for one in _collecting.propose(0.0).classes)

    alone = sizes()
    assert alone == freed() > 0
    adopted.do()
    assert alone == sizes() == freed()
    pin = _pins.pin(_name(New))[0]
    assert freed() < alone, "the files of what is pinned stay"
    _pins.unpin(pin.id)
    for node in adopted.old():
        node.delete()
    _trash.empty(_trash.removals())
    assert sizes() == freed() > 0


def test_removing_an_alias_harms_not_what_it_is_an_alias_of(store: Path) -> None:
    adopted.compute()
    adopted.do()
    for node in adopted.new():
        node.delete()
    _trash.empty(_trash.removals())
    assert [Old(learning_rate=0.25).load_existing()["lr"], adopted.old()[-1].get()] == [0.25, 0.25]
    assert not _verify.verify(None, deep=True, progress=lambda _: None).damage


def test_what_cannot_be_adopted_is_told_with_the_reason(store: Path) -> None:
    adopted.compute()
    Old(momentum=0.8).get()
    New(lr=0.25).put({"lr": 9})
    plan = adopt(map={"learning_rate": "lr"}, drop={"momentum": "0.9"})
    assert list(plan.refused.values()) == ["momentum is 0.8, and --drop is for those with 0.9"]
    assert [alias.hash for alias in plan.there] == [New(lr=0.25).furu_hash]
    assert New(lr=0.25).load_existing() == {"lr": 9}
    assert adopted.undo() == 4  # and the one that was there before stays
    assert New(lr=0.25).exists()
    plan = _adoptions.plan(_adoptions.adoption_of(_name(Old), New, map={}, set={}, drop={}))
    assert {why.rpartition(": --map")[0] for why in plan.refused.values()} == {
        f"{_name(New)} has no field 'learning_rate'"
    }
    assert len(plan.refused) == 6  # with what depends on them
    for field, why in (("tags", "two of its fields would be 'tags'"), ("lr", "lr")):
        how = {"map": {"momentum" if field == "tags" else "tags": field}, "set": {}}
        drop = {"learning_rate": "0.1", "momentum": "0.8"}
        drop = {key: value for key, value in drop.items() if key not in how["map"]}
        plan = _adoptions.plan(_adoptions.adoption_of(_name(Old), New, **how, drop=drop))
        (name,) = (
            name for name, _ in plan.refused.items() if Old(momentum=0.8).furu_hash[:6] in name
        )
        assert why in plan.refused[name], plan.refused[name]


def test_of_two_results_that_would_have_one_hash_the_first_is_taken(store: Path) -> None:
    AnyField(x=1).put(1)
    AnyField(x=1.0).put(2)
    how = _adoptions.adoption_of(_name(AnyField), Constant, map={}, set={}, drop={"x": "1"})
    plan = _adoptions.plan(how)
    assert len(plan.aliases) == 1
    (why,) = plan.refused.values()
    assert why.endswith("would have the same hash")


class AnyField(Furu[Any]):
    x: Any = 1


class Constant(Furu[Any]):
    pass


def _name(cls: type) -> str:
    name: str = cls.__furu_class__.identity_name  # type: ignore[attr-defined]
    return name


def test_fields_are_named_once_and_exist() -> None:
    with pytest.raises(FuruUsageError, match="has no field 'dropuot'; did you mean 'dropout'"):
        adopt(map={"learning_rate": "dropuot"})
    with pytest.raises(FuruUsageError, match="'lr' is given twice"):
        adopt(map={"learning_rate": "lr"}, set={"lr": "1.0"})
    with pytest.raises(FuruUsageError, match="'momentum' is given twice"):
        adopt(map={"momentum": "lr"}, drop={"momentum": "1.0"})


class Changed(Furu[int]):
    lr: float = 0.1
    dropout: float = 0.0


def test_a_class_adopts_the_results_of_its_own_older_form(store: Path) -> None:
    """As if its field `lr` had been called `rate`, and `dropout` were new."""
    Changed(lr=0.5).put(7)
    Changed(lr=0.75, dropout=0.5).put(8)
    folder = Path(ref_of(Changed(lr=0.5)).artifact)
    older = folder.with_name("0" * 32)
    os.rename(folder, older)
    record = (older / ".furu.json").read_bytes().replace(b'"dropout":0.0', b'"old":1')
    record = record.replace(b'"lr":', b'"rate":').replace(folder.name.encode(), older.name.encode())
    (older / ".furu.json").write_bytes(record)
    plan = adopt(Changed, Changed, map={"rate": "lr"}, drop={"old": "1"}, set={"dropout": "0.25"})
    assert len(plan.aliases) == 1
    assert plan.refused == {}
    assert Changed(lr=0.5, dropout=0.25).load_existing() == 7
    again = _adoptions.plan(plan.adoption)
    assert (again.aliases, len(again.made)) == ([], 1)


def test_adoptions_one_after_the_other_bring_along_what_depends_on_both(store: Path) -> None:
    both = Report(models=[Old(learning_rate=0.5), Other(x=1)])
    Other(x=1).put({"lr": 1})
    both.get()
    assert len(adopt(map={"learning_rate": "lr"}, drop={"momentum": "0.9"}).aliases) == 2
    assert Report(models=[New(lr=0.5), Other(x=1)]).exists()
    adopt(Other, Others, map={"x": "y"})
    assert Report(models=[New(lr=0.5), Others(y=1)]).load_existing() == 1.5


class Other(Furu[Any]):
    x: int = 1


class Others(Furu[Any]):
    y: int = 1


def test_a_default_that_the_hash_left_out_is_still_compared(store: Path) -> None:
    adopted.compute()
    adopted.do()
    record = _record_file.read(ref_of(New(lr=0.5)).artifact)
    assert json.loads(record.manifest)["omitted"].keys() == {f"{_name(New)}.tags"}
    assert f"{_name(Old)}.tags".encode() not in record.manifest


def test_where_files_cannot_have_second_names_small_ones_are_copied(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted.compute()
    link = os.link

    def refuse(source: Any, target: Any, **more: Any) -> None:
        if "/data/" in str(source):
            raise OSError(errno.EMLINK, "Too many links", str(source))
        link(source, target, **more)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(_adoptions, "_COPIED_BYTES", 50)
    done = _adoptions.adopt(adopted.adoption(), lambda plan: None)
    assert len(done.failed) == 3
    for why in done.failed.values():
        assert "cannot have a second name (Too many links), and its " in why
    assert not any(node.exists() for node in adopted.new()[:3])
    monkeypatch.setattr(_adoptions, "_COPIED_BYTES", 10_000)
    assert adopted.do() == (3, {})
    assert adopted.values() == VALUES
    assert adopted.undo() == 5


def test_a_copy_of_a_stranger_s_pickle_is_not_made_where_it_would_not_be_loaded(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs the right to give files away: run as root")
    adopted.compute()
    path = next(Path(Old(learning_rate=0.5).furu_dir).glob(".furu.result*"))
    os.chown(path, 65534, 65534)

    def refuse(source: Any, target: Any, **more: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", str(source))

    with monkeypatch.context() as patch, use_settings(trust_pickles=frozenset({"own"})):
        patch.setattr("furu_core._upkeep._adoptions.os.link", refuse)
        done = _adoptions.adopt(adopted.adoption(), lambda plan: None)
    assert [why for why in done.failed.values() if "was not loaded, as that may run code" in why]
    assert not New(lr=0.5).exists()


def test_what_another_user_made_is_taken_back_by_that_user_only(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs two users: run as root")
    with tempfile.TemporaryDirectory(dir="/tmp") as place, use_settings(path=Path(place, "store")):
        os.chmod(place, 0o755)
        adopted.compute()
        adopted.do()
        with nobody():
            done = _adoptions.undo("Old", "New")
        assert (len(done.failed), done.aliases) == (5, [])
        assert adopted.values() == VALUES
        assert adopted.undo() == 5


def test_what_was_computed_since_stays_when_an_adoption_is_taken_back(store: Path) -> None:
    adopted.compute()
    adopted.do()
    New(lr=0.25).delete()
    New(lr=0.25).put({"lr": 7})
    Report(models=[New(lr=0.5)]).get()
    done = _adoptions.undo("Old", "New")
    assert len(done.aliases) == 4
    assert {alias.hash: why for alias, why in done.left.items()} == {
        New(lr=0.25).furu_hash: "another result is there by now"
    }
    assert New(lr=0.25).load_existing() == {"lr": 7}
    assert Report(models=[New(lr=0.5)]).load_existing() == 0.5
    with pytest.raises(FuruMissingArtifact):
        New(lr=0.5).load_existing()


def test_p10_a_second_name_that_is_the_only_one_is_not_taken_back(store: Path) -> None:
    adopted.compute()
    adopted.do()
    Old(learning_rate=0.5).delete()
    (removal,) = _trash.removals()
    done = _adoptions.undo("Old", "New")
    assert len(done.aliases) == 4
    ((alias, why),) = done.left.items()
    assert alias.hash == New(lr=0.5).furu_hash
    assert why.endswith("was removed, so it is the only one")
    assert New(lr=0.5).load_existing()["lr"] == 0.5
    entries = [entry for entry in removal.entries() if "Old" in entry.below]
    assert _trash.undo(removal, entries).put_back
    assert adopted.undo() == 1


def test_results_of_another_user_are_adopted_where_this_one_may_write(store: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs two users: run as root")
    with tempfile.TemporaryDirectory(dir="/tmp") as place, use_settings(path=Path(place, "store")):
        adopted.compute()
        for folder in (Path(place), *Path(place).rglob("*")):
            os.chmod(folder, 0o777 if folder.is_dir() else 0o644, follow_symlinks=True)
        with nobody():
            assert adopted.do() == (5, {})
        assert adopted.values() == VALUES
        assert os.stat(New(lr=0.5).furu_dir).st_uid == 65534
        with nobody():
            assert adopted.undo() == 5


def test_a_damaged_result_is_not_adopted(store: Path) -> None:
    adopted.compute()
    (Old(learning_rate=0.5).furu_dir / "sub" / "w.bin").write_bytes(b"w")
    done = _adoptions.adopt(adopted.adoption(), lambda plan: None)
    (why,) = done.failed.values()
    assert "the result is damaged" in why
    assert len(done.aliases) == 4


def test_p4_of_two_that_adopt_at_once_each_alias_is_made_by_one(host: Host, tmp_path: Path) -> None:
    store = tmp_path / "store"
    host.run("adopted:compute", path=str(store))
    gate = tmp_path / "go"
    children = [host.start("adopted:wait_and_do", str(gate), path=str(store)) for _ in range(3)]
    gate.touch()
    assert sorted(child.result() for child in children) == [0, 0, 5]
    assert host.run("adopted:values", path=str(store)) == VALUES
    assert host.run("adopted:undo", path=str(store)) == 5


@pytest.mark.parametrize("killed", ["do", "undo"])
def test_p7_after_a_kill_the_same_command_finishes_and_undo_leaves_nothing(
    host: Host, tmp_path: Path, killed: str
) -> None:
    first = tmp_path / "first"
    host.run("adopted:compute", path=str(first / "store"))
    before = host.run("adopted:tree", str(first / "store"))
    kills = Kills(apart=EVENTS_APART, at_least=10)
    for number in kills:
        place = tmp_path / str(number)
        shutil.copytree(first, place, symlinks=True)
        store = str(place / "store")
        if killed == "undo":
            host.run("adopted:do", path=store)
        kills.wait(host.start(f"adopted:{killed}", path=store, die=KillAtEvent(number, place)))
        _make_old(place)
        if killed == "do" and number % 2:
            assert host.run("adopted:do", path=store)[1] == {}
            assert host.run("adopted:values", path=store) == VALUES
        if list((place / "store" / "adoptions").glob("*.json")):
            host.run("adopted:undo", path=store)
        after = host.run("adopted:tree", store)
        # What was being removed at that moment is swept in a day, as everywhere.
        swept = {name for name in after if "/.removed-" in name}
        swept |= {name.partition("/.removed-")[0] for name in swept} - before.keys()
        assert {name: after[name] for name in after if name not in swept} == before, number


def _make_old(place: Path) -> None:
    """Let the lease pass of an attempt without a record: nobody knows whose it was."""
    for attempt in (place / "store" / "data").rglob(".*.[0-9]"):
        record = attempt / ".furu.json"
        if not record.exists() or b"\n" not in record.read_bytes():
            for path in filter(Path.exists, (record, attempt)):
                os.utime(path, (1e9, 1e9))
