"""Results come back from their files equal in value and type."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import logging
import math
import os
import pathlib
import re
import threading
import zoneinfo
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from kept_results import changed, load, store

from furu_core import Furu
from furu_core._codecs._store import Stored
from furu_core._record_format import to_json
from furu_core._store._manifest import DamagedArtifact, ResultEntry
from furu_core.errors import FuruFormatError, FuruResultError

Trip = Callable[[Any], tuple[Any, ResultEntry]]


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Made(enum.Enum):
    """Makes members of what it does not know."""

    KNOWN = 1

    @classmethod
    def _missing_(cls, value: object) -> Made:
        made = object.__new__(cls)
        made._name_, made._value_ = "KNOWN" if value == 2 else f"UNKNOWN_{value}", value
        return cls._value2member_map_.setdefault(value, made)  # type: ignore[return-value]


class Point(NamedTuple):
    x: Any
    y: Any


class LoudPoint(Point):
    """A named tuple with room for more."""


@dataclasses.dataclass
class Options:
    a: Any
    b: Any = 0


@dataclasses.dataclass
class ListWithName(list[int]):
    name: str = ""


class SlotBase:
    __slots__ = ("extra",)


@dataclasses.dataclass
class WithSlot(SlotBase):
    a: int


@attrs.define
class Defined:
    a: Any


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


class MyDict(dict[str, Any]):
    pass


class MyList(list[Any]):
    pass


class MyStr(str):
    __slots__ = ()


class Config(Furu[int]):
    a: int = 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "node" / ".furu"
    path.mkdir(parents=True)
    return path


def round_trip(value: Any, folder: Path) -> tuple[Any, ResultEntry]:
    for name in os.listdir(folder):
        os.unlink(folder / name)
    stored = store(value, folder, folder.parent)
    return load(stored, folder, folder.parent), stored.entry


@pytest.fixture
def trip(folder: Path) -> Trip:
    return lambda value: round_trip(value, folder)


def same(first: Any, second: Any) -> bool:
    """Whether two values agree in value and type, all the way down."""
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray):
        return (
            first.dtype == second.dtype
            and first.shape == second.shape
            and (
                all(map(same, first.ravel(), second.ravel()))
                if first.dtype == object
                else first.tobytes() == second.tobytes()
            )
        )
    if isinstance(first, np.generic):
        return first.dtype == second.dtype and (first.tobytes() == second.tobytes())
    if isinstance(first, float):
        return (first == second and math.copysign(1, first) == math.copysign(1, second)) or (
            first != first and second != second
        )
    if isinstance(first, complex):
        return same(first.real, second.real) and same(first.imag, second.imag)
    if isinstance(first, list | tuple):
        return (
            len(first) == len(second)
            and all(map(same, first, second))
            and _same_state(first, second)
        )
    if isinstance(first, dict):
        return same(list(first.items()), list(second.items())) and _same_state(first, second)
    if isinstance(first, set | frozenset):
        return len(first) == len(second) and all(any(same(a, b) for b in second) for a in first)
    if isinstance(first, dt.datetime):
        return (
            first.replace(tzinfo=None) == second.replace(tzinfo=None)
            and first.fold == second.fold
            and type(first.tzinfo) is type(second.tzinfo)
            and str(first.tzinfo) == str(second.tzinfo)
        )
    if isinstance(first, enum.Enum):
        return first is second
    if isinstance(first, decimal.Decimal):
        return str(first) == str(second)
    if (
        type(first).__eq__ is object.__eq__
        or dataclasses.is_dataclass(first)
        or attrs.has(type(first))
    ):
        return _same_state(first, second)
    return bool(first == second)


def _same_state(first: Any, second: Any) -> bool:
    def state(value: Any) -> dict[str, Any]:
        names = [n for base in type(value).__mro__ for n in getattr(base, "__slots__", ())]
        slots = {n: getattr(value, n) for n in names if n != "__weakref__" and hasattr(value, n)}
        return {**slots, **getattr(value, "__dict__", {})}

    one, two = state(first), state(second)
    return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)


texts = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ["$", "$tuple", "\ud800", "\ud83d\ude00", "😀", "\x00", '"$']
)
hashables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.binary(max_size=8)
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from(
        [Color.RED, Level.LOW, Path("a/b"), PurePosixPath("/x"), PureWindowsPath("c:/x")]
    )
    | npst.scalar_dtypes().flatmap(lambda t: npst.from_dtype(t).map(t.type)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
arrays = npst.arrays(
    npst.scalar_dtypes()
    | npst.array_dtypes(max_size=3)
    | npst.byte_string_dtypes()
    | npst.unicode_string_dtypes(),
    npst.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3),
).flatmap(lambda a: st.sampled_from([a, np.asfortranarray(a), a.T, a[::-1] if a.ndim else a]))
values = st.recursive(
    hashables | arrays | st.binary(min_size=1020, max_size=1030),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(hashables, max_size=3)
        | st.builds(Options, inner, inner)
        | st.builds(Defined, inner)
        | st.builds(Point, inner, inner)
        | st.builds(LoudPoint, inner, inner)
        | st.builds(Plain, inner)
        | st.dictionaries(texts, inner, max_size=2).map(MyDict)
        | st.lists(inner, max_size=2).map(MyList)
        | st.lists(inner, max_size=2).map(lambda items: np.array([*items, None], dtype=object))
    ),
    max_leaves=8,
)


@settings(
    max_examples=150 if os.environ.get("TEST_THOROUGH") else 50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(value=values)
def test_any_nested_value_comes_back_equal_in_value_and_type(value: Any, folder: Path) -> None:
    back, _ = round_trip(value, folder)
    assert same(value, back)


@pytest.mark.parametrize(
    ("value", "codec"),
    [
        (None, "json"),
        ({"loss": 0.5, "steps": [1, 2]}, "json"),
        ((1, (2,)), "json"),
        ({1: "a", "1": "b"}, "json"),
        ({True: 1, 2: None}, "json"),
        ({1, 2}, "json"),
        (math.nan, "json"),
        ([math.inf, -math.inf, -0.0], "json"),
        ([10**6000], "json"),
        (np.float64(0.1), "json"),
        (np.datetime64("2020-01-01", "D"), "json"),
        (np.str_(""), "json"),
        (np.longdouble(1) / 3, "pickle"),
        (fractions.Fraction(1, 3), "json"),
        (decimal.Decimal("1.10"), "json"),
        ([decimal.Decimal("sNaN1"), decimal.Decimal("-NaN")], "json"),
        (dt.datetime(2020, 10, 25, 2, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Oslo")), "json"),
        (Color.RED, "json"),
        (Level.LOW, "json"),
        (Point(1, (2,)), "json"),
        (Options([1], {"a": (1,)}), "json"),
        (Defined(b"x"), "json"),
        (OrderedDict(a=1), "json"),
        (b"x" * 1023, "json"),
        (b"x" * 1024, "bytes"),
        (MyStr("x"), "json"),
        (MyDict(a=1), "pickle"),
        (MyList([1]), "pickle"),
        (defaultdict(list, a=[1]), "pickle"),
        (LoudPoint(1, 2), "pickle"),
        (ListWithName("x"), "pickle"),
        (Plain({"a": (1,)}), "pickle"),
        (Config(a=3), "json"),
        ([Config(a=3), (Config(a=3),)], "json"),
    ],
)
def test_a_value_is_stored_in_an_open_format_where_that_is_exact(
    value: Any, codec: str, trip: Trip
) -> None:
    back, entry = trip(value)
    assert same(value, back)
    assert entry.codec == codec


@pytest.mark.parametrize(
    ("array", "codec"),
    [
        (np.arange(6.0).reshape(2, 3), "numpy"),
        (np.array(3), "numpy"),
        (np.zeros((0, 3)), "numpy"),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), "numpy"),
        (np.arange(3, dtype=">i4"), "numpy"),
        (np.array(["2020-01-01", "NaT"], dtype="M8[ns]"), "numpy"),
        (np.array([(1, 2.0)], dtype=[("a", "i2"), ("b", ">f8", (1,))]), "numpy"),
        (np.array([1 + 2j]), "numpy"),
        (np.array(["ä", ""]), "numpy"),
        (np.arange(10)[::-2], "numpy"),
        (np.array([1, "x", None], dtype=object), "pickle"),
        (np.array([(1,)], dtype=np.dtype([(("title", "a"), "i4")])), "numpy"),
        (np.zeros(2, np.dtype([("a", "i1"), ("b", "i8")], align=True)), "pickle"),
        (np.zeros(2, np.dtype("f8", metadata={"unit": "m"})), "pickle"),
        *(
            [(np.array(["a", "bc"], dtype=np.dtypes.StringDType()), "pickle")]
            if hasattr(np.dtypes, "StringDType")  # NumPy 2
            else []
        ),
        (np.ma.array([1, 2], mask=[True, False]), "pickle"),
        (np.rec.array([(1, 2.0)], names="a,b"), "pickle"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_arrays_come_back_with_dtype_order_and_shape(
    array: np.ndarray[Any, Any], codec: str, trip: Trip
) -> None:
    for value, unwrap in ((array, lambda v: v), ({"x": [array]}, lambda v: v["x"][0])):
        back, entry = trip(value)
        found = unwrap(back)
        assert type(found) is type(array)
        assert found.dtype == array.dtype
        assert repr(found.dtype) == repr(array.dtype)
        assert found.dtype.metadata == array.dtype.metadata
        assert found.shape == array.shape
        assert found.flags.f_contiguous == array.flags.f_contiguous or array.ndim < 2
        assert found.flags.writeable
        assert not isinstance(found, np.memmap)
        assert found.tolist() == array.tolist() or array.dtype.kind == "M"
        assert found.tobytes() == array.tobytes() or array.dtype.kind in "OT"
        assert entry.codec == (codec if value is array or codec == "pickle" else "json")


def test_arrays_beside_plain_values_lie_in_files_of_their_own(trip: Trip, folder: Path) -> None:
    shared = np.arange(3)
    trip({"w": shared, "again": shared, "blob": b"x" * 2000, "loss": 0.5})
    assert sorted(os.listdir(folder)) == ["result.0.npy", "result.1.bin"]


def test_many_small_arrays_share_one_file(trip: Trip, folder: Path) -> None:
    value = [np.arange(i) for i in range(1000)]
    back, entry = trip(value)
    assert same(value, back)
    assert entry.codec == "pickle"
    assert os.listdir(folder) == ["result.pickle"]


def test_slots_beside_the_declared_fields_are_kept(trip: Trip) -> None:
    value = WithSlot(1)
    value.extra = "more"
    back, entry = trip(value)
    assert (back.a, back.extra) == (1, "more")
    assert entry.codec == "pickle"


@pytest.mark.parametrize("value", [Made(2), [Made(418)], {"x": (Made.KNOWN, Made(2))}])
def test_members_that_no_class_statement_made_come_back_as_themselves(
    value: Any, trip: Trip
) -> None:
    assert trip(value)[0] == value


def test_attributes_beside_the_declared_fields_are_kept(trip: Trip) -> None:
    value = Options(1)
    value.more = "more"  # type: ignore[attr-defined]
    back, _ = trip([value])
    assert vars(back[0]) == {"a": 1, "b": 0, "more": "more"}


def test_a_list_that_contains_itself_comes_back_so(trip: Trip) -> None:
    value: list[Any] = [1]
    value.append(value)
    back, entry = trip(value)
    assert back[1] is back
    assert entry.codec == "pickle"


# ---- paths ----


def test_paths_below_furu_dir_move_with_it(folder: Path, tmp_path: Path) -> None:
    base = folder.parent
    odd = os.fsdecode(b"odd-\xff\n")
    for name in ("model.bin", "a/", "b", "key", odd):
        (base / name).mkdir() if name.endswith("/") else (base / name).touch()
    value = {
        "model": base / "model.bin",
        "itself": base,
        "in a tuple": (base / "a" / ".." / "b", PurePosixPath(base, odd)),
        base / "key": 1,
        "elsewhere": Path("/etc/hosts"),
        "relative": Path("x"),
        "beside": Path(f"{base}-old/x"),
    }
    stored = store(value, folder, base)
    assert f"{base}/m" not in stored.value
    moved = tmp_path / "published"
    base.rename(moved)
    assert load(stored, moved / ".furu", moved) == {
        "model": moved / "model.bin",
        "itself": moved,
        "in a tuple": (moved / "a" / ".." / "b", PurePosixPath(moved, odd)),
        moved / "key": 1,
        "elsewhere": Path("/etc/hosts"),
        "relative": Path("x"),
        "beside": Path(f"{base}-old/x"),
    }


@attrs.frozen
class Kept:
    path: PurePath


class OwnPath(type(Path())):  # type: ignore[misc]
    """A path that no open format gives back as what it is."""


HOLDERS: dict[str, Callable[[PurePath], Any]] = {
    "itself": lambda path: path,
    "in a tuple": lambda path: (1, [path]),
    "in a dict": lambda path: {"x": {"y": path}},
    "a key": lambda path: {path: 1},
    "in a set": lambda path: {path},
    "in an attrs class": Kept,
    "in a pickle": lambda path: Plain([path]),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize("kind", [Path, PurePosixPath])
def test_p1_a_path_at_which_nothing_is_or_will_be_is_refused_by_name(
    hold: Callable[[PurePath], Any], kind: type[PurePath], tmp_path: Path
) -> None:
    base = folder = tmp_path / "attempt"
    folder.mkdir()
    aside = tmp_path / "attempt.checkpoint"
    (base / "dangling").symlink_to("never-written")
    aside.mkdir()
    for path, reason in {
        base / "never-written.txt": "there is no such file",
        base / "dangling": "there is no such file",
        base / "folder" / "x": "there is no such file",
        aside: "leads nowhere",
        aside / "x": "leads nowhere",
        base / ".." / "attempt" / "x": "leads nowhere",
    }.items():
        with pytest.raises(FuruResultError, match=f"{re.escape(str(path))}'.* {reason}"):
            store(hold(kind(path)), folder, base, aside)
    for path in (tmp_path / "never-written.txt", Path("x"), tmp_path / "attempt-2"):
        store(hold(kind(path)), folder, base, aside)


def test_p1_a_path_of_an_own_class_below_furu_dir_is_refused_since_it_would_not_move(
    folder: Path,
) -> None:
    with pytest.raises(FuruResultError, match=r"OwnPath .* leads nowhere .* pathlib\.Path"):
        store([OwnPath(folder)], folder, folder.parent)


def test_paths_inside_pickled_objects_move_with_furu_dir(folder: Path, tmp_path: Path) -> None:
    base = folder.parent
    for name in ("model.bin", "key"):
        (base / name).touch()
    value = Plain([Plain(base / "model.bin"), {base / "key"}, Path("/etc/hosts")])
    stored = store(value, folder, base)
    assert stored.entry.codec == "pickle"
    moved = tmp_path / "published"
    base.rename(moved)
    inner, keys, other = load(stored, moved / ".furu", moved).value
    assert (inner.value, keys, other) == (moved / "model.bin", {moved / "key"}, Path("/etc/hosts"))


def test_a_path_that_was_resolved_is_below_furu_dir_too(tmp_path: Path) -> None:
    real = tmp_path / "real" / "node"
    (real / ".furu").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    base = tmp_path / "link" / "node"
    for name in "xy":
        (base / name).touch()
    value = [(base / "x").resolve(), base / "y"]
    stored = store(value, base / ".furu", base)
    assert load(stored, base / ".furu", base) == [base / "x", base / "y"]


def test_a_whole_result_may_be_one_path(trip: Trip, folder: Path) -> None:
    (folder.parent / "model.bin").touch()
    back, _ = trip(folder.parent / "model.bin")
    assert back == folder.parent / "model.bin"
    assert isinstance(back, PurePath)


@pytest.mark.parametrize("wrap", [lambda text: [text], Plain])
def test_a_string_with_the_staging_folder_is_warned_about(
    wrap: Callable[[str], Any], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="furu"):
        store(wrap(f"see {folder.parent}/x"), folder, folder.parent)
    assert "return Path objects" in caplog.text


# ---- what cannot be stored or loaded ----


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (lambda: 1, "result is of type function"),
        ({"model": [1, lambda: 1]}, "result['model'][1] is of type function"),
        (Plain({"lock": threading.Lock()}), "result.value['lock'] is of type _thread.lock"),
        ((i for i in ()), "result is of type generator"),
    ],
    ids=["lambda", "nested lambda", "lock", "generator"],
)
def test_a_value_that_cannot_be_stored_is_named_with_its_place_and_what_to_do(
    value: Any, place: str, folder: Path
) -> None:
    with pytest.raises(FuruResultError) as caught:
        store(value, folder, folder.parent)
    assert str(caught.value).startswith(place)
    assert "_load" in caught.value.hint
    assert os.listdir(folder) == []


def test_a_value_nested_too_deeply_is_a_clear_error(folder: Path) -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(FuruResultError, match="nested too deeply"):
        store(value, folder, folder.parent)


class CannotComeBack(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def test_a_value_that_pickles_but_does_not_unpickle_is_refused(folder: Path) -> None:
    with pytest.raises(FuruResultError, match="can be pickled but not unpickled: TypeError"):
        store(CannotComeBack(1, 2), folder, folder.parent)


class ComesBackOtherwise:
    def __reduce__(self) -> Any:
        return list, ()


def test_a_value_that_unpickles_as_another_type_is_refused(folder: Path) -> None:
    with pytest.raises(FuruResultError, match="comes back from its pickle as a list"):
        store(ComesBackOtherwise(), folder, folder.parent)


@pytest.mark.parametrize(
    "value",
    [{"a": (1,) * 9999}, np.arange(100), b"x" * 2000, Plain(1)],
    ids=["json", "npy", "bin", "pkl"],
)
def test_a_damaged_file_is_told_from_a_missing_class(value: Any, folder: Path) -> None:
    stored = store(value, folder, folder.parent)
    path = folder / stored.entry.file
    if stored.entry.codec != "bytes":  # any bytes are bytes; the manifest knows their number
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(DamagedArtifact, match=str(path)):
            load(stored, folder, folder.parent)
    path.unlink()
    with pytest.raises(DamagedArtifact, match="missing"):
        load(stored, folder, folder.parent)


def test_a_newer_format_is_refused_with_the_remedy(folder: Path) -> None:
    for value in (1, [1] * 9999, np.arange(3), Plain(1)):
        stored = changed(store(value, folder, folder.parent), version=99)
        with pytest.raises(FuruFormatError, match="upgrade furu-core"):
            load(stored, folder, folder.parent)


def test_a_json_result_never_loads_a_pickle(folder: Path) -> None:
    pickled = store(Plain(1), folder, folder.parent)
    (folder / "result.json").write_text(json.dumps({"$file": to_json(pickled.entry)}))
    with pytest.raises(FuruResultError, match="'pickle'"):
        load(Stored(ResultEntry("json", "result.json")), folder, folder.parent)


def test_a_record_cannot_name_files_elsewhere(folder: Path) -> None:
    record = {"codec": "bytes", "version": 1, "file": "../../secret"}
    (folder / "result.json").write_text(json.dumps({"$file": record}))
    with pytest.raises(DamagedArtifact):
        load(Stored(ResultEntry("json", "result.json")), folder, folder.parent)


def test_pathlib_is_what_paths_come_back_as(trip: Trip) -> None:
    back, _ = trip([Path("a"), PurePosixPath("a")])
    assert [type(item) for item in back] == [type(pathlib.Path()), PurePosixPath]
