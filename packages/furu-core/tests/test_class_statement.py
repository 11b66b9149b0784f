"""The class statement: what makes a config class, and what is an error that says what to write."""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
import re
import typing as tp
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NewType,
    TypeVar,
)

import attr
import attrs
import numpy as np
import pytest

from furu_core import Furu, field
from furu_core._config._objects import config_class
from furu_core.errors import FuruDefinitionError, FuruFrozen, FuruValueError
from furu_core.planning import spec_key

if TYPE_CHECKING:
    from elsewhere import Missing

T = TypeVar("T")
F = TypeVar("F", bound=float)
Rate = NewType("Rate", float)


class Base(Furu[int]):
    seed: int
    lr: float = 0.1
    KIND: ClassVar[str] = "base"
    LIMIT: tp.ClassVar = 3

    def describe(self) -> str:
        return f"{self.KIND} {self.seed}"

    @property
    def double(self) -> int:
        return 2 * self.seed

    @functools.cached_property
    def slow(self) -> int:
        return 3 * self.seed

    @staticmethod
    def helper() -> int:
        return 1

    class Inner:
        value = 1


class Derived(Base):
    lr: float = 1
    extra: str
    KIND = "derived"


class Later(Furu[int]):
    forward: Undefined | None = None
    hidden: Missing | float | None = None
    quoted: list[Later] = field(factory=list)


class Holding(Furu[int]):
    value: Any = None


class Undefined(Furu[int]):
    number: int = 0


# ---- what works ----


def test_the_signature_tells_the_annotations_of_the_fields() -> None:
    class Told(Base):
        layers: tuple[int, ...] = ()
        read: str = field(default="", converter=str)

        def __attrs_post_init__(self) -> None: ...

    told = {name: p.annotation for name, p in inspect.signature(Told).parameters.items()}
    assert told == {"seed": "int", "lr": "float", "layers": "tuple[int, ...]"} | {
        "read": inspect.Parameter.empty  # a converter takes what it likes
    }


def test_a_subclass_is_a_frozen_keyword_only_class_by_the_statement_alone() -> None:
    base = Base(seed=3)
    assert (base.seed, base.lr, base.describe(), base.double) == (3, 0.1, "base 3", 6)
    with pytest.raises(AttributeError):
        base.seed = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        Base(3)  # type: ignore[misc]
    with pytest.raises(TypeError, match="seed"):
        Base()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown"):
        Base(seed=1, unknown=2)  # type: ignore[call-arg]
    assert [f.name for f in config_class(Base).fields] == ["seed", "lr"]


def test_config_classes_inherit_fields_and_change_defaults() -> None:
    derived = Derived(seed=1, extra="x")
    assert (derived.lr, derived.KIND, derived.describe()) == (1.0, "derived", "derived 1")
    assert type(derived.lr) is float
    assert [f.name for f in config_class(Derived).fields] == ["seed", "lr", "extra"]
    assert isinstance(derived, Base)
    assert derived != Base(seed=1, lr=1.0)


def test_a_required_field_may_follow_one_with_a_default() -> None:
    class Ordered(Furu[int]):
        a: int = 1
        b: int

    assert Ordered(b=2).a == 1


def test_a_cached_property_is_no_field_and_changes_no_hash() -> None:
    base = Base(seed=3)
    before = base.furu_hash
    assert base.slow == 9
    assert Base(seed=3).furu_hash == before
    assert "slow" not in base.to_dict()["nodes"][base.furu_hash]["fields"]


def test_annotations_may_name_what_does_not_exist_yet_or_at_all() -> None:
    later = Later(forward=Undefined(number=1), hidden=2, quoted=[Later()])
    assert later.hidden == 2.0
    assert type(later.hidden) is float
    assert (
        later.furu_hash
        == Later(forward=Undefined(number=1), hidden=2.0, quoted=[Later()]).furu_hash
    )


def test_generic_classes_and_local_type_variables_work() -> None:
    class Boxed(Furu[T], Generic[T]):
        value: Any = None

    class IntBox(Boxed[int]):
        more: int = 1

    U = TypeVar("U")

    class Other(Furu[U]):
        value: int = 2

    assert Boxed[str](value="x").value == "x"
    assert IntBox(value=3).more == 1
    assert Other().value == 2


def test_abstract_bases_may_lack_create() -> None:
    class Abstract(Furu[int], abc.ABC):
        seed: int = 0

        @abc.abstractmethod
        def name(self) -> str: ...

    class Concrete(Abstract):
        def name(self) -> str:
            return "concrete"

    assert Concrete().name() == "concrete"
    with pytest.raises(TypeError, match="abstract"):
        Abstract()  # type: ignore[abstract]


def test_plain_mixins_and_super_work() -> None:
    class Mixin:
        def describe(self) -> str:
            return "mixin"

    class Mixed(Mixin, Base):
        def describe(self) -> str:
            return super().describe() + "!"

    assert Mixed(seed=1).describe() == "mixin!"


def test_validators_converters_and_post_init_work() -> None:
    def positive(obj: object, attribute: attrs.Attribute[int], value: int) -> None:
        if value <= 0:
            raise ValueError(f"{attribute.name} must be positive")

    class Checked(Furu[int]):
        size: int = field(default=1, validator=positive)
        rate: float = field(default="2", converter=int)
        names: tuple[str, ...] = field(default=("a",), converter=tuple)

        def __attrs_post_init__(self) -> None:
            if self.size > 100:
                raise ValueError("too large")

    assert type(Checked().rate) is float
    assert Checked(names=["b"]).names == ("b",)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive"):
        Checked(size=0)
    with pytest.raises(ValueError, match="too large"):
        Checked(size=101)


def test_attrs_fields_work_too() -> None:
    class Checked(Furu[int]):
        size: int = attrs.field(default=1, validator=attrs.validators.ge(1))
        data: list[int] = attrs.field(factory=list)

    assert Checked(data=[1]).data == [1]
    with pytest.raises(ValueError, match="size"):
        Checked(size=0)


def test_the_spec_key_may_be_an_attribute_a_property_or_a_method() -> None:
    class Gpu(Furu[int]):
        _executor_spec_key = "gpu"

    class Sized(Furu[int]):
        size: int = 1

        @property
        def _executor_spec_key(self) -> str:
            return "large" if self.size > 1 else "small"

    class Asked(Sized):
        def _executor_spec_key(self) -> str:
            return f"size-{self.size}"

    class Same(Furu[int]):
        @classmethod
        def _executor_spec_key(cls) -> str:
            return cls.__name__

    keyed = [Gpu(), Sized(size=2), Asked(size=3), Same()]
    assert [spec_key(node) for node in keyed] == ["gpu", "large", "size-3", "Same"]


def test_a_private_field_is_given_without_its_underscore() -> None:
    class Private(Furu[int]):
        _seed: int = 0

    assert Private(seed=3)._seed == 3


def test_config_class_says_what_is_no_furu() -> None:
    with pytest.raises(TypeError, match="no Furu class"):
        config_class(3)


# ---- what is an error ----


def error_of(make: Any) -> str:
    with pytest.raises(FuruDefinitionError) as caught:
        make()
    assert isinstance(caught.value, TypeError)
    assert caught.value.hint
    return str(caught.value)


def test_an_attribute_without_annotation_is_an_error() -> None:
    def plain() -> None:
        class Bad(Furu[int]):
            lr = 0.1

    def with_field() -> None:
        class Bad(Furu[int]):
            lr = field(default=0.1)

    text = error_of(plain)
    assert "Bad.lr has no annotation" in text
    assert "`lr: float = 0.1`" in text
    assert "ClassVar[float]" in text
    assert "`lr: <type> = field(...)`" in error_of(with_field)


@pytest.mark.parametrize(
    ("default", "annotation", "hint"),
    [
        ([], list, "`x: list = field(factory=list)`"),
        ({}, dict[str, int], "`x: dict[str, int] = field(factory=dict)`"),
        ({1}, set, "`x: set = field(factory=lambda: {1})`"),
        (np.zeros(2), np.ndarray, "`x: ndarray = field(factory=lambda: array([0., 0.]))`"),
        (bytearray(), bytearray, "`x: bytearray = field(factory=bytearray)`"),
        (field(default=[1]), list, "`x: list = field(factory=lambda: [1])`"),
    ],
    ids=["list", "dict", "set", "array", "bytearray", "field"],
)
def test_a_mutable_default_is_an_error(default: Any, annotation: Any, hint: str) -> None:
    def make() -> None:
        type("Bad", (Furu,), {"__annotations__": {"x": annotation}, "x": default})

    text = error_of(make)
    assert "Bad.x has a" in text
    assert hint in text


def test_a_mutable_dataclass_as_default_is_an_error() -> None:
    @dataclasses.dataclass
    class Options:
        a: int = 1

    def make() -> None:
        class Bad(Furu[int]):
            options: Options = Options()

    assert "Options as default" in error_of(make)


@pytest.mark.parametrize(
    "name", ["get", "furu_dir", "furu_hash", "to_dict", "_create", "_load", "exists", "_furu_x"]
)
def test_a_field_that_shadows_a_furu_name_is_an_error(name: str) -> None:
    def make() -> None:
        type("Bad", (Furu,), {"__annotations__": {name: int}, name: 1})

    assert f"Bad.{name} would shadow" in error_of(make)


@pytest.mark.parametrize("name", ["get", "furu_dir", "furu_hash", "exists", "to_python"])
def test_a_method_that_shadows_a_furu_name_is_an_error(name: str) -> None:
    def make() -> None:
        type("Bad", (Furu,), {name: lambda self: 1})

    assert f"Bad.{name} would shadow" in error_of(make)


@pytest.mark.parametrize("name", ["__init__", "__eq__", "__hash__", "__reduce__", "__setattr__"])
def test_a_method_that_would_break_configs_is_an_error(name: str) -> None:
    def make() -> None:
        type("Bad", (Furu,), {name: lambda self: 1})

    assert f"Bad.{name} cannot be defined" in error_of(make)


def test_an_annotated_spec_key_is_an_error() -> None:
    def make() -> None:
        class Bad(Furu[int]):
            _executor_spec_key: str = "gpu"  # type: ignore[misc]

    assert "part of the hash" in error_of(make)


def test_hiding_an_inherited_field_is_an_error() -> None:
    def by_property() -> None:
        class Bad(Base):
            @property
            def seed(self) -> int:  # type: ignore[override]
                return 1

    def by_value() -> None:
        class Bad(Base):
            seed = 3

    assert "hides the inherited field `seed`" in error_of(by_property)
    assert "hides the inherited field `seed`" in error_of(by_value)


def test_a_dataclass_field_is_an_error() -> None:
    def make() -> None:
        class Bad(Furu[int]):
            x: int = dataclasses.field(default=1)

    assert "from furu_core import field" in error_of(make)


def test_a_default_that_depends_on_other_fields_is_an_error() -> None:
    def make() -> None:
        class Bad(Furu[int]):
            x: int = attrs.field(default=attrs.Factory(lambda self: 1, takes_self=True))

    assert "depends on the other fields" in error_of(make)


def test_options_of_field_that_exclude_each_other_are_an_error() -> None:
    assert "both default= and factory=" in error_of(lambda: field(default=1, factory=int))  # type: ignore[call-overload]
    both: Any = {"exclude_from_hash": True, "omit_default_from_hash": True}
    assert "keep that one" in error_of(lambda: field(default=1, **both))
    nothing: Any = {"omit_default_from_hash": True}
    assert "no default to omit" in error_of(lambda: field(**nothing))


def test_a_field_that_is_not_given_is_an_error() -> None:
    def make() -> None:
        class Bad(Furu[int]):
            x: int = attrs.field(init=False, default=1)

    assert "no part of the config" in error_of(make)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"self": int}, "Bad.self would be the parameter 'self'"),
        ({"NOTHING": int}, "Bad.NOTHING would be the parameter 'NOTHING'"),
        ({"_class": int}, "Bad._class would be the parameter 'class'"),
        ({"_": int}, "Bad._ would be the parameter ''"),
        ({"_1": int}, "Bad._1 would be the parameter '1'"),
        ({"x": int, "_x": int}, "Bad.x and Bad._x would both be the parameter 'x'"),
        ({"_seed": int}, "Bad._seed and Bad.seed would both be the parameter 'seed'"),
    ],
)
def test_fields_that_cannot_be_parameters_of_one_constructor_are_an_error(
    names: dict[str, Any], says: str
) -> None:
    def make() -> None:
        type("Bad", (Base,), {"__annotations__": names})

    text = error_of(make)
    assert says in text
    assert "field(alias='...')" in text


def test_an_alias_gives_such_a_field_a_parameter_of_its_own() -> None:
    class Aliased(Furu[int]):
        self: int = field(alias="this")
        x: int = 0
        _x: int = field(default=1, alias="hidden")

    made = Aliased(this=1, hidden=3)  # type: ignore[call-arg]
    assert (made.self, made.x, made._x) == (1, 0, 3)
    for alias in ("a b", "_inst_dict"):
        assert "would be the parameter" in error_of(
            lambda alias=alias: type(
                "Bad", (Furu,), {"__annotations__": {"x": int}, "x": field(alias=alias)}
            )
        )


@pytest.mark.parametrize(
    "decorator",
    [
        attrs.define,
        attrs.define(slots=False),
        attrs.frozen,
        attrs.mutable(kw_only=True),
        attr.s,
        dataclasses.dataclass,
        dataclasses.dataclass(frozen=True),
        dataclasses.dataclass(order=True, slots=True),
    ],
)
def test_a_decorator_that_makes_a_config_class_another_one_is_an_error(decorator: Any) -> None:
    def make() -> None:
        @decorator
        class Bad(Base):
            x: int
            y: list[int] = field(factory=list)

    text = error_of(make)
    assert "Bad is a config class by its class statement" in text
    assert "leave the decorator out" in text
    assert not hasattr(Base, "__post_init__")
    inspect.getmembers(Base)  # nobody else is refused


def test_a_dataclass_without_a_constructor_of_its_own_is_refused_when_it_is_hashed() -> None:
    @dataclasses.dataclass(init=False)
    class Bad(Furu[int]):
        pass

    assert "leave the decorator out" in error_of(lambda: Bad().furu_hash)


@pytest.mark.parametrize("name", ["__post_init__", "__attrs_pre_init__"])
def test_a_method_that_would_not_be_called_is_an_error(name: str) -> None:
    mixin = type("Mixin", (), {name: lambda self: None})
    assert f"Bad.{name} cannot be defined" in error_of(
        lambda: type("Bad", (Furu,), {name: lambda self: None})
    )
    assert name in error_of(lambda: type("Bad", (mixin, Furu), {}))


def test_a_base_before_furu_that_would_break_configs_is_an_error() -> None:
    @dataclasses.dataclass
    class Compared:
        pass

    @attrs.define
    class Slotted:
        x: int = 0

    def compared() -> None:
        class Bad(Compared, Furu[int]):
            pass

    def slotted() -> None:
        class Bad(Furu[int], Slotted):
            pass

    class Good(Furu[int], Compared):
        pass

    text = error_of(compared)
    assert re.search(r"Bad would have the __(eq|hash|post_init)__ of Compared", text)
    assert "class Bad(Furu[...], Compared)" in text
    assert "@attrs.define(slots=False) above Slotted" in error_of(slotted)
    assert type(Good()).__eq__ is Furu.__eq__


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("default_factory", list, "write factory=list"),
        ("init", False, "compute what is not in a property"),
        ("compare", False, "exclude_from_hash=True"),
        ("kw_only", True, "all fields are given by name"),
        ("validators", [], "write validator="),
        ("description", "x", "it has default, factory"),
    ],
)
def test_an_option_that_field_does_not_have_is_an_error_that_says_what_to_write(
    option: str, value: Any, hint: str
) -> None:
    options: dict[str, Any] = {option: value}
    text = error_of(lambda: field(**options))
    assert f"field() has no option {option}=" in text
    assert hint in text


def test_a_default_without_a_name_is_an_error() -> None:
    assert "write field(default=0.1)" in error_of(lambda: field(0.1))  # type: ignore[call-overload]


def test_an_option_of_the_class_statement_is_an_error_unless_a_base_takes_it() -> None:
    counts = []

    class Counted:
        def __init_subclass__(cls, count: int = 0) -> None:
            counts.append(count)

    class Taken(Furu[int], Counted, count=3):
        pass

    def make() -> None:
        class Bad(Furu[int], version_controlled=True):  # type: ignore[call-arg]
            pass

    text = error_of(make)
    assert "Bad has version_controlled=, which is no option of a config class" in text
    assert counts == [3]


def test_setting_an_attribute_is_an_error_that_says_what_to_do_instead() -> None:
    base = Base(seed=3)

    def delete() -> None:
        del base.lr

    for change, hint in [
        (lambda: setattr(base, "seed", 4), r"Base\.seed cannot be set.*attrs\.evolve\(obj, seed="),
        (delete, r"Base\.lr cannot be set or deleted"),
        (lambda: setattr(base, "model", 4), r"Base\.model.*functools\.cached_property"),
    ]:
        with pytest.raises(FuruFrozen, match=hint) as caught:
            change()
        assert isinstance(caught.value, AttributeError)


def test_a_repr_shows_any_value_even_one_that_python_refuses_to_write() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert repr(Holding(value=10**5000)).startswith("Holding(value=0x31e20801036510f3")
    assert repr(Holding(value=[1, {"k": (10**5000,)}])).startswith(
        "Holding(value=[1, {'k': (0x31e2"
    )
    assert repr(Holding(value=Rude())) == "Holding(value=<Rude, whose repr raised RuntimeError>)"
    with pytest.raises(FuruValueError, match=r"value\[0x31e208.*is a function"):
        assert Holding(value={10**5000: len}).furu_hash
