"""P8: records come back as what was written, or the error says whether they are damaged or another furu's."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import attrs
import pytest

from furu_core._record_format import OMIT_EMPTY
from furu_core.errors import FuruDamagedRecord, FuruFormatError, FuruStoreError
from furu_core.executors import RecordFormat


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    number: int
    colour: Colour = Colour.RED


@attrs.frozen
class Outer:
    name: str
    size: float
    on: bool
    inner: Inner
    path: Path
    maybe: Inner | None = None
    window: int | Literal["dfs", "bfs"] = "dfs"
    many: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("a", 1)
    paths: Mapping[str, Path] = attrs.field(factory=dict)
    plain: dict[str, list[int]] = attrs.field(factory=dict)
    anything: Any = None
    empty: str = attrs.field(default="", metadata=OMIT_EMPTY)
    _private: int = 7


FORMAT = RecordFormat(Outer, "a record of this test", version=3)
FULL = Outer(
    "naïve \udc80 name", 1.5, True, Inner(1), Path("/a"), Inner(2, Colour.BLUE), 4,
    (Inner(3), Inner(4)), ("b", 2), MappingProxyType({"x": Path("y")}), {"l": [1, 2]},
    {"deep": [None, {}]}, "not empty", private=8,
)  # fmt: skip
SMALL = Outer("small", 2, False, Inner(0), Path("b"))


@pytest.mark.parametrize("record", [FULL, SMALL], ids=["full", "small"])
def test_a_record_comes_back(tmp_path: Path, record: Outer) -> None:
    path = tmp_path / "record.json"
    FORMAT.replace(path, record)
    found = FORMAT.read(path)
    assert found == record
    assert [type(value) for value in attrs.astuple(found, recurse=False)][:9] == [
        str, float, bool, Inner, type(Path()), type(record.maybe), type(record.window), tuple, tuple
    ]  # fmt: skip
    assert FORMAT.from_json(json.loads(json.dumps(FORMAT.to_json(record)))) == record


def test_a_record_is_compact_json_with_its_version_first() -> None:
    assert FORMAT.to_bytes(SMALL) == (
        b'{"version":3,"name":"small","size":2,"on":false,"inner":{"number":0,"colour":"red"},'
        b'"path":"b","maybe":null,"window":"dfs","many":[],"pair":["a",1],"paths":{},"plain":{},'
        b'"anything":null,"_private":7}'
    )


def test_what_the_bytes_are_may_be_said() -> None:
    old = RecordFormat(Inner, "an inner", version=1, key="furu", dumps=json.dumps)
    assert old.to_bytes(Inner(1)) == b'{"furu": 1, "number": 1, "colour": "red"}'
    assert old.from_bytes(old.to_bytes(Inner(1)), "") == Inner(1)


def test_keys_that_a_class_does_not_name_are_left_out_and_those_with_defaults_may_lack() -> None:
    data = b'{"version":1,"number":5,"later":"what"}'
    assert RecordFormat(Inner, "an inner", version=1).from_bytes(data, "") == Inner(5)


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(FORMAT.to_bytes(SMALL)), **fields}).encode()


DAMAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "Expecting value"),
    "truncated": (FORMAT.to_bytes(FULL)[:-1], "JSONDecodeError"),
    "binary": (bytes(range(256)), ""),
    "a list": (b"[1]", "TypeError"),
    "null": (b"null", "AttributeError"),
    "nested without end": (b"[" * 100_000, "RecursionError"),
    "nested without end after a text": (b'["a\\"]",' * 100_000, "RecursionError"),
    "no version": (b"{}", "version"),
    "a version that is none": (changed(version="3"), "'3' is no version"),
    "a version that is a truth": (changed(version=True), "True is no version"),
    "a name that is none": (changed(name=7), "name: 7 is no str"),
    "a number that is a text": (changed(inner={"number": "1"}), "inner: number: '1' is no int"),
    "a number that is a truth": (changed(inner={"number": True}), "inner: number: True is no int"),
    "a colour of none": (changed(inner={"number": 1, "colour": "x"}), "colour: 'x' is no Colour"),
    "a colour of another type": (changed(inner={"number": 1, "colour": [1]}), "is no Colour"),
    "a field too few": (changed(inner={}), "inner: number is missing"),
    "a window of none": (changed(window="none"), "window: 'none' is no"),
    "a list that is none": (changed(many={}), "many: {} is no list"),
    "a pair of three": (changed(pair=["a", 1, 2]), "pair: "),
    "an object that is none": (changed(maybe=[]), "maybe: [] is no object"),
    "a path that is none": (changed(paths={"x": 1}), "paths: 1 is no "),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_told_with_what_is_wrong(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "record.json"
    data, said = DAMAGE[damage]
    path.write_bytes(data)
    with pytest.raises(FuruDamagedRecord) as caught:
        FORMAT.read(path)
    assert said in caught.value.message
    assert caught.value.message.startswith(f"{path}, a record of this test, is damaged: ")
    assert caught.value.path == path
    assert caught.value.hint == "was it changed? Run the same command again"
    assert pickle.loads(pickle.dumps(caught.value)).path == path


def test_a_stack_that_is_used_up_damages_nothing() -> None:
    data = FORMAT.to_bytes(FULL)

    def read(deep: int) -> Outer:
        FORMAT.from_bytes(data, "")
        return read(deep + 1)

    with pytest.raises(RecursionError):
        read(0)


def test_a_stack_that_is_used_up_damages_no_record_of_many_brackets_either() -> None:
    nested: Any = attrs.make_class(
        "Nest0", {"names": attrs.field(type=tuple[str, ...])}, frozen=True
    )
    record = nested(tuple(f"model[{number}]{{}}.bin" for number in range(200)))
    for number in range(1, 20):  # so that reading takes more of the stack than saying what is wrong
        nested = attrs.make_class(f"Nest{number}", {"below": attrs.field(type=nested)}, frozen=True)
        record = nested(record)
    wide = RecordFormat(nested, "a record of this test", version=1)
    data = wide.to_bytes(record)
    assert wide.from_bytes(data, "") == record

    def read(deep: int) -> Any:
        wide.from_bytes(data, "")
        return read(deep + 1)

    with pytest.raises(RecursionError):
        read(0)


@pytest.mark.parametrize("version", [0, 2, 4, 999])
def test_a_record_of_another_furu_is_told_with_the_versions(tmp_path: Path, version: int) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(json.dumps({"version": version, "name": [], "what": None}).encode())
    with pytest.raises(FuruFormatError) as caught:
        FORMAT.read(path)
    assert caught.value.message == f"{path} has format version {version}, this furu reads 3"
    assert caught.value.path == path
    assert caught.value.hint == "use the furu that wrote it, or a newer one"


def test_older_records_are_read_by_way_of_the_versions_between() -> None:
    upgrades = {
        1: lambda raw: {"number": raw["count"]},
        2: lambda raw: {**raw, "colour": "blue"},
    }
    new = RecordFormat(Inner, "an inner", version=3, upgrades=upgrades)
    assert new.from_bytes(b'{"version":1,"count":4}', "") == Inner(4, Colour.BLUE)
    assert new.from_bytes(b'{"version":2,"number":4}', "") == Inner(4, Colour.BLUE)
    assert new.from_bytes(b'{"version":3,"number":4}', "") == Inner(4)
    with pytest.raises(FuruDamagedRecord, match="count"):
        new.from_bytes(b'{"version":1,"number":4}', "")
    with pytest.raises(FuruFormatError, match="format version 4, this furu reads up to 3"):
        new.from_bytes(b'{"version":4}', "")
    with pytest.raises(FuruFormatError, match="format version 0"):
        new.from_bytes(b'{"version":0}', "")


def test_a_missing_record_is_no_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FORMAT.read(tmp_path / "record.json", wait_secs=0.01)
    with pytest.raises(FuruDamagedRecord, match="Is a directory"):
        FORMAT.read(tmp_path)


def test_a_record_is_created_once(tmp_path: Path) -> None:
    assert FORMAT.create(tmp_path / "record.json", SMALL)
    assert not FORMAT.create(tmp_path / "record.json", FULL)
    assert FORMAT.read(tmp_path / "record.json") == SMALL
    FORMAT.replace(tmp_path / "record.json", FULL, sync=True)
    assert FORMAT.read(tmp_path / "record.json") == FULL
    for write in (FORMAT.create, FORMAT.replace):
        with pytest.raises(FuruStoreError, match="No such file"):
            write(tmp_path / "nowhere" / "record.json", SMALL)


def test_a_type_that_json_cannot_tell_is_refused_when_it_is_first_used() -> None:
    @attrs.frozen
    class Bad:
        what: set[int]

    with pytest.raises(TypeError, match="a field of set"):
        RecordFormat(Bad, "bad", version=1).to_bytes(Bad({1}))
