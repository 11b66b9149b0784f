"""`furu plan` says before a run what would be computed and what loaded."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from furu_core import use_settings
from furu_core.errors import FuruUsageError
from furu_core.planning import short_name

SOURCE = """
from furu_core import Furu

print("imported")

class Split(Furu[int]):
    seed: int = 0

    def _create(self):
        return self.seed

    def _validate(self):
        return self.seed != 13

class Train(Furu[float]):
    data: Split
    lr: float = 0.1

    def _create(self):
        if self.lr > 0.5:
            raise ValueError("lr is too high")
        return self.lr + self.data.get()

class Report(Furu[float]):
    runs: tuple[Train, ...]

    def _create(self):
        return 0.0

def sweep(rate: float = 1.0):
    return Report(runs=(Train(data=Split()), Train(data=Split(), lr=rate)))
"""

numbers = itertools.count()
Command = Callable[..., Result]


@pytest.fixture
def experiment(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """A module of the user's, under a name that no other test has."""
    name = f"experiment_{next(numbers)}"
    (tmp_path / f"{name}.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name)
    del sys.modules[name]


@pytest.fixture
def furu_plan(experiment: ModuleType) -> Command:
    (point,) = entry_points(group="furu.commands", name="plan")
    command = point.load()

    def call(target: str, *options: str) -> Result:
        arguments = [f"{experiment.__name__}:{target}", *options]
        return CliRunner().invoke(command, arguments, catch_exceptions=False)

    return call


def test_it_counts_by_class_and_says_what_a_run_would_do(furu_plan: Command) -> None:
    result = furu_plan("sweep")
    assert result.exit_code == 0
    table = [line.split() for line in result.output.splitlines()]
    assert ["class", "todo", "in", "progress", "failed", "done"] in table
    assert ["Train", "2", "-", "-", "-"] in table
    assert "1 root: a run would compute 4 nodes and load 0." in result.output


def test_it_says_what_is_there(furu_plan: Command, experiment: ModuleType) -> None:
    experiment.Train(data=experiment.Split()).get()
    output = furu_plan("sweep").output
    assert "a run would compute 2 nodes and load 2" in output
    assert "1 node to load would be validated first" in output


def test_it_shows_the_last_failure_and_its_log(furu_plan: Command, experiment: ModuleType) -> None:
    with pytest.raises(Exception, match="lr is too high"):
        experiment.Train(data=experiment.Split(), lr=1.0).get()
    output = furu_plan("sweep").output
    assert "failed last time:" in output
    assert "ValueError: lr is too high" in output
    assert "furu.log" in output
    with use_settings(retry_failed=False):
        output = furu_plan("sweep").output
    assert "1 node failed before and would not be tried again" in output
    assert "so 1 node could not run" in output


def test_it_says_what_is_computed_again(furu_plan: Command, experiment: ModuleType) -> None:
    experiment.Split().get()
    with use_settings(always_rerun=["Split"]):
        output = furu_plan("sweep").output
    assert (
        "1 node would be computed again (--rerun and FURU_ALWAYS_RERUN, with what depends" in output
    )
    experiment.sweep().runs[0].get()
    output = furu_plan("sweep", "--rerun", "Split").output
    assert "2 nodes would be computed again" in output
    with pytest.raises(FuruUsageError, match="did you mean Split"):
        furu_plan("sweep", "--rerun", "Splitt")


def test_p9_it_says_which_results_are_stale_and_why(
    furu_plan: Command, experiment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = experiment.sweep().runs[0]
    train.get()
    assert "stale" not in furu_plan("sweep").output
    train.data.delete()
    monkeypatch.setattr(type(train.data), "_create", lambda self: 3)
    train.data.get()
    split = short_name(train.data)
    output = furu_plan("sweep").output
    assert f"1 result is stale (1 used another {split}); they are loaded all the same." in output
    assert f"  {short_name(train)}  used another result of {split}" in output
    told = json.loads(furu_plan("sweep", "--json").output)["stale"]
    assert told == {
        "stale": {train.furu_hash: [f"used another result of {split}"]},
        "resting": {},
    }


def test_it_changes_nothing_unless_asked_to_validate(
    furu_plan: Command, experiment: ModuleType
) -> None:
    split = experiment.Split(seed=7)
    split.get()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.Split, "_validate", lambda self: False)
        assert "load 1" in furu_plan("Split", "--set", "seed=7").output
        assert split.exists()
        assert "compute 1 node" in furu_plan("Split", "--set", "seed=7", "--validate").output


def test_json_is_all_that_is_printed(furu_plan: Command) -> None:
    record: dict[str, Any] = json.loads(furu_plan("sweep", "--json").stdout)
    assert record["run"] == {"compute": 4, "load": 0, "wait": 0, "failed": 0, "blocked": 0}
    assert [node["class"].partition(":")[2] for node in record["nodes"]] == [
        "Split",
        "Train",
        "Train",
        "Report",
    ]


def test_a_tree_and_a_graph_are_drawn_on_request(furu_plan: Command) -> None:
    assert "    └── Split(" in furu_plan("sweep", "--tree").output
    assert "deeper ones are not drawn" in furu_plan("sweep", "--tree", "--depth", "1").output
    assert furu_plan("sweep", "--dot").stdout.startswith("digraph plan {")


def test_two_forms_at_once_are_refused(furu_plan: Command) -> None:
    with pytest.raises(FuruUsageError, match="exclude each other"):
        furu_plan("sweep", "--json", "--dot")


def test_fields_and_arguments_are_set(furu_plan: Command) -> None:
    assert "compute 3 nodes" in furu_plan("sweep", "--set", "rate=0.1").output
