"""`diff`: how two nodes differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from furu_core import Furu, diff, field
from furu_core._explain._config_changes import (
    ConfigPair,
    ConfigReference,
    FieldChange,
    RecordedConfig,
    changes,
    value_text,
)
from furu_core._explain._diff import NodeDifference
from furu_core.errors import FuruComputeError, FuruDependencyError, FuruUsageError
from furu_core.planning import short_name


class Kind(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass(frozen=True)
class Options:
    rate: float = 0.1
    kind: Kind = Kind.SMALL


class Data(Furu[int]):
    seed: int = 0
    place: Path | str = Path("a")

    def _create(self) -> int:
        return self.seed


class Fit(Furu[dict[str, Any]]):
    data: Data
    options: Options = Options()
    layers: tuple[int, ...] = (1, 2)
    extra: dict[str, int] = field(factory=lambda: {"a": 1})
    asked: int = 0

    def _dependencies(self) -> Iterable[Furu[Any]]:
        return [Data(seed=100)] if self.asked else []

    def _create(self) -> dict[str, Any]:
        if self.options.rate > 5:
            raise ValueError("the rate is too high")
        if self.asked:
            Data(seed=100).get()
        return {"acc": self.data.get() + self.options.rate, "by": {"n": 1}, "list": [self.asked]}


class Plain:
    """No config."""


def leaves(found: NodeDifference) -> dict[str, tuple[str, str]]:
    return {one.path: (one.before, one.after) for one in found.config}


def test_each_field_that_differs_is_told_by_its_path_and_types_are_kept_apart(store: Path) -> None:
    first = Fit(data=Data())
    second = Fit(
        data=Data(seed=1, place="a"),
        options=Options(0.2, Kind.LARGE),
        layers=(1, 3),
        extra={"a": 1, "b": 2},
    )
    found = diff(first, second)
    assert leaves(found) == {
        "options.rate": ("0.1", "0.2"),
        "options.kind": ("Kind.SMALL", "Kind.LARGE"),
        "layers": ("(1, 2)", "(1, 3)"),
        "extra.b": ("absent", "2"),
        "data.seed": ("0", "1"),
        "data.place": ("PosixPath('a')", "'a'"),
    }
    assert {one.path for one in found.config if one.type_differs} == {"data.place"}
    assert (found.before.state, found.after.state, found.same_result) == ("absent", "absent", None)
    assert "data.place    PosixPath('a') -> 'a'   type differs" in str(found)


def test_results_costs_and_states_are_compared(store: Path) -> None:
    first, second = Fit(data=Data()), Fit(data=Data(seed=1))
    for node in (first, second):
        node.get()
    found = diff(first, second.furu_hash)
    assert [(one.path, one.before, one.after) for one in found.results] == [
        ("result.acc", 0.1, 1.1)
    ]
    assert found.same_result is False
    assert [one.name for one in found.costs][:2] == ["took", "cpu"]
    assert all(one.before is not None and one.after is not None for one in found.costs)
    same = diff(Data(seed=1), Data(seed=1, place="b"))
    assert same.same_result is None
    Data(seed=1, place="b").get()
    assert diff(Data(seed=1), Data(seed=1, place="b")).same_result is True
    assert diff(first, first).config == ()


def test_a_failed_node_is_compared_by_its_attempt(store: Path) -> None:
    good, bad = Fit(data=Data()), Fit(data=Data(), options=Options(9.0))
    good.get()
    with pytest.raises(FuruComputeError):
        bad.get()
    found = diff(bad.furu_hash[:10], good)
    assert leaves(found) == {"options.rate": ("9.0", "0.1")}
    assert (found.before.state, found.before.error) == (
        "failed",
        "ValueError: the rate is too high",
    )
    assert "state    failed (ValueError: the rate is too high) -> done" in str(found)


def test_what_the_fields_do_not_tell_of_dependencies_is_told(store: Path) -> None:
    first = Fit(data=Data(seed=5))
    first.get()
    data = Data(seed=5)
    data.delete()
    data.put(6)
    second, third = Fit(data=data, layers=()), Fit(data=data, asked=1)
    second.get()
    third.get()
    (used,) = diff(first, second).dependencies
    assert (used.name, used.change, used.current) == (short_name(data), "other result", "second")
    asked = short_name(Data(seed=100))
    (only,) = diff(second, third).dependencies
    assert (only.name, only.change) == (asked, "only in the second")
    data.delete()
    data.put(7)
    assert f"{short_name(data)}  another result; that of neither is there now" in str(
        diff(first, second)
    )


def test_what_is_no_node_is_refused_with_a_next_step(store: Path) -> None:
    with pytest.raises(FuruUsageError, match="no node 'abc'"):
        diff("abc", "abc")
    with pytest.raises(FuruDependencyError):
        diff(Plain(), Plain())


def config(**fields: Any) -> RecordedConfig:
    return RecordedConfig("m:C", fields)


def ref(node_hash: str, class_name: str = "m:D") -> dict[str, str]:
    return {"$ref": node_hash, "class": class_name}


class KnowsNothing:
    def find(self, reference: ConfigReference) -> RecordedConfig | None:
        return None

    def is_gone(self, class_name: str) -> bool:
        return False


def compared(before: Any, after: Any) -> list[FieldChange | ConfigPair]:
    return list(changes(config(x=before), config(x=after), KnowsNothing()))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1, True, ("1", "True", True)),
        (1, 1.0, ("1", "1.0", True)),
        (None, 1, ("None", "1", False)),
        ([1], {"$tuple": [1]}, ("[1]", "(1,)", True)),
        ({"$set": [1]}, {"$frozenset": [1]}, ("{1}", "frozenset({1})", True)),
        ({"$float": "nan"}, 1.0, ("nan", "1.0", False)),
        ({"$date": "2026-01-01"}, {"$date": "2026-01-02"}, ("date('2026-01-01')", "date('2026-01-02')", False)),
        ({"$dict": [[1, 2]]}, {}, ("{1: 2}", "{}", False)),
        ({"$enum": ["m:K", "A"]}, {"$enum": ["m:K", "B"]}, ("K.A", "K.B", False)),
        (ref("a" * 32), ref("b" * 32, "m:E"), ("D(aaaaaa)", "E(bbbbbb)", True)),
    ],
)  # fmt: skip
def test_values_are_compared_with_their_types(
    before: Any, after: Any, expected: tuple[str, str, bool]
) -> None:
    (change,) = compared(before, after)
    assert isinstance(change, FieldChange)
    assert (change.before, change.after, change.type_differs) == expected


def test_equal_elements_of_lists_belong_together_wherever_they_are() -> None:
    a, b, c, d = (ref(letter * 32) for letter in "abcd")
    assert compared([a, b, c], [a, c]) == [FieldChange("x[1]", "D(bbbbbb)", "absent")]
    (pair,) = compared([a, b, c], [a, d, c])
    assert isinstance(pair, ConfigPair)
    assert (pair.path, pair.before.hash, pair.after.hash) == ("x[1]", "b" * 32, "d" * 32)
    (added,) = compared({"$tuple": [a]}, {"$tuple": [d, a]})
    assert isinstance(added, FieldChange)
    assert (added.path, added.added) == ("x[0]", (ConfigReference("d" * 32, "m:D"),))


def test_dicts_are_compared_key_by_key() -> None:
    found = compared({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}, "d": 4})
    assert [(one.path, one.after) for one in found if isinstance(one, FieldChange)] == [
        ("x.b.c", "3"),
        ("x.d", "4"),
    ]


def test_a_long_value_is_shortened() -> None:
    assert len(value_text(list(range(1000)))) == 80


class Wide(Furu[int]):
    parts: list[Data]

    def _create(self) -> int:
        return len(self.parts)


def test_of_very_many_differences_the_first_are_told_and_that_there_are_more(store: Path) -> None:
    first, second = (Wide(parts=[Data(seed=n) for n in range(k, k + 300)]) for k in (0, 1000))
    found = diff(first, second)
    assert (len(found.config), found.is_cut) == (200, True)
    assert "... and" in str(found)
    assert not diff(first, Wide(parts=first.parts[:250])).is_cut
