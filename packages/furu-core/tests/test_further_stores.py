"""Stores that are only read: what is there is found, and nothing is ever written there."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import furu_core
from furu_core import Furu, NodeState, use_settings, why
from furu_core._cli._run_status import failures
from furu_core._explain._staleness import StalenessReader
from furu_core._settings._settings import read, settings_to_env
from furu_core._status import _stored_nodes, _trash
from furu_core._store import _further_stores
from furu_core._tables._facts import FactReader
from furu_core._upkeep import _pins, _verify
from furu_core._upkeep._keepers import Survey
from furu_core.errors import (
    FuruComputeError,
    FuruFormatError,
    FuruInvalidDependency,
    FuruMissingArtifact,
    FuruResultError,
    FuruSettingsError,
    FuruStoreError,
    FuruUsageError,
)
from furu_core.planning import StateReader, absent, invalidate_if_bad, ref_of
from furu_core.workers import Outcome, run_node

computed: list[str] = []
judged: list[Path] = []


class Part(Furu[int]):
    """A result in the record."""

    number: int = 1

    def _create(self) -> int:
        computed.append(f"part {self.number}")
        return self.number * len(computed)


class Written(Furu[str]):
    """Files that the class loads itself, and judges."""

    part: Part = Part()

    def _create(self) -> str:
        computed.append("written")
        (self.furu_dir / "text").write_text(f"text {self.part.get()}")
        return ""

    def _load(self) -> str:
        return (self.furu_dir / "text").read_text()

    def _validate(self) -> bool:
        judged.append(self.furu_dir)
        return "bad" not in self.get()


class Sum(Furu[str]):
    """What is computed here of what is there."""

    written: Written = Written()

    def _create(self) -> str:
        computed.append("sum")
        return self.written.get() + "!"


class Opaque:
    """What only a pickle holds."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque)

    def __hash__(self) -> int:
        return 1


class Pickled(Furu[Opaque]):
    def _create(self) -> Opaque:
        return Opaque()


@pytest.fixture
def theirs(tmp_path: Path, store: Path) -> Iterator[Path]:
    """A store with results that is only read, beside an empty one."""
    with filled(tmp_path / "theirs") as folder:
        before = state_of(folder)
        yield folder
    assert state_of(folder) == before, "something was written in a store that is only read"


@pytest.fixture
def changing(tmp_path: Path, store: Path) -> Iterator[Path]:
    """As `theirs`, but others change it."""
    with filled(tmp_path / "theirs") as folder:
        yield folder


@contextmanager
def filled(folder: Path) -> Iterator[Path]:
    computed.clear()
    with use_settings(path=folder):
        Written().get()
        Pickled().get()
    computed.clear()
    judged.clear()
    with use_settings(also=(folder,)):
        yield folder


def state_of(folder: Path) -> dict[str, Any]:
    """Names, times and inodes of all that is in a folder."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def test_what_is_there_is_found_and_what_is_made_of_it_is_made_here(
    theirs: Path, store: Path
) -> None:
    written = Written()
    assert (written.exists(), written.status(), Part(number=2).exists()) == (
        True, NodeState.DONE, False,
    )  # fmt: skip
    assert written.get() == written.load_existing() == "text 2"
    assert written.furu_dir.is_relative_to(theirs)
    assert set(judged) == {written.furu_dir}
    assert written.provenance()["provenance"]["host"]
    assert written.provenance()["code"]["modules"] is not None
    assert Sum().get() == "text 2!"
    assert computed == ["sum"]
    assert Sum().furu_dir.is_relative_to(store)
    assert list(Sum().provenance()["dependencies"]["used"]) == [written.furu_hash]
    assert Part(number=2).get() == 4
    assert sorted(path.name for path in (store / "data").glob("**/[A-Z]*")) == ["Part", "Sum"]


def test_ones_own_result_comes_first(theirs: Path, store: Path) -> None:
    with use_settings(also=()):
        assert Part().get() == 1
    assert Part().get() == 1
    assert Part().furu_dir.is_relative_to(store)
    assert len(_verify.verify(deep=True).damage) == 0
    assert _verify.verify(deep=True).artifacts == 1, "others judge their own stores"


def test_without_a_result_anywhere_the_errors_are_as_ever(theirs: Path) -> None:
    with pytest.raises(FuruMissingArtifact):
        Part(number=9).load_existing()
    assert Part(number=9).status() is NodeState.ABSENT


def test_plans_count_what_is_there_as_done(theirs: Path) -> None:
    reader = StateReader()
    assert reader.done(Written())
    assert reader.state(Written()).state is NodeState.DONE
    assert not reader.done(Sum())
    assert absent([ref_of(Written()), ref_of(Sum())]) == [ref_of(Sum())]
    assert not invalidate_if_bad(Written())
    found = why(Sum())
    assert [cause.nodes for cause in found.causes] == [1]
    assert why(Written()).is_complete


def test_workers_load_what_is_there(theirs: Path, session: Any) -> None:
    with session():
        assert Written().get() == "text 2"
        assert run_node(Sum()).outcome is Outcome.COMPUTED
        with pytest.raises(FuruMissingArtifact):
            Part(number=3).get()


@pytest.fixture
def bad(tmp_path: Path, store: Path) -> Iterator[Path]:
    """As `theirs`, but a result there is bad."""
    folder = tmp_path / "theirs"
    with use_settings(path=folder):
        Written().get()
        (Written().furu_dir / "text").write_text("bad it is")
    computed.clear()
    before = state_of(folder)
    with use_settings(also=(folder,)):
        yield folder
    assert state_of(folder) == before


def test_what_is_bad_there_is_computed_here(bad: Path, store: Path) -> None:
    assert Written().get().startswith("text ")
    assert computed == ["written"]
    assert Written().furu_dir.is_relative_to(store)
    assert Written().get().startswith("text ")
    assert computed == ["written"]


def test_a_plan_notes_what_is_bad_there_for_all_processes(bad: Path, session: Any) -> None:
    assert invalidate_if_bad(Written())
    assert not StateReader().done(Written())
    assert absent([ref_of(Written())]) == [ref_of(Written())]
    assert Written().status() is NodeState.ABSENT
    with session():
        assert run_node(Written()).outcome is Outcome.COMPUTED
    assert StateReader().done(Written())
    assert Written().get().startswith("text ")


def test_a_worker_that_meets_what_is_bad_there_has_it_computed(bad: Path, session: Any) -> None:
    with session():
        with pytest.raises(FuruInvalidDependency):
            Written().get()
        assert run_node(Sum()).outcome is Outcome.INVALID_DEPENDENCY
        assert run_node(Written()).outcome is Outcome.COMPUTED
        assert run_node(Sum()).outcome is Outcome.COMPUTED


def test_stale_is_what_used_another_result_than_is_there_now(
    theirs: Path, store: Path, tmp_path: Path
) -> None:
    Sum().get()
    node = _stored_nodes.node_of(Sum())
    assert not StalenessReader().of(node).is_stale
    with use_settings(path=tmp_path / "another", also=()):
        computed.extend(["so that", "the part differs"])
        Written().get()
    with use_settings(also=(tmp_path / "another",)):
        assert StalenessReader().of(node).reasons == [
            f"used another result of Written({Written().furu_hash[:6]})"
        ]


def test_the_first_store_of_several_counts(theirs: Path, store: Path, tmp_path: Path) -> None:
    with use_settings(path=tmp_path / "another", also=()):
        assert Part().get() == 1
        Part(number=7).get()
    for also, value in [((theirs, tmp_path / "another"), 1), ((tmp_path / "another", theirs), 1)]:
        with use_settings(also=also):
            assert Part().furu_dir.is_relative_to(also[0])
            assert Part().get() >= value
            with _stored_nodes.including_further(True):
                listed = [node for node, _ in _stored_nodes.nodes(_stored_nodes.classes())]
            assert len(listed) == len({node.hash for node in listed}) == 4


def test_python_tells_of_results_there_where_it_is_asked_to(theirs: Path, store: Path) -> None:
    def numbers(what: Any, **options: Any) -> list[int]:
        rows = furu_core.frame(what, columns=["number"], as_="dicts", **options)
        return sorted(row["number"] for row in rows)

    own = Part(number=5)
    own.get()
    there = Part()
    assert (Part.stored(), numbers(Part)) == ([own], [5])
    assert Part.stored(also=True) == sorted([own, there], key=lambda part: part.furu_hash)
    both = sorted([own.number, there.number])
    assert numbers(Part, also=True) == numbers("Part", also=True) == both
    assert numbers([there]) == [there.number]  # an object's result is found, as `get()` finds it
    with pytest.raises(FuruUsageError, match="no class 'Written'"):
        furu_core.frame("Written", as_="dicts")
    (row,) = furu_core.frame("Written", also=True, everything=True, as_="dicts")
    assert (row["node"], row["part.number"]) == (Written().furu_hash, there.number)
    (written,) = Written.stored(also=True)
    assert written.get() == Written().get()
    assert computed == ["part 5"]
    assert (Written.stored(), Part.stored()) == ([], [own]), "asked once, it is not asked for ever"


def test_python_tells_of_each_result_once(theirs: Path, store: Path, tmp_path: Path) -> None:
    with use_settings(path=tmp_path / "another", also=()):
        Part().get()
    with use_settings(also=()):
        Part().get()
    with use_settings(also=(theirs, tmp_path / "another")):
        assert Part.stored(also=True) == [Part()]
        assert len(furu_core.frame(Part, also=True, as_="dicts")) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_whose_pickles_are_loaded_is_judged_there_as_ever(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    with use_settings(path=folder):
        Pickled().get()
        os.chown(Pickled().furu_dir / ".furu.result.pickle", 54321, 54321)
    with use_settings(also=(folder,)):
        assert Pickled().get() == Opaque()
        with use_settings(trust_pickles="own"), pytest.raises(FuruResultError, match="54321"):
            Pickled().get()
        with use_settings(trust_pickles="54321"):
            assert Pickled().get() == Opaque()


def test_nothing_there_is_removed_pinned_or_collected(theirs: Path, store: Path) -> None:
    Part(number=5).get()
    node = _stored_nodes.node_of(Written())
    assert _stored_nodes.find(node.hash, also=True) == node
    with pytest.raises(FuruUsageError, match=rf"in another store, which is only read: {theirs}"):
        _stored_nodes.find(node.hash)
    with pytest.raises(FuruUsageError, match="only read"):
        _pins.pin(node.hash)
    assert Written().delete() is False
    assert not _trash.removals()
    assert set(Survey(0.0, 1.0).facts) == {Part(number=5).furu_hash}


def test_what_a_result_there_was_made_of_is_kept_here(theirs: Path, store: Path) -> None:
    with use_settings(also=()):
        Part().get()
        Part(number=5).get()
    Sum().get()
    _pins.pin(Sum().furu_hash)
    kept = Survey(math.inf, math.inf).keepers()
    assert {Sum().furu_hash, Part().furu_hash} <= kept.keys()
    assert Part(number=5).furu_hash not in kept


def test_the_setting_names_folders_and_reaches_other_processes(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.furu]\nalso = ["group", "/other/store"]\n')
    found = read({}, tmp_path)
    assert found.also == (tmp_path / "group", Path("/other/store"))
    assert read(settings_to_env(found), Path("/")).also == found.also
    assert read({"FURU_ALSO": "a::/b:"}, tmp_path).also == (tmp_path / "a", Path("/b"))
    assert read({"FURU_ALSO": ""}, tmp_path).also == ()
    with pytest.raises(FuruSettingsError, match="also is"):
        furu_core.configure(also=[3])
    with pytest.raises(FuruSettingsError, match="folders separated by"):
        furu_core.configure(also=["/a:b"])


def test_a_folder_that_is_no_store_is_told_once(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _further_stores._looked_at.clear()
    with use_settings(also=(tmp_path / "mistyped",)):
        Part(number=1).get()
        Part(number=2).get()
    assert sum("which is no store" in record.message for record in caplog.records) == 1


class Fails(Furu[int]):
    """What is computed there, and fails here."""

    part: Part = Part()

    def _create(self) -> int:
        computed.append("fails")
        if "here" in computed:
            raise ValueError("not here")
        return self.part.get()


@pytest.fixture
def damaged(tmp_path: Path, store: Path) -> Iterator[Path]:
    """A store that is only read, with a result of `Fails` that lacks its record."""
    folder = tmp_path / "theirs"
    computed.clear()
    with use_settings(path=folder):
        Fails().get()
        (Fails().furu_dir / ".furu.json").unlink()
    computed.append("here")
    with use_settings(also=(folder,)):
        yield folder


def test_what_was_bad_there_does_not_count_again_once_it_failed_here(
    damaged: Path, session: Any
) -> None:
    assert invalidate_if_bad(Fails())
    with session():
        assert run_node(Fails()).outcome is Outcome.FAILED
    assert Fails().status() is NodeState.FAILED
    assert StateReader().state(Fails()).state is NodeState.FAILED
    assert absent([ref_of(Fails())]) == [ref_of(Fails())]
    with _stored_nodes.including_further(True):
        listed = _stored_nodes.nodes(_stored_nodes.classes_called("Fails"))
        assert [info.state for _, info in listed] == [NodeState.FAILED]


class Above(Furu[int]):
    """What needs what fails here."""

    fails: Fails = Fails()

    def _create(self) -> int:
        return self.fails.get()


def test_what_failed_here_and_is_bad_there_is_nobody_elses_failure(
    damaged: Path, session: Any
) -> None:
    with use_settings(also=()), session():
        assert run_node(Fails()).outcome is Outcome.FAILED
    with use_settings(retry_failed=False):
        with session():
            assert run_node(Above()).outcome is Outcome.INVALID_DEPENDENCY
        assert Above().status() is Fails().status() is NodeState.ABSENT
        assert not invalidate_if_bad(Part())


def test_a_dependency_that_was_bad_says_nothing_of_what_is_there(
    bad: Path, tmp_path: Path, session: Any
) -> None:
    with session():
        assert run_node(Sum()).outcome is Outcome.INVALID_DEPENDENCY
    another = tmp_path / "another"
    with use_settings(path=another, also=()):
        Sum().get()
    with use_settings(also=(another,)):
        assert Sum().status() is NodeState.DONE
        assert StateReader().done(Sum())


def test_a_store_of_a_newer_format_is_refused(changing: Path, store: Path) -> None:
    (changing / "furu.json").write_text('{"furu":99}')
    for look in (Written().get, Part(number=9).exists, lambda: StateReader().done(Written())):
        with pytest.raises(FuruFormatError, match=rf"{changing} has format 99") as raised:
            look()
        assert "FURU_ALSO" in raised.value.hint


def test_what_appears_there_late_is_waited_for(
    changing: Path, tmp_path: Path, session: Any
) -> None:
    aside = tmp_path / "aside"
    artifact = Written().furu_dir
    artifact.rename(aside)
    with session(known_done_wait_secs=20.0):
        timer = threading.Timer(0.2, aside.rename, [artifact])
        timer.start()
        assert Written().get() == "text 2"
        timer.join()


def test_a_store_within_another_and_one_named_twice(
    changing: Path, store: Path, tmp_path: Path
) -> None:
    within = changing / "within"
    with use_settings(path=within, also=()):
        Part(number=8).get()
    with use_settings(also=(changing, within, changing)):
        with _stored_nodes.including_further(True):
            listed = [node for node, _ in _stored_nodes.nodes(_stored_nodes.classes())]
        assert len(listed) == len({node.hash for node in listed}) == 4


def test_a_store_that_cannot_be_read_is_no_store_without_results(
    changing: Path, store: Path
) -> None:
    folder = Part().furu_dir.parent
    folder.rename(folder.with_name("aside"))
    folder.symlink_to(folder.name)  # a loop, which nobody can open
    for look in (Part().get, Part().exists, Part().status, lambda: StateReader().done(Part())):
        with pytest.raises(FuruStoreError, match=r"theirs.*: Too many") as raised:
            look()
        assert "FURU_ALSO" in raised.value.hint
    assert computed == []


def test_what_failed_here_and_is_there_is_listed_once(tmp_path: Path, store: Path) -> None:
    computed[:] = ["here"]
    with pytest.raises(FuruComputeError):
        Fails().get()
    computed.clear()
    another = tmp_path / "another"
    with use_settings(path=another):
        value = Fails().get()
    assert "1 x " in CliRunner().invoke(failures).output
    with use_settings(also=(another,), retry_failed=False):
        assert Fails().status() is NodeState.DONE
        assert Fails().get() == value
        assert why(Fails().furu_hash).is_complete
        assert CliRunner().invoke(failures).output == "nothing has failed\n"
        assert why(Fails()).is_complete
        assert _stored_nodes.find(Fails().furu_hash).folder.startswith(f"{store}/")
        with _stored_nodes.including_further(True):
            assert len(_stored_nodes.classes_or_nodes([Fails().furu_hash])) == 1
            assert [one.state for one in FactReader().nodes()] == [NodeState.DONE] * 2
            listed = [
                (node.cls.short, info.state)
                for node, info in _stored_nodes.nodes(_stored_nodes.classes())
            ]
        assert sorted(listed) == [("Fails", NodeState.DONE), ("Part", NodeState.DONE)]
