"""`furu du`, `furu gc`, `furu pin` and `furu unpin`: what they print and refuse."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from furu_core._executors._run import EventKind, EventLog

COMPUTE = """
from exp.train import *
one.get(), Train(data=Split(seed=4), lr=0.5).get()
try: broken.get()
except Exception: pass
"""


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory, make_project: Any) -> Any:
    """A project with two of `Train`, the `Split` of each, and a `Broken` that failed."""
    project = make_project(tmp_path_factory.mktemp("space"))
    project.python(COMPUTE)
    return project


@pytest.fixture
def filled(computed: Any, project: Any) -> Any:
    """A copy of the computed project, with folders as they were."""
    shutil.copytree(computed.store, project.store)
    return project


def test_du_sums_up_nodes_and_tells_the_rest_of_the_store(filled: Any) -> None:
    told = filled.json("du")
    rows = {row["class"]: (row["nodes"], row["inodes"], row["bytes"]) for row in told["rows"]}
    failed = rows.pop("exp.train:Broken")
    assert rows == {"exp.train:Train": (2, 6, 2), "exp.train:Split": (2, 4, 0)}
    folders = list((filled.store / "data/exp/train/Broken").rglob("*"))
    assert failed == (1, len(folders), sum(p.stat().st_size for p in folders if p.is_file()))
    assert told["total"]["nodes"] == 5
    for name, space in told["others"].items():
        there = list((filled.store / name).rglob("*"))
        size = sum(path.stat().st_size for path in there if path.is_file())
        assert (space["inodes"], space["bytes"]) == (len(there) + 1, size)
    assert {"code", "provenance"} <= set(told["others"])
    assert told["largest"][0]["class"] == "exp.train:Broken"
    printed = filled.furu("du")
    assert printed.out.splitlines()[0].split() == ["class", "nodes", "inodes", "size"]
    assert "furu gc" in printed.err


@pytest.mark.parametrize(
    ("by", "names"),
    [("run", {"no run"}), ("age", {"less than a day"}), ("class", {"exp.train:Train"})],
)
def test_du_takes_a_selection_and_sums_up_by_other_columns(
    filled: Any, by: str, names: set[str]
) -> None:
    told = filled.json("du", "Train", "--where", "lr<0.2", "--by", by)
    assert {row[by] for row in told["rows"]} == names
    assert (told["total"]["nodes"], told["others"]) == (1, {})


def test_du_of_an_empty_store_is_empty(project: Any) -> None:
    assert project.json("du")["rows"] == []
    assert project.furu("du").status == 0


def test_gc_plans_takes_exactly_that_and_brings_it_back(filled: Any) -> None:
    before = tree(filled.store)
    kept = filled.json("gc")
    assert (kept["plan"], kept["nodes"], kept["keeps"]["young"]) == (None, 0, 5)
    told = filled.json("gc", "--keep", "0d")
    assert tree(filled.store) == before
    assert (told["nodes"], len(told["hashes"])) == (5, 5)
    assert {one["class"] for one in told["classes"]} == {
        "exp.train:Train", "exp.train:Split", "exp.train:Broken",
    }  # fmt: skip
    printed = filled.furu("gc", "--keep", "0d").out
    assert f"`furu gc --do {told['plan']}` moves exactly this to the trash: 5 nodes" in printed
    assert "Train(data=Split(…), lr=" in printed
    done = filled.furu("gc", "--do", told["plan"][:6])
    assert (done.status, "moved 5 nodes" in done.out) == (0, True)
    assert filled.furu("ls").out == ""
    assert sorted(filled.json("gc", "--undo")["put_back"]) == sorted(told["hashes"])
    assert tree(filled.store) == before
    again = filled.furu("gc", "--undo")
    assert (again.status, "the trash has nothing that `furu gc` moved" in again.err) == (2, True)


def test_gc_empty_asks_and_frees_what_plans_took(filled: Any) -> None:
    plan = filled.json("gc", "--keep", "0d")["plan"]
    assert filled.json("gc", "--do", plan)["left"] == []
    refused = filled.furu("gc", "--empty", stdin="n\n")
    assert (refused.status, "nothing was removed" in refused.err) == (1, True)
    assert filled.json("gc", "--empty", "--yes")["removed"] == [plan]
    assert list((filled.store / "trash").iterdir()) == []


def test_a_pin_keeps_a_node_with_what_it_was_made_of_from_gc_and_rm(filled: Any) -> None:
    (pinned,) = filled.json("pin", "Train", "table 2")
    assert (pinned["what"], pinned["name"], pinned["reason"]) == (
        "class", "exp.train:Train", "table 2",
    )  # fmt: skip
    assert [one["id"] for one in filled.json("pin", "--list")] == [pinned["id"]]
    told = filled.json("gc", "--keep", "0d")
    assert (told["nodes"], told["keeps"]["pin"], told["pins"]) == (1, 4, [pinned["id"]])
    refused = filled.furu("rm", "--yes", "Split")
    assert refused.status == 2
    assert "kept by a pin, exp.train:Train, pinned by" in refused.err
    assert f"furu unpin {pinned['id']}" in refused.err
    assert filled.furu("unpin", pinned["id"]).out == "no longer pinned: exp.train:Train\n"
    assert filled.furu("pin", "--list").err.startswith("nothing is pinned; `furu pin ")
    assert filled.furu("rm", "--yes", "Split").status == 0


def test_runs_prune_plans_for_runs_alone_and_brings_them_back(filled: Any) -> None:
    run = filled.json("run", "--executor", "inline", "exp.train:one")["run"]
    log = EventLog(filled.store / "runs" / run)
    log.write(EventKind.RUN_ENDED)
    log.close()
    assert filled.json("runs", "--prune")["folders"] == []
    nothing = filled.furu("runs", "--prune")
    assert "nothing would go" in nothing.out
    assert nothing.err.startswith("`furu runs --prune --keep 30d` keeps less; ")
    assert "keeps less" not in filled.furu("runs", "--prune", "--keep", "1d").err
    before = tree(filled.store)
    told = filled.json("runs", "--prune", "--keep", "0d")
    assert (told["nodes"], told["folders"]) == (0, [f"runs/{run}"])
    printed = filled.furu("runs", "--prune", "--keep", "0d").out
    assert f"`furu runs --prune --do {told['plan']}` moves exactly this to the trash" in printed
    assert [one["run"] for one in filled.json("runs")] == [run]
    done = filled.furu("runs", "--prune", "--do", told["plan"])
    assert (done.status, done.out.splitlines()[0]) == (0, "moved 1 folder to the trash")
    assert (filled.json("runs"), tree(filled.store)) == ([], before)
    assert "put back 1 folder" in filled.furu("gc", "--undo").out
    assert [one["run"] for one in filled.json("runs")] == [run]
    both = filled.json("gc", "--runs", "--keep", "0d")["plan"]
    refused = filled.furu("runs", "--prune", "--do", both)
    assert (refused.status, "takes nodes as well" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("runs", "--prune", "--since", "3d"), "--since lists runs, and --prune plans by age"),
        (("runs", "--keep", "3d"), "--keep goes with --prune"),
        (("runs", "--prune", "--do", "abc"), "there is no plan 'abc'"),
        (("runs", "--prune", "--do", "abc", "--keep", "3d"), "--keep belongs to the plan"),
        (("gc", "--do"), "--do takes the id of a plan"),
        (("gc", "abc"), "what shall become of that plan?"),
        (("gc", "--do", "abc"), "there is no plan 'abc'"),
        (("gc", "--do", "../runs"), "there is no plan '../runs'"),
        (("gc", "--undo", "--empty"), "exclude each other"),
        (("gc", "--undo", "--keep", "3d"), "its options belong to the plan"),
        (("gc", "--keep", "soon"), "'soon' is no time"),
        (("gc", "--keep", "2999-01-01"), "has not come yet"),
        (("pin",), "Missing argument: what to pin, or --list"),
        (("pin", "Nothing"), "no node 'Nothing'"),
        (("pin", "run:1"), "has no run '1'"),
        (("ls", "run:1"), "has no run '1'"),
        (("ls", "--run", ""), "has no run ''"),
        (("failures", "run:1"), "has no run '1'"),
        (("unpin", "Train"), "nothing is pinned that 'Train' means"),
        (("du", "Nothing"), "no class 'Nothing'"),
    ],
)
def test_what_means_nothing_is_an_error_that_says_so(
    filled: Any, args: tuple[str, ...], says: str
) -> None:
    done = filled.furu(*args)
    assert done.status == 2
    assert says in done.err


@pytest.mark.parametrize("days", ["99999999999999", "9" * 30])
def test_a_time_before_all_calendars_keeps_everything(filled: Any, days: str) -> None:
    said = filled.furu("gc", "--keep", f"{days}d")
    assert (said.status, "nothing would go" in said.out) == (0, True), said.err
    assert "made since before all calendars" in said.out
    assert filled.furu("runs", "--prune", "--keep", f"{days}d").status == 0


def test_gc_says_where_it_cannot_note_its_plan(filled: Any) -> None:
    (filled.store / "gc").write_text("in the way")
    told = filled.json("gc", "--keep", "0d")
    assert (told["plan"], told["nodes"]) == (None, 5)
    assert "cannot be carried out from here" in filled.furu("gc", "--keep", "0d").out


def tree(store: Path) -> dict[str, bytes]:
    """All files of results and attempts."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted((store / "data").rglob("*"))
        if path.is_file()
    }


def test_gc_says_what_it_is_not_for_and_makes_no_store(filled: Any, project: Any) -> None:
    refused = filled.furu("gc", "Train")
    assert refused.status == 2
    assert "error: 'Train' is no id of a plan" in refused.err
    assert "`furu rm Train`" in refused.err
    shutil.rmtree(project.store)
    assert project.furu("gc", "--empty", "--yes").out == "the trash has nothing that a plan took\n"
    assert not project.store.exists()


def test_an_example_of_what_would_go_is_in_pythons_words(filled: Any) -> None:
    told = filled.furu("gc", "--keep", "0d").out
    assert "kind=Kind.SMALL" in told
    assert "$" not in told


def test_it_is_told_how_many_nodes_pins_keep(filled: Any) -> None:
    filled.furu("pin", "Train", "for the paper")
    refused = filled.furu("rm", "Train", "Split", "--yes")
    assert refused.status == 2
    assert "is kept by a pin, exp.train:Train, pinned by" in refused.err
    assert "for the paper; pins keep 3 more nodes of these" in refused.err
