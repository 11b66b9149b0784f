"""Each answer ends in what to type next; JSON for scripts does not."""

from __future__ import annotations

import re
import shutil
from typing import Any

import click
import pytest

from furu_core._cli._main import furu as group
from furu_core._cli._output import styled

COMPUTE = """
from exp.train import *
one.get()
try: broken.get()
except Exception: pass
"""

ANSWERS = [
    (("ls",), "furu failures"),
    (("ls", "Train"), "furu show HASH"),
    (("ls", "--count"), "furu failures"),
    (("ls", "-l", "Split"), "furu table"),
    (("ls", "--where", "lr=7"), "furu ls --count"),
    (("show", "Train"), "furu log "),
    (("show", "Split"), "`furu diff "),
    (("show", "Broken"), "furu debug "),
    (("log", "Broken"), "furu debug "),
    (("failures",), "furu rm --failed "),
    (("table",), "furu show HASH"),
    (("table", "--where", "lr=7"), "furu ls --count"),
    (("du",), "furu gc"),
    (("gc",), "furu du"),
    (("gc", "--keep", "0d"), "furu gc --do "),
    (("pin", "Train", "why"), "furu unpin"),
    (("pin", "--list"), "furu pin "),
    (("rm", "--yes", "Split"), "furu rm --undo"),
    (("run", "--executor", "inline", "exp.train:one"), "furu show "),
    (("run", "--executor", "inline", "exp.train:several"), "furu table Train"),
    (("why", "exp.train:Train", "--set", "lr=7,8"), "furu run exp.train:Train --set lr=7,8"),
    (("runs",), "furu run MODULE:TARGET"),
    (("status",), "furu run MODULE:TARGET"),
    (("export", "Train", "-o", "x.tar"), "furu import x.tar"),
    (("executors",), "furu run MODULE:TARGET --executor NAME"),
]
# What they print is an end in itself, or is to be fed into something else; or another test has their last lines.
OTHERS = {
    *("accept", "adopt", "code", "completion", "debug", "diff", "doctor", "import", "plan", "plugins", "pool", "unpin", "upgrade", "verify"),
}  # fmt: skip


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory, make_project: Any) -> Any:
    """A project with a `Train`, its `Split`, and a `Broken` that failed."""
    project = make_project(tmp_path_factory.mktemp("next"))
    project.python(COMPUTE)
    return project


@pytest.mark.parametrize(("args", "command"), ANSWERS)
def test_an_answer_ends_in_the_next_command(
    computed: Any, project: Any, args: tuple[str, ...], command: str
) -> None:
    shutil.copytree(computed.store, project.store)
    said = project.furu(*args)
    lines = [*said.out.splitlines(), *said.err.splitlines()]
    assert command in (said.err or said.out).splitlines()[-1] or command in lines[-1], lines


def test_an_empty_store_beside_others_is_told_how_to_list_those(project: Any) -> None:
    for name in ("ls", "table"):
        assert "`furu ls --also`" in project.furu(name, FURU_ALSO=str(project.folder)).err


@pytest.mark.parametrize("name", ["ls", "table", "du", "runs", "status", "code"])
def test_a_file_in_place_of_the_store_is_no_empty_store(project: Any, name: str) -> None:
    file = project.write("notes.txt", "")
    said = project.furu(name, FURU_PATH=str(file))
    assert (said.status, f"cannot read the store at {file}: Not a directory" in said.err) == (
        1,
        True,
    )


@pytest.mark.parametrize("name", ["ls", "table", "runs", "failures", "gc", "du", "executors"])
def test_an_empty_store_is_told_with_what_to_type_next_and_json_without(
    project: Any, name: str
) -> None:
    if name != "failures":
        assert re.search(r"`?(furu|pip) \w+", project.furu(name).err)
    assert "furu " not in project.furu(name, "--json").err
    assert not project.store.exists()


def test_every_command_is_looked_at() -> None:
    names = set(group.list_commands(click.Context(group)))
    new = names - OTHERS - {args[0] for args, _ in ANSWERS}
    assert not new, (
        "say what their answers end in: in ANSWERS, or in OTHERS and a test of their own"
    )


def test_no_color_leaves_colours_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert styled("error:", "red", bold=True) == "\x1b[31m\x1b[1merror:\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("error:", "red", bold=True) == "\x1b[1merror:\x1b[0m"
    assert styled("hint:", "cyan") == "hint:"
