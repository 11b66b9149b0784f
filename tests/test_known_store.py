"""Every command about a store with a known history: the exact answers, for people and as JSON.

The history is in `known_store/make.py`, what is asked and answered in `known_store/answers/`. After a change that is meant,
``TEST_WRITE_ANSWERS=1 make test ARGS="-k known_store"`` writes the files anew; read with `git diff` whether what they say
now is true. Each file is asked about a copy of its own, from the first question to the last, so commands may change it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import attrs
import pytest

from furu_testing import Host, Said
from known_store import answers, make

WRITES: Final = bool(os.environ.get("TEST_WRITE_ANSWERS"))
FILES: Final = sorted(answers.FOLDER.glob("*.txt"))


@pytest.fixture(scope="session")
def forks() -> Iterator[Host]:
    """What each command is forked from."""
    with make.host() as started:
        yield started


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, forks: Host) -> Path:
    """The project with the known store, made by the first process of the test run that needs it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "known_store"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            shutil.rmtree(shared / "project", ignore_errors=True)
            make.make(shared / "project", forks)
            (shared / "done").touch()
    return shared / "project"


@pytest.fixture
def known(original: Path, forks: Host, tmp_path: Path) -> make.KnownProject:
    """A copy of it."""
    shutil.copytree(original, tmp_path / "project", symlinks=True)
    return make.KnownProject(tmp_path / "project", forks)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_commands_answer_what_is_true_of_the_known_store(
    file: Path, known: make.KnownProject, original: Path
) -> None:
    asked = list(answers.questions_in(file.read_text()))
    with make.trouble(known) if file.stem == "trouble" else nullcontext():
        said = list(told(asked, known, original, meanwhile=file.stem == "meanwhile"))
    if WRITES:
        file.write_text("".join(map(str, said)))
        return
    for question, now in zip(asked, said, strict=True):
        assert now.answer == question.answer, f"$ furu {question.line}"


def told(
    asked: list[answers.Question], known: make.KnownProject, original: Path, *, meanwhile: bool
) -> Iterator[answers.Question]:
    """The questions with the answers of today."""
    normal = answers.Normal(known, original)
    before = json.loads((original.parent / "asked.json").read_text())
    for question in asked:
        said = Said(*before[question.line]) if meanwhile else known.furu(*normal.typed(question))
        yield attrs.evolve(question, answer=normal.answer(said, question))
