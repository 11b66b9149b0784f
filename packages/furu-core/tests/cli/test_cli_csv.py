"""``--csv``: whatever has rows, for other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from furu_core._cli._output import print_csv

COMPUTE = """
from exp.train import *
one.get()
try: broken.get()
except Exception: pass
"""


@pytest.fixture
def computed(project: Any) -> Any:
    """A project with a `Train`, its `Split`, and a `Broken` that failed."""
    project.python(COMPUTE)
    return project


def rows(project: Any, *args: str) -> list[dict[str, str]]:
    said = project.furu(*args, "--csv")
    assert said.status == 0, said.err
    assert not said.err
    return list(csv.DictReader(io.StringIO(said.out)))


def test_listings_have_whole_hashes_seconds_and_bytes(computed: Any) -> None:
    listed = rows(computed, "ls", "-l", "--sort", "-took", "Train")
    assert [row["class"] for row in listed] == ["exp.train:Train"]
    assert len(listed[0]["hash"]) == 32
    assert float(listed[0]["took"]) >= 0
    assert int(listed[0]["size"]) >= 0
    assert [row["nodes"] for row in rows(computed, "ls", "--count")] == ["1", "1", "1"]
    assert {row["state"] for row in rows(computed, "ls")} == {"done", "failed"}
    assert rows(computed, "ls", "--stale") == []


def test_failures_have_a_row_for_each_node_with_its_parameters(computed: Any) -> None:
    (row,) = rows(computed, "failures")
    (shown,) = rows(computed, "ls", "Broken")
    assert (row["hash"], row["class"], row["kind"]) == (
        shown["hash"],
        "exp.train:Broken",
        "compute",
    )
    assert row["error_type"]
    assert row["log"].endswith(".furu.log")


def test_space_and_runs_have_rows(computed: Any) -> None:
    space = rows(computed, "du")
    assert {row["class"] for row in space} == {
        "exp.train:Train",
        "exp.train:Split",
        "exp.train:Broken",
    }
    assert all(int(row["bytes"]) >= 0 for row in space)
    assert computed.furu("run", "--executor", "inline", "exp.train:one").status == 0
    (run,) = rows(computed, "runs")
    assert run["executor"] == "inline"
    assert run["roots"] == f'["{rows(computed, "ls", "Train")[0]["hash"]}"]'


def test_line_ends_of_all_kinds_stay_in_their_cells(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["a\rb", "a\nb", "a\r\n", '="1,2"']
    print_csv(({"text": text} for text in texts), ["text"])
    out = capsys.readouterr().out
    assert out.startswith("text\n")
    assert [row[0] for row in csv.reader(io.StringIO(out, newline=""))] == ["text", *texts]


@pytest.mark.parametrize(
    "command",
    ["ls", "ls -l", "ls --count", "ls --stale", "table", "runs", "failures", "du", "du --by age"],
)
def test_where_there_is_no_row_the_columns_are_named_all_the_same(
    computed: Any, tmp_path: Path, command: str
) -> None:
    assert computed.furu("run", "--executor", "inline", "exp.train:one").status == 0
    words = [*command.split(), "--csv"]
    empty = computed.furu(*words, FURU_PATH=str(tmp_path / "empty"))
    assert empty.status == 0, empty.err
    (named,) = csv.reader(io.StringIO(empty.out))
    header, *found = csv.reader(io.StringIO(computed.furu(*words).out))
    assert named
    assert command in {"ls --stale", "table"} or found
    assert command == "table" or header[: len(named)] == named


@pytest.mark.parametrize("command", ["ls", "table", "runs", "failures", "du"])
def test_one_command_prints_one_form(computed: Any, command: str) -> None:
    said = computed.furu(command, "--csv", "--json")
    assert said.status == 2
    assert "--csv and --json exclude each other" in said.err
