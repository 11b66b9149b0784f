"""What a trivial node asks of the system: changes of names are what a busy file server feels, then look-ups by path."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NODES = Path(__file__).parent / "nodes"
SCRIPT = """
import os, sys
from get_nodes import Square, Talks
from furu_core import settings
from furu_core._store._layout import ref_of
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

os.makedirs(ref_of(Talks()).class_dir)  # which all nodes of a class share
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


MANY = 60
ORDERS = f"""
from get_nodes import Square
from furu_core.workers import NodeProcess, WorkerContext, origin_here

worker = WorkerContext(executor="test", run_id="run-1")
with NodeProcess(origin_here()) as process:
    for side in range({2 * MANY}):
        process.assign(Square(side=side), worker)  # sent at once, so that it never waits for the next one
    reports = []
    while len(reports) < {2 * MANY}:
        reports += process.poll(timeout=None)
assert all(report.result.outcome.value == "computed" for report in reports), reports
"""
CHANGE = re.compile(r"mkdir|rename|link|symlink|unlink|rmdir|open.*O_CREAT")
SYSTEM_CALLS = 36


def test_a_trivial_node_in_a_worker_takes_no_more_look_ups_and_system_calls_than_it_needs(
    tmp_path: Path,
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace, which counts them, is not installed here")
    env = os.environ | {"FURU_PATH": str(tmp_path / "store"), "PYTHONPATH": str(NODES)}
    # Threads wait for each other more or less often, as it happens: that is `futex`.
    strace = ["strace", "-ff", "-qq", "-s", "400", "-e", "trace=!futex", "-o", f"{tmp_path}/trace"]
    done = subprocess.run(
        [*strace, sys.executable, "-c", ORDERS],
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
    )
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip(f"strace may not look at processes here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    # Of each thread; the main one of the worker claims all nodes.
    traces = [
        re.split(r"(?m)^(?=mkdir.*/Square/\.)", trace.read_text())
        for trace in tmp_path.glob("trace.*")
    ]
    (trace,) = (calls for calls in traces if len(calls) > 2 * MANY)
    calls = "".join(trace[-MANY - 1 : -1]).splitlines()  # of nodes in the middle of others

    by_path = [call for call in calls if re.match(r'(?!getcwd)\w+\((AT_FDCWD, )?"[^"]', call)]
    changes = [call for call in by_path if CHANGE.match(call) and " = -1 " not in call]
    told = "\n".join(calls[: 2 * SYSTEM_CALLS])
    assert len(changes) / MANY == 3, told
    # Whether the file for the output is still there is looked at five times a second at most.
    assert (len(by_path) - len(changes)) // MANY == 5, told
    assert len(calls) / MANY < SYSTEM_CALLS + 0.5, told
