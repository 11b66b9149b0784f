"""What the command tells of the code that made a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

COMPUTE = "from exp.train import *\nprint(one.get(), one.furu_hash)"


@pytest.fixture
def computed(project: Any) -> Any:
    """A project with a `Train`."""
    project.train = project.python(COMPUTE).split()[-1]
    return project


def listing_of(project: Any) -> Path:
    code = project.json("show", project.train)["code"]
    path: Path = project.store / "code" / f"{code['digest']}.json"
    return path


def test_show_names_the_code_that_ran(computed: Any) -> None:
    code = computed.json("show", computed.train)["code"]
    assert "exp.train" in code["modules"]
    assert json.loads(listing_of(computed).read_bytes())["modules"] == code["modules"]
    said = computed.furu("show", computed.train).out
    assert f"digest     {code['digest']}" in said
    assert "of the project (see --json)" in said


def test_show_names_modules_of_which_it_is_not_known_what_ran(computed: Any) -> None:
    path = listing_of(computed)
    text = json.loads(path.read_bytes())
    text["modules"]["exp.other"] = {"path": "exp/other.py", "unknown": "nobody knows"}
    path.write_text(json.dumps(text))
    assert "unknown    exp.other: nobody knows" in computed.furu("show", computed.train).out
    path.unlink()
    assert "the store lacks the listing" in computed.furu("show", computed.train).out
    assert computed.json("show", computed.train)["code"]["modules"] is None


def test_verify_finds_damaged_code(computed: Any) -> None:
    assert computed.furu("verify", "--deep").status == 0
    path = listing_of(computed)
    digest = json.loads(path.read_bytes())["modules"]["exp.train"]["source"]
    source = computed.store / "code" / "sources" / f"{digest}.py"
    source.write_bytes(source.read_bytes() + b"\n")
    assert computed.furu("verify").status == 0
    said = computed.furu("verify", "--deep")
    assert said.status == 1
    assert f"code/sources/{digest}.py: its contents are not those" in said.out
    assert "it is the source of a module of " in said.out
    source.unlink()
    path.unlink()
    said = computed.furu("verify")
    assert said.status == 1
    assert f"code/{path.name}: the file is missing; it is the code of " in said.out
