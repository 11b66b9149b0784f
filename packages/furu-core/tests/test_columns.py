"""Rows of stored nodes, the conditions that choose among them, and the index that keeps their facts."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest

from furu_core import Furu, use_settings
from furu_core._status import _stored_nodes
from furu_core._tables import _facts
from furu_core._tables._columns import BUILTIN, ColumnReader, check_columns
from furu_core._tables._conditions import Condition, time_of
from furu_core._tables._facts import FactReader
from furu_core._tables._selection import Selection
from furu_core.errors import FuruComputeError, FuruUsageError


class Kind(Enum):
    SMALL = "s"
    LARGE = "l"


class Data(Furu[int]):
    name: str
    folder: Path = Path("a")

    def _create(self) -> int:
        return 1


class Model(Furu[dict[str, Any]]):
    data: Data
    lr: float = 0.1
    took: int = 7
    kind: Kind = Kind.SMALL
    layers: tuple[int, ...] = (1, 2)
    note: str | None = None

    def _create(self) -> dict[str, Any]:
        self.data.get()
        if self.lr > 1:
            raise ValueError("too high")
        return {"acc": self.lr / 2, "by": {"class": [1, 2]}}


class Report(Furu[float]):
    models: list[Model]

    def _create(self) -> float:
        return float(sum(bool(model.get()) for model in self.models))


@dataclass(frozen=True)
class Optimizer:
    name: str = "adam"
    lr: float | None = None


class Size(NamedTuple):
    width: int
    depth: int = 2


class Tuned(Furu[int]):
    optimizer: Optimizer
    size: Size = Size(8)
    extra: dict[str, Any] = attrs.field(factory=dict)
    stages: tuple[Optimizer, ...] = ()

    def _create(self) -> int:
        return 1


class Many(Furu[int]):
    n: int

    def _create(self) -> int:
        return self.n


def rows(**options: Any) -> list[dict[str, Any]]:
    return [row for _, row in Selection.of(**options).rows()]


@pytest.fixture
def model(store: Path) -> Model:
    model = Model(data=Data(name="digits"))
    Report(models=[model, Model(data=Data(name="iris"), lr=0.5)]).get()
    return model


def test_the_columns_of_a_node_are_its_fields_its_result_and_facts_of_its_attempt(
    model: Model,
) -> None:
    (row,) = rows(names=["Model"], where=["data.name=digits"])
    assert {name: row[name] for name in ("data.name", "data.folder", "lr", "kind", "layers")} == {
        "data.name": "digits",
        "data.folder": "a",
        "lr": 0.1,
        "kind": "SMALL",
        "layers": [1, 2],
    }
    assert (row["took"], row["note"]) == (7, None)
    assert 0 <= row["furu.took"] < 60, "the field has the name; the other one is told as furu.took"
    assert (row["result.acc"], row["result.by.class"]) == (0.05, [1, 2])
    assert (row["node"], row["state"], row["attempt"]) == (model.furu_hash, "done", 1)
    (report,) = rows(names=["Report"])
    assert report["models[1].data.name"] == "iris"
    assert report["result"] == 2.0


@pytest.mark.usefixtures("store")
def test_parts_of_dataclasses_named_tuples_and_dicts_in_a_config_are_columns() -> None:
    tuned = Tuned(optimizer=Optimizer(lr=0.1), extra={"warm": {"up": 3}}, stages=(Optimizer(),))
    tuned.get()
    Tuned(optimizer=Optimizer("sgd", 0.5)).get()
    (row,) = rows(where=["optimizer.lr<0.2", "size.depth=2"])
    names = ("optimizer.name", "optimizer.lr", "size.width", "extra.warm.up", "stages")
    assert [row[name] for name in names] == ["adam", 0.1, 8, 3, [{"name": "adam", "lr": None}]]
    (part,) = [one for one in Selection.of(["Tuned"]).columns() if len(one)]
    assert part.fields["optimizer.name"] == [
        one["optimizer.name"] for one in rows(names=["Tuned"])
    ], "column by column it is the same"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("lr=0.1", [0.1]),
        ("lr=1e-1", [0.1]),
        ("lr!=0.1", [0.5]),
        ("lr>0.1", [0.5]),
        ("lr <= 0.5", [0.1, 0.5]),
        ("data.name~^di", [0.1]),
        ("result.acc>=0.25", [0.5]),
        ("kind=SMALL", [0.1, 0.5]),
        ("note=none", [0.1, 0.5]),
        ("note!=none", []),
        ("furu.took<60", [0.1, 0.5]),
        ("layers=[1, 2]", [0.1, 0.5]),
        ("layers=[1,2]", [0.1, 0.5]),
        ("layers!=[1,2]", []),
        ("layers=[1,3]", []),
        ("data.name<e", [0.1]),
        ("furu.took<1min", [0.1, 0.5]),
        ("furu.took>=1h", []),
        ("peak>1KiB", [0.1, 0.5]),
        ("peak > 1 T", []),
        ("ended>1h", [0.1, 0.5]),
        ("ended<2026-01-01", []),
        ("class=Model", [0.1, 0.5]),
        ("class!=Model", []),
        ("state=done", [0.1, 0.5]),
        ("took<8", [0.1, 0.5]),
    ],
)
@pytest.mark.usefixtures("model")
def test_conditions_compare_numbers_as_numbers_and_all_else_as_text(
    condition: str, expected: list[float]
) -> None:
    found = rows(class_names=["Model"], where=[condition])
    assert sorted(row["lr"] for row in found) == expected


@pytest.mark.usefixtures("store")
def test_nan_fulfils_the_condition_that_it_is_nan_and_that_alone() -> None:
    for lr in (float("nan"), 0.5):
        Model(data=Data(name="x"), lr=lr).get()
    for condition, expected in {
        "lr=nan": ["nan"],
        "lr!=nan": ["0.5"],
        "lr>=0": ["0.5"],
        "lr!=0.5": ["nan"],
        "result.acc=NaN": ["nan"],
    }.items():
        found = rows(class_names=["Model"], where=[condition])
        assert [repr(row["lr"]) for row in found] == expected, condition


def test_a_list_or_dict_with_nan_is_equal_to_what_is_shown_of_it() -> None:
    row = {"xs": [1.0, float("nan")], "by": {"a": [float("nan")]}}
    for condition, expected in {
        "xs=[1, NaN]": True,
        "xs!=[1.0, NaN]": False,
        "xs=[NaN, 1]": False,
        "xs=[1, 2]": False,
        'by={"a": [NaN]}': True,
        'by!={"a": [NaN]}': False,
        'by={"b": [NaN]}': False,
    }.items():
        assert Condition.of(condition).matches(row) is expected, condition


def test_a_condition_takes_the_hash_that_is_shown(model: Model) -> None:
    shown = model.furu_hash[:12]
    assert [row["node"] for row in rows(where=[f"node={shown}"])] == [model.furu_hash]
    others = rows(where=[f"node!={shown}"])
    assert model.furu_hash not in {row["node"] for row in others}
    assert len(others) == 4


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("condition", "error"),
    [
        ("furu.took>many", "'many' is no span of time"),
        ("size>1X", "'1X' is no size"),
        ("ended>yesterday", "'yesterday' is no time"),
        ("lr>high", "lr is a number, and 'high' is none"),
        ("no_such!=1", "no node has a column 'no_such'"),
    ],
)
def test_a_condition_that_can_tell_nothing_is_refused_whoever_asks(
    condition: str, error: str
) -> None:
    chosen = Selection.of(class_names=["Model"], where=[condition])
    with pytest.raises(FuruUsageError, match=error):
        list(chosen.rows())
    with pytest.raises(FuruUsageError, match=error):
        chosen.columns()


@pytest.mark.usefixtures("model")
def test_a_condition_on_a_column_that_only_nodes_in_other_states_have_is_none_fulfilled() -> None:
    assert rows(states=["failed"], where=["result.acc>0"]) == []


@pytest.mark.usefixtures("model")
def test_nodes_are_chosen_by_state_run_time_and_name() -> None:
    with pytest.raises(FuruComputeError):
        Model(data=Data(name="digits"), lr=2).get()
    (failed,) = rows(states=["failed"])
    assert (failed["lr"], failed["kind"], failed["furu.kind"]) == (2.0, "SMALL", "compute")
    assert (failed["error"], failed["message"]) == ("ValueError", "too high")
    assert {row["class"].rpartition(":")[2] for row in rows()} == {"Model", "Data", "Report"}
    assert len(rows(since="1h")) == 6
    assert rows(since="2999-01-01") == []
    with pytest.raises(FuruUsageError, match="has no run '2026'"):
        rows(names=["run:2026"])  # an interactive get() is in no run
    assert len(rows(names=[failed["node"][:12], "Report"])) == 2


class Renamed(Furu[int], formerly="gone.module:Before"):
    n: int

    def _create(self) -> int:
        return self.n


@pytest.mark.usefixtures("store")
def test_a_renamed_class_is_chosen_by_both_of_its_names() -> None:
    Renamed(n=3).get()
    for name in ("Renamed", "Before", "gone.module:Before"):
        assert [row["n"] for row in rows(names=[name])] == [3]
    with pytest.raises(FuruUsageError, match="no class 'Other'"):
        Selection.of(["Other"])


@pytest.mark.parametrize("text", ["", "lr", "=3", "lr~[", "a b"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(FuruUsageError):
        Condition.of(text)


def test_a_time_is_a_span_or_a_date() -> None:
    assert time_of("1.5h", now=10_000.0) == 4600.0
    assert time_of("2026-11-28 00:00") == time_of("2026-11-28")
    with pytest.raises(FuruUsageError, match="no time"):
        time_of("yesterday")


def test_a_column_that_no_row_has_is_refused_with_a_similar_one(model: Model) -> None:
    found = rows(names=["Model"])
    check_columns(["lr", "furu.took", "result.acc"], found)
    with pytest.raises(FuruUsageError, match=r"did you mean .data\.name.\?"):
        check_columns(["data.nam"], found)
    check_columns(["anything"], [])


def test_the_columns_of_deep_and_wide_configs_are_bounded(store: Path) -> None:
    node: Furu[Any] = Data(name="deep")
    for _ in range(12):
        node = Nest(below=node)
    node.get()
    (row,) = rows(names=[node.furu_hash[:12]])
    assert any(str(value).startswith("Nest(") for value in row.values())
    wide = Report(models=[Model(data=Data(name="x"), lr=n / 1000) for n in range(60)])
    wide.get()
    (row,) = rows(names=[wide.furu_hash[:12]])
    assert len(row) <= 300 + len(BUILTIN) + 1


@pytest.mark.parametrize("forever", [False, True])
def test_fields_of_nested_configs_whose_results_were_removed_are_still_columns(
    store: Path, forever: bool
) -> None:
    inner = [Model(data=Data(name=name), kind=Kind.LARGE, layers=(3,)) for name in ("x", "y")]
    deep = Deep(inside={"a": inner[0], "b": [inner[1]]}, again=inner[0])
    deep.get()
    wanted = [one for one in rows(names=[deep.furu_hash])[0].items() if one[0] not in BUILTIN]
    with use_settings(trash_days=0 if forever else 7):
        for node in (*inner, *(model.data for model in inner)):
            node.delete()
    (row,) = rows(names=[deep.furu_hash])
    assert [one for one in row.items() if one[0] not in BUILTIN] == wanted
    assert row["inside.b[0].data.name"] == "y"
    assert row["again.layers"] == [3]
    (part,) = Selection.of(["Deep"]).columns()
    assert part.column("again.data.name") == ["x"]


class Deep(Furu[int]):
    inside: dict[str, Any]
    again: Model

    def _create(self) -> int:
        self.again.get()
        self.inside["a"].get()
        self.inside["b"][0].get()
        return 1


class Nest(Furu[int]):
    below: Furu[Any]

    def _create(self) -> int:
        self.below.get()
        return 1


def fill(count: int) -> None:
    for n in range(count):
        Many(n=n).get()


def test_the_index_keeps_facts_and_is_never_the_truth(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(150)
    before = sorted(row["n"] for row in rows(names=["Many"]))
    (index,) = (store / "index").rglob("*.json")

    with monkeypatch.context() as patch:
        patch.setattr(_facts._record_file, "read", refuse)
        assert sorted(row["n"] for row in rows(names=["Many"])) == before
    Many(n=3).delete()
    with use_settings(trash_days=0):
        Many(n=4).delete()
    Many(n=4).put(44)
    found = {row["n"]: row["result"] for row in rows(names=["Many"])}
    assert len(found) == 149
    assert found[4] == 44, "it was removed and made anew, under the same hash"
    index.write_text("no JSON")
    assert len(rows(names=["Many"])) == 149
    shutil.rmtree(store / "index")
    (store / "index").write_text("in the way")
    assert len(rows(names=["Many"])) == 149


def test_an_index_of_another_version_or_form_is_not_read(store: Path) -> None:
    fill(120)
    rows(names=["Many"])
    (index,) = (store / "index").rglob("*.json")
    whole = json.loads(index.read_bytes())
    wrong = [
        {"furu": 99, "columns": {**whole["columns"], "config": {"same": {"fields": {"n": 1}}}}},
        {"columns": {**whole["columns"], "config": {"each": []}}},
        {"columns": {**whole["columns"], "config": 3}},
        {"hashes": whole["hashes"][1:]},
    ]
    for change in wrong:
        index.write_text(json.dumps(whole | change))
        assert len({row["n"] for row in rows(names=["Many"])}) == 120
        assert {cell for one in Selection.of(["Many"]).columns() for cell in one.column("n")} == {
            *range(120)
        }


def test_while_a_class_does_not_change_its_index_is_all_that_is_read(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(150)
    folder = Path(Many(n=0).furu_dir).parent
    an_hour_ago = time.time() - 3600
    (cls,) = _stored_nodes.classes_called("Many")
    FactReader().results(cls)
    with monkeypatch.context() as patch:
        patch.setattr(_facts, "_of_result", refuse)
        assert len(FactReader().results(cls)) == 150
        patch.setattr(_facts, "_folders", refuse)
        with pytest.raises(AssertionError, match="this was read"):
            FactReader().results(cls)
    os.utime(folder, (an_hour_ago, an_hour_ago))
    FactReader().results(cls)
    with monkeypatch.context() as patch:
        patch.setattr(_facts, "_folders", refuse)
        assert len(FactReader().results(cls)) == 150
    Many(n=3).delete()
    Many(n=1000).get()
    os.utime(folder, (an_hour_ago, an_hour_ago))
    assert {one.result for one in FactReader().results(cls).values()} == {
        *range(3), *range(4, 150), 1000,
    }, "times that were set back do not hide a change"  # fmt: skip


def refuse(*_: object) -> Any:
    raise AssertionError("this was read")


def test_configs_are_read_once_however_many_nest_them(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Data(name="shared")
    for n in range(20):
        Model(data=data, lr=n / 20).get()
    reads: list[object] = []
    reader = FactReader()
    columns = ColumnReader(reader)
    of = reader.of
    monkeypatch.setattr(FactReader, "of", lambda self, node: reads.append(node) or of(node))
    (cls,) = _stored_nodes.classes_called("Model")
    assert all(columns.row(one)["data.name"] == "shared" for one in reader.nodes([cls]))
    assert len(reads) == 1
