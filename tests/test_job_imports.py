"""What is imported by those who wait for it: jobs, workers, the program that runs them, one that loads results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs

from furu_core.planning import NodeRef
from furu_slurm import JobPayload, write_job_environment
from furu_slurm._job_payload import write_payload
from furu_slurm_dag._job import FUNCTION
from furu_slurm_dag._run_folder import Assignment, Batch
from furu_slurm_pool._queue import _run_folder, _tasks
from furu_slurm_pool._queue._tasks import QueuedTask
from furu_slurm_pool._worker import WorkerSetup

# Runs a job until it is about to fork, and tells what is loaded by then.
TOLD: Final = """
import os, sys

def tell():
    print(*sys.modules, flush=True)
    os._exit(0)

os.fork = tell
from furu_slurm._job_main import main
sys.exit(main(sys.argv[1:]))
"""
# Each takes longer than all that a job does before its node's process starts.
HEAVY: Final = {"cattrs", "click", "difflib", "hashlib", "logging", "numpy", "rich"} | {
    "filelock", "secrets", "shutil", "submitit", "traceback"
}  # fmt: skip
# What the node's own process needs, or who plans and submits; one module of each is enough to tell.
NOT_FOR_JOBS: Final = {
    "furu_core._attempts._attempts",
    "furu_core._codecs",
    "furu_core._compute._compute",
    "furu_core._config._config_class",
    "furu_core._executors._executor",
    "furu_core._executors._run",
    "furu_core._furu",
    "furu_core._plugins",
    "furu_plan._build",
    "furu_slurm._local",
    "furu_slurm._slurm",
    "furu_slurm._specs",
    "furu_slurm_dag._executor",
    "furu_slurm_dag._submit",
    "furu_slurm_pool._controller._fleet",
    "furu_slurm_pool._controller._queue_pool",
    "furu_slurm_pool._executor",
}
# How many modules of furu a worker and the program that started it may have loaded by then.
WORKERS_OWN: Final = 81
PARENTS_OWN: Final = 96
HASH: Final = "0" * 32


def has_imported_little(payload: JobPayload, *needed: str) -> None:
    """Run a job until it starts the process of a node, and see what is loaded by then."""
    write_job_environment(payload.run_folder)
    payload = attrs.evolve(payload, token="token", time_min=60.0)
    write_payload(payload)
    done = subprocess.run(
        [sys.executable, "-P", "-c", TOLD, str(payload.path), "0"],
        env={**os.environ, "SUBMITIT_EXECUTOR": "local"},
        capture_output=True,
        text=True,
        check=True,
    )
    # What workers print ends before the last line.
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {*needed, "furu_core._processes._node_process"} <= loaded
    assert not loaded & HEAVY
    assert not loaded & NOT_FOR_JOBS
    assert len(own_code(loaded)) <= 40, own_code(loaded)


def test_the_job_of_a_node_has_imported_little_when_it_starts_the_nodes_process(
    store: Path,
) -> None:
    folder = store / "runs" / "run"
    folder.mkdir(parents=True)
    node = Assignment(NodeRef("mine/Node", HASH, "Node"), offset=0)
    batch = Batch("run", "default", (node,))
    has_imported_little(batch.payload(FUNCTION, folder), "furu_slurm_dag._job")


def test_a_worker_has_imported_little_when_it_starts_on_its_first_task(store: Path) -> None:
    folder = store / "runs" / "run"
    _run_folder.make_folders(str(folder))
    _tasks.enqueue(
        _run_folder.open_queue(str(folder), "default"),
        _tasks.task_name(1, 1, HASH),
        QueuedTask(HASH, "1-1.jsonl", 0),
    )
    setup = WorkerSetup(str(folder), "run", "default", 60.0, 1.0, 5.0, True)
    has_imported_little(setup.payload(["w1"]), "furu_slurm_pool._worker")


def loaded_by(code: str) -> set[str]:
    """The modules that a program has loaded at its end."""
    command = [sys.executable, "-P", "-c", f"{code}; import sys; print(*sys.modules)"]
    return set(subprocess.check_output(command, text=True).split())


def own_code(loaded: set[str]) -> list[str]:
    """The modules of furu that are not just the folder of others."""
    rooms = {name.rpartition(".")[0] for name in loaded}
    return sorted(name for name in loaded - rooms if name.startswith("furu"))


def test_a_worker_has_imported_little_when_it_imports_the_module_of_its_first_node() -> None:
    server = "import furu_core._processes._node_server"
    loaded = loaded_by(f"{server}; from furu_core import Furu; from furu_local import run_local")
    assert "furu_core._compute._compute" in loaded
    assert not loaded & (HEAVY - {"logging", "traceback"})  # nodes log
    assert not loaded & {"decimal", "selectors", "shlex", "socket", "subprocess", "tomllib"}
    assert not loaded & {
        "furu_core._codecs._registry",
        "furu_core._codecs._same_frame",
        "furu_core._executors._run",
        "furu_core._plugins",
        "furu_core._processes._node_process",
        "furu_local._executor",
        "furu_plan",
    }
    assert len(own_code(loaded)) <= WORKERS_OWN, own_code(loaded)


def test_a_program_that_runs_nodes_in_processes_imports_nothing_that_computes() -> None:
    loaded = loaded_by("from furu_core import Furu; import furu_local._executor")
    assert "furu_local._process_pool" in loaded
    assert not loaded & (HEAVY - {"logging", "traceback"})
    assert not loaded & {"ctypes", "decimal", "shlex"}
    assert not loaded & {
        "furu_core._codecs._store",
        "furu_core._compute._compute",
        "furu_core._plugins",
        "furu_core._workers._worker",
        "furu_local._threads",
        "furu_plan.runs._backend",
    }
    assert len(own_code(loaded)) <= PARENTS_OWN, own_code(loaded)


def test_a_program_that_only_loads_results_has_imported_little() -> None:
    loaded = loaded_by("from furu_core import Furu")
    assert "furu_core._compute._hit" in loaded
    assert not loaded & (
        HEAVY | {"furu_core._compute._compute_or_wait", "furu_core._compute._compute"}
    )
