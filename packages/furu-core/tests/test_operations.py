"""How many changes of names in the store a trivial node costs: they are what a busy file server feels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NODES = Path(__file__).parent / "nodes"
SCRIPT = """
import os, sys
from get_nodes import Square, Talks
from furu_core import settings
from furu_core._store._layout import node_paths
from furu_core.workers import WorkerContext, run_node, worker_session

store, counting, changed = str(settings().path), False, []

def hook(event, args):
    if not counting or not args or not str(args[0]).startswith(store):
        return
    if event in ("os.mkdir", "os.rename", "os.link", "os.symlink"):
        changed.append(event)
    elif event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT:
        changed.append("create")
    elif event in ("os.remove", "os.rmdir") and os.path.lexists(args[0]):
        changed.append(event)

os.makedirs(node_paths(Talks()).class_dir)  # which all nodes of a class share
sys.addaudithook(hook)
with worker_session(WorkerContext(executor="test", run_id="run-1")):
    for node in (Square(side=1), Talks(), Square(side=2)):
        changed.clear()
        counting = True
        result = run_node(node)
        counting = False
        assert result.outcome.value == "computed", result
        print(type(node).__name__, *changed)
"""


def test_a_trivial_node_changes_three_names_and_one_that_prints_four(tmp_path: Path) -> None:
    env = os.environ | {"FURU_PATH": str(tmp_path / "store"), "PYTHONPATH": str(NODES)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    _, talks, square = done.stdout.splitlines()  # the first one makes folders that all share
    assert square.split() == ["Square", "os.mkdir", "create", "os.rename"]
    assert sorted(talks.split()[1:]) == sorted(["os.mkdir", "create", "create", "os.rename"]), talks
    class_folder = next((tmp_path / "store").rglob("Square"))
    for folder in class_folder.iterdir():
        assert os.listdir(folder) == [".furu.json"]
