"""`furu table` and `furu ls -l`: what they show, of a store with a known history."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
from __future__ import annotations
import dataclasses, enum, pathlib
from typing import Any, NamedTuple
from furu_core import Furu

class Split(NamedTuple):
    train: int
    test: int

@dataclasses.dataclass
class Score:
    acc: float
    split: Split
    curve: list[float]

class Data(Furu[int]):
    name: str
    def _create(self) -> int:
        return len(self.name)

class Train(Furu[Score]):
    data: Data
    lr: float
    seed: int = 0
    epochs: int = 3
    def _create(self) -> Score:
        if self.lr > 1:
            raise ValueError("too high")
        return Score(self.lr / 2 + self.seed / 10, Split(8, self.data.get()), [1.0, 0.5])

class Model(Furu[Any]):
    layers: int
    def _create(self) -> Any:
        return object
"""
ODD = """
from furu_core import Furu

class Odd(Furu[list]):
    x: float

    def _create(self) -> list:
        return [self.x, 1.5]
"""
HISTORY = """
from furu_local import run_local
from exp.scores import *
for name in ("digits", "iris"):
    for lr in (0.5, 0.25, 2.0):
        for seed in (0, 1):
            try:
                Train(data=Data(name=name), lr=lr, seed=seed).get()
            except Exception:
                pass
run = run_local([Train(data=Data(name="run"), lr=1, seed=seed) for seed in (0, 1)],
                worker="inline", progress=False)
print(run.id)
"""


@pytest.fixture(scope="module")
def scores(make_project: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with ten results of `Train`, two of a run, four failures; the code is gone."""
    project = make_project(tmp_path_factory.mktemp("scores"))
    path = project.write("exp/scores.py", PROGRAM)
    project.run_id = project.python(HISTORY).split()[-1]
    path.unlink()
    return project


def table(project: Any, *args: str) -> list[list[str]]:
    """The cells of a table, its head first."""
    return [line.split() for line in project.furu("table", *args).out.splitlines()[:-1]]


def test_a_table_has_the_fields_that_vary_and_the_parts_of_results(scores: Any) -> None:
    lines = scores.furu("table", "Train", "--sort", "-result.acc", "--top", "3").out.splitlines()
    assert [line.split()[:6] for line in lines[:4]] == [
        ["data.name", "lr", "seed", "result.acc", "result.split.train", "result.split.test"],
        ["run", "1.0", "1", "0.60", "8", "3"],
        ["run", "1.0", "0", "0.50", "8", "3"],
        ["digits", "0.5", "1", "0.35", "8", "6"],
    ]
    assert lines[0].split()[6:] == ["took", "peak", "node"]
    assert lines[4:] == [
        "3 of 10 rows, 10 done, 4 failed (--state failed), 1 constant column hidden (--all)"
    ]


def test_rows_are_sorted_by_their_fields_and_aligned(scores: Any) -> None:
    said = scores.furu("table", "Train", "--where", "data.name!=run", "--columns", "lr,seed,node")
    *lines, last = said.out.splitlines()
    assert [line[: line.rindex(" ")].rstrip() for line in lines] == [
        "  lr  seed",
        *["0.25     0", "0.25     1", "0.50     0", "0.50     1"] * 2,
    ]
    assert last.startswith("8 done, 4 failed (--state failed)")


def test_failed_nodes_are_rows_when_they_are_asked_for(scores: Any) -> None:
    said = scores.furu("table", "--state", "failed", "--where", "data.name=iris")
    head, *rows, last = said.out.splitlines()
    assert head.split() == ["seed", "node", "error", "message"], "nothing was recorded of costs"
    assert [row.split()[0] for row in rows] == ["0", "1"]
    assert all(row.endswith("ValueError  too high") for row in rows)
    assert "4 done" in last


def test_results_are_averaged_over_fields(scores: Any) -> None:
    document = scores.json("table", "Train", "--mean-over", "seed", "--where", "lr<1")
    assert document["columns"] == [
        "data.name", "lr", "result.acc", "result.acc.std", "result.split.train",
        "result.split.train.std", "result.split.test", "result.split.test.std", "nodes",
    ]  # fmt: skip
    assert [(row["data.name"], row["lr"], row["nodes"]) for row in document["rows"]] == [
        ("digits", 0.25, 2),
        ("digits", 0.5, 2),
        ("iris", 0.25, 2),
        ("iris", 0.5, 2),
    ]
    assert [row["result.acc"] for row in document["rows"]] == [0.175, 0.3, 0.175, 0.3]
    assert [round(row["result.acc.std"], 9) for row in document["rows"]] == [0.070710678] * 4
    both = table(scores, "Train", "--mean-over", "seed", "--mean-over", "data.name")
    assert [row[0] for row in both] == ["lr", "0.25", "0.50", "1.00"]
    assert [row[-1] for row in both] == ["nodes", "4", "4", "2"]
    refused = scores.furu("table", "--mean-over", "sed")
    assert (refused.status, "did you mean 'seed'" in refused.err) == (2, True)


WORDS = """
from furu_core import Furu
class Word(Furu[str]):
    text: str
    def _create(self) -> str:
        return self.text
Word(text="Zürich → 東京").get()
"""


def test_text_that_the_output_cannot_encode_is_written_in_another_way(project: Any) -> None:
    project.write("words.py", WORDS)
    project.python("import words")
    args = (sys.executable, "-m", "furu_core", "table", "--columns", "text")
    told: dict[str, list[bytes]] = {}
    for encoding in ("latin-1", "ascii"):
        env = project.env | {"PYTHONIOENCODING": encoding}
        for form in ([], ["--csv"], ["--json"]):
            done = subprocess.run(
                [*args, *form], cwd=project.folder, env=env, capture_output=True, check=False
            )
            assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
            told.setdefault(encoding, []).append(done.stdout)
    for text in told["latin-1"][:2]:
        assert "Zürich \\u2192 \\u6771\\u4eac" in text.decode("latin-1")
    for text in told["ascii"][:2]:
        assert "Zürich → 東京" in text.decode("utf-8"), "nobody set a locale"
    for texts, encoding in ((told["latin-1"], "latin-1"), (told["ascii"], "utf-8")):
        assert json.loads(texts[2].decode(encoding))["rows"] == [{"text": "Zürich → 東京"}]


def test_a_table_may_be_asked_for_where_there_is_no_output(scores: Any) -> None:
    for form in ("", "--csv", "--json"):
        said = scores.shell(f"furu table Train {form} >&-")
        assert (said.status, "Traceback" in said.err) == (0, False)


def test_csv_and_json_have_raw_values(scores: Any) -> None:
    args = ("table", "Train", "--where", "lr=0.25", "--where", "data.name=iris")
    (first, second) = csv.DictReader(io.StringIO(scores.furu(*args, "--csv").out))
    assert (first["seed"], first["result.acc"], len(first["node"])) == ("0", "0.125", 32)
    assert float(second["took"]) >= 0
    assert int(second["peak"]) > 1 << 20
    document = scores.json(*args)
    assert list(document) == [
        "columns", "rows", "left_out", "states", "constant", "repeated",
    ]  # fmt: skip
    assert document["columns"] == list(first) == list(document["rows"][0])
    assert document["rows"][0] | {"took": 0, "peak": 0, "node": ""} == {
        "seed": 0, "result.acc": 0.125, "result.split.train": 8, "result.split.test": 4,
        "took": 0, "peak": 0, "node": "",
    }  # fmt: skip
    assert (document["left_out"], document["states"]) == (0, {"done": 2})
    assert document["constant"] == {"data.name": "iris", "lr": 0.25, "epochs": 3}
    refused = scores.furu(*args, "--csv", "--json")
    assert (refused.status, "exclude each other" in refused.err) == (2, True)


def test_all_columns_are_shown_on_demand(scores: Any) -> None:
    (row,) = scores.json("table", "Train", "--all", "--where", "result.acc=0.35", "--top", "1")[
        "rows"
    ]
    assert (row["epochs"], row["result.curve"], row["state"], row["attempt"]) == (
        3, [1.0, 0.5], "done", 1,
    )  # fmt: skip
    assert {"cpu", "size", "ended", "host", "run", "made_by"} <= row.keys()


def test_results_of_a_run_are_chosen_by_its_id(scores: Any) -> None:
    rows = scores.json("table", f"run:{scores.run_id}", "--class", "Train")["rows"]
    assert [(row["seed"], row["result.acc"]) for row in rows] == [(0, 0.5), (1, 0.6)]
    listed = scores.furu("ls", "--run", scores.run_id[:12]).out.splitlines()
    assert len(listed) == 3
    assert scores.furu("ls", f"run:{scores.run_id[-6:]}").out.splitlines() == listed
    runs = scores.store / "runs"
    runs.rename(scores.store / "elsewhere")  # as furu runs --prune removes folders
    try:
        assert scores.furu("ls", "--run", scores.run_id[-6:]).out.splitlines() == listed
    finally:
        (scores.store / "elsewhere").rename(runs)
    assert scores.furu("ls", "--since", "2999-01-01").out == ""


def test_a_run_where_a_node_or_a_class_is_wanted_is_told_as_such(scores: Any) -> None:
    for args in (("show", scores.run_id), ("rm", scores.run_id), ("table", scores.run_id)):
        said = scores.furu(*args)
        assert (said.status, f"`furu ls run:{scores.run_id}` lists" in said.err) == (2, True)


def test_an_empty_table_is_a_line(scores: Any) -> None:
    said = scores.furu("table", "Train", "--where", "lr>100")
    assert (said.status, said.out) == (0, "0 done\n")
    nothing = f"the store {scores.store} has no result that fulfils this; `furu ls --count` counts what is there\n"
    assert said.err == nothing
    for command in ("ls", "du"):
        said = scores.furu(command, "Train", "--where", "lr>100")
        assert said.err == nothing.replace("result", "node")
    said = scores.furu("table", "Train", "--where", "lr=2", "--json")
    assert json.loads(said.out)["states"] == {"failed": 4}
    assert json.loads(said.out)["rows"] == []
    refused = scores.furu("table", "Train", "--where", "lrr!=1")
    assert (refused.status, "did you mean 'lr'" in refused.err) == (2, True)


def test_a_long_listing_tells_costs_and_is_sorted(scores: Any) -> None:
    lines = [line.split() for line in scores.furu("ls", "-l", "--sort", "-took").out.splitlines()]
    assert lines[0] == ["state", "node", "class", "took", "peak", "size", "ended", "host", "run"]
    assert len(lines) == 1 + 10 + 3 + 4
    assert [line[0] for line in lines[-4:]] == ["failed"] * 4, "they have no time, so come last"
    said = scores.furu("ls", "-l", "--json", "--sort", "-took", "--top", "2")
    first, second = map(json.loads, said.out.splitlines())
    assert first["took"] >= second["took"]
    assert list(first) == (
        ["hash", "class", "name", "state", "path", "took", "peak", "size", "ended", "host", "run"]
    )
    paths = scores.furu("ls", "--sort", "ended", "--where", "lr=2", "--paths").out.splitlines()
    assert [line.split()[::2] for line in paths] == [["failed", "exp.scores:Train"]] * 4
    for args in (["-l", "--count"], ["--sort", "lr", "--stale"]):
        refused = scores.furu("ls", *args)
        assert (refused.status, "exclude each other" in refused.err) == (2, True)


def test_a_listing_is_chosen_as_a_table_is(scores: Any) -> None:
    for choice in (
        ["Data"],
        ["Train", "--where", "lr=0.5"],
        ["--class", "Data", "--state", "done"],
    ):
        listed = scores.furu("ls", *choice, "--json").out.splitlines()
        rows = scores.json("table", *choice)["rows"]
        assert sorted(json.loads(line)["hash"] for line in listed) == sorted(
            row["node"] for row in rows
        )
        assert rows
    (node,) = scores.furu("ls", rows[0]["node"][:12]).out.splitlines()
    assert node.split()[1] == rows[0]["node"][:12]
    counted = scores.furu("ls", "--count", "--where", "lr=2").out.split()
    assert counted == ["4", "failed", "exp.scores:Train"]


def test_json_is_json_also_where_numbers_are_none_of_its_own(project: Any) -> None:
    project.write("exp/odd.py", ODD)
    project.python("from exp.odd import *\nfor x in ('nan', 'inf', '-inf'): Odd(x=float(x)).get()")
    first, second, third = (
        json.loads(one)["hash"] for one in project.furu("ls", "Odd", "--json").out.splitlines()
    )
    said = [
        project.furu("table", "Odd", "--all", "--sort", "x", "--json").out,
        project.furu("diff", first, second, "--json").out,
        project.furu("diff", second, third, "--json").out,
        project.furu("show", third, "--json").out,
    ]
    table, *_ = [json.loads(text, parse_constant=pytest.fail) for text in said]
    assert [(row["x"], row["result"]) for row in table["rows"]] == [
        ("-Infinity", ["-Infinity", 1.5]),
        ("Infinity", ["Infinity", 1.5]),
        ("NaN", ["NaN", 1.5]),
    ]
