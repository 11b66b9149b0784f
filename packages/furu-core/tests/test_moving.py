"""Results that go to another store, and come from one: whole or not at all, and known as what they are."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moved_nodes
import pytest
from moved_nodes import REPORT, Fit, Model, Part, Report, artifacts, export, left, take

import furu_core
from furu_core import _import_records, _trust, use_settings
from furu_core._attempts import _publishing
from furu_core._config._objects import config_class
from furu_core._moving import _exporting, _importing
from furu_core._status import _trash
from furu_core._upkeep import _adoptions, _collecting, _verify
from furu_core._upkeep._keepers import Survey
from furu_core.codecs import open_trusted
from furu_core.errors import (
    FuruArchiveError,
    FuruResultError,
    FuruStoreError,
    FuruUntrustedFile,
    FuruUsageError,
)
from furu_testing import Host, KillAtEvent, Kills

NODES = Path(__file__).parent / "nodes"


@pytest.fixture
def archive(store: Path, tmp_path: Path) -> Path:
    """An archive of a report and all that it depends on, and an empty store in place of the first one."""
    REPORT.get()
    path = tmp_path / "x.tar"
    export(path, REPORT)
    store.rename(tmp_path / "first")
    return path


def name_of(cls: type) -> str:
    """The name of a class in hashes, which depends on how the tests were started."""
    return config_class(cls).identity_name


def everything_below(folder: Path) -> dict[str, Any]:
    """All files, links and folders below one, with what is in them."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = None
        else:
            found[name] = (path.read_bytes(), path.stat().st_mode & stat.S_IXUSR)
    return found


def test_what_is_imported_is_what_was_exported_and_is_loaded_as_it_was(
    archive: Path, store: Path, tmp_path: Path
) -> None:
    found = take(archive)
    assert [node.class_name for node in found.new] == [
        name_of(Part), name_of(Part), name_of(Fit), name_of(Report)
    ]  # fmt: skip
    assert everything_below(store / "data") == everything_below(tmp_path / "first" / "data")
    for shared in ("provenance", "code"):
        there = everything_below(tmp_path / "first" / shared)
        there.pop("parsed.json", None)  # anybody parses sources again
        assert everything_below(store / shared) == there
    assert not _verify.verify(deep=True).damage
    assert REPORT.get() == "weight 3.0"
    told = REPORT.provenance()
    assert told["provenance"]["host"]
    assert (told["imported"]["source"], told["imported"]["trusted"]) == (str(archive), False)
    again = take(archive)
    assert (len(again.new), len(again.there), len(again.differing)) == (0, 4, 0)
    assert not left()


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_the_same_results_make_the_same_bytes_and_suffixes_compress(
    store: Path, tmp_path: Path, suffix: str
) -> None:
    REPORT.get()
    export(tmp_path / f"a.{suffix}", REPORT)
    export(tmp_path / f"b.{suffix}", REPORT.fit, REPORT)
    first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first != second, "the roots differ"
    export(tmp_path / f"b.{suffix}", REPORT)
    assert first == (tmp_path / f"b.{suffix}").read_bytes()
    with tarfile.open(tmp_path / f"a.{suffix}") as tar:  # as anybody reads it
        names = tar.getnames()
    assert names[0] == "furu-export.json"
    assert sum(name.endswith("/.furu.json") for name in names) == 4
    with use_settings(path=tmp_path / "other"):
        assert len(take(tmp_path / f"a.{suffix}").new) == 4
        assert not _verify.verify(deep=True).damage


def test_an_export_holds_what_results_depend_on_and_nothing_else(
    store: Path, tmp_path: Path
) -> None:
    REPORT.get()
    Part(number=3).get()
    found = export(tmp_path / "x.tar", REPORT.fit)
    assert {node.class_name for node in found.index.nodes} == {
        name_of(Part),
        name_of(Fit),
    }
    assert len(found.index.nodes) == 3
    Part(number=1).delete()
    found = export(tmp_path / "x.tar", REPORT)
    assert found.index.missing == (Part(number=1).furu_hash,)
    assert len(found.index.nodes) == 3


def test_a_damaged_result_refuses_the_export_or_is_left_out(store: Path, tmp_path: Path) -> None:
    REPORT.get()
    path = tmp_path / "x.tar"
    (REPORT.fit.furu_dir / "ünïcode").write_bytes(b"x" * 5000)
    with pytest.raises(FuruStoreError, match=r"ünïcode is not exported.*--skip-damaged"):
        export(path, REPORT)
    assert list(tmp_path.glob("*x.tar*")) == [], "neither the file nor half of it"
    found = export(path, REPORT, skip_damaged=True)
    assert list(found.left_out) == [f"Fit({REPORT.fit.furu_hash[:6]})"]
    assert found.index.missing == ()
    assert len(found.index.nodes) == 3
    (REPORT.fit.furu_dir / "program").unlink()
    with pytest.raises(FuruStoreError, match=r"Fit\(\w+\) is not exported.*the file is missing"):
        export(path, REPORT)


def test_a_result_with_a_link_that_leads_out_of_it_is_not_exported(
    store: Path, tmp_path: Path
) -> None:
    node = Linked()
    node.get()
    with pytest.raises(FuruStoreError, match=r"the link 'out' leads out of it, to '/etc/passwd'"):
        export(tmp_path / "x.tar", node)


class Linked(furu_core.Furu[int]):
    def _create(self) -> int:
        (self.furu_dir / "out").symlink_to("/etc/passwd")
        return 1


def test_a_result_that_is_there_stays_as_it_is(archive: Path, store: Path) -> None:
    Part(number=1).get()
    before = everything_below(store / "data")
    found = take(archive)
    assert [node.hash for node in found.differing] == [Part(number=1).furu_hash]
    assert len(found.new) == 3
    after = everything_below(store / "data")
    assert {name: after[name] for name in before} == before
    assert _trust.origin_of(str(Part(number=1).furu_dir)) is None


# Trust


def test_pickles_that_were_imported_are_loaded_only_where_they_are_trusted(
    archive: Path, store: Path
) -> None:
    found = take(archive)
    assert [node.class_name for node in found.pickled] == [name_of(Fit)]
    assert REPORT.get() == "weight 3.0", "a text runs nothing"
    for trust in ("local", "own"):
        with (
            use_settings(trust_pickles=trust),
            pytest.raises(FuruResultError, match=r"was imported from .*x\.tar on .* by .*--trust"),
        ):
            REPORT.fit.get()
    with use_settings(trust_pickles="all"):
        assert REPORT.fit.get() == Model(3.0)
    pickled = REPORT.fit.furu_dir / ".furu.result.pickle"
    with pytest.raises(FuruUntrustedFile, match="imported"):
        open_trusted(pickled)
    # No name by which it is reached makes a difference.
    other = store.parent / "other-name"
    other.symlink_to(store)
    by_link = store.parent / "by-link"
    by_link.symlink_to(pickled)
    for name in (other / pickled.relative_to(store), by_link):
        with pytest.raises(FuruUntrustedFile, match="imported"):
            open_trusted(name)
    take(archive, trust=True)
    for trust in ("local", "own"):
        with use_settings(trust_pickles=trust):
            assert REPORT.fit.get() == Model(3.0)


@pytest.mark.parametrize("moved", ["data", "data/MODULE", "data/MODULE/Fit"])
def test_a_folder_of_the_store_that_is_a_link_to_another_disk_makes_no_difference(
    archive: Path, store: Path, tmp_path: Path, moved: str
) -> None:
    take(archive)
    below = REPORT.fit.furu_dir.parent.relative_to(store)
    folder = store / moved.replace("data/MODULE", str(below.parent))
    shutil.move(folder, tmp_path / "another-disk")
    folder.symlink_to(tmp_path / "another-disk")
    with pytest.raises(FuruResultError, match="was imported from"):
        REPORT.fit.get()
    take(archive, trust=True)
    assert REPORT.fit.get() == Model(3.0)


def test_what_an_import_brought_that_was_killed_and_is_in_the_trash_stays_imported(
    archive: Path, store: Path, tmp_path: Path
) -> None:
    take(archive)
    (path,) = (store / "imports").glob("*.json")
    told = json.loads(path.read_text())
    told["ended"], told["process"]["start"] = 0.0, "never"
    path.write_text(json.dumps(told))
    for node in (REPORT, REPORT.fit, *REPORT.fit.parts):
        node.delete()
    with use_settings(path=tmp_path / "first"):
        Part(number=9).get()
        export(archive, Part(number=9))
    take(archive)  # which cleans up after the first one
    for removal in _trash.removals():
        _trash.undo(removal)
    with pytest.raises(FuruResultError, match="imported"):
        REPORT.fit.get()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_who_says_that_an_import_is_trusted_must_be_trusted(archive: Path, store: Path) -> None:
    take(archive, trust=True)
    (record,) = (store / "imports").glob("*.json")
    os.chown(record, 54321, 54321)
    _import_records._read.clear()
    with use_settings(trust_pickles="own"), pytest.raises(FuruResultError, match="imported"):
        REPORT.fit.get()
    with use_settings(trust_pickles="own,54321"):
        assert REPORT.fit.get() == Model(3.0)


def test_what_is_removed_and_put_back_stays_imported_and_what_is_computed_here_is_not(
    archive: Path, store: Path
) -> None:
    take(archive)
    REPORT.fit.delete()
    assert REPORT.fit.get() == Model(3.0), "computed here"
    assert _trust.origin_of(str(REPORT.fit.furu_dir)) is None
    shutil.rmtree(REPORT.fit.furu_dir)
    (removed,) = (store / "trash").glob(f"*/**/{REPORT.fit.furu_hash}")
    (class_dir,) = (store / "data").glob("**/Fit")
    removed.rename(class_dir / removed.name)
    with pytest.raises(FuruResultError, match="imported"):
        REPORT.fit.get()


def test_imports_of_a_store_that_is_only_read_count_as_well(archive: Path, tmp_path: Path) -> None:
    with use_settings(path=tmp_path / "theirs"):
        take(archive)
    with use_settings(path=tmp_path / "mine", also=(tmp_path / "theirs",)):
        assert REPORT.get() == "weight 3.0"
        with pytest.raises(FuruResultError, match="was imported from"):
            REPORT.fit.get()
        found = export(tmp_path / "y.tar", REPORT)
        assert len(found.index.nodes) == 4
    assert not (tmp_path / "mine").exists()
    assert (tmp_path / "y.tar").read_bytes() == archive.read_bytes()


def test_an_adoption_does_not_make_imported_pickles_ones_own(archive: Path, store: Path) -> None:
    take(archive)
    adoption = _adoptions.adoption_of(name_of(Fit), Adopter, map={}, set={}, drop={})
    refused = _adoptions.plan(adoption).refused
    assert any("was imported, and without --trust" in why for why in refused.values())
    assert not [one for one in _adoptions.plan(adoption).aliases if not one.depends]


class Adopter(furu_core.Furu[Model]):
    parts: tuple[Part, ...]

    def _create(self) -> Model:
        raise AssertionError


def test_a_record_of_imports_that_cannot_be_read_means_that_nothing_is_known(
    archive: Path, store: Path
) -> None:
    take(archive)
    (record,) = (store / "imports").glob("*.json")
    record.write_text("{")
    _import_records._read.clear()
    with pytest.raises(FuruStoreError, match=r"what was imported into .* is not known"):
        REPORT.fit.get()
    assert REPORT.get() == "weight 3.0"


def test_what_was_imported_lately_is_young_for_the_collection(archive: Path, store: Path) -> None:
    take(archive)
    now = time.time()
    for record in (store / "imports").glob("*.json"):
        told = json.loads(record.read_text())
        record.write_text(json.dumps({**told, "time": now + 1000.0}))
    survey = Survey(now + 500.0, now + 1001.0)
    assert {survey.made(facts) for facts in survey.facts.values()} == {now + 1000.0}
    assert len(survey.keepers()) == 4


def spent(now: float) -> tuple[str, ...]:
    """What a plan that keeps nothing takes besides nodes."""
    plan = _collecting.propose(0.0, now=now).plan
    return tuple(one.path for one in plan.folders)


def test_p10_records_of_imports_go_once_nothing_is_left_that_they_name(
    archive: Path, store: Path
) -> None:
    take(archive)
    (record,) = (store / "imports").glob("*.json")
    path, later = f"imports/{record.name}", time.time() + 1000.0
    assert spent(later) == ()
    REPORT.fit.delete()
    assert REPORT.fit.get() == Model(3.0), "computed here, and therefore not meant"
    for node in (REPORT, *REPORT.fit.parts):
        node.delete()
    assert spent(later) == (), "`furu rm --undo` may bring them back"
    os.rename(store / "trash", store / "elsewhere")
    assert spent(later) == (path,)
    os.rename(store / "elsewhere", store / "trash")
    _trash.empty(_trash.mine())
    assert spent(later) == (path,)
    assert _collecting.propose(7200.0).plan.folders == (), "imported in the time that is kept"
    told = json.loads(record.read_text())
    record.write_text(json.dumps({**told, "ended": 0.0}))
    assert spent(later) == (), "it goes on"
    record.write_text(json.dumps(told))

    plan = _collecting.propose(0.0, now=later).plan
    before = record.read_bytes()
    assert _collecting.collect(_collecting.planned(plan.id)).folders == [path]
    assert not record.exists()
    assert _collecting.undo(plan.id).folders == [path]
    assert record.read_bytes() == before
    take(archive)  # the same bytes as before: the old record means them as well
    with pytest.raises(FuruUsageError, match=f"something that import {record.name} brought"):
        _collecting.collect(plan)
    assert record.exists()


def test_p10_a_record_of_imports_stays_while_what_it_names_cannot_be_looked_at(
    archive: Path, store: Path
) -> None:
    take(archive)
    (record,) = (store / "imports").glob("*.json")
    later = time.time() + 1000.0
    (class_dir,) = (store / "data").glob("**/Report")
    shutil.rmtree(store / "data")
    assert spent(later) == (f"imports/{record.name}",)
    beside = class_dir / f".{REPORT.furu_hash}.3.invalid"  # a result that was moved aside
    beside.mkdir(parents=True)
    assert spent(later) == ()


# Kills, races, disks


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    settings = {"log_level": "ERROR"}
    with Host(folder, modules=["moved_nodes"], sys_path=[NODES], settings=settings) as started:
        yield started


def test_p7_an_import_that_is_killed_anywhere_leaves_whole_results_and_the_next_one_finishes(
    host: Host, archive: Path, tmp_path: Path
) -> None:
    seen = set()
    kills = Kills(first=1 + time.time_ns() % 4, apart=4, at_least=30)
    for number in kills:
        place = tmp_path / str(number)
        place.mkdir()
        die, store = KillAtEvent(number, place), str(place / "store")
        kills.wait(host.start("moved_nodes:import_file", str(archive), path=store, die=die))
        judged = host.run("moved_nodes:judge", str(archive), path=store)
        assert not judged["wrong"], (number, judged)
        assert not judged["left"], (number, judged)
        seen.add(judged["there"])
        shutil.rmtree(place)
    assert {0, 4} <= seen


def test_an_export_that_is_killed_leaves_no_half_file_under_the_name(
    host: Host, store: Path, tmp_path: Path
) -> None:
    REPORT.get()
    place = tmp_path / "exports"
    place.mkdir()
    path = place / "x.tar"
    kills = Kills(at_least=3)
    for number in kills:
        die = KillAtEvent(number, place)
        child = host.start("moved_nodes:export_file", str(path), path=str(store), die=die)
        assert kills.wait(child).killed is not path.exists()
    with use_settings(path=tmp_path / "other"):
        assert len(take(path).new) == 4


def test_imports_at_once_beside_a_computation_publish_each_result_once(
    host: Host, archive: Path, store: Path, tmp_path: Path
) -> None:
    children = [host.start("moved_nodes:import_file", str(archive), path=str(store)) for _ in "ab"]
    assert host.run("moved_nodes:compute", path=str(store), trust_pickles="all") == "weight 3.0"
    brought = [child.result() for child in children]
    assert sum(brought) <= 4
    assert len(artifacts()) == 4
    assert not _verify.verify(deep=True).damage
    assert not left()


def test_an_import_into_a_store_that_cannot_be_written_says_so(archive: Path, store: Path) -> None:
    with (
        use_settings(path=archive / "no-folder"),
        pytest.raises(FuruStoreError, match=r"no folder|Not a dir"),
    ):
        take(archive)


def test_a_disk_without_room_is_told_before_it_is_full(
    archive: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def small(path: Any) -> Any:
        found = list(real(path))
        found[4] = 1  # blocks that are free
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", small)
    with pytest.raises(FuruStoreError, match=r"where there is room for [\d,]+ bytes"):
        take(archive)
    assert not artifacts()
    assert not left()


def test_an_error_while_results_are_written_leaves_nothing(
    archive: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.mkdir, 0

    def full(path: Any, *args: Any, **options: Any) -> None:
        nonlocal count
        if "import-" in str(path):
            count += 1
            if count == 3:
                raise OSError(28, "No space left on device", str(path))
        real(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(FuruStoreError, match="No space left"):
        take(archive)
    assert not artifacts()
    assert not left()
    assert not list((store / "imports").iterdir())


def test_listing_reads_the_index_alone_and_changes_nothing(archive: Path, store: Path) -> None:
    data = archive.read_bytes()
    found = _importing.look(io.BytesIO(data[: len(data) // 2]))
    assert len(found.new) == 4
    assert not store.exists()


def test_nothing_to_export_is_an_error_that_says_what_to_do(store: Path) -> None:
    with pytest.raises(FuruUsageError, match=r"nothing to export.*furu ls"):
        _exporting.gather([])


def test_an_archive_of_which_everything_is_there_changes_nothing_and_is_read_all_the_same(
    archive: Path, store: Path
) -> None:
    take(archive)
    before = {path: path.lstat().st_mtime_ns for path in store.rglob("*")}
    assert len(take(archive).there) == 4
    data = archive.read_bytes()
    with pytest.raises(FuruArchiveError, match="cut off"):
        _importing.take_in(io.BytesIO(data[:-1]), "x.tar")
    assert {path: path.lstat().st_mtime_ns for path in store.rglob("*")} == before


def test_only_a_plain_file_is_replaced(store: Path, tmp_path: Path) -> None:
    REPORT.get()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(FuruUsageError, match="is no plain file"):
            export(tmp_path / name, REPORT)


def test_what_an_import_of_another_machine_left_is_swept_a_day_later(
    archive: Path, store: Path
) -> None:
    take(archive)
    (path,) = (store / "imports").glob("*.json")
    record = _import_records.RECORD.read(path)
    class_dir = str(REPORT.furu_dir.parent)
    staged = Path(record.staging_of(class_dir, "0" * 32))
    staged.mkdir()
    assert list(_publishing.leftovers(class_dir, os.listdir(class_dir))) == []
    os.utime(staged, (moved_nodes.A_WEEK_AGO, moved_nodes.A_WEEK_AGO))
    assert list(_publishing.leftovers(class_dir, os.listdir(class_dir))) == [str(staged)]


def test_a_record_of_an_import_cannot_name_what_is_to_be_cleaned_up(
    archive: Path, store: Path, tmp_path: Path
) -> None:
    """In a store that others write to, a record may be theirs; its id is part of names that are removed."""
    take(archive)
    (path,) = (store / "imports").glob("*.json")
    told = json.loads(path.read_text())
    precious = tmp_path / "precious"
    precious.mkdir()
    told |= {"id": f"x/../../../{precious.name}", "ended": 0.0}
    told["process"]["pid"], told["process"]["start"] = 1, "never"
    (store / "imports" / ".removed-x").mkdir()
    path.write_text(json.dumps(told))
    _import_records._read.clear()
    REPORT.delete()
    with pytest.raises(FuruStoreError, match="it has the id of another one"):
        take(archive)
    assert precious.exists()


def test_what_has_no_digest_is_not_trusted_afterwards(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record alone does not tell that the bytes which were imported before are those of this archive."""
    with use_settings(digest_limit=0):
        REPORT.fit.get()
    export(tmp_path / "x.tar", REPORT.fit)
    with use_settings(path=tmp_path / "other"):
        take(tmp_path / "x.tar")
        take(tmp_path / "x.tar", trust=True)
        with pytest.raises(FuruResultError, match="imported"):
            REPORT.fit.get()
    with use_settings(path=tmp_path / "third"):
        take(tmp_path / "x.tar", trust=True)
        assert REPORT.fit.get() == Model(3.0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_record_of_another_users_import_stays_theirs(
    archive: Path, store: Path, tmp_path: Path
) -> None:
    """Written anew by somebody else, it would say that this one trusts what it brought."""
    take(archive, trust=True)
    (path,) = (store / "imports").glob("*.json")
    told = json.loads(path.read_text())
    told["ended"], told["process"]["start"] = 0.0, "never"
    path.write_text(json.dumps(told))
    os.chown(path, 54321, 54321)
    REPORT.delete()
    take(archive)
    assert (path.stat().st_uid, json.loads(path.read_text())["ended"]) == (54321, 0.0)
