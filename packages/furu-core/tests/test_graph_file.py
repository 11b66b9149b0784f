"""Graphs in one file: linear, readable in parts, and plain about what is wrong."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from furu_core import Furu, field
from furu_core.errors import FuruFormatError, FuruStoreError, FuruValueError
from furu_core.workers import GraphReader, GraphWriter
from furu_testing import wait_until


class Leaf(Furu[int]):
    value: int = 0
    note: str = field(default="", exclude_from_hash=True)


class Pair(Furu[int]):
    left: Furu[int]
    right: Furu[int]
    names: tuple[str, ...] = ()


def written(path: Path, *objects: Furu[int]) -> list[int]:
    with GraphWriter(path) as writer:
        return [writer.add(obj) for obj in objects]


def test_objects_come_back_whole_from_their_places(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    objects = [Leaf(value=1), Pair(left=Leaf(value=1), right=Leaf(value=2), names=("a", "ü"))]
    places = written(path, *objects)
    for obj, place in zip(objects, places, strict=True):
        assert GraphReader(path).read(place) == obj
    assert GraphReader(path).read(places[1]).names == ("a", "ü")


def test_what_the_hash_leaves_out_is_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    places = written(path, Leaf(note="a"), Leaf(note="b"))
    reader = GraphReader(path)
    assert [reader.read(place).note for place in places] == ["a", "b"]


def test_shared_and_deep_graphs_are_linear(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    obj: Furu[int] = Leaf()
    for _ in range(3000):
        obj = Pair(left=obj, right=obj)
    (place,) = written(path, obj)
    assert len(path.read_bytes().splitlines()) == 1 + 3001
    assert GraphReader(path).read(place) == obj


def test_a_file_is_continued_after_a_writer_that_died_within_a_line(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    (place,) = written(path, Leaf(value=1))
    with path.open("ab") as file:
        file.write(b'{"key": "half a li')
    again, new = written(path, Leaf(value=1), Leaf(value=2))
    assert again == place
    assert [GraphReader(path).read(at).value for at in (again, new)] == [1, 2]


def test_a_reader_waits_for_what_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    found: list[object] = []
    with GraphWriter(path) as writer:
        place = writer.add(Leaf(value=7))
        reader = GraphReader(path, wait_secs=60)
        thread = threading.Thread(target=lambda: found.append(reader.read(place)))
        thread.start()
        writer.flush()
        wait_until("the reader to see the node", lambda: bool(found))
        thread.join()
    assert found == [Leaf(value=7)]


def test_bad_files_are_refused_with_their_name(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    with pytest.raises(FuruStoreError, match="graph"):
        GraphReader(path).read(20)
    (place,) = written(path, Leaf())
    with pytest.raises(FuruValueError, match="ends before"):
        GraphReader(path).read(10_000)
    with pytest.raises(FuruValueError, match="not what was written"):
        GraphReader(path).read(place + 3)
    path.write_bytes(json.dumps({"furu-graph": 99}).encode() + b"\n")
    with pytest.raises(FuruFormatError, match="99"):
        GraphReader(path).read(place)
    with pytest.raises(FuruFormatError, match="99"):
        GraphWriter(path)
    path.write_bytes(b"something else\n")
    with pytest.raises(FuruStoreError, match="a graph file, is damaged"):
        GraphWriter(path)


def test_a_loop_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    written(path, Leaf())
    start = path.stat().st_size
    record = {"key": "x", "at": {"x": start}, "class": "a:B", "fields": {}}
    with path.open("ab") as file:
        file.write(json.dumps(record).encode() + b"\n")
    with pytest.raises(FuruValueError, match="contains itself"):
        GraphReader(path).read(start)
