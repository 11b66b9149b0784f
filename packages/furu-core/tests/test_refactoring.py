"""P2 and P10: a project of 100 nodes is refactored in one go, and no node is computed again."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

HEAD = """
    from furu_core import Furu, field
    def note(obj):
        with open("computed.txt", "a") as file:
            file.write(type(obj).__name__ + "\\n")
"""
BEFORE = {
    "data.py": """
        class Split(Furu[int]):
            seed: int = 0
            def _create(self):
                note(self)
                return self.seed
    """,
    "train.py": """
        from boxes import Box
        from data import Split
        class Train(Furu[dict]):
            data: Split
            learning_rate: float = 0.1
            kind: str = "small"
            momentum: float = 0.9
            def _create(self):
                note(self)
                (self.furu_dir / "weights.bin").write_bytes(b"w" * 1000)
                return {"value": self.data.get() + self.learning_rate, "made_of": Box(self)}
        class Eval(Furu[float]):
            model: Train
            def _create(self):
                note(self)
                return self.model.get()["value"]
    """,
    "report.py": """
        from train import Eval, Split, Train
        class Report(Furu[float]):
            scores: list[Eval]
            def _create(self):
                note(self)
                return sum(score.get() for score in self.scores)
        def roots():
            fits = [Train(data=Split(seed=s), learning_rate=r / 16) for s in range(4) for r in range(12)]
            return [Report(scores=[Eval(model=fit) for fit in fits[1:]]), fits[0]]
    """,
}
BOXES = """
    class Box:  # no format but a pickle holds it
        def __init__(self, inside):
            self.inside = inside
"""
MERGED = """
    class Data(Furu[int]{Data}):
        seed: int = 0
        def _create(self):
            note(self)
            return self.seed
    class Fit(Furu[dict]{Fit}):
        data: Data
        lr: float = {lr}
        size: str = {size}
        dropout: float = {dropout}
        def _create(self):
            note(self)
            raise AssertionError("it is there already")
    class Score(Furu[float]{Score}):
        fit: Fit{model}
        def _create(self):
            note(self)
            return self.fit.get()["value"]
"""
REPORT = """
    from exp.models import Data, Fit, Score
    class Report(Furu[float]):
        scores: list[Score]
        def _create(self):
            note(self)
            return sum(score.get() for score in self.scores)
    def roots():
        fits = [Fit(data=Data(seed=s), lr=r / 16) for s in range(4) for r in range(12)]
        return [Report(scores=[Score(fit=fit) for fit in fits[1:]]), fits[0]]
"""
SAYING_SO = {
    "Data": ', formerly="data:Split"',
    "Fit": ', formerly="train:Train", removed={"momentum": 0.9}',
    "Score": ', formerly="train:Eval"',
    "lr": 'field(default=0.1, formerly="learning_rate")',
    "size": 'field(default="small", formerly="kind")',
    "dropout": "field(default=0.0, omit_default_from_hash=True)",
    "model": ' = field(formerly="model")',
}
CLEAN = {
    **dict.fromkeys(("Data", "Fit", "Score", "model"), ""),
    "lr": "0.1", "size": '"small"', "dropout": "0.0",
}  # fmt: skip
VALUES = """
    import json, os, report
    from pathlib import Path
    from furu_core import Furu
    from furu_core.workers import Packer, Unpacker
    value, first = (root.get() for root in report.roots())
    if not os.path.exists("packed"):
        Path("packed").write_bytes(Packer().pack(report.roots()[0]))
        Path("dict").write_text(json.dumps(report.roots()[0].to_dict()))
    packed = Unpacker().unpack(Path("packed").read_bytes())
    read = Furu.from_dict(json.loads(Path("dict").read_text()))
    same = first["made_of"].inside == report.roots()[1] and packed == read == report.roots()[0]
    print(value, first["value"], type(first["made_of"].inside).__name__, same)
"""
ADOPTIONS = [
    ("data:Split", "exp.models:Data"),
    ("train:Train", "exp.models:Fit", "--map", "learning_rate=lr", "--map", "kind=size",
     "--drop", "momentum=0.9", "--set", "dropout=0"),
    ("train:Eval", "exp.models:Score", "--map", "model=fit"),
]  # fmt: skip


class Project:
    """A project in a folder, and the processes that run in it."""

    def __init__(self, folder: Path, fresh: Any) -> None:
        self.folder = folder / "project"
        self._fresh = fresh
        self.write("pyproject.toml", "", head="")
        self.write("boxes.py", BOXES, head="")
        for name, text in BEFORE.items():
            self.write(name, text)

    def write(self, name: str, text: str, head: str = HEAD) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(head) + textwrap.dedent(text))

    def refactor(self, how: dict[str, str]) -> None:
        for name in BEFORE:
            (self.folder / name).unlink()
        self.write("exp/models.py", MERGED.format(**how))
        self.write("report.py", REPORT)

    def restore(self) -> None:
        (self.folder / "exp/models.py").unlink()
        for name, text in BEFORE.items():
            self.write(name, text)

    def values(self) -> str:
        """What a process prints that asks for all results."""
        printed: str = self._fresh.python(textwrap.dedent(VALUES), self.folder)
        return printed

    def furu(self, *args: str) -> str:
        said = self._fresh.furu(args, self.folder)
        assert said.status == 0, said
        return str(said.out)

    def computed(self) -> int:
        return len((self.folder / "computed.txt").read_text().splitlines())

    def data(self) -> dict[str, bytes]:
        """All that is in the store, but for what was removed and what processes print."""
        store = self.folder / "furu-data"
        return {
            str(path.relative_to(store)): path.read_bytes() if path.is_file() else b""
            for path in sorted(store.rglob("*"))
            if path.relative_to(store).parts[0] not in ("trash", "output")
        }


@pytest.fixture
def project(tmp_path: Path, fresh: Any) -> Project:
    return Project(tmp_path, fresh)


def test_p2_with_formerly_nothing_is_computed_again(project: Project) -> None:
    assert project.values().endswith("Train True\n")
    assert project.computed() == 100
    before = project.data()
    project.refactor(SAYING_SO)
    assert project.values().endswith("Fit True\n")
    assert project.computed() == 100
    assert project.data() == before
    assert "done      " in project.furu("ls", "train:Train")
    project.restore()
    assert project.values().endswith("Train True\n")
    assert project.computed() == 100


def test_p10_with_adopt_nothing_is_computed_again_and_it_is_undone_without_a_trace(
    project: Project,
) -> None:
    was = project.values()
    assert project.computed() == 100
    before = project.data()
    project.refactor(CLEAN)
    for adoption in ADOPTIONS:
        project.furu("adopt", *adoption)
    assert project.data() == before  # which only showed what it would do
    said = [project.furu("adopt", *adoption, "--do") for adoption in ADOPTIONS]
    assert "done: 4 results found under a second name" in said[0]
    assert "done: 48 results found under a second name" in said[1]
    assert "1 result that depends on them comes along: 1 of report:Report" in said[2]
    assert "done: 48 results found under a second name" in said[2]
    now = project.values()
    assert now.split()[:2] == was.split()[:2]
    assert now.endswith("Fit True\n")  # also the config in a result is one of today
    assert project.computed() == 100
    assert "nothing damaged" in project.furu("verify", "--deep")
    for old, new, *_ in reversed(ADOPTIONS):
        project.furu("adopt", old, new, "--undo")
    assert project.data() == before
    project.restore()
    assert project.values() == was
    assert project.computed() == 100
