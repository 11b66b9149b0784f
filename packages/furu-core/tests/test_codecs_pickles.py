"""Pickled results name their classes as other processes import them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from kept_results import load, store

from furu_core._codecs._store import Stored
from furu_core._store._manifest import ResultEntry
from furu_core.errors import FuruResultError

NODES = str(Path(__file__).parent / "nodes")
SCRIPT = """
    import sys
    from kept_results import load, store

    class Model:
        class Part:
            pass
        def __init__(self, weight):
            self.weight = weight
            self.part = Model.Part()

    def rule(x):
        return x + 1

    if __name__ == "__main__":
        folder = sys.argv[1]
        value = {"model": Model(3), "rule": rule, "class": Model}
        stored = store(value, folder, folder)
        back = load(stored, folder, folder)
        assert type(back["model"]) is Model and back["rule"] is rule, "executed a second time"
        print(stored.entry.file)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "training_script.py"
    path.parent.mkdir()
    path.write_text(dedent(SCRIPT))
    (tmp_path / "node").mkdir()
    return path


def run(*args: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    paths = [entry for entry in (path, NODES, os.environ.get("PYTHONPATH")) if entry]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=200
    )


LOAD = """
import sys
from furu_core._codecs._store import Stored
from kept_results import load
from furu_core._store._manifest import ResultEntry
value = load(Stored(ResultEntry("pickle", "result.pickle")), sys.argv[1], sys.argv[1])
model = value["model"]
print(model.weight, type(model).__module__, type(model.part).__qualname__, value["rule"](1))
"""


@pytest.mark.parametrize("way", [["training_script.py"], ["-m", "training_script"]])
def test_classes_of_the_running_script_are_found_by_other_processes(
    way: list[str], script: Path, tmp_path: Path
) -> None:
    node = str(tmp_path / "node")
    stored = run(*way, node, cwd=script.parent)
    assert stored.stdout == "result.pickle\n", stored.stderr
    loaded = run("-c", LOAD, node, cwd=tmp_path, path=str(script.parent))
    assert loaded.stdout == "3 training_script Model.Part 2\n", loaded.stderr


def test_a_class_that_cannot_be_imported_is_named_with_the_file(
    script: Path, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    run("training_script.py", str(node), cwd=script.parent)
    with pytest.raises(FuruResultError) as caught:
        load(Stored(ResultEntry("pickle", "result.pickle")), node, node)
    assert "training_script.Model" in str(caught.value)
    assert str(node / "result.pickle") in str(caught.value)
    assert "PYTHONPATH" in caught.value.hint


def test_a_class_that_no_process_could_import_is_refused_when_it_is_stored(tmp_path: Path) -> None:
    class Local:
        pass

    with pytest.raises(FuruResultError, match="Local"):
        store(Local(), tmp_path, tmp_path)


class Strict:
    def __init__(self) -> None:
        self.field = 1

    def __setstate__(self, state: dict[str, int]) -> None:
        if "field" not in state:
            raise TypeError("no field")
        self.__dict__.update(state)


def test_a_class_that_changed_since_is_no_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store(Strict(), tmp_path, tmp_path)

    def refuse(self: Strict, state: dict[str, int]) -> None:
        raise TypeError("no other field")

    monkeypatch.setattr(Strict, "__setstate__", refuse)
    with pytest.raises(FuruResultError, match="no other field"):
        load(stored, tmp_path, tmp_path)
