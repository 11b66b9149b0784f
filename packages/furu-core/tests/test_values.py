"""P2 over values: different ones have different hashes, equal ones equal; round trips are exact."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import json
import math
import os
import pathlib
import pickle
import random
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict
from typing import Any, NamedTuple

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from furu_core import Furu
from furu_core._config._class_names import reference
from furu_core._forms._pack import Packer, Unpacker
from furu_core._forms._python_text import python_text
from furu_core._forms._tagged_json import NotExact
from furu_core._forms._values import dumps, from_json, loads, to_json
from furu_core.errors import FuruImportNameError, FuruValueError

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

# Each day draws others, so in the end many times as many have had their turn.
TIMES = 1.0 if os.environ.get("TEST_THOROUGH") else 0.2


def examples(number: int) -> settings:
    """So many examples where a test runs at its full size."""
    return settings(
        max_examples=int(number * TIMES),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


class Holder(Furu[int]):
    value: Any = None


class Other(Furu[int]):
    value: Any = None


class Color(enum.Enum):
    RED = 1
    BLUE = 2
    CRIMSON = 1  # noqa: PIE796 - an alias


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "fast"


class Perm(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Access(enum.Flag):
    """Most of its bits have no names of their own."""

    NONE = 0
    READ = 1
    ALL = 7
    MOST = 6


class Loosely(enum.IntFlag):
    """Takes any bits."""

    READ = 1
    ALL = 7


class Status(enum.IntEnum):
    """Makes members of what it does not know."""

    OK = 200

    @classmethod
    def _missing_(cls, value: object) -> Status:
        made = int.__new__(cls, value)  # type: ignore[call-overload]
        made._name_ = {201: "OK", 202: None}.get(value, f"UNKNOWN_{value}")  # type: ignore[call-overload]
        made._value_ = value
        return made  # type: ignore[no-any-return]


class Odd(enum.Enum):
    """Members that are not found by their values."""

    NAN = math.nan
    HALF = enum.member(functools.partial(pow, exp=0.5))
    LIST = [1]  # noqa: RUF012


class Point(NamedTuple):
    x: Any
    y: Any


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass(frozen=True)
class Options:
    a: Any
    b: Any = 0


@dataclasses.dataclass
class Loose:
    a: Any


@dataclasses.dataclass
class Derived:
    a: Any
    twice: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.twice = (self.a, self.a)


@attrs.frozen
class Point3:
    x: Any
    y: Any = attrs.field(default=0, converter=lambda value: value)


@attrs.define
class Plain3:
    x: Any


class Name(str):
    __slots__ = ()


class Count(int):
    pass


def key(value: Any) -> Any:
    """What makes two values the same, written without furu: type and value, NaN equal to NaN."""
    t = type(value)
    if isinstance(value, type):
        return ("class", value)
    if t is float:
        return ("float", "nan" if math.isnan(value) else value.hex())
    if t is complex:
        return ("complex", key(value.real), key(value.imag))
    if t in (list, tuple):
        return (t.__name__, tuple(map(key, value)))
    if t in (set, frozenset):
        return (t.__name__, frozenset(Counter(map(key, value)).items()))
    if t is dict:
        return ("dict", frozenset(Counter((key(k), key(v)) for k, v in value.items()).items()))
    if t is OrderedDict:
        return ("OrderedDict", tuple((key(k), key(v)) for k, v in value.items()))
    if isinstance(value, Furu):
        return (t, key(value.value))
    if dataclasses.is_dataclass(value):
        return (t, tuple(key(getattr(value, f.name)) for f in dataclasses.fields(value)))
    if attrs.has(t):
        return (t, tuple(key(getattr(value, f.name)) for f in attrs.fields(t)))
    if isinstance(value, tuple):
        return (t, tuple(map(key, value)))
    if t is np.ndarray:
        return ("ndarray", value.dtype.str, value.shape, key(value.tolist()))
    if isinstance(value, np.generic):
        return ("generic", value.dtype.str, key(value.item()))
    if t in (range, slice):
        return (t.__name__, value.start, value.stop, value.step)
    if t in (dt.datetime, dt.time):
        return (t, value.replace(tzinfo=None), value.fold, repr(value.tzinfo))
    if isinstance(value, (decimal.Decimal, dt.timezone, zoneinfo.ZoneInfo, bytearray)):
        return (t, repr(value))
    if isinstance(value, enum.Enum):
        return (t, value.value if isinstance(value, enum.Flag) else value.name)
    return (t, value)


# Characters of the encoding itself, which is where a missing length would show.
texts = st.text(alphabet="s1:;([<{}nitf@k$\ud800é\0", max_size=5) | st.text(max_size=8)
floats = st.floats() | st.sampled_from([0.0, -0.0, 1.0, math.nan, -math.nan, math.inf])
zones = st.sampled_from(
    [
        None,
        dt.UTC,
        dt.timezone(dt.timedelta(hours=1)),
        dt.timezone(dt.timedelta(hours=1), "named"),
        zoneinfo.ZoneInfo("Europe/Paris"),
    ]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([200, 5000]).map(lambda exponent: -(2**exponent)),
    floats,
    texts,
    st.binary(max_size=4),
    st.builds(complex, floats, floats),
    st.sampled_from(Color) | st.sampled_from(Level) | st.just(Mode.FAST),
    st.integers(0, 7).map(Perm),
    st.sampled_from([Access.NONE, Access.READ, Access.ALL, Access.MOST]) | st.integers(0, 20).map(Loosely),
    st.sampled_from(Odd),
    st.sampled_from([int, str, Color, Options, Holder, pathlib.Path, np.float32]),
    texts.filter(lambda text: "\0" not in text).map(pathlib.Path),
    texts.map(pathlib.PurePosixPath),
    texts.map(pathlib.PureWindowsPath),
    texts.map(Name),
    st.integers(0, 2).map(Count),
    st.dates(),
    st.builds(lambda d, zone, fold: d.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, st.integers(0, 1)),
    st.builds(lambda t, fold: t.replace(fold=fold), st.times(), st.integers(0, 1)),
    st.timedeltas(),
    st.sampled_from([dt.UTC, zoneinfo.ZoneInfo("UTC")]),
    st.decimals().filter(lambda d: not d.is_snan()),
    st.fractions(),
    st.uuids(),
    st.builds(range, st.integers(0, 3), st.integers(0, 3)),
    st.just(...),
    st.sampled_from([np.float64(1), np.float32(1), np.int64(1), np.bool_(True), np.str_("1")]),
    st.sampled_from([np.float32("nan"), np.complex64(1j), np.datetime64("2024-01-01"), np.bytes_(b"1")]),
    st.sampled_from([np.dtype("f4"), np.dtype(">i2"), np.dtype([("a", "i4"), ("b", "f8", (2,))])]),
)  # fmt: skip
hashable = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(Options, inner, inner),
        st.builds(Point3, inner, inner),
        st.builds(Holder, value=inner),
        st.builds(Other, value=inner),
    ),
    max_leaves=5,
)
arrays = st.one_of(
    st.lists(st.integers(0, 3), max_size=4).map(lambda v: np.array(v, dtype="i8")),
    st.lists(floats, max_size=4).map(lambda v: np.array(v, dtype="f8")),
    st.lists(st.floats(width=32), min_size=2, max_size=2).map(lambda v: np.array([v, v], "f4").T),
    st.lists(st.complex_numbers(), max_size=2).map(lambda v: np.array(v, dtype="c16")),
    st.sampled_from(
        [
            np.array(1),
            np.zeros((0, 3)),
            np.array(["a", "b"]),
            np.array([True]),
            np.array([1, 2], ">i4"),
        ]
    ),
)
slices = st.builds(slice, st.integers(0, 3) | st.none(), st.integers(0, 3))
values = st.recursive(
    hashable | arrays | slices | st.binary(max_size=3).map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(hashable, max_size=3),
        st.dictionaries(hashable, inner, max_size=3),
        st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(texts, inner, max_size=2).map(OrderedDict),
        st.builds(Loose, inner),
        st.builds(Derived, inner),
        st.builds(Plain3, inner),
        st.builds(Holder, value=inner),
    ),
    max_leaves=6,
)


def shuffled(value: Any, rng: random.Random) -> Any:
    """An equal value, made of new objects, with dicts and sets filled in another order."""
    if type(value) is dict:
        items = [(shuffled(k, rng), shuffled(v, rng)) for k, v in value.items()]
        rng.shuffle(items)
        return dict(items)
    if type(value) in (set, frozenset):
        items = [shuffled(item, rng) for item in value]
        rng.shuffle(items)
        return type(value)(items)
    if type(value) in (list, tuple):
        return type(value)(shuffled(item, rng) for item in value)
    if isinstance(value, (Holder, Other)):
        return type(value)(value=shuffled(value.value, rng))
    return copy.deepcopy(value)


@given(values, values)
@examples(600)
def test_p2_values_have_one_hash_if_and_only_if_they_are_the_same(a: Any, b: Any) -> None:
    same_hash = Holder(value=a).furu_hash == Holder(value=b).furu_hash
    assert same_hash == (key(a) == key(b))


@given(st.lists(scalars, max_size=3), st.lists(scalars, max_size=3))
@examples(600)
def test_p2_no_two_lists_of_scalars_run_together(a: list[Any], b: list[Any]) -> None:
    assert (Holder(value=a) == Holder(value=b)) == (key(a) == key(b))


@given(values, st.randoms(use_true_random=False))
@examples(300)
def test_p2_the_order_of_dicts_and_sets_changes_no_hash(value: Any, rng: random.Random) -> None:
    assert Holder(value=value).furu_hash == Holder(value=shuffled(value, rng)).furu_hash


@given(values)
@examples(500)
def test_tagged_json_gives_back_type_and_value(value: Any) -> None:
    back = loads(dumps(value))
    assert key(back) == key(value)
    assert Holder(value=back) == Holder(value=value)
    assert key(from_json(json.loads(json.dumps(to_json(value))))) == key(value)


@given(values)
@examples(300)
def test_a_config_comes_back_from_pickle_dicts_and_packing(value: Any) -> None:
    config = Holder(value=value)
    for back in (
        pickle.loads(pickle.dumps(config)),
        Holder.from_dict(json.loads(json.dumps(config.to_dict()))),
        Unpacker().unpack(Packer().pack(config)),
        copy.copy(config),
        copy.deepcopy(config),
    ):
        assert back == config
        assert key(back) == key(config)


@pytest.mark.parametrize(
    "member",
    [*Odd, Access.NONE, Access.READ, Access.ALL, Access.MOST, Access.READ | Access.MOST]
    + [Loosely(bits) for bits in (0, 6, 7, 8, 9)]
    + [Perm(0), Perm.READ | Perm.RUN, Color.CRIMSON, ~Perm.READ],
    ids=repr,
)
def test_p2_every_declared_member_and_combination_is_the_same_one_everywhere(member: Any) -> None:
    config = Holder(value=[member])
    for back in (
        pickle.loads(pickle.dumps(config)),
        Holder.from_dict(json.loads(json.dumps(config.to_dict()))),
        Unpacker().unpack(Packer().pack(config)),
        copy.deepcopy(config),
        Holder(value=loads(dumps([member]))),
    ):
        assert back.furu_hash == config.furu_hash
        assert back.value[0] is member


@given(values)
@examples(300)
def test_to_python_evaluates_to_an_equal_config(value: Any) -> None:
    config = Holder(value=value)
    text = python_text(config)
    namespace: dict[str, Any] = {}
    exec("\n".join(text.imports), namespace)
    back = eval(text.expression, namespace)
    assert back == config
    assert key(back) == key(config)


@pytest.mark.parametrize(
    "group",
    [
        [pathlib.Path("a"), "a", b"a", pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), Name("a"), bytearray(b"a"), np.str_("a")],
        [[1], (1,), {1}, frozenset({1}), {1: 1}, range(1), np.array([1])],
        [1, True, 1.0, 1 + 0j, "1", np.int64(1), np.int32(1), np.float64(1), Level.LOW, Count(1), decimal.Decimal(1), fractions.Fraction(1)],
        [0, 0.0, -0.0, False, None, "", b"", (), [], {}, set()],
        [[1, [2]], [[1], 2], [[1, 2]], [1, 2], [[1], [2]]],
        [["ab", "c"], ["a", "bc"], ["abc", ""], ["abc"]],
        [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": {"b": 1}}, [["a", 1], ["b", 2]]],
        [Color.RED, Color.BLUE, "RED", 1, Level.LOW],
        [Point(1, 2), Pair(1, 2), (1, 2), Options(1, 2), Point3(1, 2), {"x": 1, "y": 2}],
        [Holder(value=1), Other(value=1), Holder(value=Holder(value=1)), Holder().furu_hash],
        [decimal.Decimal("1.0"), decimal.Decimal("1.00"), 1.0],
        [np.zeros(2), np.zeros(2, "f4"), np.zeros((2, 1)), np.array([0.0, -0.0]), [0.0, 0.0]],
        [dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, fold=1), "2024-01-01"],  # noqa: DTZ001
        [Color, "Color", Color.RED, Level],
    ],
    ids=lambda group: type(group[0]).__name__ + "...",
)  # fmt: skip
def test_p2_values_that_look_alike_have_different_hashes(group: list[Any]) -> None:
    hashes = [Holder(value=value).furu_hash for value in group]
    assert len(set(hashes)) == len(group)


def test_p2_nan_equals_nan_and_minus_zero_is_not_zero() -> None:
    assert Holder(value=math.nan) == Holder(value=-math.nan)
    quiet = np.frombuffer(b"\x01\x00\x00\x00\x00\x00\xf8\x7f", "f8")
    assert Holder(value=quiet) == Holder(value=np.array([math.nan]))
    assert Holder(value=quiet[0]) == Holder(value=np.float64(math.nan))
    assert Holder(value=[-0.0]) != Holder(value=[0.0])


def test_p2_the_layout_of_an_array_in_memory_changes_no_hash() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert Holder(value=np.asfortranarray(array)) == Holder(value=array)
    assert Holder(value=np.arange(12.0).reshape(2, 6)[:, ::2]) == Holder(
        value=np.arange(12.0).reshape(2, 6)[:, ::2].copy()
    )


def padded(filling: int) -> Any:
    """Equal arrays whose bytes between the fields are these."""
    array = np.frombuffer(
        bytearray([filling] * 32), np.dtype([("a", "i1"), ("b", "f8")], align=True)
    )
    array["a"], array["b"] = 1, math.nan
    return array


def other_nan(kind: str) -> Any:
    array = np.array([math.nan], kind)
    array.view(np.uint8)[0 if array.dtype.byteorder != ">" else -1] |= 1
    return array


EQUAL = {
    "padding": lambda: (padded(0), padded(255)),
    "padding of an item": lambda: (padded(0)[0], padded(255)[0]),
    "NaN in a field": lambda: [
        np.array([(1, nan)], [("a", "i4"), ("b", "f8")])
        for nan in (math.nan, other_nan("f8")[0])
    ],
    "NaN in a field of arrays": lambda: [
        np.array([((nan, 1),)], [("a", "c16", (2,))]) for nan in (math.nan, other_nan("f8")[0])
    ],
    "NaN of big-endian": lambda: (np.array([math.nan], ">f8"), other_nan(">f8")),
    "NaN of big-endian complex": lambda: (
        np.array([math.nan, 1j], ">c16"), np.array([other_nan("f8")[0], 1j], ">c16"),
    ),
    "NaN of half": lambda: (np.array([math.nan], "f2"), other_nan("f2")),
    "true": lambda: (np.array([True, False]), np.frombuffer(b"\x02\0", "?")),
    "alignment without padding": lambda: [
        np.dtype([("a", "i4"), ("b", "i4")], align=align) for align in (True, False)
    ],
    "records": lambda: (np.zeros(2, [("a", "i4")]), np.rec.array(np.zeros(2, [("a", "i4")])).view(np.ndarray)),
    "layout in memory": lambda: (padded(0), np.repeat(padded(7), 2)[::2]),
}  # fmt: skip


@pytest.mark.parametrize("pair", EQUAL.values(), ids=EQUAL)
def test_p2_equal_arrays_have_one_hash_whatever_their_bytes(pair: Any) -> None:
    first, second = (Holder(value=value) for value in pair())
    assert first == second
    assert Holder.from_dict(second.to_dict()) == first


IN_ODD_PLACES = np.dtype(
    {"names": ["a", "b"], "formats": ["i4", ">f8"], "offsets": [8, 0], "itemsize": 20}
)
OVERLAPPING = np.dtype({"names": ["all", "low"], "formats": ["i4", "i1"], "offsets": [0, 0]})
TITLED = np.dtype([(("a title", "a"), "i4"), ("b", [("c", ">U2"), ("d", "?", (2, 1))])])
DTYPES = [
    *(np.dtype(text) for text in ("i4", ">i4", ">f8", ">c16", ">c8", ">f2", ">U3", ">M8[s]", ">m8[D]", "S2", "V4", "?", "u1")),
    IN_ODD_PLACES, OVERLAPPING, TITLED,
    np.dtype([("a", "i1"), ("b", IN_ODD_PLACES)], align=True),
    np.dtype([("a", "i1"), ("b", ">f8")], align=True),
    np.dtype((np.record, [("a", "i4"), ("b", "c16")])),
    np.dtype([("x", "i4", (2, 3)), ("y", TITLED, (1,))]),
    np.dtype(("i4", (2,))), np.dtype((TITLED, (2, 1))), np.dtype([]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("hold", "held"),
    [
        (lambda value: value, lambda back: back),
        (lambda value: {"x": [value]}, lambda back: back["x"][0]),
        (Plain3, lambda back: back.x),
        (lambda value: Holder(value=value), lambda back: back.value),
    ],
    ids=["itself", "in a dict", "in an attrs class", "in a nested config"],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_p2_values_of_every_dtype_keep_hash_and_dtype_on_every_way(
    dtype: Any, hold: Any, held: Any
) -> None:
    array = np.zeros(2, dtype) if dtype.names == () else np.ones(2, dtype)
    for value in (array, array[:1].T, array[1], dtype):
        config = Holder(value=hold(value))
        for way, back in {
            **{f"pickle {n}": pickle.loads(pickle.dumps(config, n)) for n in (4, 5)},
            "dict": Holder.from_dict(json.loads(json.dumps(config.to_dict()))),
            "packer": Unpacker().unpack(Packer().pack(config)),
            "copy": copy.deepcopy(config),
        }.items():
            assert back.furu_hash == config.furu_hash, way
            found = held(back.value)
            assert repr(found) == repr(value), way
            assert repr(getattr(found, "dtype", "")) == repr(getattr(value, "dtype", "")), way


def test_p2_dtypes_that_differ_have_different_hashes() -> None:
    alike = [*DTYPES, np.dtype("V8"), np.dtype([("a", "V8")]), np.dtype([("a", "i4", (2,))]), np.dtype([("a", "i4")]), "<i4"]  # fmt: skip
    assert len({Holder(value=dtype).furu_hash for dtype in alike}) == len(alike)
    ones = [np.ones(2, dtype) for dtype in DTYPES if not dtype.subdtype]
    assert len({Holder(value=array).furu_hash for array in ones}) == len(ones)
    assert Holder(value=np.array([(1,)], OVERLAPPING[["low"]])) != Holder(
        value=np.array([(2,)], OVERLAPPING[["low"]])
    )


class Broken:
    pass


REFUSED = {
    "lambda": (lambda: 0, "is a function"),
    "function": (test_p2_nan_equals_nan_and_minus_zero_is_not_zero, "is a function"),
    "builtin": (len, "is a function"),
    "generator": ((i for i in range(3)), "list or a tuple"),
    "iterator": (iter([1]), "list or a tuple"),
    "module": (math, "give its name"),
    "object": (Broken(), "Broken"),
    "defaultdict": (defaultdict(list), "plain dict"),
    "counter": (Counter("a"), "plain dict"),
    "frame": (pd.DataFrame({"a": [1]}), "another Furu object"),
    "object array": (np.array([None]), "dtype"),
    "long double": (np.longdouble(1), "differs between machines"),
    "masked": (np.ma.array([1]), "plain array"),
    "memoryview": (memoryview(b"a"), "memoryview"),
    "random": (random.Random(1), "Random"),
    "unknown member": (
        Status(418),
        "is UNKNOWN_418 of Status, which is not the member of that name",
    ),
    "member of a taken name": (Status(201), "is OK of Status, which is not the member"),
    "nameless member": (Status(202), "declare it in Status, or give its value"),
}


@pytest.mark.parametrize(("value", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_value_is_named_with_its_place_and_what_to_do(value: Any, what: str) -> None:
    with pytest.raises(FuruValueError) as caught:
        _ = Holder(value={"x": [1, 2, (0, value)]}).furu_hash
    assert str(caught.value).startswith("Holder.value['x'][2][1] ")
    assert what in str(caught.value)
    with pytest.raises(NotExact):
        to_json([value])


def test_a_refused_value_in_a_dataclass_or_a_nested_config_is_named() -> None:
    with pytest.raises(FuruValueError, match=r"Holder\.value\.a\[0\] is a function"):
        _ = Holder(value=Loose([len])).furu_hash
    with pytest.raises(FuruValueError, match=r"Other\.value is a function"):
        _ = Holder(value=[Other(value=len)]).furu_hash


def test_an_open_file_is_refused(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "f", "w") as file, pytest.raises(FuruValueError, match=r"Holder\.value"):
        _ = Holder(value=file).furu_hash


def test_a_list_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(FuruValueError, match="contains itself"):
        _ = Holder(value=loop).furu_hash
    with pytest.raises(NotExact):
        to_json(loop)


def test_containers_may_be_deep_but_not_without_bound() -> None:
    deep: Any = 0
    for _ in range(90):
        deep = [deep]
    assert loads(dumps(deep)) == deep
    assert Holder(value=deep).furu_hash
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(FuruValueError, match="100 levels"):
        _ = Holder(value=deep).furu_hash


def test_a_config_that_contains_itself_is_refused() -> None:
    inside: list[Any] = []
    config = Holder(value=inside)
    inside.append(Other(value=config))
    with pytest.raises(FuruValueError, match="contains itself"):
        _ = config.furu_hash


def test_plain_json_stays_plain() -> None:
    plain = {"a": [1, 2.5, None, True, "x"], "b": {"c": []}, "d": -0.0}
    assert to_json(plain) == plain
    assert math.copysign(1, loads(dumps(-0.0))) == -1


def test_objects_with_more_than_their_fields_are_no_exact_json() -> None:
    loose = Loose(1)
    loose.cached = 2  # type: ignore[attr-defined]
    with pytest.raises(NotExact, match="more than its declared fields"):
        to_json(loose)
    assert Holder(value=loose) == Holder(value=Loose(1))


def test_a_leaf_hook_takes_values_and_gives_them_back() -> None:
    kept: list[Any] = []

    def out(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            kept.append(value)
            return {"$npy": len(kept) - 1}
        return NotImplemented

    written = to_json({"a": np.arange(2), "b": (1, np.arange(3))}, default=out)
    assert written == {"a": {"$npy": 0}, "b": {"$tuple": [1, {"$npy": 1}]}}
    back = from_json(
        written, object_hook=lambda tag, payload: kept[payload] if tag == "npy" else NotImplemented
    )
    assert back["b"][1] is kept[1]
    with pytest.raises(FuruValueError, match=r"unknown tag \$npy"):
        from_json(written)


def test_a_malformed_tag_is_an_error_of_ours() -> None:
    with pytest.raises(FuruValueError, match="malformed"):
        from_json({"$enum": ["tests.test_values:Color", "GREEN"]})
    with pytest.raises(FuruValueError, match="malformed"):
        from_json({"$uuid": 3})
    assert uuid.UUID(int=1) == from_json(to_json(uuid.UUID(int=1)))


@pytest.mark.parametrize(
    "text",
    [
        '{"$namedtuple": ["subprocess:Popen", {"args": ["touch", "FILE"]}]}',
        '{"$flag": ["subprocess:Popen", [["touch", "FILE"]]]}',
        '{"$enum": ["subprocess:Popen", "args"]}',
        '{"$subclass": ["subprocess:Popen", "args"]}',
        '{"$dataclass": ["subprocess:Popen", {"args": "x"}]}',
        '{"$attrs": ["subprocess:Popen", {"args": "x"}]}',
        '{"$dataclass": ["fractions:Fraction", {}]}',
    ],
)
def test_what_is_read_calls_no_class_but_those_of_values(tmp_path: pathlib.Path, text: str) -> None:
    """A result of plain JSON is loaded from anybody, so a tag in it must not run what it names."""
    file = tmp_path / "made"
    with pytest.raises(FuruValueError, match="malformed"):
        loads(text.replace("FILE", str(file)))
    assert not file.exists()


@dataclasses.dataclass
class Guarded:
    """A dataclass with a property that does something."""

    number: int = 0

    @property
    def log(self) -> str:
        return ""

    @log.setter
    def log(self, path: str) -> None:
        pathlib.Path(path).write_text("made")


class Opening(NamedTuple("Opening", [("path", str), ("size", int)])):
    """A named tuple that does something when it is made."""

    def __new__(cls, path: str, size: int = 0) -> Opening:  # noqa: PYI034 - 3.10 has no Self
        pathlib.Path(path).touch()
        return super().__new__(cls, path, size)


@pytest.mark.parametrize(
    "text",
    [
        '{"$dataclass": ["HERE:Guarded", {"__class__": {"$class": "tempfile:_TemporaryFileCloser"}}]}',
        '{"$dataclass": ["HERE:Guarded", {"__dict__": {"name": "FILE"}}]}',
        '{"$dataclass": ["HERE:Guarded", {"log": "FILE"}]}',
        '{"$namedtuple": ["HERE:Opening", {"path": "FILE", "sizes": 1}]}',
    ],
)
def test_what_is_read_sets_no_more_than_fields(tmp_path: pathlib.Path, text: str) -> None:
    """An object whose class was set could be of any class, and what that does when it is freed would be done."""
    file = tmp_path / "made"
    for cls in (Guarded, Opening):
        text = text.replace(f"HERE:{cls.__name__}", reference(cls))
    with pytest.raises(FuruValueError, match=r"malformed.*field"):
        loads(text.replace("HERE:Guarded", reference(Guarded)).replace("FILE", str(file)))
    assert not file.exists()


def test_what_is_read_may_have_a_field_more_that_is_gone_since(tmp_path: pathlib.Path) -> None:
    assert (
        loads(
            '{"$dataclass": ["HERE:Guarded", {"number": 1, "old": 2}]}'.replace(
                "HERE:Guarded", reference(Guarded)
            )
        ).number
        == 1
    )
    file = tmp_path / "made"
    text = f'{{"$namedtuple": ["{reference(Opening)}", {{"path": "{file}", "size": 2}}]}}'
    assert tuple(loads(text)) == (str(file), 2)
    assert not file.exists()


def test_a_class_of_a_script_that_exits_is_an_error_and_no_exit(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script_that_exits.py").write_text("import sys; sys.exit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FuruImportNameError, match="importing script_that_exits raised SystemExit"):
        loads('{"$dataclass": ["script_that_exits:A", {}]}')
