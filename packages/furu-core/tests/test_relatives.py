"""A note where results seem to be there under another name or with other fields; never an error."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from furu_testing import Said

HEAD = """
    from furu_core import Furu, field
    class Data(Furu[int]):
        def _create(self):
            return 1
"""
TRAIN = """
    class Train(Furu[int]):
        lr: float = 0.1
        momentum: float = 0.9
        def _create(self):
            return 1
"""


class Project:
    """A project in a folder, in which processes compute."""

    def __init__(self, folder: Path, fresh: Any) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        (self.folder / "pyproject.toml").touch()
        self._fresh = fresh

    def write(self, name: str, *texts: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(map(textwrap.dedent, (HEAD, *texts))))

    def said(self, code: str, **variables: str) -> str:
        """What is on the console of a process."""
        done: Said = self._fresh._run("python", code, self.folder, "", None, variables)
        assert done.status == 0, done
        return done.err

    def notes(self, code: str, **variables: str) -> list[str]:
        said = " ".join(self.said(code, **variables).split())
        return [f"note:{part}" for part in said.split("note:")[1:]]


@pytest.fixture
def project(tmp_path: Path, fresh: Any) -> Project:
    made = Project(tmp_path, fresh)
    made.write("train.py", TRAIN)
    assert made.notes("import train; train.Train().get(); train.Data().get()") == []
    return made


def moved(project: Project, *texts: str) -> None:
    (project.folder / "train.py").unlink()
    project.write("exp/models.py", *texts)


GET = "from exp import models as m; [m.Fit(lr=x).get() for x in (1, 2)]; m.Data().get()"


def test_a_class_that_was_renamed_is_told_once_with_the_line_that_keeps_its_results(
    project: Project,
) -> None:
    moved(project, TRAIN.replace("Train", "Fit"))
    notes = project.notes(GET)
    assert len(notes) == 2
    assert (
        "exp.models:Fit has no results, and train:Train, which is gone and had the same" in notes[0]
    )
    assert "`class Fit(Furu[...], formerly='train:Train')`" in notes[0]
    assert "`furu adopt train:Train exp.models:Fit`" in notes[0]
    assert "train:Data" in notes[1]
    assert project.notes(GET.replace("1, 2", "3, 4")) == []  # by now the class has results


def test_the_line_in_the_note_helps(project: Project) -> None:
    moved(project, TRAIN.replace("Train", "Fit"))
    note = project.notes(GET.replace("m.Data().get()", ""))[0]
    command = note.rpartition("`furu ")[2].partition("`")[0].split()
    said = project._fresh.furu((*command, "--do"), project.folder)
    assert "done: 1 result found" in said.out, said
    assert project.notes("from exp import models as m; assert m.Fit().exists()") == []


def test_a_class_that_is_still_there_is_no_relative(project: Project) -> None:
    project.write("exp/models.py", TRAIN.replace("Train", "Fit"))
    assert project.notes(GET) == []
    assert project.notes(f"import train; {GET}") == []


def test_fields_that_changed_are_told_with_the_line_that_keeps_the_results(
    project: Project,
) -> None:
    cases = {
        TRAIN.replace("momentum", "inertia"): (
            "have the field 'momentum', which is gone, no field 'inertia'",
            "`inertia: ... = field(formerly='momentum')`",
            "`furu adopt train:Train train:Train --map momentum=inertia`",
        ),
        TRAIN.replace("        momentum: float = 0.9\n", ""): (
            "have the field 'momentum', which is gone",
            "`class Train(Furu[...], removed={'momentum': 0.9})`",
            "`furu adopt train:Train train:Train --drop momentum=0.9`",
        ),
        TRAIN.replace("        def", "        dropout: float = 0.0\n        def"): (
            "have no field 'dropout'",
            "`dropout: ... = field(default=..., omit_default_from_hash=True)`",
            "`furu adopt train:Train train:Train`",
        ),
    }
    for text, said in cases.items():
        project.write("train.py", text)
        code = "import train; train.Train(lr=5).get()"
        (note,) = project.notes(code + "; train.Train(lr=6).get()")
        assert all(part in note for part in said), note
        project.said("import train\nfor x in (5, 6): train.Train(lr=x).delete()")


def test_a_field_that_changes_no_hash_is_not_told(project: Project) -> None:
    more = """        dropout: float = field(default=0.0, omit_default_from_hash=True)
        note: str = field(default="", exclude_from_hash=True)
        def"""
    project.write("train.py", TRAIN.replace("        def", more))
    assert project.notes("import train; train.Train(lr=5).get()") == []


def test_a_moved_class_with_another_field_is_told_as_well(project: Project) -> None:
    moved(project, TRAIN.replace("lr:", "rate:"))
    (note,) = project.notes("from exp import models as m; m.Train().get()")
    assert "had nearly the same fields" in note
    assert "`furu adopt train:Train exp.models:Train --map lr=rate`" in note


def test_it_is_silent_where_it_shall_be(project: Project) -> None:
    moved(project, TRAIN.replace("Train", "Fit"))
    assert project.notes(GET, FURU_LOG_LEVEL="WARNING") == []
    project.said("from exp import models as m; [m.Fit(lr=x).delete() for x in (1, 2)]")
    inside = (
        "from furu_core.workers import *\n"
        "from exp import models as m\n"
        "with worker_session(WorkerContext(executor='test', run_id='r')): run_node(m.Fit())"
    )
    assert project.notes(inside) == []


def test_what_is_damaged_is_no_error(project: Project) -> None:
    moved(project, TRAIN.replace("Train", "Fit"))
    for record in (project.folder / "furu-data/data").rglob(".furu.json"):
        record.write_bytes(b'[1]\n"')
    assert project.notes(GET) == []


def test_a_plan_tells_it_too(project: Project) -> None:
    moved(project, TRAIN.replace("Train", "Fit"))
    code = "from exp import models as m; from furu_plan import build_plan; build_plan([m.Fit(lr=x) for x in (1, 2)])"
    assert len(project.notes(code)) == 1
    assert len(project.notes(f"{code}; {GET.replace('m.Data().get()', '')}")) == 1


def test_looking_takes_little_time_however_large_the_store_is(
    project: Project, store: Path
) -> None:
    for number in range(1500):
        (project.folder / f"furu-data/data/other/Class{number}/{'0' * 32}").mkdir(parents=True)
    moved(project, TRAIN.replace("Train", "Fit"))
    took = project.said(
        "import time; from exp import models as m; from furu_core._compute import _relatives; m.Fit().furu_hash\n"
        "began = time.process_time(); _relatives.note_relatives([m.Fit()])\n"
        "import sys; sys.stderr.write(f'took {time.process_time() - began}')"
    )
    assert float(took.rpartition("took ")[2]) < 0.2
