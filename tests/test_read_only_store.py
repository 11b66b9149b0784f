"""A store that nobody can write any more: runs whose results are all there load them, with each executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PROJECT: Final = """
from furu_core import Furu

class Part(Furu[int]):
    number: int = 1
    def _create(self) -> int:
        return self.number

class Sum(Furu[int]):
    parts: tuple[Part, ...]
    def _create(self) -> int:
        return sum(part.get() for part in self.parts)

there = [Sum(parts=(Part(), Part(number=2))), Part()]
some = [Part(), Part(number=3)]
"""
SPECS: Final = '[tool.furu.slurm.specs.default]\npartition = "any"\n'


class Project:
    """A project whose store cannot be written.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        (folder / "study.py").write_text(PROJECT)
        (folder / "pyproject.toml").write_text(SPECS)

    def python(self, code: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run code in the project."""
        unset = {name: value for name, value in os.environ.items() if not name.startswith("FURU_")}
        return subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=self.folder, env=unset | {"FURU_PATH": str(self.store)} | env,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def furu(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return self.python("from furu_core._cli import main; main()", *args, **env)

    def state(self) -> list[str]:
        """All that is in the store."""
        return sorted(str(path) for path in self.store.rglob("*"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with results in a disk that is then mounted to be read only."""
    made = Project(tmp_path_factory.mktemp("project"))
    made.store.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", made.store], check=True, capture_output=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs: run as root")
    try:
        ran = made.furu("run", "study:there")
        assert ran.returncode == 0, ran.stderr
        subprocess.run(["mount", "-o", "remount,ro", made.store], check=True)
        yield made
    finally:
        subprocess.run(["umount", "-l", made.store], check=True)


@pytest.mark.parametrize("executor", ["local", "slurm-dag", "slurm-pool"])
def test_what_is_there_is_loaded_and_what_is_not_is_an_error_that_names_it(
    project: Project, executor: str
) -> None:
    before = project.state()
    said = project.furu("run", "study:there", "--executor", executor, "--json")
    assert said.returncode == 0, said.stderr
    report = json.loads(said.stdout)
    assert (report["run"], report["folder"], report["ok"]) == (None, None, True)
    assert [root["done"] for root in report["roots"]] == [True, True]
    assert report["nodes"] == {"total": 2, "computed": 0, "loaded": 2, "failed": 0}
    assert "the run is not recorded: cannot write to the store" in said.stderr

    said = project.furu("run", "study:some", "--executor", executor)
    assert (said.returncode, said.stdout) == (1, "")
    assert "error: 1 root of 2 would have to be computed" in said.stderr
    hint = f"FURU_PATH=FOLDER FURU_ALSO={project.store}"
    assert hint in said.stderr
    again = project.furu("run", "study:there", "--executor", executor, "--rerun", "Part")
    assert again.returncode == 1
    assert "not recorded" not in again.stderr, "it was to be computed again"
    assert project.state() == before


def test_the_next_step_of_the_error_helps(project: Project, tmp_path: Path) -> None:
    own = {"FURU_PATH": str(tmp_path), "FURU_ALSO": str(project.store)}
    said = project.furu("run", "study:some", "--json", **own)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["nodes"]["computed"] == 1
    # And where a store of one's own can be read only, what is elsewhere is loaded.
    said = project.furu("run", "study:some", "--json", FURU_ALSO=str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["run"] is None


@pytest.mark.parametrize(
    "run", ["furu_core.run(study.there)", "furu_local.run_local(study.there, max_workers=1)"]
)
def test_programs_get_their_results(project: Project, run: str) -> None:
    code = f"import furu_core, furu_local, study; run = {run}\n"
    code += "print(run.results(), run.status().state.value, list(run.events()), repr(run.id))"
    said = project.python(code)
    assert said.stdout == "[3, 1] done [] ''\n", said.stderr
