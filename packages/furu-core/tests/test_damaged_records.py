"""P5 and P8: records that others damaged or a newer furu wrote, and files that are not furu's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import get_nodes as nodes
import pytest
from get_nodes import Does, Square
from records import attempts_of, told

import furu_core
from furu_core import Furu, NodeState
from furu_core._store import _format, _record_file
from furu_core.errors import FuruComputeError, FuruFormatError, FuruStoreError, FuruWaitTimeout
from furu_core.planning import StateReader, invalidate_if_bad
from furu_core.workers import Outcome, run_node
from furu_testing import wait_until

NEWER = 999


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    nodes.calls.clear()
    nodes.hooks.clear()
    yield
    nodes.hooks.clear()


def failed(store: Path) -> tuple[Does, Path]:
    """A node whose first attempt failed, and the record of that attempt."""
    node = Does(hook="flaky")
    nodes.hooks["flaky"] = lambda: 1 / 0
    with pytest.raises(FuruComputeError):
        node.get()
    nodes.hooks["flaky"] = lambda: "fine"
    (record,) = store.rglob(f".{node.furu_hash}.1/.furu.json")
    return node, record


def write(record: Path, data: bytes) -> None:
    """Change a record whose holder shows no sign of life."""
    record.write_bytes(data)
    os.utime(record, (1e9, 1e9))


def changed(**fields: object) -> Callable[[bytes], bytes]:
    """Changes what a record tells of how an attempt began and ended."""

    def change(data: bytes) -> bytes:
        found = _record_file.parse(data)
        claim, story = json.loads(found.claim), json.loads(found.story)
        for name, value in fields.items():
            (claim if name in claim else story)[name] = value
        return _record_file.whole(
            json.dumps(claim, separators=(",", ":")).encode(), b"", json.dumps(story).encode()
        )

    return change


def without(name: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        found = _record_file.parse(data)
        claim, story = json.loads(found.claim), json.loads(found.story)
        (claim if name in claim else story).pop(name)
        return _record_file.whole(json.dumps(claim).encode(), b"", json.dumps(story).encode())

    return change


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: data.index(b"\n") // 2],
    "no JSON": lambda data: b"not json at all",
    "binary": lambda data: bytes(range(256)) * 3,
    "zeros": lambda data: bytes(len(data)),
    "a list": lambda data: b"[1, 2, 3]",
    "a number": lambda data: b"7",
    "null": lambda data: b"null",
    "an empty object": lambda data: b"{}",
    "nested without end": lambda data: b"[" * 100_000,
    "no version": without("furu"),
    "no status": without("status"),
    "no holder": without("holder"),
    "an unknown status": changed(status="asleep"),
    "a status of another type": changed(status=[1]),
    "a number that is none": changed(number="one"),
    "a holder that is none": changed(holder="me"),
    "a holder that lacks its pid": changed(holder={"host": "h"}),
    "an end that is none": changed(ended="yesterday"),
    "a failure of no kind": changed(ended={"time": 1.0, "kind": "bad luck"}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_set_aside_and_the_node_runs_again(
    store: Path, session: Any, damage: str
) -> None:
    node, record = failed(store)
    write(record, DAMAGE[damage](record.read_bytes()))
    assert node.status() is NodeState.LOST
    assert StateReader().state(node).state is NodeState.LOST
    with session():
        assert run_node(node).outcome is Outcome.COMPUTED
    assert node.get() == "fine"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_of_a_failed_attempt_is_kept_for_whoever_looks(
    store: Path, damage: str
) -> None:
    node, record = failed(store)
    data = DAMAGE[damage](record.read_bytes())
    write(record, data)
    nodes.hooks["flaky"] = lambda: 1 / 0
    with pytest.raises(FuruComputeError):
        node.get()
    assert record.read_bytes() == data
    assert told(attempts_of(store, node)[1])["status"] == "failed"
    nodes.hooks["flaky"] = lambda: "fine"
    assert node.get() == "fine"


def test_a_damaged_record_does_not_count_as_a_failure(store: Path) -> None:
    node, record = failed(store)
    write(record, b"")
    with furu_core.use_settings(retry_failed=False):
        assert node.get() == "fine"


def test_a_record_that_is_a_folder_harms_nothing(store: Path) -> None:
    node, record = failed(store)
    record.unlink()
    record.mkdir()
    os.utime(record, (1e9, 1e9))
    assert node.status() is NodeState.LOST
    assert node.get() == "fine"


def test_an_attempt_without_a_record_harms_nothing(store: Path) -> None:
    node, record = failed(store)
    record.unlink()
    assert node.status() is NodeState.RUNNING, "somebody may be just claiming it"
    os.utime(record.parent, (1e9, 1e9))
    assert node.status() is NodeState.LOST
    assert node.get() == "fine"


@pytest.mark.parametrize("damage", ["empty", "truncated", "a list"])
def test_a_damaged_record_beside_a_living_lease_is_waited_for(store: Path, damage: str) -> None:
    """Its holder may well be at work: only the lease can tell."""
    node, record = failed(store)
    write(record, DAMAGE[damage](record.read_bytes()))
    os.utime(record)  # somebody beats
    assert node.status() is NodeState.RUNNING
    with (
        furu_core.use_settings(max_wait_secs=0.2),
        pytest.raises(FuruWaitTimeout, match="damaged") as caught,
    ):
        node.get()
    assert caught.value.holder
    assert nodes.calls == ["does flaky"]
    with furu_core.use_settings(lease_secs=0.3):
        wait_until("the lease's end", lambda: node.status() is NodeState.LOST)
        assert node.get() == "fine"


def test_a_damaged_record_of_the_running_attempt_does_not_disturb_its_holder(store: Path) -> None:
    node = Does(hook="damage")

    def damage() -> str:
        for record in store.rglob(".furu.json"):
            record.write_bytes(b"")
        return "done all the same"

    nodes.hooks["damage"] = damage
    assert node.get() == "done all the same"
    assert nodes.calls == ["does damage"]
    assert not attempts_of(store, node)


# Newer formats


def test_a_record_of_a_newer_furu_is_fatal_and_names_the_remedy(store: Path, session: Any) -> None:
    node, record = failed(store)
    data = changed(furu=NEWER, status="unheard of", holder=7)(record.read_bytes())
    write(record, data)
    for ask in (node.get, node.status, lambda: StateReader().state(node)):
        with pytest.raises(FuruFormatError, match=f"version {NEWER}") as caught:
            ask()
        assert str(record) in caught.value.message
        assert "furu rm" in caught.value.hint
        assert caught.value.path == record
    with session():
        result = run_node(node)
    assert result.outcome is Outcome.FAILED
    assert result.failure.error_type == "FuruFormatError"
    assert record.read_bytes() == data
    assert nodes.calls == ["does flaky"]


def test_the_remedy_of_a_newer_record_works(store: Path) -> None:
    node, record = failed(store)
    write(record, changed(furu=NEWER)(record.read_bytes()))
    assert node.delete() is True
    assert node.get() == "fine"


def test_an_older_attempt_of_a_newer_furu_is_left_out_of_the_history(store: Path) -> None:
    node, record = failed(store)
    nodes.hooks["flaky"] = lambda: 1 / 0
    with pytest.raises(FuruComputeError):
        node.get()
    write(record, changed(furu=NEWER)(record.read_bytes()))
    nodes.hooks["flaky"] = lambda: "fine"
    assert node.get() == "fine"
    assert [past["number"] for past in told(node.furu_dir)["earlier"]] == [2]


def test_a_manifest_of_a_newer_furu_is_fatal_and_loses_nothing(store: Path, session: Any) -> None:
    Square().get()
    path = Square().furu_dir / ".furu.json"
    path.write_bytes(path.read_bytes().replace(b'{"furu":2', b'{"furu":%d' % NEWER))
    with pytest.raises(FuruFormatError, match=f"format version {NEWER}") as caught:
        Square().get()
    assert caught.value.hint
    assert str(path) in caught.value.message
    with session(), pytest.raises(FuruFormatError):
        Square().get()
    with pytest.raises(FuruFormatError):
        invalidate_if_bad(Square())
    assert Square().exists()
    assert path.exists()


def test_a_result_of_a_newer_codec_is_fatal_and_loses_nothing(store: Path) -> None:
    Square().get()
    path = Square().furu_dir / ".furu.json"
    found = _record_file.read(str(path.parent))
    manifest = json.loads(found.manifest)
    manifest["result"]["version"] = NEWER
    path.write_bytes(_record_file.whole(found.claim, json.dumps(manifest).encode(), found.story))
    with pytest.raises(FuruFormatError, match=f"{NEWER}") as caught:
        Square().get()
    assert caught.value.hint
    assert Square().exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 999}'])
def test_a_provenance_that_is_damaged_or_newer_does_not_keep_a_result_from_loading(
    store: Path, text: str
) -> None:
    Square().get()
    for path in (store / "provenance").iterdir():
        path.write_text(text)
    nodes.calls.clear()
    assert Square().get() == 4
    assert nodes.calls == []


# Foreign files

FOREIGN = [".DS_Store", ".nfs0000000000a1b2c3", "record.json~", "#record.json#", ".1.swp", "Icon\r"]


def litter(folder: Path) -> None:
    for name in FOREIGN:
        (folder / name).write_text("not furu's")


def test_foreign_files_in_every_folder_of_the_store_harm_nothing(store: Path, session: Any) -> None:
    node, _ = failed(store)
    Square().get()
    for folder in [store, *(path for path in store.rglob("*") if path.is_dir())]:
        litter(folder)
    assert node.status() is NodeState.FAILED
    reader = StateReader()
    assert reader.done(Square())
    assert not reader.done(Square(side=77))
    assert reader.state(Square(side=77)).state is NodeState.ABSENT
    nodes.calls.clear()
    assert Square().get() == 4
    assert nodes.calls == []
    with session():
        assert run_node(node).outcome is Outcome.COMPUTED
    assert node.get() == "fine"
    assert Square(side=77).get() == 77**2
    assert Square().delete()
    assert Square().get() == 4


def put_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file where a folder should be")


def ref_of(node: Furu[Any]) -> Path:
    """The folder of the node's class."""
    from furu_core._store._layout import ref_of

    return Path(ref_of(node).class_dir)


@pytest.mark.parametrize("name", ["1", "7"])
def test_a_file_where_an_attempt_should_be_harms_nothing(store: Path, name: str) -> None:
    put_file(ref_of(Square()) / f".{Square().furu_hash}.{name}")
    assert Square().status() in (NodeState.ABSENT, NodeState.LOST)
    assert Square().get() == 4


@pytest.mark.parametrize("place", ["class", "data", "artifact"])
def test_a_file_where_a_folder_should_be_is_named(store: Path, session: Any, place: str) -> None:
    folder = ref_of(Square())
    path = {
        "class": folder,
        "data": store / "data",
        "artifact": folder / Square().furu_hash,
    }[place]
    put_file(path)
    with pytest.raises(FuruStoreError) as caught:
        Square().get()
    assert str(path) in str(caught.value)
    assert caught.value.hint
    with session():
        result = run_node(Square())
    assert result.outcome is Outcome.FAILED
    assert result.failure.error_type == "FuruStoreError"
    assert path.read_text().startswith("a file"), "not furu's to remove"
    path.unlink()
    assert Square().get() == 4


def test_a_store_of_a_newer_furu_is_refused_and_stays_as_it_is(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Square()
    done.get()
    (artifact,) = store.rglob(done.furu_hash)
    (artifact / ".furu.json").unlink()  # as if a newer furu wrote other files
    (store / "furu.json").write_text('{"furu": 999}')
    monkeypatch.setattr(_format, "_entered", set())  # as in another process
    for node in (done, Square(side=3)):  # what is there, and what is not
        with pytest.raises(FuruFormatError, match=r"has format 999.*upgrade furu-core"):
            node.get()
    assert artifact.is_dir()


def test_a_record_that_is_written_in_this_moment_is_not_called_damaged(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Between making the file and writing its line another process may read it."""
    node, record = failed(store)
    record.write_bytes(b"")
    assert StateReader().state(node).state is NodeState.RUNNING
    assert "damaged" not in caplog.text
    write(record, b"")
    assert StateReader().state(node).state is not NodeState.RUNNING
    assert "damaged" in caplog.text
