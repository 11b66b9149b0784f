"""What imports cost: those of a program, of a local run, and of a job of either Slurm backend.

All are seconds of the processor, since imports wait for nothing, and each is the least of some rounds,
in which furu and bare Python take turns. A job is measured as it is: from the start of its process to
the moment in which it forks the process of its first node, that is with all it does until then. The
latter's own share goes up to the first line of the node's code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from bench.row import Row
from bench.starting import Started
from furu_core import use_settings
from furu_slurm import JobPayload

ROUNDS = 20
SPENT = "; import time; print('spent', time.process_time())"
PACKAGE = "from furu_core import Furu" + SPENT
RUN = "from furu_core import Furu; import furu_local._executor" + SPENT
# As `NodeProcess` starts an interpreter, and with what the user's module imports of furu.
WORKER = (
    "import gc; gc.disable(); import furu_core._processes._node_server; "
    "from furu_core import Furu; from furu_local import run_local" + SPENT
)
BARE = "pass" + SPENT
ATTRS = "import attrs" + SPENT
JOB = """
import os, sys, time

fork = os.fork

def told():
    print("spent", time.process_time(), flush=True)
    return fork()

os.fork = told
from furu_slurm._job_main import main
sys.exit(main(sys.argv[1:]))
"""


def rows() -> Iterator[Row]:
    """The rows of the table."""
    for name, program, limit in (
        ("import furu_core, above bare Python", PACKAGE, 0.05),
        ("imports of a program that runs nodes, likewise", RUN, 0.1),
        ("imports of its worker processes, likewise", WORKER, 0.08),
    ):
        imported, bare = least([[program]] * ROUNDS, [BARE])
        yield Row(name, imported - bare, limit=limit)
    folder = tempfile.mkdtemp(prefix="furu-bench-")
    os.mkdir(f"{folder}/furu")
    try:
        with use_settings(path=f"{folder}/furu", log_level="ERROR"):
            yield from _job_rows(Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _job_rows(folder: Path) -> Iterator[Row]:
    for name, prepare in (("slurm-dag", _dag_job), ("slurm-pool", _pool_job)):
        jobs = [[JOB, prepare(folder / name, number), "0"] for number in range(ROUNDS)]
        job, attrs = least(jobs, [ATTRS])
        note = "reference: import attrs"
        yield Row(f"start of a job of {name}", job, attrs, limit=0.1, note=note)
        child = min(Started(number=number).get() for number in range(ROUNDS))
        yield Row(f"then of its node's process, {name}", child, attrs, note=note)
        shutil.rmtree(folder / "furu" / "data")


def _dag_job(run: Path, number: int) -> str:
    """The payload file of a job that computes a node of its own."""
    from furu_core.planning import ref_of
    from furu_slurm_dag._job import FUNCTION
    from furu_slurm_dag._run_folder import GRAPH, Assignment, Batch

    node = Started(number=number)
    token = f"token{number}"
    run.mkdir(parents=True, exist_ok=True)
    assignment = Assignment(ref_of(node), _written(run / GRAPH, node))
    batch = Batch(run.name, "default", (assignment,))
    return _written_payload(batch.payload(FUNCTION, run), token)


def _pool_job(run: Path, number: int) -> str:
    """The payload file of a worker; with its task, which is in a run of its own."""
    from furu_core.workers import take_snapshot
    from furu_slurm_pool._queue import _run_folder, _tasks
    from furu_slurm_pool._worker import WorkerSetup

    node = Started(number=number)
    run = run / str(number)
    _run_folder.make_folders(str(run))
    place = _written(Path(_run_folder.graph_file(str(run), "1-1.jsonl")), node)
    snapshot = take_snapshot()
    code = "" if snapshot is None else snapshot.digest
    _tasks.enqueue(
        _run_folder.open_queue(str(run), "default"),
        _tasks.task_name(1, 1, node.furu_hash),
        _tasks.QueuedTask(node.furu_hash, "1-1.jsonl", place, code=code),
    )
    setup = WorkerSetup(str(run), run.name, "default", 0.1, 0.1, 5.0, True)
    return _written_payload(setup.payload(["w1"]), f"token{number}")


def _written(path: Path, node: Started) -> int:
    from furu_core.workers import GraphWriter

    with GraphWriter(path) as writer:
        return writer.add(node)


def _written_payload(payload: JobPayload, token: str) -> str:
    from furu_slurm import write_job_environment
    from furu_slurm._job_payload import write_payload

    write_job_environment(payload.run_folder)
    payload = attrs.evolve(payload, token=token, time_min=60.0)
    write_payload(payload)
    return str(payload.path)


def least(furu: Iterable[list[str]], bare: list[str]) -> tuple[float, float]:
    """The least seconds of some programs and of a bare one, in turn."""
    pairs = [(seconds(program), seconds(bare)) for program in furu]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def seconds(program: list[str]) -> float:
    """Seconds of the processor that a program says it has spent.

    Args:
        program: its code and arguments.
    """
    said = subprocess.run(
        [sys.executable, "-P", "-c", *program],
        check=True,
        env={**with_bytecode(), "SUBMITIT_EXECUTOR": "local"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    return float(said.partition("spent ")[2].split()[0])


def with_bytecode() -> Mapping[str, str]:
    """The environment of a user: some forbid bytecode, and then each import compiles."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "pyc"))}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ
