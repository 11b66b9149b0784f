"""`--set lr=0.1,0.2`: several values for a field of a class or an object are a sweep."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal

import pytest

from furu_core._config._annotations import Annotations
from furu_core._forms._typed_text import sweep_in

RUN = ("run", "--executor", "inline")


class Size(enum.Enum):
    SMALL = "s"
    BOTH = "s,l"


def asked(
    number: float,
    whole: int | None,
    flag: bool,
    size: Size,
    option: Literal["a", "b", "a,b"],
    text: str,
    path: Path | None,
    items: tuple[int, ...],
    either: float | tuple[float, ...],
    anything: Any,
) -> None: ...


@pytest.mark.parametrize(
    ("field", "text", "found"),
    [
        ("number", "0.1,1e-3", ["0.1", "1e-3"]),
        ("number", "0.1, 0.2", ["0.1", "0.2"]),
        ("number", "0.1", None),
        ("whole", "none,3", ["none", "3"]),
        ("whole", "range(1,7,2)", [1, 3, 5]),
        ("number", "range(2)", [0, 1]),
        ("flag", "yes,no", ["yes", "no"]),
        ("size", "SMALL,BOTH", ["SMALL", "BOTH"]),
        ("size", "s,l", None),  # the value of a member
        ("option", "a,a", ["a", "a"]),
        ("option", "a,b", None),  # an option with a comma in it
        ("text", "a,b", None),
        ("text", "range(3)", None),
        ("text", "choice(a,'b,c')", ["a", "'b,c'"]),
        ("path", "a,b", None),
        ("items", "1,2", None),
        ("items", "choice([1,2],[3])", ["[1,2]", "[3]"]),
        ("either", "1,2", None),
        ("anything", "1,2", None),
    ],
)
def test_a_comma_makes_a_sweep_where_it_can_be_nothing_else(
    field: str, text: str, found: list[Any] | None
) -> None:
    shape = Annotations(asked).shape(field)
    several = sweep_in(text, shape)
    assert (None if several is None else list(several)) == found


@pytest.mark.parametrize("text", ["range(0)", "range(1,2,0)", "range(0.5)", "range()", "choice()"])
def test_a_range_or_choice_of_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|choice"):
        sweep_in(text, Annotations(asked).shape("whole"))


def test_a_sweep_is_the_product_in_the_order_written_and_its_roots_are_told_apart(
    project: Any,
) -> None:
    report = project.json(
        *RUN, "exp.train:Train", "--set=data.seed=0,1", "--set=note=x", "--set=lr=0.1,0.2"
    )
    expected = project.python(
        """
        from exp.train import *
        for seed in (0, 1):
            for lr in (0.1, 0.2):
                print(Train(data=Split(seed=seed), lr=lr, note="x").furu_hash)
        """
    ).split()
    assert {root["key"]: root["hash"] for root in report["roots"]} == dict(
        zip(
            [f"data.seed={seed} lr={lr}" for seed in (0, 1) for lr in (0.1, 0.2)],
            expected,
            strict=True,
        )
    )
    assert report["ok"]
    why = project.json("why", "exp.train:one", "--set=lr=0.1,0.2", "--set=note=x")
    assert why["complete"] is True


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["lr=0.1,x"], "--set lr=0.1,x: 'x' is no float"),
        (["lr=0.1,"], "--set lr=0.1,: '' is no float"),
        (["data.seed=0,1.5"], "--set data.seed=0,1.5: '1.5' is no int"),
        (["kind=SMALL,BIG"], "hint: write one of SMALL, LARGE"),
        (["lr=[0.1,0.2]"], "hint: write the values of a sweep without brackets: --set lr=A,B"),
        (["lr=range(0,1,0.1)"], "a range is range(STOP), "),
        (["lr=1", "lr=2"], "or write the values of a sweep at once: --set lr=A,B"),
        (
            ["lr=range(2000)", "data.seed=range(1000)"],
            "--set makes 2,000,000 objects of exp.train:Train: 2,000 of lr x 1,000 of data.seed",
        ),
        (["data=1,2"], "hint: set its fields: --set data.seed=VALUE"),
    ],
)
def test_a_wrong_value_of_a_sweep_is_named(
    project: Any, assignments: list[str], message: str
) -> None:
    done = project.furu(*RUN, "exp.train:Train", *(f"--set={one}" for one in assignments))
    assert done.status == 2
    assert message in done.err
    assert "hint: " in done.err
    assert "Traceback" not in done.err


def test_an_argument_of_a_function_is_no_sweep_and_a_text_keeps_its_comma(project: Any) -> None:
    called = project.furu(*RUN, "exp.train:sweep", "--set=lr=0.1,0.2")
    assert called.status == 2
    assert "a function takes one" in called.err
    plain = project.furu(*RUN, "exp.train:Train", "--set=note=a,b", "--json")
    assert plain.out.count('"key"') == 1
    assert "note: note is 'a,b', one text with a comma; a sweep is" in plain.err
    assert "--set 'note=choice(a,b)'" in plain.err
    prose = project.furu("why", "exp.train:Train", "--set=note=before, and after")
    assert "note: " not in prose.err


def test_an_object_of_a_sweep_that_cannot_be_made_is_named(project: Any) -> None:
    project.write(
        "picky.py",
        """
        from exp.train import Split
        from furu_core import Furu
        class Picky(Furu[int]):
            n: int = 0
            data: Split = Split()
            def __attrs_post_init__(self):
                if self.n == self.data.seed:
                    raise RuntimeError("they are equal")
        class Around(Furu[int]):
            picky: Picky
        """,
    )
    for name, field in (("Picky", "n"), ("Around", "picky.n")):
        done = project.furu("plan", f"picky:{name}", f"--set={field}=1,2,0")
        assert done.status == 1
        assert f"error: picky:{name} with {field}=0 raised RuntimeError: they are equal" in done.err


def test_the_command_line_of_a_sweep_that_is_recorded_begins_it_again(project: Any) -> None:
    begun = "furu run --executor inline exp.train:Train --set 'note=choice(a,b)' --set lr=1,2"
    project.shell(begun)
    run = project.json("runs")[0]
    assert run["command"][-4:] == ["--set", "note=choice(a,b)", "--set", "lr=1,2"]
