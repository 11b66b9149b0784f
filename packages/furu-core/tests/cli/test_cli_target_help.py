"""`furu run MODULE:TARGET --help`: the fields of a class, the arguments of a function, the values of an object."""

from __future__ import annotations

from typing import Any

import pytest

TOLD = '''
    from __future__ import annotations
    import enum
    from pathlib import Path
    from typing import ClassVar, Literal
    from exp.train import Split
    from furu_core import Furu, field

    class Speed(enum.Enum):
        SLOW = 1
        FAST = 2

    class Base(Furu[int]):
        """A base.

        Attributes:
            steps: how many steps, which
                may be many.
        """
        steps: int

    class Told(Base):
        """Tells of itself.

        And of more.
        """
        kind_of: ClassVar[int] = 3
        data: Split = Split(seed=4)
        # above it
        lr: float = 0.1
        speed: Speed = Speed.SLOW
        opt: Literal["a", "b"] = "a"  # beside it
        out: Path | None = None
        """Below it."""
        seed: int = field(default=0, metadata={"help": "in its metadata"})
        names: list[str] = field(factory=list)  # type: ignore
        def _create(self) -> int:
            return 1

    told = Told(steps=3, lr=0.5)
    several = [told]

    def make(n: int, *, told: Told = told, rate: float = 1.0):
        """Makes one.

        Args:
            n: how many.
        """
        print("called")
        return told
'''

OF_THE_CLASS = """\
told:Told: Tells of itself.
  --set      type                default
  steps      int                 required       how many steps, which may be many.
  data       Split               Split(seed=4)
  data.seed  int                 4
  lr         float               0.1            above it
  speed      Speed               SLOW           one of SLOW, FAST
  opt        Literal['a', 'b']   'a'            beside it
  out        Path | None         none           Below it.
  seed       int                 0              in its metadata
  names      list[str]           []
such as: furu run told:Told --set steps=A,B
"""


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_help_tells_of_the_fields_of_a_class(project: Any) -> None:
    project.write("told.py", TOLD)
    said = project.furu("run", "told:Told", "--help")
    assert said.status == 0
    assert said.out.startswith("Usage: furu run [OPTIONS] MODULE:TARGET")
    lines = squeezed(OF_THE_CLASS)
    assert squeezed(said.out)[-len(lines) :] == lines


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (("run", "-h", "told:told"), ["--set type value", "steps int 3 how many steps, which"]),
        (("run", "told:told", "--set=lr=1", "-h"), ["lr float 0.5 above it"]),
        (
            ("why", "told.py:make", "--help"),
            ["told.py:make: Makes one.", "n int required how many.", "rate float 1.0"],
        ),
        (("run", "told:several", "-h"), ["told:several: a list of 1 object, which --set cannot"]),
        (("run", "told:Speed", "-h"), ["told:Speed: <enum 'Speed'>, which furu cannot run"]),
        (
            ("run", "told:tol", "-h"),
            ["nothing can be told of told:tol: told has no 'tol'; did you"],
        ),
        (("run", "nowhere:x", "-h"), ["nothing can be told of nowhere:x: there is no module"]),
    ],
)
def test_help_tells_of_objects_and_functions_and_why_it_cannot(
    project: Any, args: tuple[str, ...], lines: list[str]
) -> None:
    project.write("told.py", TOLD)
    said = project.furu(*args)
    assert said.status == 0, said.err
    shown = squeezed(said.out)
    for line in lines:
        assert any(one.startswith(line) for one in shown), said.out
    assert "called" not in said.out


@pytest.mark.parametrize(
    "source", ["print('noise')\n1 / 0\n", "raise SystemExit(3)\n", "def f(:\n"]
)
def test_a_module_that_cannot_be_imported_leaves_the_help_of_the_command(
    project: Any, source: str
) -> None:
    project.write("bad.py", source)
    said = project.furu("run", "bad:x", "--help")
    assert said.status == 0
    assert "--keep-going" in said.out
    assert "nothing can be told of bad:x: importing bad raised " in said.out
    assert "noise" not in said.out


@pytest.mark.parametrize("args", [("run", "--help"), ("run",), ("why", "3fa9c1", "--help")])
def test_without_a_target_help_is_that_of_the_command(project: Any, args: tuple[str, ...]) -> None:
    said = project.furu(*args)
    assert "told of" not in said.out
    assert said.status == (0 if "--help" in args else 2)


DEEP = """
    from __future__ import annotations
    from dataclasses import dataclass
    from exp.train import one as imported
    from furu_core import Furu

    @dataclass(frozen=True)
    class Point:
        x: int
        y: int = 0

    class Corpus(Furu[int]):
        name: str
        root: str = "/data"

    class Fold(Furu[int]):
        corpus: Corpus
        seed: int

    class Fit(Furu[int]):
        fold: Fold
        at: Point
        rate: float = 0.1
        def _create(self) -> int:
            return self.fold.seed

    class Chain(Furu[int]):
        before: Chain

    ready: list[Fit] = []
    names = ["a", "b"]
    several = {"a": imported}
    helper = len
"""


def test_what_must_be_given_is_told_however_deep_it_is_and_the_command_told_works(
    project: Any,
) -> None:
    project.write("deep.py", DEEP)
    lines = project.furu("run", "deep:Fit", "--help").out.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("deep:Fit"))
    names = [line.split()[0] for line in lines[at + 2 : -1]]
    assert names == [
        "fold", "fold.corpus", "fold.corpus.name", "fold.corpus.root", "fold.seed", "at", "at.x",
        "at.y", "rate",
    ]  # fmt: skip
    example = lines[-1].removeprefix("such as: furu ")
    assert example == (
        "run deep:Fit --set fold.corpus.name=VALUE --set at.x=VALUE --set fold.seed=A,B"
    )
    refused = project.furu("run", "deep:Fit", "--set", "rate=1")
    assert "error: Fit needs fold, at" in refused.err
    given = "--set fold.corpus.name=VALUE --set fold.seed=VALUE --set at.x=VALUE"
    assert f"hint: give them: {given}" in refused.err
    args = given.replace("VALUE", "3").split()
    assert len(project.json("why", "deep:Fit", *args)["roots"]) == 1
    refused = project.furu("run", "deep:Fit", "--set", "fold.seed=1", "--set", "at.x=1")
    assert "error: Fold needs corpus" in refused.err
    assert "hint: give it: --set fold.corpus.name=VALUE" in refused.err
    for args in (("--help",), ()):
        assert "before" in str(project.furu("run", "deep:Chain", *args)), (
            "a class that needs itself"
        )


def test_a_target_that_is_not_there_is_told_with_those_that_are(project: Any) -> None:
    project.write("deep.py", DEEP)
    refused = project.furu("run", "deep:Pit")
    assert "error: deep has no 'Pit'; did you mean 'Fit'?" in refused.err
    assert refused.err.rstrip().endswith(
        "deep.py, and has imported, Corpus, Fold, Fit, Chain, several"
    ), "no dataclass, nothing that is empty, no function of another module"
    assert "did you mean" not in project.furu("run", "deep:quite_another").err
