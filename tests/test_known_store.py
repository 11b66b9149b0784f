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
from typing import Any, Final

import attrs
import click
import pytest

import furu_core
from furu_core._cli._main import furu as group
from furu_testing import Host, Said
from known_store import answers, make, schemas

WRITES: Final = bool(os.environ.get("TEST_WRITE_ANSWERS"))
# What needs an edit in the middle of a run; test_code_that_ran.py has that.
ELSEWHERE: Final = {"furu show": {"code_edited"}}
# What tells of the machine; the test below has that.
OF_THE_MACHINE: Final = {"furu doctor"}
SCHEMAS: Final = schemas.read()
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
            made = make.make(shared / "project", forks)
            (shared / "asked.json").write_text(json.dumps(made.asked))
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
        if "--json" in question.args and said.out:
            assert not (wrong := faults(question, said.out)), f"$ furu {question.line}: {wrong}"
        yield attrs.evolve(question, answer=normal.answer(said, question))


def faults(question: answers.Question, out: str) -> list[str]:
    """In what a document is not as docs/json.md says."""
    form = schemas.form_of(question.args, SCHEMAS)
    assert form, f"docs/json.md has nothing on `furu {question.line}`"
    documents = answers.documents_in(out)
    return [fault for one in documents for fault in schemas.faults(one, SCHEMAS[form], SCHEMAS)]


def test_the_best_accuracy_of_each_model_as_a_frame(known: make.KnownProject) -> None:
    """By hand: the skill of the model, the sum of the test data of digits, 6, and a quarter of lr."""
    with furu_core.use_settings(path=known.store):
        rows = furu_core.frame("Train", as_="dicts")
        best = furu_core.frame("Train").groupby("model")["result.accuracy"].max()
    assert best.to_dict() == pytest.approx({"linear": 0.61, "tree": 0.71, "net": 0.81})
    winner = max(rows, key=lambda row: row["result.accuracy"])
    told = {name: winner[name] for name in ("data.raw.name", "data.seed", "model", "lr")}
    assert told == {"data.raw.name": "digits", "data.seed": 0, "model": "net", "lr": 0.2}


def test_the_questions_at_the_end_of_the_help_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
    shown = [line[2:].split() for line in page.splitlines() if line.startswith("$ furu ")]
    asked = [line.partition("furu ")[2] for line in (group.epilog or "").splitlines()]
    commands = [["furu", *line.split()] for line in asked if line]
    assert len(commands) == 7
    for command in commands:
        fixed = (
            2 if any(word.isupper() for word in command) else len(command)
        )  # CLASS, MODULE:TARGET
        assert any(line[:fixed] == command[:fixed] for line in shown), command


def test_all_that_is_documented_of_json_occurs() -> None:
    """Of the known store; that nothing else occurs is tested with each answer."""
    found: dict[str, set[str]] = {form: set() for form in SCHEMAS}
    for file in FILES:
        for question in answers.questions_in(file.read_text()):
            if "--json" in question.args:
                form = schemas.form_of(question.args, SCHEMAS)
                out = "".join(
                    line
                    for line in question.answer.splitlines(keepends=True)
                    if not line.startswith(("! ", "[exit"))
                )
                for one in answers.documents_in(out):
                    found[form] |= set(schemas.seen(one, SCHEMAS[form], SCHEMAS))
    never = {
        form: sorted(set(schemas.places(schema)) - found[form] - ELSEWHERE.get(form, set()))
        for form, schema in SCHEMAS.items()
        if form not in OF_THE_MACHINE
    }
    assert not {form: places for form, places in never.items() if places}


def test_the_checks_of_a_place_are_as_documented(known: make.KnownProject) -> None:
    said = known.furu("doctor", "--json")
    schema = SCHEMAS["furu doctor"]
    (document,) = answers.documents_in(said.out)
    assert not list(schemas.faults(document, schema, SCHEMAS))
    assert set(schemas.places(schema)) <= set(schemas.seen(document, schema, SCHEMAS))


def test_each_command_with_json_is_documented() -> None:
    context = click.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    with_json = {
        f"furu {name}"
        for name, command in commands.items()
        if command is not None and any("--json" in option.opts for option in command.params)
    }
    assert with_json == {form for form in SCHEMAS if len(form.split()) == 2}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"hash": "a", "sizes": {"x": 1}, "rows": [{"n": 1.5}]}, None),
        ({"hash": "a", "sizes": {"x": 1}, "rows": [{"n": None}, {"n": 2, "m": True}]}, None),
        ({"hash": 1, "sizes": {}, "rows": []}, "hash is 1, no text"),
        ({"sizes": {}, "rows": []}, "hash is absent"),
        ({"hash": "a", "sizes": {"x": True}, "rows": []}, "sizes.x is True, no int"),
        ({"hash": "a", "sizes": {}, "rows": [{"n": 1, "k": 1}]}, "rows[].k has no row"),
        ([], "the document is [], no object"),
    ],
)
def test_what_is_not_as_documented_is_found(value: Any, fault: str | None) -> None:
    rows = {"hash": "text", "sizes": "object of int", "rows": "list of objects"}
    rows |= {"rows[].n": "number or null", "rows[].m": "bool, may be absent"}
    schema = schemas.schema_of("".join(f"| `{key}` | {kind} | x |\n" for key, kind in rows.items()))
    schema.kinds = ("object",)
    assert list(schemas.faults(value, schema, {})) == ([] if fault is None else [fault])
