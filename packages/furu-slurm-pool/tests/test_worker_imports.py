"""What a worker has imported when it claims its first task: next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from furu_slurm import write_job_environment
from furu_slurm._calls import Call, write_calls
from furu_slurm_pool import _folders, _queue, _tasks
from furu_slurm_pool._fleet import WORK
from furu_slurm_pool._tasks import QueuedTask
from furu_slurm_pool._worker import WorkerSetup

# Runs the worker until it is about to fork its child, and tells what is loaded by then.
TOLD = """
import os, sys

def tell():
    print(*sys.modules, flush=True)
    os._exit(0)

os.fork = tell
from furu_slurm._entry import main
sys.exit(main(sys.argv[1:]))
"""
# Each takes longer than all that a worker does before it claims its first task.
HEAVY = {"cattrs", "click", "difflib", "filelock", "hashlib", "logging", "numpy", "rich"} | {
    "secrets", "shutil", "submitit", "traceback"
}  # fmt: skip
# What the child needs that computes, or who plans and submits; one module of each is enough to tell.
NOT_FOR_WORKERS = {
    "furu_core._attempts",
    "furu_core._codecs",
    "furu_core._compute",
    "furu_core._config_class",
    "furu_core._executor",
    "furu_core._furu",
    "furu_core._plugins",
    "furu_plan",
    "furu_slurm._local",
    "furu_slurm._slurm",
    "furu_slurm._spec",
    "furu_slurm_pool._fleet",
    "furu_slurm_pool._pool",
    "furu_slurm_pool._run",
}


def test_a_worker_has_imported_little_when_it_starts_on_its_first_task(store: Path) -> None:
    folder = store / "runs" / "run"
    _folders.make_folders(str(folder))
    node_hash = "0" * 32
    _queue.enqueue(
        _folders.open_queue(str(folder), "default"),
        _tasks.name_of(1, 1, node_hash),
        QueuedTask(node_hash, "1-1.jsonl", 0),
    )
    write_job_environment(folder)
    setup = WorkerSetup(str(folder), "run", "default", "w1", 60.0, 1.0, 5.0, True)
    calls = folder / "token.json"
    write_calls(calls, "token", 60.0, [Call(WORK, setup.arguments())])
    done = subprocess.run(
        [sys.executable, "-P", "-c", TOLD, str(calls), "0"],
        env={**os.environ, "SUBMITIT_EXECUTOR": "local"},
        capture_output=True,
        text=True,
        check=True,
    )
    # What workers print ends before the last line.
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"furu_slurm_pool._worker", "furu_slurm._node_child"} <= loaded
    assert not loaded & HEAVY
    assert not loaded & NOT_FOR_WORKERS
    own = sorted(name for name in loaded if name.startswith("furu"))
    assert len(own) <= 33, own
