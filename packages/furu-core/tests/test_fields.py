"""P2: a value fits its field's annotation when the object is made, after a lossless conversion at most."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import math
import numbers
import os
import pickle
import sys
import tempfile
import types
import typing
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furu_core import Furu, field
from furu_core._config._objects import config_class
from furu_core._forms._graph_file import GraphReader, GraphWriter
from furu_core._forms._pack import Packer, Unpacker
from furu_core.errors import FuruValueError

if TYPE_CHECKING:
    from elsewhere import Missing

TIMES = 1.0 if os.environ.get("TEST_THOROUGH") else 0.2

T = TypeVar("T")
Bound = TypeVar("Bound", bound=float)
Rate = NewType("Rate", float)
Json = Union[dict[str, "Json"], list["Json"], float, str, None]  # noqa: UP007 - text has no `|`
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Opt(enum.Enum):
    ADAM = "adam"
    SGD = "sgd"


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: int


class Named(Protocol):
    name: str


class Options(TypedDict):
    lr: float
    momentum: NotRequired[float]


class Tree(TypedDict):
    size: float
    below: list[Tree]


@dataclasses.dataclass(frozen=True)
class Schedule:
    warmup: int = 0
    rate: float = 0.1


class Split(Furu[int]):
    seed: int = 0


class OtherSplit(Split):
    pass


class Fields(Furu[int]):
    anything: Any = None
    variable: T = None  # type: ignore[valid-type]
    hidden: Missing = None
    later: Later | None = None
    protocol: Named = None  # type: ignore[assignment]
    flag: bool = False
    whole: int = 0
    real: float = 0
    both: complex = 0
    text: str = ""
    data: bytes = b""
    nothing: None = None
    optional: float | None = None
    old: Optional[float] = None  # noqa: UP045
    union: Union[float, str] = "x"  # noqa: UP007
    either: int | float = 0
    reverse: float | int = 0
    auto: Literal["auto", 1] = "auto"
    auto_or: float | Literal["auto"] = 0
    opt: Opt = Opt.ADAM
    path: Path = Path()
    when: dt.date = dt.date(2026, 1, 1)
    items: list[float] = field(factory=list)
    many: tuple[float, ...] = ()
    pair: tuple[int, float] = (0, 0)
    bare: tuple = ()  # type: ignore[type-arg]
    point: Point = Point(0, 0)
    sequence: Sequence[float] = ()
    texts: Sequence[str] = ()
    iterable: Iterable[int] = ()
    group: frozenset[float] = frozenset()
    table: dict[str, float] = field(factory=dict)
    nested: dict[str, list[float | None]] = field(factory=dict)
    mapping: Mapping[float, int] = field(factory=dict)
    typed: Options = field(factory=lambda: {"lr": 0.1})
    tree: Tree = field(factory=lambda: {"size": 0.1, "below": []})
    noted: Annotated[float, "unit"] = 0
    rate: Rate = Rate(0)
    bound: Bound = 0  # type: ignore[valid-type]
    ambiguous: list[int] | list[float] = field(factory=list)
    maybe_list: float | list[float] = 0
    json: Json = None
    split: Split = Split()
    splits: tuple[Split, ...] = ()
    generic: Furu[int] = Split()
    kind: type[Split] = Split
    schedule: Schedule = Schedule()
    array: npt.NDArray[np.float64] = field(factory=lambda: np.zeros(1))
    scalar: np.float64 = np.float64(0)
    call: Callable[[int], int] = int


class Later(Furu[int]):
    number: int = 0


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("anything", [1], [1]),
        ("variable", (1,), (1,)),
        ("hidden", (1,), (1,)),
        ("later", Later(), Later()),
        ("protocol", 3, 3),
        ("flag", np.bool_(True), True),
        ("whole", np.int64(1), 1),
        ("whole", np.uint8(1), 1),
        ("whole", Level.LOW, Level.LOW),
        ("real", 1, 1.0),
        ("real", -0, 0.0),
        ("real", np.int64(1), 1.0),
        ("real", np.float64(0.1), 0.1),
        ("real", np.float32(0.1), 0.10000000149011612),
        ("real", np.float64("nan"), math.nan),
        ("real", np.longdouble(0.5), 0.5),
        ("real", 2**60, 2.0**60),
        ("both", 1, 1 + 0j),
        ("both", np.complex64(1j), 1j),
        ("text", np.str_("a"), "a"),
        ("data", np.bytes_(b"a"), b"a"),
        ("optional", 1, 1.0),
        ("optional", None, None),
        ("old", 1, 1.0),
        ("union", 1, 1.0),
        ("either", 1, 1),
        ("either", np.int64(1), 1),
        ("reverse", np.int64(1), 1),
        ("reverse", np.float32(1), 1.0),
        ("auto", np.str_("auto"), "auto"),
        ("auto", np.int64(1), 1),
        ("auto_or", 1, 1.0),
        ("auto_or", "auto", "auto"),
        ("when", NOW, NOW),  # a datetime is a date
        ("items", [1, 2.5], [1.0, 2.5]),
        ("items", (1, 2), [1.0, 2.0]),
        ("many", [1, np.float64(2)], (1.0, 2.0)),
        ("pair", [1, 2], (1, 2.0)),
        ("pair", Point(1, 2), Point(1, 2.0)),  # type: ignore[arg-type]
        ("bare", [1], (1,)),
        ("sequence", [1], [1.0]),
        ("sequence", (1,), (1.0,)),
        ("sequence", range(2), (0.0, 1.0)),
        ("iterable", range(2), range(2)),
        ("iterable", {1}, {1}),
        ("group", {1}, frozenset({1.0})),
        ("table", {"a": 1}, {"a": 1.0}),
        ("table", OrderedDict(a=1), OrderedDict(a=1.0)),
        ("nested", {"a": (1, None)}, {"a": [1.0, None]}),
        ("mapping", {1: np.int8(1)}, {1.0: 1}),
        ("typed", {"lr": 1, "momentum": 0}, {"lr": 1.0, "momentum": 0.0}),
        (
            "tree",
            {"size": 1, "below": ({"size": 2, "below": []},)},
            {"size": 1.0, "below": [{"size": 2.0, "below": []}]},
        ),
        ("noted", 1, 1.0),
        ("rate", 1, 1.0),
        ("bound", 1, 1.0),
        ("ambiguous", [1], [1]),
        ("ambiguous", [1, 2.5], [1.0, 2.5]),
        ("maybe_list", 1, 1.0),
        ("maybe_list", [1], [1.0]),
        ("json", {"a": [1, {"b": (2,)}]}, {"a": [1.0, {"b": [2.0]}]}),
        ("split", OtherSplit(), OtherSplit()),
        ("splits", [Split()], (Split(),)),
        ("generic", Later(), Later()),
        ("kind", OtherSplit, OtherSplit),
        ("schedule", Schedule(rate=1), Schedule(rate=1)),  # its own fields are the dataclass's
        ("call", float, float),
    ],
)
def test_p2_a_value_that_fits_after_a_lossless_conversion_is_converted(
    name: str, given: Any, kept: Any
) -> None:
    value = getattr(Fields(**{name: given}), name)
    assert (type(value), repr(value)) == (type(kept), repr(kept))


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("flag", 1, "Fields.flag is 1 (int), expected bool"),
        ("whole", "hello", "Fields.whole is 'hello' (str), expected int"),
        ("whole", True, "Fields.whole is True (bool), expected int; write 1"),
        ("whole", None, "is None, expected int; give one, or annotate the field with `int | None`"),
        ("whole", 1.0, "is 1.0 (float), expected int"),
        ("whole", np.float64(1), "expected int"),
        ("whole", np.timedelta64(1, "s"), "expected int"),
        ("whole", np.array(1), "expected int; write .item()"),
        ("real", True, "is True (bool), expected float"),
        ("real", np.bool_(True), "expected float"),
        ("real", "1", "is '1' (str), expected float"),
        ("real", decimal.Decimal(1), "expected float"),
        ("real", 2**53 + 1, "is 0x20000000000001, which no float equals, expected float; write"),
        ("real", np.int64(2**53 + 1), "which no float equals"),
        ("real", 10**400, "which no float equals"),
        ("both", True, "expected complex"),
        ("text", Path("a"), "expected str"),
        ("text", b"a", "expected str"),
        ("data", bytearray(b"a"), "expected bytes"),
        ("nothing", 0, "is 0 (int), expected None"),
        ("optional", "x", "expected float | None"),
        ("old", "x", "expected Optional[float]"),
        ("auto", "manual", "is 'manual' (str), expected Literal['auto', 1]"),
        ("auto", True, "expected Literal['auto', 1]"),
        ("auto", ["auto"], "expected Literal['auto', 1]"),
        ("opt", "adam", "is 'adam' (str), expected Opt; write Opt.ADAM"),
        ("opt", "other", "expected Opt; write Opt.ADAM or Opt.SGD"),
        ("path", "a", "is 'a' (str), expected Path; write Path('a')"),
        ("when", "2026-01-01", "expected dt.date"),
        ("items", [1, "x"], "Fields.items[1] is 'x' (str), expected float"),
        ("items", {1.0}, "expected list[float]; give its items an order"),
        (
            "items",
            np.zeros(2),
            "expected list[float]; write .item() behind a single value, .tolist()",
        ),
        ("items", deque([1.0]), "expected list[float]"),
        ("items", range(2), "expected list[float]"),
        ("items", (x for x in ()), "expected list[float]"),
        ("many", (True,), "Fields.many[0] is True (bool), expected float"),
        ("many", "ab", "expected tuple[float, ...]"),
        ("pair", (1, 2, 3), "is (1, 2, 3) (3 long instead of 2), expected tuple[int, float]"),
        ("texts", "ab", "expected Sequence[str]; write ['ab'] for one item"),
        ("point", (1, 2), "expected Point"),
        ("table", {1: 1.0}, "Fields.table key 1 is 1 (int), expected str"),
        ("table", {"a": "x"}, "Fields.table['a'] is 'x' (str), expected float"),
        ("table", [("a", 1.0)], "expected dict[str, float]"),
        ("nested", {"a": [1, "x"]}, "Fields.nested['a'][1] is 'x' (str), expected float | None"),
        ("typed", {"momentum": 1.0}, "(it lacks 'lr'), expected Options"),
        ("typed", {"lr": 1.0, "x": 1}, "(it has 'x'), expected Options"),
        ("typed", {"lr": "x"}, "Fields.typed['lr'] is 'x' (str), expected float"),
        (
            "tree",
            {"size": 1, "below": [{"size": "x", "below": []}]},
            "Fields.tree['below'][0]['size'] is 'x' (str), expected float",
        ),
        ("maybe_list", ["x"], "Fields.maybe_list[0] is 'x' (str), expected float"),
        ("json", {"a": [Path()]}, "Fields.json['a'][0] is"),
        ("later", Split(), "expected Later | None"),
        ("split", Later(), "expected Split"),
        ("split", Split, "expected Split; make an object of it: Split(...)"),
        ("splits", (Split(), Later()), "Fields.splits[1] is"),
        ("generic", 3, "expected Furu[int]"),
        ("kind", Split(), "expected type[Split]"),
        ("kind", Later, "expected type[Split]"),
        ("schedule", {"warmup": 1}, "expected Schedule"),
        ("array", np.zeros(1, int), "is an array of int64, expected"),
        ("array", [0.0], "expected"),
        ("scalar", 0.0, "expected np.float64"),
        ("call", 3, "expected Callable"),
    ],
)
def test_p2_any_other_value_is_an_error_that_names_class_field_expected_and_got(
    name: str, given: Any, says: str
) -> None:
    with pytest.raises(FuruValueError) as caught:
        Fields(**{name: given})
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"Fields.{name}")
    assert caught.value.hint


def test_a_value_that_needs_no_conversion_is_kept_itself() -> None:
    items, table = [1.0, 2.0], {"a": [None]}
    made = Fields(items=items, nested=table)
    assert made.items is items
    assert made.nested is table


def test_p2_defaults_factories_converters_and_inherited_fields_are_checked_too() -> None:
    class Base(Furu[int]):
        rate: float = 1
        sizes: tuple[int, ...] = field(factory=lambda: [1, 2])  # type: ignore[assignment,arg-type,return-value]
        count: int = field(default="3", converter=int)
        excluded: float = field(default=0, exclude_from_hash=True)

    class Wrong(Base):
        count: int = "three"  # type: ignore[assignment]

    base = Base()
    assert (repr(base.rate), base.sizes, base.count) == ("1.0", (1, 2), 3)
    with pytest.raises(FuruValueError, match=r"Wrong\.count is 'three' \(str\), expected int"):
        Wrong()
    with pytest.raises(FuruValueError, match=r"Base\.rate is 'x'"):
        Wrong(count=1, rate="x")  # type: ignore[arg-type]
    with pytest.raises(FuruValueError, match=r"Base\.excluded is 'x'"):
        Base(excluded="x")  # type: ignore[arg-type]


def test_p2_fields_of_an_attrs_class_that_is_mixed_in_are_fields_like_the_others() -> None:
    @attrs.define(slots=False)
    class Mixin:
        rate: float = 1
        sizes: tuple[int, ...] = ()

    class Mixed(Furu[int], Mixin):
        sizes: tuple[int, ...] = (1,)

    class Below(Mixed):
        count: int = 0

    below = Below(sizes=[2])  # type: ignore[arg-type]
    assert (repr(below.rate), below.sizes, below.count) == ("1.0", (2,), 0)
    with pytest.raises(FuruValueError, match=r"Mixin\.rate is 'x' \(str\), expected float"):
        Below(rate="x")  # type: ignore[arg-type]


def test_p2_what_is_made_from_a_record_is_checked_like_what_is_constructed() -> None:
    record = Split(seed=7).to_dict()
    record["nodes"][record["root"]]["fields"]["seed"] = "seven"
    with pytest.raises(FuruValueError, match=r"Split\.seed is 'seven' \(str\), expected int"):
        Furu.from_dict(record)


def test_p2_an_annotation_is_read_again_when_its_module_has_grown() -> None:
    """Modules that import each other make objects before all names are there."""
    module = types.ModuleType("growing")
    sys.modules["growing"] = module
    text = "from furu_core import Furu\nclass Early(Furu[int]):\n    rate: 'Rate' = 1\n"
    try:
        exec(text, vars(module))
        assert repr(module.Early().rate) == "1"
        exec("Rate = float", vars(module))
        assert repr(module.Early().rate) == "1.0"
    finally:
        del sys.modules["growing"]


def test_p2_names_are_those_of_the_globals_that_hold_the_class_whatever_stands_in_sys_modules() -> (
    None
):
    """A profiler's `__main__` is another module than that of the script it executes."""
    text = "from furu_core import Furu\nRate = float\nclass J(Furu[int]):\n    rate: 'Rate' = 1\n"
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": __file__}
    exec(text, namespace)
    assert repr(namespace["J"]().rate) == "1.0"


def test_an_object_of_a_class_that_was_loaded_again_still_fits() -> None:
    """After `importlib.reload`, other modules' annotations mean the class of before."""
    module = types.ModuleType("reloaded")
    sys.modules["reloaded"] = module
    text = "import enum\nclass Mode(enum.Enum):\n    FAST = 1\n"
    try:
        exec(text, vars(module))

        def make() -> Any:
            return type("Uses", (Furu,), {"__annotations__": {"mode": before}})

        before = module.Mode
        uses = make()
        exec(text, vars(module))
        assert module.Mode is not before
        assert uses(mode=module.Mode.FAST).mode is module.Mode.FAST
    finally:
        del sys.modules["reloaded"]


@pytest.mark.parametrize(
    ("annotation", "fitting", "misfit"),
    [
        (npt.ArrayLike, [1], None),
        (np.dtype, np.dtype("f4"), "f4"),
        (np.floating, np.float32(1), 1.0),
        (numbers.Real, 0.1, "0.1"),
        (os.PathLike | str, Path("a"), 1),
        (typing.Hashable, 1, [1]),
        (typing.Type, int, 1),  # noqa: UP006
        (type[Any], int, 1),
        (type[int | str], str, float),
        (typing.List[int], (1,), 1),  # noqa: UP006
        (typing.Optional["Later"], None, 3),
        (typing.SupportsFloat, "x", None),
        (typing.Final[int], 1, "1"),
        (typing.NoReturn, 3, None),
        (typing.Collection[str], ("a",), "a"),
        (tuple[()], (), (1,)),
        (tuple[int, *tuple[str, ...]], (1, "a", "b"), "ab"),
        (tuple[int, typing.Unpack[tuple[str, ...]]], (1, "a", "b"), "ab"),  # noqa: UP044
        ("undefined.Thing[int, 'a'] | None", 3, None),
        ("tuple[*undefined]", 3, None),
        ("Literal[undefined.A]", 3, None),
        ("not python", 3, None),
        (3, 4, None),
    ],
)
def test_p2_annotations_of_any_kind_are_read_and_what_furu_cannot_judge_takes_any_value(
    annotation: Any, fitting: Any, misfit: Any
) -> None:
    fit = _Cases.field(annotation)
    fit(fitting)
    if misfit is not None:
        with pytest.raises(FuruValueError, match="expected"):
            fit(misfit)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="bounds are evaluated at once")
def test_p2_a_type_variable_whose_bound_cannot_be_resolved_takes_any_value() -> None:
    module = types.ModuleType("bounded")
    sys.modules["bounded"] = module
    text = "from furu_core import Furu\nclass Bounded[T: Later](Furu[int]):\n    value: T = 1\n"
    try:
        exec(text, vars(module))
        assert module.Bounded(value="x").value == "x"
        exec("Later = float", vars(module))
        assert repr(module.Bounded().value) == "1.0"
    finally:
        del sys.modules["bounded"]


# ---- what the constructor does beside ----


class Derived(Furu[int]):
    sizes: tuple[int, ...] = (1, 2)
    names: tuple[str, ...] = ()
    part: Split = Split()

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.sizes))
        object.__setattr__(self, "names", sorted(self.names))


class Doubling(Furu[int]):
    size: int = 1

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "size", self.size * 2)


class Misfitting(Furu[int]):
    size: int = 1

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "size", "two")


class Here(Furu[int]):
    there: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        if not type(self).there:
            raise FileNotFoundError("table.csv")


def _by_graph_file(obj: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.jsonl"
        with GraphWriter(path) as writer:
            place = writer.add(obj)
        reader = GraphReader(path)
        try:
            return reader.read(place)
        finally:
            reader.close()


WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda obj: pickle.loads(pickle.dumps(obj)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "dict": lambda obj: Furu.from_dict(obj.to_dict()),
    "message to a worker": lambda obj: Unpacker().unpack(Packer().pack(obj)),
    "graph file": _by_graph_file,
    "evolve": attrs.evolve,
}


@pytest.mark.parametrize("way", WAYS)
def test_p2_what_post_init_derives_is_there_however_the_object_was_made(way: str) -> None:
    obj = Derived(names=["b", "a"])  # type: ignore[arg-type]
    made = WAYS[way](obj)
    assert made.total == obj.total == 3  # type: ignore[attr-defined]
    assert made.names == obj.names == ("a", "b")
    assert made == obj


@pytest.mark.parametrize("way", [way for way in WAYS if way != "evolve"])
def test_p2_a_post_init_that_makes_other_values_of_its_own_is_an_error(way: str) -> None:
    assert Doubling(size=2).size == 4
    with pytest.raises(
        FuruValueError, match=r"Doubling\.__attrs_post_init__ made 8 of 4, .* 'size'"
    ):
        WAYS[way](Doubling(size=2))


def test_p2_what_post_init_puts_into_fields_fits_their_annotations() -> None:
    with pytest.raises(FuruValueError, match=r"Misfitting\.size is 'two' \(str\), expected int"):
        Misfitting()


def test_a_post_init_that_raises_elsewhere_says_that_it_is_called_there() -> None:
    here = Here()
    Here.there = False
    try:
        with pytest.raises(FuruValueError, match="raised FileNotFoundError when an equal object"):
            Furu.from_dict(here.to_dict())
    finally:
        Here.there = True


# ---- any annotation ----

Case = tuple[Any, Any, Any]  # an annotation, a value that fits it, and what it is kept as


def _scalars() -> st.SearchStrategy[Case]:
    small = st.integers(-100, 100)
    return st.one_of(
        small.map(lambda i: (int, i, i)),
        small.map(lambda i: (int, np.int32(i), i)),
        small.map(lambda i: (float, i, float(i))),
        st.floats().map(lambda f: (float, f, f)),
        st.floats(width=32).map(lambda f: (float, np.float32(f), f)),
        st.booleans().map(lambda b: (bool, np.bool_(b), b)),
        st.text(max_size=3).map(lambda t: (str, t, t)),
        st.sampled_from(Opt).map(lambda o: (Opt, o, o)),
        st.sampled_from(["a", "b"]).map(lambda t: (Literal["a", "b"], t, t)),
        small.map(lambda i: (Split, Split(seed=i), Split(seed=i))),
        st.just((None, None, None)),
    )


def _holding(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    twins = st.sampled_from([(list, list), (list, tuple), (tuple, list), (tuple, tuple)])
    return st.one_of(
        st.tuples(inner, twins).map(
            lambda c: (
                list[c[0][0]] if c[1][0] is list else tuple[c[0][0], ...],  # type: ignore[misc,name-defined]
                c[1][1]([c[0][1]] * 2),
                c[1][0]([c[0][2]] * 2),
            )
        ),
        st.tuples(inner, inner, twins).map(
            lambda c: (tuple[c[0][0], c[1][0]], c[2][1]([c[0][1], c[1][1]]), (c[0][2], c[1][2]))  # type: ignore[misc,name-defined]
        ),
        inner.map(lambda c: (dict[str, c[0]], {"k": c[1]}, {"k": c[2]})),  # type: ignore[misc,name-defined]
        inner.map(lambda c: (Optional[c[0]], c[1], c[2])),  # noqa: UP045 - `None | None` is none
        inner.map(lambda c: (Annotated[c[0], "noted"], c[1], c[2])),
    )


@settings(max_examples=int(500 * TIMES), deadline=None)
@given(st.recursive(_scalars(), _holding, max_leaves=5))
def test_p2_whatever_the_annotation_a_field_keeps_what_it_says_and_keeps_it_for_good(
    case: Case,
) -> None:
    annotation, value, kept = case
    fit = _Cases.field(annotation)
    made = fit(value)
    assert repr(made) == repr(kept)
    assert fit(made) is made
    # Whoever gives the kept value at once has the same hash, and so have all copies.
    node = _Cases(value=made)
    assert node.furu_hash == _Cases(value=kept).furu_hash
    assert Furu.from_dict(node.to_dict()) == node == pickle.loads(pickle.dumps(node))
    # Elsewhere than where it stands no part is a value: an object of a class nobody knows is refused.
    with pytest.raises(FuruValueError, match="expected"):
        fit(_spoilt(value))


class _Cases(Furu[int]):
    value: Any = None

    @staticmethod
    def field(annotation: Any) -> Callable[[Any], Any]:
        cls = type("Local", (Furu,), {"__annotations__": {"value": annotation}})
        return config_class(cls).fields[0].fit


class _Stranger:
    pass


def _spoilt(value: Any) -> Any:
    """The value with a stranger in it, as deep as it goes."""
    if type(value) in (list, tuple):
        return type(value)([*value[:-1], _spoilt(value[-1])])
    return {"k": _spoilt(value["k"])} if type(value) is dict else _Stranger()
