"""P2: a class or field that was renamed and says so keeps its hashes, and its results are found."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from furu_core import Furu, field
from furu_core._config._class_names import name_of
from furu_core.errors import FuruDefinitionError, FuruImportNameError, FuruValueError
from furu_testing import Said

BEFORE = """
    import enum
    from furu_core import Furu

    class Kind(enum.Enum):
        SMALL = 1

    class Split(Furu[int]):
        seed: int = 0
        def _create(self):
            print("computed", self)
            return self.seed

    class Train(Furu[object]):
        data: Split = Split()
        learning_rate: float = 0.1
        momentum: float = 0.9
        kind: Kind = Kind.SMALL
        def _create(self):
            print("computed", self)
            return {"config": self, "value": self.learning_rate + self.data.get(), "own": {self}}

    class Report(Furu[float]):
        models: list[Train]
        def _create(self):
            print("computed", self)
            return sum(model.get()["value"] for model in self.models)

    def roots():
        return Report(models=[Train(learning_rate=0.25), Train(learning_rate=0.5)])
"""
AFTER = """
    import enum
    from furu_core import Furu, field

    class Size(enum.Enum):
        __furu_formerly__ = "train:Kind"
        SMALL = 1

    class Data(Furu[int], formerly="train:Split"):
        seed: int = 0
        def _create(self):
            print("computed", self)
            return self.seed

    class Fit(Furu[object], formerly="train:Train", removed={"momentum": 0.9}):
        data: Data = Data()
        lr: float = field(default=0.1, formerly="learning_rate")
        size: Size = field(default=Size.SMALL, formerly="kind")
        dropout: float = field(default=0.0, omit_default_from_hash=True)
        def _create(self):
            print("computed", self)
            return {"config": self, "value": self.lr + self.data.get(), "own": {self}}

    class Summary(Furu[float], formerly="train:Report"):
        models: list[Fit]
        def _create(self):
            print("computed", self)
            return sum(model.get()["value"] for model in self.models)

    def roots():
        return Summary(models=[Fit(lr=0.25), Fit(lr=0.5)])
"""


T = TypeVar("T")


class Moving:
    """A project whose module is renamed with all that is in it."""

    def __init__(self, folder: Path, fresh: Any) -> None:
        self.folder = folder / "project"
        self._fresh = fresh
        self.write("pyproject.toml", "")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def rename(self) -> None:
        (self.folder / "train.py").unlink()
        self.write("exp/models.py", AFTER)

    def python(self, code: str) -> str:
        printed: str = self._fresh.python(textwrap.dedent(code), self.folder)
        return printed

    def furu(self, *args: str) -> Said:
        said: Said = self._fresh.furu(args, self.folder)
        return said


@pytest.fixture
def moving(tmp_path: Path, fresh: Any) -> Moving:
    found = Moving(tmp_path, fresh)
    found.write("train.py", BEFORE)
    return found


def test_p2_what_was_renamed_keeps_its_hash_and_nothing_is_computed_again(moving: Moving) -> None:
    before = moving.python("import train; r = train.roots(); print(r.get(), r.furu_hash)")
    assert before.count("computed") == 4
    moving.rename()
    after = moving.python(
        "from exp import models; r = models.roots(); print(r.get(), r.furu_hash)\n"
        "print(models.Fit(lr=0.25).get()['config'] == models.Fit(lr=0.25), models.Fit(lr=0.25))"
    )
    assert "computed" not in after
    assert after.startswith(before.splitlines()[-1])
    found = moving.python(
        "from exp import models; print(sorted(fit.lr for fit in models.Fit.stored()))"
    )
    assert found == "[0.25, 0.5]\n"
    assert "True Fit(data=Data(" in after
    assert "lr=0.25, size=<Size.SMALL: 1>, dropout=0.0)" in after


def test_results_and_records_from_before_are_read_in_a_process_that_imports_neither(
    moving: Moving,
) -> None:
    moving.python(
        "import train, json, pickle; t = train.Train(learning_rate=0.25); t.get()\n"
        "json.dump(t.to_dict(), open('t.json', 'w')); pickle.dump(t.data, open('t.pickle', 'wb'))"
    )
    moving.rename()
    load = """
        import json, pickle, sys
        from furu_core import Furu
        for read in (lambda: Furu.from_dict(json.load(open('t.json'))), lambda: pickle.load(open('t.pickle', 'rb'))):
            try: print(read())
            except Exception as error: print(type(error).__name__, error)
    """
    said = moving.python(load)
    assert said.count("FuruImportNameError the class train:") == 2
    assert said.count("formerly='train:") == 2
    loaded = moving.python(f"import exp.models\n{textwrap.dedent(load)}")
    assert "Fit(data=Data(" in loaded
    assert loaded.endswith("Data(seed=0)\n")
    moving.python("from exp import models; models.Fit(lr=3.0, data=models.Data(seed=1)).get()")
    # Records that were written since say where the class is now.
    found = moving.python(load)
    assert found == loaded


BY_REFERENCE = """
    from furu_core._forms import _pack
    def by_reference(self):  # as the furu before this one pickled configs
        names = [spec.key for spec in type(self).__furu_class__.fields]
        return _pack.restore, (type(self), {name: self.__dict__[name] for name in names})
"""


def test_results_that_an_older_furu_pickled_are_loaded(moving: Moving) -> None:
    moving.write("boxes.py", "class Box:\n    def __init__(self, inside): self.inside = inside\n")
    moving.python(
        textwrap.dedent(BY_REFERENCE)
        + "import train, boxes\n"
        + "train.Train.__reduce__ = train.Split.__reduce__ = by_reference\n"
        + "train.Train().put(boxes.Box([train.Train(learning_rate=0.5), train.Kind.SMALL]))"
    )
    (pickled,) = (moving.folder / "furu-data/data/train/Train").rglob(".furu.result*")
    assert b"train\x94\x8c\x05Train" in pickled.read_bytes()  # by module and name
    moving.rename()
    said = moving.python("from exp import models; print(models.Fit().get().inside)")
    assert (
        said
        == "[Fit(data=Data(22608f), lr=0.5, size=<Size.SMALL: 1>, dropout=0.0), <Size.SMALL: 1>]\n"
    )


def test_forms_of_a_renamed_object_lead_back_to_it_in_another_process(moving: Moving) -> None:
    moving.rename()
    moving.python(
        """
        import json, pickle
        from pathlib import Path
        from exp import models
        from furu_core.workers import GraphWriter, Packer
        r = models.roots()
        deep = models.Fit(data=models.Data(seed=7), lr=3.0)
        json.dump(r.to_dict(), open("r.json", "w"))
        pickle.dump([r, deep, models.Fit], open("r.pickle", "wb"))
        Path("packed").write_bytes(Packer().pack(r))
        with GraphWriter(Path("graph")) as writer:
            Path("place").write_text(str(writer.add(r)))
        Path("python").write_text(r.to_python())
        Path("hash").write_text(r.furu_hash)
        """
    )
    record = json.loads((moving.folder / "r.json").read_text())
    classes = {node["class"]: node for node in record["nodes"].values()}
    assert classes.keys() == {"train:Split", "train:Train", "train:Report"}
    assert classes["train:Train"]["import"] == "exp.models:Fit"
    assert classes["train:Train"]["fields"].keys() == {
        "data", "learning_rate", "kind", "momentum", "dropout",
    }  # fmt: skip
    said = moving.python(
        """
        import json, pickle, sys
        from pathlib import Path
        from furu_core import Furu
        from furu_core.workers import GraphReader, Unpacker
        one = Furu.from_dict(json.load(open("r.json")))
        packed = Unpacker().unpack(Path("packed").read_bytes())
        line = GraphReader(Path("graph")).read(int(Path("place").read_text()))
        pickled, deep, cls = pickle.load(open("r.pickle", "rb"))
        assert isinstance(deep, cls) and deep.lr == 3.0
        from exp.models import *
        written = eval(Path("python").read_text())
        print({each.furu_hash for each in (one, packed, line, pickled, written)} == {Path("hash").read_text()})
        """
    )
    assert said == "True\n"


def test_commands_know_a_renamed_class_by_its_old_name(moving: Moving) -> None:
    moving.rename()
    moving.python("from exp import models; models.Fit().get()")
    listed = moving.furu("ls", "Train")
    assert listed.status == 0
    assert "train:Train" in listed.out
    shown = moving.furu("show", "Train")
    assert "Fit(" in shown.out, shown
    for name in ("Fit", "models.Fit", "exp.models:Fit"):  # since a newer record says so
        assert "train:Train" in moving.furu("ls", name).out
    assert moving.furu("rm", "train:Train", "--yes").status == 0
    assert "train:Train" not in moving.furu("ls").out


def test_always_rerun_knows_a_renamed_class_by_both_names(moving: Moving) -> None:
    moving.rename()
    moving.python("from exp import models; models.roots().get()")
    for name in ("Fit", "exp.models:Fit", "train:Train", "Train"):
        said = moving.python(
            "import furu_core; from exp import models\n"
            f"with furu_core.use_settings(always_rerun=[{name!r}]): models.Fit(lr=0.25).get()"
        )
        assert said.count("computed Fit") == 1, name


def test_a_removed_field_that_was_not_in_the_hash_needs_nothing(moving: Moving) -> None:
    text = """
        from furu_core import Furu, field
        class One(Furu[int]):
            x: int = 1
            {}
            {}
            def _create(self):
                return 1
    """
    extra = (
        "field(default=0, omit_default_from_hash=True)",
        "field(default=3, exclude_from_hash=True)",
    )
    moving.write("one.py", text.format(f"y: int = {extra[0]}", f"z: int = {extra[1]}"))
    moving.python("import one; one.One().get(), one.One(x=2, y=5).get()")
    moving.write("one.py", text.format("", ""))
    assert moving.python("import one; print(one.One.stored())") == "[One(x=1)]\n"


def test_fields_and_classes_that_swap_their_names_keep_their_hashes(moving: Moving) -> None:
    pair = """
        from furu_core import Furu, field
        class {A}(Furu[int]{a}):
            {x}: int = {fx}
            {y}: int = {fy}
        class {B}(Furu[int]{b}):
            {x}: int = 5
    """
    moving.write("pair.py", pair.format(A="A", B="B", a="", b="", x="x", y="y", fx=1, fy=2))
    hashes = "print(m.{A}({x}=7).furu_hash, m.{B}().furu_hash, m.{A}.from_dict(m.{A}({x}=7).to_dict()).{x})"
    before = moving.python(f"import pair as m; {hashes.format(A='A', B='B', x='x')}")
    moving.python(
        textwrap.dedent(BY_REFERENCE)
        + "import pair, pickle\npair.A.__reduce__ = by_reference\n"
        + "pickle.dump(pair.A(x=7), open('a.pickle', 'wb'))"
    )
    moving.write(
        "pair.py",
        """
        from furu_core import Furu, field
        class B(Furu[int], formerly="pair:A"):
            y: int = field(default=1, formerly="x")
            x: int = field(default=2, formerly="y")
        class A(Furu[int], formerly="pair:B"):
            x: int = 5
        """,
    )
    assert moving.python(f"import pair as m; {hashes.format(A='B', B='A', x='y')}") == before
    load = "import pair, pickle; print(pickle.load(open('a.pickle', 'rb')))"
    assert moving.python(load) == "B(y=7, x=2)\n"


def test_a_former_name_is_not_inherited_and_that_of_a_field_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Base(Furu[int], formerly="old:Base", removed={"gone": 1}):
        lr: float = field(default=0.1, formerly="learning_rate")

    class Sub(Base):
        lr: float = 0.2

    class Again(Base):
        gone: int = 1

    class Generic_(Furu[T], Generic[T], formerly="old:Generic"):
        x: int = 1

    class Ints(Generic_[int]):
        pass

    assert vars(Generic_)["__furu_formerly__"] == "old:Generic"
    assert "__furu_formerly__" not in vars(Ints)
    assert "__furu_formerly__" not in vars(Sub)
    assert [spec.key for spec in Sub.__furu_class__.fields] == ["learning_rate"]
    assert Sub.__furu_class__.removed == {"gone": 1}
    assert Again.__furu_class__.removed == {}


def test_bad_former_names_are_refused_at_the_class_statement() -> None:
    for bad in (
        "Train",
        "train",
        "a:b:C",
        "train:",
        ":Train",
        "a/b:T",
        ".a:T",
        "a..b:T",
        3,
        "a:T-1",
        "a: T",
    ):
        with pytest.raises(FuruDefinitionError, match="no name of a class"):
            type("Some", (Furu,), {"__module__": __name__}, formerly=bad)
    with pytest.raises(FuruDefinitionError, match="no name that a field can have had"):
        field(default=1, formerly="learning rate")

    with pytest.raises(FuruDefinitionError, match="which it still is"):

        class Same(Furu[int]):
            lr: float = field(default=0.1, formerly="lr")

    with pytest.raises(FuruDefinitionError, match=r"Two\.lr and Two\.rate would both be 'rate'"):

        class Two(Furu[int]):
            lr: float = field(default=0.1, formerly="rate")
            rate: float = 0.1

    with pytest.raises(FuruDefinitionError, match="was removed, and has it"):

        class Has(Furu[int], removed={"lr": 0.1}):
            lr: float = 0.1

    with pytest.raises(FuruDefinitionError, match="no plain value"):

        class NoPlain(Furu[int], removed={"lr": [1]}):
            pass

    with pytest.raises(FuruDefinitionError, match="does not say which fields"):

        class NoNames(Furu[int], removed=["lr"]):  # type: ignore[arg-type]
            pass


def test_a_record_with_another_value_of_a_removed_field_is_refused() -> None:
    record = Without(lr=0.5).to_dict()
    (node,) = record["nodes"].values()
    assert node["fields"]["momentum"] == 0.9
    assert Without.from_dict(record) == Without(lr=0.5)
    node["fields"]["momentum"] = 0.8
    with pytest.raises(FuruValueError, match=r"has momentum=0\.8, and the class stands for"):
        Without.from_dict(record)


class Without(Furu[int], removed={"momentum": 0.9}):
    lr: float = 0.1


class Plain(Furu[int]):
    lr: float = 0.1
    momentum: float = 0.9


def test_a_removed_field_is_hashed_as_if_it_were_there() -> None:
    was = Plain(lr=0.5).to_dict()
    assert Without(lr=0.5).furu_hash != Plain(lr=0.5).furu_hash  # of another class
    (node,) = was["nodes"].values()
    (other,) = Without(lr=0.5).to_dict()["nodes"].values()
    assert node["fields"] == other["fields"]


TWO_CLAIMS = {
    "two that say so": (
        {"a.py": 'class A(Furu[int], formerly="x:X"): pass', "b.py": 'class B(Furu[int], formerly="x:X"): pass'},
        FuruDefinitionError,
    ),
    "one that is there, hashed before": (
        {"x.py": "class X(Furu[int]): pass\nX().furu_hash", "b.py": 'class B(Furu[int], formerly="x:X"): pass\nB().furu_hash'},
        FuruImportNameError,
    ),
    "one that is there, hashed after": (
        {"b.py": 'class X(Furu[int]): pass\nclass B(Furu[int], formerly="b:X"): pass\nX().furu_hash'},
        FuruImportNameError,
    ),
    "one that is there, not hashed": (
        {"b.py": 'class X(Furu[int]): pass\nclass B(Furu[int], formerly="b:X"): pass\nB().furu_hash'},
        FuruImportNameError,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TWO_CLAIMS)
def test_p2_two_claims_of_one_name_are_an_error_with_the_places_of_both(
    moving: Moving, case: str
) -> None:
    files, error = TWO_CLAIMS[case]
    for name, text in files.items():
        moving.write(name, f"from furu_core import Furu\n{text}\n")
    modules = ", ".join(name.removesuffix(".py") for name in files)
    said = moving.python(
        f"try: import {modules}\nexcept Exception as error: print(type(error).__name__, error)"
    )
    assert said.startswith(f"{error.__name__} two classes claim the name")
    last = moving.folder / list(files)[-1]
    assert f"{last}:" in said
    assert said.count(".py:") == 2


def test_p2_a_class_that_only_stands_in_a_file_keeps_its_name(moving: Moving) -> None:
    moving.write("x.py", "from furu_core import Furu\nclass X(Furu[int]): pass\n")
    moving.write(
        "b.py",
        'from furu_core import Furu\nclass B(Furu[int], formerly="x:X"): pass\nB().furu_hash',
    )
    said = moving.python("try: import b\nexcept Exception as error: print(error)")
    assert "says that it was formerly x:X, and " in said
    assert f"{moving.folder / 'x.py'} has that class still" in said
    moving.write("x.py", "from b import B as X\n")  # for those that import the old name
    assert moving.python("import x; print(x.X.__name__)") == "B\n"


def test_a_module_that_is_loaded_again_claims_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reloaded_module_of_a_test.py"
    file.write_text("from furu_core import Furu\nclass Old(Furu[int]):\n    x: int = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(file.stem)
    before = module.Old().furu_hash
    identity = name_of(module.Old).identity
    file.write_text(
        f"from furu_core import Furu\nclass New(Furu[int], formerly={identity!r}):\n    x: int = 1\n"
    )
    importlib.invalidate_caches()
    for _ in range(2):
        sys.modules.pop(file.stem)
        module = importlib.import_module(file.stem)
        assert module.New().furu_hash == before


def test_a_class_may_say_the_name_that_it_has(moving: Moving) -> None:
    """Its module may have moved away and back."""
    before = moving.python("import train; print(train.Split().furu_hash)")
    text = BEFORE.replace(
        "class Split(Furu[int]):", 'class Split(Furu[int], formerly="train:Split"):'
    )
    moving.write("train.py", text)
    assert moving.python("import train; print(train.Split().furu_hash)") == before


def test_a_script_that_is_run_has_the_former_name_of_its_classes(moving: Moving) -> None:
    moving.python("import train; train.roots().get()")
    moving.rename()
    moving.write(
        "exp/models.py",
        textwrap.dedent(AFTER)
        + textwrap.dedent(
            """
            if __name__ == "__main__":
                from furu_core.workers import Packer, Unpacker
                print(Unpacker().unpack(Packer().pack(roots())) == roots(), roots().get())
            """
        ),
    )
    said = moving.furu("run", "exp/models.py:roots", "--executor", "local", "-j", "1", "--json")
    assert '"computed": 0' in said.out, said
    done = subprocess.run(
        [sys.executable, "exp/models.py"],
        cwd=moving.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True 0.75\n", done.stderr
