"""P9: which changes of a module matter to the results of a class: those of what its code can reach by names."""

from __future__ import annotations

import inspect
import sys

import pytest

from furu_core._code._reach import reached
from furu_core._code._syntax import changes

SOURCE = """
import functools
from furu_core import Furu

SCALE = 3

class Data(Furu[int]):
    n: int
    STEPS = 4
    def _create(self):
        return read(self.n)
    def _load(self):
        return decode(self.furu_dir)
    def batches(self):
        return cut(self.n)
    def unused(self):
        return 0

class Base(Furu[float]):
    def helper(self):
        return shared()
    def _create(self):
        return self.helper()

class Train(Base):
    data: Data
    def _create(self):
        return fit(self.data.get(), self.data.batches())

class Other(Furu[int]):
    def _create(self):
        return only_other()

class Model:
    def __init__(self): self.x = 1
    def step(self): ...
    def rest(self): ...

class Deep(Model):
    def step(self): ...

@functools.lru_cache
def read(n): ...
def decode(folder): ...
def cut(n): ...
def shared(): ...
def only_other(): ...
def fit(values, batches):
    model = Model()
    return getattr(model, "step")()
@register
def hook(): ...
"""


def part(name: str) -> tuple[str, str]:
    return ("m", name)


def of(class_name: str, source: str = SOURCE) -> set[str]:
    found = reached(f"m:{class_name}", {"m": source.encode()}, {})
    assert found is not None
    return {name for _, name in found}


def test_p9_what_a_class_names_counts_and_what_only_others_name_does_not() -> None:
    found = of("Train")
    assert {"<module>", "Train", "Train._create", "fit", "Data", "Data.batches", "cut"} <= found
    assert {"Data._load", "decode"} <= found, "furu calls _load when the result is loaded"
    assert {"Model", "Model.__init__", "Model.step", "Deep.step", "Base.helper"} <= found
    assert "hook" in found, "its decorator may have handed it to anybody"
    assert "Model.rest" in found, "whoever is given the model may call it, a library for instance"
    for name in ("Data.unused", "Other._create", "only_other", "read"):
        assert name not in found, name
    assert {"Data._create", "read"} <= of("Data")
    assert "fit" not in of("Data")


def test_p9_an_inherited_create_counts() -> None:
    source = SOURCE.replace(
        "        return fit(self.data", "        return super()._create(self.data"
    )
    assert {"Base._create", "shared"} <= of("Train", source)
    inherits = SOURCE + "\nclass Child(Base):\n    n: int = 0\n"
    assert {"Base._create", "Base.helper", "shared"} <= of("Child", inherits)


@pytest.mark.parametrize(
    "body",
    ["eval('x')", "globals()['x']()", "getattr(self, self.name)()", "vars(self)", "exec(text)"],
)
def test_p9_where_code_reaches_what_it_does_not_name_everything_counts(body: str) -> None:
    source = SOURCE.replace("return fit(", f"{body}; return fit(")
    assert reached("m:Train", {"m": source.encode()}, {}) is None
    assert reached("m:Other", {"m": source.encode()}, {}) is not None


def test_p9_what_is_named_by_a_text_or_in_another_module_counts() -> None:
    source = SOURCE.replace("return fit(", "return table['only_other']; return fit(")
    assert "only_other" in of("Train", source)
    modules = {
        "m": b"import tools\nclass A(Furu):\n def _create(self): return tools.run()\n",
        "tools": b"def run(): return inner()\ndef inner(): ...\ndef idle(): ...\n",
    }
    found = reached("m:A", modules, {})
    assert found is not None
    assert {("tools", "run"), ("tools", "inner")} <= found
    assert ("tools", "idle") not in found


def test_p9_names_count_that_were_named_before_or_are_now() -> None:
    before = b"class A(Furu):\n def _create(self): return old()\ndef old(): ...\ndef new(): ...\n"
    now = before.replace(b"return old()", b"return new()")
    found = reached("m:A", {"m": before}, {"m": now})
    assert found is not None
    assert {part("old"), part("new")} <= found


def test_p9_of_a_class_that_is_not_found_everything_counts() -> None:
    assert reached("m:Gone", {"m": SOURCE.encode()}, {}) is None
    assert reached("m:Train", {"m": b"def broken("}, {}) is None


def test_p9_of_code_that_is_nested_too_deeply_everything_counts() -> None:
    deep = "first or " * 5 + "x"
    for _ in range(80):
        deep = f"f({deep})"
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        assert reached("m:T", {"m": f"{created('return 1')}X = {deep}\n".encode()}, {}) is None
    finally:
        sys.setrecursionlimit(limit)


def created(body: str, top: str = "") -> str:
    return f"{top}\nclass T(Furu):\n    kind: str\n    def _create(self):\n        {body}\n"


BASE = "class Train(Furu):\n    def _create(self): return 1\n"
REGISTRY = (
    "REG = {}\nclass Base:\n    def __init_subclass__(cls, **more): REG[cls.__name__] = cls\n"
)
MAKE = "def make(kind): return asdict(REG[kind]())\n"
SHAPE = "class Shape:\n    @property\n    def area(self): return 1\ndef box(): return Shape()\n"
FOCAL = "def focal(x): return 1\n"

# What runs: the module of the class, another module, and what of that must count.
USES = {
    "a base under another name": (
        "from o import Train as Base\nclass T(Base):\n    n: int\n",
        BASE,
        "Train._create",
    ),
    "a base by assignment": (
        "import o\nBase = o.Train\nclass T(Base):\n    n: int\n",
        BASE,
        "Train._create",
    ),
    "a base that is made": (
        "from o import Train\nclass T(mixed(Train)):\n    n: int\n",
        BASE,
        "Train._create",
    ),
    "a base by a condition": (
        "from o import Train\nclass T(Train if x else Furu):\n    n: int\n",
        BASE,
        "Train._create",
    ),
    "a hook that a library calls": (
        created("return Net()(self.kind)", "from o import Net"),
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x): return layer(x)\ndef layer(x): ...\n",
        "layer",
    ),
    "a hook of an object that is handed on": (
        created("return cross_validate(Model())", "from o import Model"),
        "class Model:\n    def predict(self, x): return 1\n",
        "Model.predict",
    ),
    "what a base class registers": (
        created("return make(self.kind)", "from o import make"),
        f"{REGISTRY}class R(Base):\n    depth: int = 18\n{MAKE}",
        "R",
    ),
    "what it registers with a keyword": (
        created("return make(self.kind)", "from o import make"),
        f"{REGISTRY}class R(Base, depth=18):\n    pass\n{MAKE}",
        "R",
    ),
    "what a metaclass registers": (
        created("return make(self.kind)", "from o import make"),
        f"class Base(metaclass=Meta):\n    pass\nclass Mid(Base):\n    pass\nclass R(Mid):\n    depth = 1\n{MAKE}",
        "R",
    ),
    "a decorator that is called as a harmless one": (
        created("return REG[self.kind](1)", "from o import REG"),
        f"@registry.define\n{FOCAL}",
        "focal",
    ),
    "an attribute in a pattern": (
        created(
            "match box():\n            case Shape(area=found): return found", "from o import *"
        ),
        SHAPE,
        "Shape.area",
    ),
    "an attribute in a format": (
        created("return '{0.area}'.format(box())", "from o import box"),
        SHAPE,
        "Shape.area",
    ),
    "an entry point in a text": (
        created("return load('losses:focal')(1)", "from o import load"),
        FOCAL,
        "focal",
    ),
}


@pytest.mark.parametrize("use", USES)
def test_p9_what_runs_without_being_called_by_its_name_counts(use: str) -> None:
    own, other, wanted = USES[use]
    found = reached("m:T", {"m": own.encode(), "o": other.encode()}, {})
    assert found is not None
    assert ("o", wanted) in found


@pytest.mark.parametrize(
    "body",
    [
        "return getattr(losses, self.kind, 'none')(1)",
        "return partial(getattr, losses)(self.kind)(1)",
        "return dict(inspect.getmembers(losses))[self.kind](1)",
        "return pydoc.locate(self.kind)(1)",
        "return sys.modules[self.kind].run()",
        "return attrgetter(self.kind)(losses)(1)",
    ],
)
def test_p9_a_name_that_only_data_have_makes_everything_count(body: str) -> None:
    assert reached("m:T", {"m": created(body).encode()}, {}) is None


@pytest.mark.parametrize(
    "body", ["model.eval()", "re.compile(self.kind)", "getattr(model, 'step', self.kind)()"]
)
def test_p9_methods_that_are_called_as_builtins_are_reach_no_more_than_others(body: str) -> None:
    found = reached("m:T", {"m": created(body).encode(), "o": FOCAL.encode()}, {})
    assert found is not None
    assert ("o", "focal") not in found


def test_p9_another_class_of_the_name_is_not_taken_for_one_that_was_renamed() -> None:
    modules = {
        "v1": b"class TrainV1(Furu, formerly='v1:Train'):\n    def _create(self): return 1\n",
        "v2": b"class Train(Furu):\n    def _create(self): return 2\n",
    }
    assert reached("v1:Train", modules, {}) is None


def test_p9_what_was_added_is_told_by_its_own_name() -> None:
    more = SOURCE + "\nclass New(Furu[int]):\n    def _create(self): return 1\n"
    assert changes(SOURCE.encode(), more.encode()) == ("New", "New._create")
    first, second = b"def f(): ...\ndef g(): ...\n", b"def g(): ...\ndef f(): ...\n"
    assert changes(first, second) == ("<module>",), "their order"
    assert "New" not in of("Train", more)
