"""`furu run`: targets, values, errors, and an exit status that tells the truth (P8)."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, TypedDict

import pytest

from furu_core._config._annotations import Annotations, Shape
from furu_core._forms._typed_text import convert

RUN = ("run", "--executor", "inline")


def test_a_target_is_computed_once_and_loaded_ever_after(project: Any) -> None:
    first = project.shell(f"furu {' '.join(RUN)} exp.train:one")
    assert first.status == 0, first.err
    lines = first.out.splitlines()
    assert lines[-1] == "2 nodes: 2 computed, 0 loaded, 0 failed"
    name, path = lines[-2].split("  ")
    assert name.startswith("Train(")
    assert Path(path).is_dir()
    second = project.furu(*RUN, "exp.train:one")
    assert second.out.splitlines()[-1] == "2 nodes: 0 computed, 2 loaded, 0 failed"


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("exp.train:one", [None]),
        ("exp.train:Train", [None]),
        ("exp.train:several", [0, 1]),
        ("exp.train:sweep", ["s0", "s1"]),
        ("exp/train.py:several", [0, 1]),
    ],
)
def test_a_target_is_an_object_a_class_a_list_or_a_function(
    project: Any, target: str, names: list[Any]
) -> None:
    report = project.json(*RUN, target)
    assert report["ok"]
    assert all(root["done"] for root in report["roots"])
    assert len(report["roots"]) == len(names)
    if names != [None]:
        assert [str(root["key"]) for root in report["roots"]] == [str(name) for name in names]


def test_a_path_and_a_module_give_the_same_hash_from_any_folder(project: Any) -> None:
    """P2: the same file, however it is named."""
    outside = project.folder.parent
    reports = [
        project.json(*RUN, "exp.train:one"),
        project.json(*RUN, "exp/train.py:one"),
        project.json(*RUN, "train.py:one", cwd=project.folder / "exp"),
        project.json(*RUN, "project/exp/train.py:one", cwd=outside, FURU_PATH=str(project.store)),
    ]
    assert len({report["roots"][0]["hash"] for report in reports}) == 1
    assert reports[-1]["nodes"]["loaded"] == 2
    elsewhere = project.furu("run", "project/exp/train.py:one", cwd=outside)
    assert elsewhere.status == 2
    assert f"whose store is {project.store}, but from {outside} the store is" in elsewhere.err
    assert not (outside / "furu-data").exists()


def test_set_gives_fields_of_a_class_converted_by_their_annotations(project: Any) -> None:
    values = ["lr=1", "note=none", "kind=LARGE", "layers=3,4", "data.seed=7"]
    report = project.json(*RUN, "exp.train:Train", *(f"--set={value}" for value in values))
    expected = project.python(
        """
        from exp.train import *
        node = Train(lr=1.0, note=None, kind=Kind.LARGE, layers=(3, 4), data=Split(seed=7))
        print(node.furu_hash)
        """
    )
    assert report["roots"][0]["hash"] == expected.strip()


def test_set_reaches_into_what_has_fields_whether_it_is_there_or_has_to_be_made(
    project: Any,
) -> None:
    project.write(
        "tuned.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass, field
        from typing import NamedTuple
        from attrs import frozen
        from exp.train import Kind, Split
        from furu_core import Furu

        class Size(NamedTuple):
            x: int
            y: int = 0

        @dataclass(frozen=True)
        class Opt:
            lr: float = 0.1
            kinds: list[Kind] = field(default_factory=list)
            size: Size = Size(0)

        @frozen
        class Plot:
            title: str
            dpi: int = 100

        class Tuned(Furu[int]):
            data: Split
            plot: Plot | None = None
            opt: Opt = Opt()
            def _create(self) -> int:
                return 1

        def tuned(opt: Opt = Opt(lr=1.0), plot: Plot = Plot("p")) -> Tuned:
            return Tuned(data=Split(), opt=opt, plot=plot)
        """,
    )
    values = [
        "data.seed=7",
        "opt.lr=0.5",
        "opt.kinds=[SMALL,Kind.LARGE]",
        "opt.size.y=3",
        "plot.title=t",
    ]
    made = project.json(*RUN, "tuned:Tuned", *(f"--set={value}" for value in values))
    called = project.json(*RUN, "tuned:tuned", "--set=opt.size.x=2", "--set=plot.dpi=50")
    hashes = project.python(
        """
        from tuned import *
        opt = Opt(lr=0.5, kinds=[Kind.SMALL, Kind.LARGE], size=Size(0, 3))
        print(Tuned(data=Split(seed=7), opt=opt, plot=Plot("t")).furu_hash)
        print(tuned(Opt(lr=1.0, size=Size(2)), Plot("p", 50)).furu_hash)
        """
    ).split()
    assert [made["roots"][0]["hash"], called["roots"][0]["hash"]] == hashes


def test_set_changes_fields_of_an_object_and_arguments_of_a_function(project: Any) -> None:
    changed = project.json(*RUN, "exp.train:one", "--set", "data.seed=5")
    made = project.json(*RUN, "exp.train:sweep", "--set=n=1", "--set=lr=2")
    hashes = project.python(
        """
        from exp.train import *
        print(Train(data=Split(seed=5)).furu_hash, Train(lr=2.0).furu_hash)
        """
    ).split()
    assert [changed["roots"][0]["hash"], made["roots"][0]["hash"]] == hashes


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["exp.train"], "'exp.train' is no MODULE:TARGET"),
        (["exp.trian:one"], "there is no module 'exp.trian'"),
        (["nowhere.at.all:one"], "there is no module 'nowhere'"),
        (["exp/trian.py:one"], "there is no file exp/trian.py"),
        (["exp.train:on"], "has no 'on'; did you mean 'one'?"),
        (["exp.train:Kind"], "is the class Kind, which is no subclass of Furu"),
        (["exp.train:number"], "expected a Furu object"),
        (["exp.train:Train", "--set", "lrr=1"], "Train has no field 'lrr'; did you mean 'lr'?"),
        (["exp.train:Train", "--set", "lr=fast"], "--set lr=fast: expected float"),
        (["exp.train:Train", "--set", "lr"], "'lr' is no field=value"),
        (["exp.train:Train", "--set=lr=1", "--set=lr=2"], "gives 'lr' twice"),
        (["exp.train:Train", "--set", "lr.x=1"], "lr holds no object with fields"),
        (["exp.train:Train", "--set", "data=1"], "hint: set its fields: --set data.seed=VALUE"),
        (["exp.train:Train", "--set", "kind=BIG"], "hint: write one of SMALL, LARGE"),
        (["exp.train:Train", "--set", "layers=[3, x]"], "expected tuple[int, ...] ('x' is no int)"),
        (["exp.train:Train", "--set", "data.z=1"], "Split has no field 'z'"),
        (["exp.train:Broken"], "Broken needs needed"),
        (["exp.train:sweep", "--set", "m=1"], "takes no argument 'm'"),
        (["exp.train:several", "--set", "lr=1"], "--set cannot change"),
        (["exp.train:one", "-o", "x"], "-o 'x' is no KEY=VALUE"),
        (["exp.train:one", "--executor", "inlin"], "no executor is called 'inlin'"),
    ],
)
def test_what_is_typed_wrong_is_one_clear_paragraph_and_status_2(
    project: Any, args: list[str], message: str
) -> None:
    done = project.furu(*RUN, *args)
    assert done.status == 2, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert "hint: " in done.err


def test_an_error_in_the_user_s_module_shows_the_user_s_traceback_only(project: Any) -> None:
    project.write("exp/bad.py", "import exp.train\ndef f():\n    1 / 0\nf()\n")
    done = project.furu(*RUN, "exp.bad:one")
    assert done.status == 1
    assert "error: importing exp.bad raised ZeroDivisionError" in done.err
    assert 'exp/bad.py", line 3' in done.err
    assert "furu_core" not in done.err
    assert "importlib" not in done.err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_thing_here", "raised ModuleNotFoundError: No module named 'no_such_thing"),
        ("def f(:", "raised SyntaxError"),
        ("raise SystemExit(0)", "raised SystemExit"),
        ("from exp.train import nothing", "raised ImportError"),
    ],
)
def test_a_module_that_cannot_be_imported_fails_with_status_1(
    project: Any, source: str, message: str
) -> None:
    project.write("exp/bad.py", source)
    done = project.furu(*RUN, "exp.bad:one")
    assert done.status == 1
    assert f"error: importing exp.bad {message}" in done.err


def test_a_script_that_runs_when_it_is_imported_is_told_of_the_main_guard(project: Any) -> None:
    project.write(
        "script.py",
        "import furu_core\nfrom exp.train import one\nfuru_core.run(one, executor='inline')\n",
    )
    done = project.furu(*RUN, "script:one")
    assert done.status == 2
    assert 'if __name__ == "__main__":' in done.err


def test_an_error_in_the_user_s_function_is_shown_as_such(project: Any) -> None:
    done = project.furu(*RUN, "exp.train:fails")
    assert done.status == 1
    assert "exp.train:fails raised KeyError" in done.err
    assert "in the user's function" in done.err


def test_a_failed_run_ends_with_1_and_says_why(project: Any) -> None:
    """P8."""
    done = project.furu(*RUN, "exp.train:broken")
    assert done.status == 1
    assert "not there" in done.out
    assert "1 node: 0 computed, 0 loaded, 1 failed" in done.out
    assert "error: 1 node failed" in done.err
    report = project.json(*RUN, "exp.train:broken")
    assert report["ok"] is False
    assert report["failures"][0]["message"] == "nothing to divide by"
    assert Path(report["failures"][0]["log"]).is_file()


def test_a_run_that_claims_success_without_its_roots_ends_with_1(project: Any) -> None:
    """P8: the exit status does not depend on what an executor believes."""
    done = project.furu("run", "--executor", "lying", "exp.train:one")
    assert done.status == 1
    assert "is not there" in done.err


def test_a_cancelled_run_ends_with_130(project: Any) -> None:
    done = project.furu("run", "--executor", "interrupted", "exp.train:one")
    assert done.status == 130
    assert "error: the run was cancelled" in done.err


def test_with_json_stdout_holds_one_document_and_nothing_else(project: Any) -> None:
    project.write(
        "exp/loud.py",
        "import os\nprint('loud')\nos.write(1, b'native')\nfrom exp.train import one\n",
    )
    done = project.furu(*RUN, "exp.loud:one", "--json")
    report = json.loads(done.out)
    assert report["nodes"] == {"total": 2, "computed": 2, "loaded": 0, "failed": 0}
    assert "loud" in done.err
    assert "an executor that prints" in done.err


def test_options_reach_the_executor(project: Any) -> None:
    done = project.furu(
        *RUN, "exp.train:one", "-j", "3", "--keep-going", "--window", "dfs", "-o", "my-key=v=1"
    )
    expected = {"keep_going": "1", "max_workers": "3", "my_key": "v=1", "window_size": "dfs"}
    assert f"options {sorted(expected.items())}" in done.out


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    lr: float
    names: list[str]


def shape_of(annotation: Any) -> Shape:
    """What an annotation asks for, as that of an argument."""

    def asks(x: Any) -> None: ...

    asks.__annotations__ = {"x": annotation}
    return Annotations(asks).shape("x")


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("3", int, 3),
        ("-3", int, -3),
        ("1e-3", float, 0.001),
        ("3", float, 3.0),
        ("nan-ish", str, "nan-ish"),
        ("3", str, "3"),
        ("None", str | None, None),
        ("x", str | None, "x"),
        ("null", int | None, None),
        ("3", int | str, 3),
        ("3x", int | str, "3x"),
        ("3", float | None, 3.0),
        ("true", bool, True),
        ("False", bool, False),
        ("no", bool, False),
        ("a/b", Path, Path("a/b")),
        ("a/b", PurePosixPath | None, PurePosixPath("a/b")),
        ("RED", Colour, Colour.RED),
        ("b", Colour, Colour.BLUE),
        ("1", Colour, Colour.RED),
        ("fast", Literal["fast", "slow"], "fast"),
        ("2", Literal[1, 2], 2),
        ("[1, 2]", list[int], [1, 2]),
        ("1,2", tuple[int, ...], (1, 2)),
        ("a, b", list[str], ["a", "b"]),
        ("(1, 'x')", tuple[int, str], (1, "x")),
        ('{"a": 1}', dict[str, float], {"a": 1.0}),
        ("{'a', 'b'}", frozenset[str], frozenset({"a", "b"})),
        ("[1, null]", list[int | None], [1, None]),
        ("(1, 2)", Any, (1, 2)),
        ("words", Any, "words"),
        ("[a,b]", list[str], ["a", "b"]),
        ("[a, 'b,c', \"it's\"]", list[str], ["a", "b,c", "it's"]),
        ("don't,it's", list[str], ["don't", "it's"]),
        ("1,2", list[str], ["1", "2"]),
        ('["1", "x\\n"]', list[str], ["1", "x\n"]),
        ("a,b", Sequence[str], ("a", "b")),
        ("a", Iterable[str], ("a",)),
        ("a,b", set[str], {"a", "b"}),
        ("[a,b/c]", list[Path], [Path("a"), Path("b/c")]),
        ("[1,b,'2']", list[int | str], [1, "b", "2"]),
        ("", list[str], []),
        ("[]", tuple[int, ...], ()),
        ("a,", tuple[str, ...], ("a",)),
        ("[1,2],[3]", list[list[int]], [[1, 2], [3]]),
        ("[[1,2],[3]]", list[list[int]], [[1, 2], [3]]),
        ("(1,a),(2,b)", list[tuple[int, str]], [(1, "a"), (2, "b")]),
        ("2024-01-31", date, date(2024, 1, 31)),
        ("2024-01-31T10:00", datetime | None, datetime(2024, 1, 31, 10)),  # noqa: DTZ001
        ("2024-01-31,2024-02-01", list[date], [date(2024, 1, 31), date(2024, 2, 1)]),
        ("1:30:00", timedelta, timedelta(minutes=90)),
        ("0.10", Decimal, Decimal("0.10")),
        ("1/3", Fraction, Fraction(1, 3)),
        ("Colour.RED", Colour, Colour.RED),
        ("test_cli_run.Colour.BLUE", Colour | None, Colour.BLUE),
        ("RED,b", list[Colour], [Colour.RED, Colour.BLUE]),
        ("READ|Mode.WRITE", Mode, Mode.READ | Mode.WRITE),
        ("RED", Literal[Colour.RED, "x"], Colour.RED),
        ("a:1,b:2", dict[str, int], {"a": 1, "b": 2}),
        ("a=1,b=2", dict[str, int], {"a": 1, "b": 2}),
        ("{}", dict[str, int], {}),
        ("{a: [1, 2], 'b:c': []}", Mapping[str, list[int]], {"a": [1, 2], "b:c": []}),
        ("{lr: 1, names: [a]}", Options, {"lr": 1.0, "names": ["a"]}),
        ("a,b", str | list[str], "a,b"),
        ("[a,b]", str | list[str], ["a", "b"]),
        ("2024-01-31", str | date, date(2024, 1, 31)),
        ("1+2j", complex, 1 + 2j),
        ("b'x'", bytes, b"x"),
    ],
)
def test_text_becomes_what_the_annotation_asks_for(text: str, annotation: Any, value: Any) -> None:
    converted = convert(text, shape_of(annotation))
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("1.5", int),
        ("true", int),
        ("true", float),
        ("maybe", bool),
        ("GREEN", Colour),
        ("medium", Literal["fast", "slow"]),
        ("1,x", tuple[int, ...]),
        ("none", int),
        ("x", int | float | None),
        ("[a]", list[int]),
        ("['1']", list[int]),
        ("1,2,3", tuple[int, int]),
        ("a", dict[str, int]),
        ("{lrr: 1}", Options),
        ("31.1.2024", date),
        ("PURPLE", Colour),
        ("Mode.RED", Colour),
        ("x", type[int]),
        ("x", Point),
    ],
)
def test_text_that_does_not_fit_is_refused(text: str, annotation: Any) -> None:
    with pytest.raises(ValueError, match="is no"):
        convert(text, shape_of(annotation))
