"""What a job has imported when it starts the process of its node: next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from furu_core.executors import NodePlace
from furu_slurm import write_job_environment
from furu_slurm._calls import Call, write_calls
from furu_slurm_dag._files import Assignment, Batch, write_batch
from furu_slurm_dag._job import FUNCTION, arguments

# Runs the job until it is about to fork, and tells what is loaded by then.
TOLD = """
import os, sys

def tell():
    print(*sys.modules, flush=True)
    os._exit(0)

os.fork = tell
from furu_slurm._entry import main
sys.exit(main(sys.argv[1:]))
"""
# Each takes longer than all that a job does before its node's process starts.
HEAVY = {"cattrs", "click", "difflib", "filelock", "hashlib", "logging", "numpy", "rich"} | {
    "secrets", "shutil", "submitit", "traceback"
}  # fmt: skip
# What the node's own process needs, or who plans and submits; one module of each is enough to tell.
NOT_FOR_JOBS = {
    "furu_core._attempts",
    "furu_core._codecs",
    "furu_core._compute",
    "furu_core._config_class",
    "furu_core._executor",
    "furu_core._furu",
    "furu_core._plugins",
    "furu_plan._build",
    "furu_slurm._local",
    "furu_slurm._slurm",
    "furu_slurm._spec",
    "furu_slurm_dag._executor",
    "furu_slurm_dag._submit",
}


def test_a_job_has_imported_little_when_it_starts_the_process_of_its_node(store: Path) -> None:
    folder = store / "runs" / "run"
    (folder / "jobs").mkdir(parents=True)
    node = Assignment(NodePlace("mine/Node", "0" * 32, "Node(000000)"), offset=0)
    write_batch(folder, Batch("token", "run", "default", (node,)))
    write_job_environment(folder)
    calls = folder / "token.json"
    write_calls(calls, "token", 60.0, [Call(FUNCTION, arguments(folder, "token", 1)[0])])
    done = subprocess.run(
        [sys.executable, "-P", "-c", TOLD, str(calls), "0"],
        env={**os.environ, "SUBMITIT_EXECUTOR": "local"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {"furu_slurm_dag._job", "furu_slurm._node_child"} <= loaded
    assert not loaded & HEAVY
    assert not loaded & NOT_FOR_JOBS
    own = sorted(name for name in loaded if name.startswith("furu"))
    assert len(own) <= 32, own
