"""Verifying finds all damage to results, tells it from what is none, and needs no quiet store."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kept_nodes
import pytest
from format1 import downgrade
from get_nodes import Fails, Outer, Square
from kept_nodes import Above, Kept, Loads, Trapped
from machine import nobody
from records import attempts_of

from furu_core import use_settings
from furu_core._status import _stored_nodes
from furu_core._store import _format, _record_file
from furu_core._upkeep import _verify
from furu_core._upkeep._verify import Finding, Verified
from furu_core.errors import FuruComputeError
from furu_testing import Host

NODES = Path(__file__).parent / "nodes"
ROUNDS = 200 if os.environ.get("TEST_THOROUGH") else 15
REPLACED = "it was replaced whenever it was looked at"
HASH = "0123456789abcdef" * 2


def verify(*, deep: bool = True) -> Verified:
    return _verify.verify(deep=deep)


def whats(findings: list[Finding]) -> list[str]:
    """What was found, each with the name of its file."""
    return [f"{os.path.basename(one.path)}: {one.what}" for one in findings]


def assert_good(done: Verified, artifacts: int) -> None:
    assert (done.artifacts, done.damaged_artifacts) == (artifacts, 0)
    assert (done.damage, done.unreadable, done.notes) == ([], [], [])


# Damage


def changed(
    record: Path, change: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], object]
) -> None:
    """Change a record as a faulty program would that knows its format."""
    found = _record_file.read(str(record.parent))
    parts = [json.loads(part) for part in (found.claim, found.manifest, found.story)]
    change(*parts)
    lines = [json.dumps(part, separators=(",", ":")).encode() for part in parts]
    record.write_bytes(_record_file.whole(*lines))


def flip(path: Path, near: bytes) -> None:
    """Change one bit of a file, in the first byte of some text."""
    data = bytearray(path.read_bytes())
    data[data.index(near)] ^= 1
    path.write_bytes(data)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("no folder")


def replace_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


Harm = Callable[[Path], object]
# The file, what is done to it, what is told of it, and whether a look at names and sizes sees it.
HARMS: dict[str, tuple[str, Harm, str, bool]] = {
    "truncated": ("folder/file", lambda path: os.truncate(path, 3), "3 bytes where 7 were published", True),
    "grown": ("folder/file", lambda path: path.write_text("contents"), "8 bytes where 7", True),
    "one bit": ("folder/file", lambda path: flip(path, b"tent"), "not those that were published", False),
    "missing": ("folder/file", os.unlink, "the file is missing", True),
    "all missing": ("folder", shutil.rmtree, "the file is missing", True),
    "a folder": ("folder/file", replace_by_folder, "it is no file any more", True),
    "extra": ("folder/more", lambda path: path.write_text("x"), "it was not published", True),
    "extra link": ("more", lambda path: path.symlink_to("folder"), "it was not published", True),
    "extra pipe": ("pipe", os.mkfifo, "it was not published", True),
    "extra, named as furu's": (".furu.more", lambda path: path.touch(), "it was not published", True),
    "link": ("link", replace_link, "the link points somewhere else", True),
    "no link": ("link", os.unlink, "the file is missing", True),
    "no record": (".furu.json", os.unlink, "the record is missing", True),
    "empty record": (".furu.json", lambda path: path.write_bytes(b""), "it is no record of furu", True),
    "half a record": (
        ".furu.json", lambda path: os.truncate(path, path.stat().st_size // 2), "missing or incomplete", True,
    ),
    "a quarter of a record": (".furu.json", lambda path: os.truncate(path, 100), "missing or incomplete", True),
    "one bit of the story": (".furu.json", lambda path: flip(path, b"to_python"), "missing or incomplete", True),
    "one bit of the manifest": (".furu.json", lambda path: flip(path, b"folder"), "missing or incomplete", True),
    "one bit of the config": (
        ".furu.json", lambda path: flip(path, b'config"'), "its first line is not what was written", False,
    ),
    "one bit of its beginning": (".furu.json", lambda path: flip(path, b'"number"'), "cannot be read", True),
    "a record that is a folder": (".furu.json", replace_by_folder, "Is a directory", True),
    "of another node": (
        ".furu.json", lambda path: changed(path, lambda claim, *_: claim.update(hash=HASH)), HASH, True,
    ),
    "of another class": (
        ".furu.json",
        lambda path: changed(path, lambda claim, *_: claim.update(class_name="exp:Other")),
        "it is the record of exp:Other",
        True,
    ),
    "no status": (
        ".furu.json", lambda path: changed(path, lambda _c, _m, story: story.pop("status")), "'status'", True,
    ),
    "another digest of the result": (
        ".furu.json",
        lambda path: changed(path, lambda _, manifest, _s: manifest.update(digest=HASH)),
        "the digest of the result does not fit it",
        False,
    ),
    "another value": (
        ".furu.json",
        lambda path: changed(path, lambda _, manifest, _s: manifest["result"].update(value={})),
        "the digest of the result does not fit it",
        False,
    ),
    "no folder": ("", replace_by_file, "it is no folder", True),
    "an empty folder": ("", lambda path: (shutil.rmtree(path), path.mkdir()), "the record is missing", True),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_p1_each_kind_of_damage_is_told_with_its_node_and_the_next_step_helps(
    store: Path, harm: str
) -> None:
    node, other = Kept(kind="path"), Square()
    node.get(), other.get()
    assert_good(verify(), 2)
    name, do, what, is_seen_by_size = HARMS[harm]
    path = node.furu_dir / name
    do(path)

    done = verify()
    # Of a first line that was changed this is told, and also what is wrong in it.
    changed_line = [
        one for one in done.damage if one.what == "its first line is not what was written"
    ]
    (found,) = [one for one in done.damage if one not in changed_line] or changed_line
    assert (found.hash, found.class_name) == (
        node.furu_hash,
        type(node).__furu_class__.identity_name,
    )
    assert what in found.what, found
    # A folder is not listed, so what is missing is the file in it.
    below = {"all missing": "file", "an empty folder": ".furu.json"}.get(harm, "")
    assert Path(found.path) == path / below
    assert (done.artifacts, done.damaged_artifacts) == (2, 1)
    assert bool(verify(deep=False).damage) == is_seen_by_size

    if harm == "no folder":
        assert found.next_step == "move it away"
        path.unlink()
    else:
        assert found.next_step == f"furu rm {node.furu_hash[:12]}"
        assert node.delete()
    node.get()
    assert_good(verify(), 2)


def test_all_damage_to_an_artifact_is_told_and_none_of_its_neighbours(store: Path) -> None:
    nodes = kept_nodes.roots(1)
    for node in nodes:
        node.get()
    folder = Kept(kind="path").furu_dir
    (folder / "folder" / "file").unlink()
    (folder / "extra").touch()
    (folder / "link").unlink()
    done = verify()
    assert (done.artifacts, done.damaged_artifacts) == (len(nodes), 1)
    assert sorted(whats(done.damage)) == [
        "extra: it was not published",
        "file: the file is missing",
        "link: the file is missing",
    ]


def test_every_kind_of_result_is_good(store: Path) -> None:
    nodes = kept_nodes.roots(2)
    for node in nodes:
        node.get()
    assert_good(verify(), len(nodes))
    assert_good(verify(deep=False), len(nodes))


def test_no_pickle_is_loaded(store: Path) -> None:
    Trapped().get()
    kept_nodes.unpickled.clear()
    assert_good(verify(), 1)
    assert kept_nodes.unpickled == []
    Trapped().get()
    assert kept_nodes.unpickled == ["a trap"]


def test_nothing_is_written(store: Path) -> None:
    Outer().get()
    with pytest.raises(FuruComputeError):
        Fails().get()
    (Square().furu_dir / "extra").touch()

    def state() -> dict[str, int]:
        return {str(path): path.lstat().st_mtime_ns for path in store.rglob("*")}

    before = state()
    assert verify().damage
    assert state() == before


# Format 1


def test_results_of_format_1_are_good_as_they_are_and_have_no_digests(store: Path) -> None:
    nodes = [Kept(kind="path"), Kept(kind="prints"), Loads(), Above(below=Kept(kind="number"))]
    for node in nodes:
        node.get()
        downgrade(node.furu_dir)
    Kept(kind="number").delete()
    done = verify()
    assert_good(done, len(nodes))
    assert done.not_compared == done.without_digest >= len(nodes)
    assert verify(deep=False).not_compared == 0


@pytest.mark.parametrize(
    ("name", "harm", "what"),
    [
        (".furu/manifest.json", os.unlink, ".furu.json: the record is missing"),
        (".furu/manifest.json", lambda path: os.truncate(path, 20), "manifest.json: the manifest is unreadable"),
        (".furu/metadata.json", os.unlink, "metadata.json: the file is missing"),
        (".furu/metadata.json", lambda path: os.truncate(path, 20), "metadata.json: it cannot be read"),
        (".furu/config.json", lambda path: os.truncate(path, 20), "config.json: it cannot be read"),
        (".furu/config.json", os.unlink, "config.json: the file is missing"),
        (".furu/more", Path.touch, "more: it was not published"),
        ("folder/file", lambda path: os.truncate(path, 0), "file: 0 bytes where 7 were published"),
        ("folder/more", Path.touch, "more: it was not published"),
    ],
)  # fmt: skip
def test_p1_damage_to_a_result_of_format_1_is_told(
    store: Path, name: str, harm: Harm, what: str
) -> None:
    node = Kept(kind="path")
    node.get()
    downgrade(node.furu_dir)
    harm(node.furu_dir / name)
    (found,) = whats(verify(deep=False).damage)
    assert found.startswith(what)


def test_an_upgrade_that_was_killed_is_a_note_and_no_damage(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Kept(kind="array")
    node.get()
    whole = store / "whole"
    shutil.copytree(node.furu_dir, whole)
    downgrade(node.furu_dir)
    monkeypatch.setattr(_format, "_entered", set())
    os.link(node.furu_dir / ".furu" / "result.npy", node.furu_dir / ".furu.result.npy")
    for _ in range(2):
        done = verify()
        assert (done.damage, whats(done.notes)) == (
            [],
            [f"{node.furu_hash}: an upgrade has not ended here"],
        )
        assert done.notes[0].next_step == "furu upgrade"
        shutil.copy(whole / ".furu.json", node.furu_dir)  # the last step but one
    kept_nodes.upgrade()
    assert_good(verify(), 1)


# What records name


def test_p9_a_provenance_that_is_missing_or_changed_is_told_once(store: Path) -> None:
    Outer().get()
    (file,) = (store / "provenance").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"python", b"nohtyp", 1))
    assert verify(deep=False).damage == []
    (found,) = verify().damage
    assert (found.hash, found.path) == ("", str(file))
    assert found.what == (
        "its contents are not those that its name tells; it is the provenance of 2 of these artifacts"
    )
    file.unlink()
    for deep in (False, True):
        done = verify(deep=deep)
        (found,) = done.damage
        assert found.what.startswith("the file is missing")
        assert done.damaged_artifacts == 0
    file.write_bytes(whole)
    assert_good(verify(), 2)


def test_p9_a_result_that_used_another_one_than_is_there_now_is_a_note(store: Path) -> None:
    outer, square = Outer(), Square()
    outer.get()
    square.delete()
    assert_good(verify(), 1)
    square.put(5)
    assert verify(deep=False).notes == []
    for chosen in (
        None,
        [_stored_nodes.find(outer.furu_hash)],
    ):  # also if it is not verified itself
        done = _verify.verify(chosen, deep=True)
        assert done.damage == []
        (note,) = done.notes
        assert note.hash == outer.furu_hash
        assert note.what == (
            f"used another result of Square({square.furu_hash[:6]}) than the one that is there now"
        )
    square.delete()
    square.get()
    assert_good(verify(), 2)


def test_p9_results_without_digests_are_not_compared(store: Path) -> None:
    with use_settings(digest_limit=5):
        Above(below=Kept(kind="path")).get()
    done = verify()
    assert_good(done, 2)
    assert (done.without_digest, done.not_compared) == (1, 1)
    below = Kept(kind="path")
    below.delete()
    with use_settings(digest_limit=5):
        below.get()
    (note,) = verify().notes
    assert note.what.endswith("from before it was computed again; not compared")


# Leftovers


def aged(path: Path) -> Path:
    """Make something two days old."""
    old = path.stat().st_mtime - 2 * 24 * 3600
    os.utime(path, (old, old))
    return path


def test_old_leftovers_are_notes_and_young_ones_are_somebodys(store: Path) -> None:
    Square().get()
    folder = Square().furu_dir.parent
    names = [".removed-x-1", ".probe-1-2", f".{Square().furu_hash}.1.invalid", f".{HASH}.job.1.tmp"]
    for name in names:
        (folder / name).mkdir()
    assert_good(verify(), 1)
    for name in names:
        aged(folder / name)
    done = verify()
    assert done.damage == []
    assert sorted(os.path.basename(note.path) for note in done.notes) == sorted(names)


def test_a_damaged_record_of_a_dead_attempt_is_a_note_whose_next_step_helps(store: Path) -> None:
    with pytest.raises(FuruComputeError):
        Fails().get()
    assert_good(verify(), 0)
    (folder,) = attempts_of(store, Fails())
    record = folder / ".furu.json"
    record.write_bytes(record.read_bytes()[:50])
    assert_good(verify(), 0)  # its holder may be writing it
    aged(record)
    (note,) = verify().notes
    assert (note.hash, note.path) == (Fails().furu_hash, str(record))
    assert note.next_step == f"furu rm {Fails().furu_hash[:12]}"
    Fails().delete()
    assert_good(verify(), 0)


def test_a_copy_of_a_result_by_another_name_is_a_note(store: Path) -> None:
    Square().get()
    copy = Square().furu_dir.with_suffix(".bak")
    shutil.copytree(Square().furu_dir, copy)
    done = verify()
    assert done.artifacts == 1
    (note,) = done.notes
    assert note.path == str(copy)


# What cannot be read


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A store that anybody may read; folders of pytest are for one user alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with use_settings(path=Path(folder, "store")):
            yield Path(folder, "store")


@pytest.mark.parametrize(
    ("name", "deep_only"),
    [("folder/file", True), ("folder", False), (".furu.json", False), ("", False), ("..", False)],
)
def test_what_may_not_be_read_is_not_compared_and_neither_damaged_nor_good(
    anybodys: Path, name: str, deep_only: bool
) -> None:
    node = Kept(kind="path")
    node.get()
    Square().get()
    path = node.furu_dir / name
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with nobody():
            if os.access(path, os.R_OK, effective_ids=True):
                pytest.skip("this process may read everything")
            done, by_size = verify(), verify(deep=False)
    finally:
        path.chmod(mode)
    assert done.damage == []
    assert done.not_compared >= 1
    assert all("Permission denied" in one.what for one in done.unreadable)
    assert {one.class_name for one in done.unreadable} <= {Kept.__furu_class__.identity_name, ""}
    assert (by_size.not_compared == 0) == deep_only
    assert_good(verify(), 2)


def test_a_record_of_a_newer_furu_is_not_compared(store: Path) -> None:
    Square().get()
    record = Square().furu_dir / ".furu.json"
    record.write_bytes(record.read_bytes().replace(b'{"furu":2,', b'{"furu":3,'))
    done = verify()
    assert (done.damage, done.not_compared) == ([], 1)
    assert "this furu reads up to 2" in done.unreadable[0].what


# Others write meanwhile


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    with Host(folder, modules=["kept_nodes"], sys_path=[NODES]) as started:
        yield started


def test_p1_no_damage_is_told_while_others_compute_and_remove(store: Path, host: Host) -> None:
    for n in range(20):
        Kept(kind="path", n=n).get()
    ends = [store / f"end-{first}" for first in (0, 10)]
    children = [
        host.start("kept_nodes:churn", str(end), 10 * number, ROUNDS, path=str(store))
        for number, end in enumerate(ends)
    ]
    looked, number = 0, 0
    while not all(end.exists() for end in ends):
        done = verify(deep=bool(number % 2))
        assert done.damage == []
        assert {one.what for one in done.unreadable} <= {REPLACED}  # on a very busy machine
        looked += done.artifacts
        number += 1
    for child in children:
        child.result()
    assert looked > 100
    assert_good(verify(), 20)


def test_damage_in_a_folder_that_is_replaced_between_two_looks_is_none(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look meets an artifact that another process replaces in the middle of it."""
    node = Kept(kind="path")
    node.get()
    real = _verify._examining.examine
    replaced: list[int] = []

    def examine(folder: str, *, deep: bool) -> Any:
        found = real(folder, deep=deep)
        if len(replaced) < most:
            replaced.append(1)
            (node.furu_dir / "extra").touch()
            found = real(folder, deep=deep)
            node.delete()
            node.get()
        return found

    monkeypatch.setattr(_verify._examining, "examine", examine)
    most = 2
    assert_good(verify(), 1)
    replaced.clear()
    most = 1000
    done = verify()
    assert done.damage == []
    assert [one.what for one in done.unreadable] == [REPLACED]


def test_what_vanishes_between_listing_and_reading_is_not_told(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        Square(side=n).get()
    real = _verify._examining.examine

    def examine(folder: str, *, deep: bool) -> Any:
        shutil.rmtree(folder)
        return real(folder, deep=deep)

    monkeypatch.setattr(_verify._examining, "examine", examine)
    assert_good(verify(), 0)


# What is chosen


def test_classes_and_nodes_are_verified_alone(store: Path) -> None:
    Outer().get()
    Square(side=3).get()
    (Outer().furu_dir / "extra").touch()

    def artifacts(*names: str) -> tuple[int, int]:
        done = _verify.verify(_stored_nodes.classes_or_nodes(names), deep=True)
        return done.artifacts, len(done.damage)

    assert artifacts("Square") == (2, 0)
    assert artifacts("get_nodes:Square", "Outer") == (3, 1)
    assert artifacts(Square().furu_hash[:10]) == (1, 0)
    assert artifacts(f"Outer({Outer().furu_hash[:6]})") == (1, 1)


def test_an_empty_store_is_good(store: Path) -> None:
    assert_good(verify(), 0)
