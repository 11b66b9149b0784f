"""`Class.stored()`: the objects that have results, made from their records and never computed."""

from __future__ import annotations

import inspect
import json
import logging
import sys
import time
from pathlib import Path

import pytest

from furu_core import Furu, field
from furu_core._status import _stored_objects
from furu_core._store._layout import class_dir
from furu_core.errors import FuruMissingArtifact


class Options(Furu[None]):  # it has no _create, so never a record of its own
    depth: int = 1
    inner: Options | None = None


class Data(Furu[int]):
    seed: int = 0

    def _create(self) -> int:
        return self.seed


class Fit(Furu[int]):
    data: Data = Data()
    options: Options = Options()
    tags: tuple[str, ...] = ()
    note: str = field(default="", exclude_from_hash=True)

    def _create(self) -> int:
        return self.data.get()


class SubFit(Fit):
    pass


class Chain(Furu[int]):
    below: Chain | None = None

    def _create(self) -> int:
        return 0 if self.below is None else 1 + self.below.load_existing()


def test_the_objects_that_have_results_are_made_again(store: Path) -> None:
    assert Fit.stored() == []
    options = Options(depth=2, inner=Options(depth=3))
    made = [Fit(data=Data(seed=seed), options=options, tags=("a",), note="n") for seed in range(3)]
    for one in made:
        one.get()
    SubFit().get()
    found = Fit.stored()
    assert found == sorted(made, key=lambda one: one.furu_hash)
    assert {one.note for one in found} == {"n"}
    assert {one.options.inner for one in found} == {Options(depth=3)}
    assert len({id(one.options) for one in found}) <= 3
    assert [one.load_existing() for one in found] == [one.data.seed for one in found]
    assert len(SubFit.stored()) == 1
    with pytest.raises(FuruMissingArtifact):
        Fit().load_existing()


def test_what_today_cannot_be_made_is_told_in_one_warning(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in range(4):
        Fit(data=Data(seed=seed), tags=("a",)).get()
    Data(seed=3).delete()
    folder = Path(class_dir(Fit))
    edited = folder / Fit(data=Data(seed=0), tags=("a",)).furu_hash / ".furu.json"
    edited.write_bytes(edited.read_bytes().replace(b'"tags":', b'"labels":', 1))
    with caplog.at_level(logging.WARNING, "furu"):
        assert len(Fit.stored()) == 2
    (said,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert said.startswith("2 results of ")
    assert "has fields that the class lacks: labels (1)" in said
    assert "the store has no record of Data(" in said


def test_damaged_records_and_strangers_files_are_no_crash(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Fit().get()
    folder = Path(class_dir(Fit))
    for number, contents in enumerate((b"", b"{", b"[]\n", b'{"config":3}\n', b"\xff\n")):
        bad = folder / f"{number:032x}"
        bad.mkdir()
        (bad / ".furu.json").write_bytes(contents)
    (folder / ("a" * 32)).write_text("a file")
    (folder / "notes.txt").write_text("mine")
    with caplog.at_level(logging.WARNING, "furu"):
        assert Fit.stored() == [Fit()]
    assert "6 results of" in caplog.text


def test_a_deep_chain_is_made_without_recursion(store: Path) -> None:
    node: Chain | None = None
    for _ in range(300):
        node = Chain(below=node)
        node.get()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        found = Chain.stored()
    finally:
        sys.setrecursionlimit(limit)
    assert len(found) == 300
    assert node in found


def test_ten_thousand_would_take_a_second_or_two(store: Path) -> None:
    Data(seed=0).get()
    folder = Path(class_dir(Data))
    record = (folder / Data(seed=0).furu_hash / ".furu.json").read_bytes()
    for seed in range(1, 3000):
        node = Data(seed=seed)
        text = record.replace(Data(seed=0).furu_hash.encode(), node.furu_hash.encode())
        copy = folder / node.furu_hash
        copy.mkdir()
        (copy / ".furu.json").write_bytes(
            text.replace(b'"fields":{"seed":0}', b'"fields":{"seed":%d}' % seed)
        )
    began = time.process_time()
    found = Data.stored()
    took = time.process_time() - began
    assert sorted(one.seed for one in found) == list(range(3000))
    assert took < 2, took  # about 0.25 s on a quiet machine


def test_a_config_that_holds_itself_is_told(store: Path) -> None:
    Chain().get()
    outer = Chain(below=Chain())
    outer.get()
    path = Path(class_dir(Chain)) / Chain().furu_hash / ".furu.json"
    ref = {"$ref": outer.furu_hash, "class": Chain.__furu_class__.identity_name}
    compact = json.dumps(ref, separators=(",", ":")).encode()
    path.write_bytes(path.read_bytes().replace(b'{"below":null}', b'{"below":%s}' % compact))
    with pytest.raises(_stored_objects.NotMade, match="contains itself"):
        _stored_objects.StoredObjects().make(Chain.__furu_class__.identity_name, Chain().furu_hash)
