"""Users of one group who share a store, whose code they run, and clusters that share a filesystem."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from furu_testing import Program, await_mark, let_go, times
from furu_testing.slurm import TestUsers, let_users_in

PROGRAM = """
import sys

from furu_slurm_dag import submit_slurm_dag
from furu_slurm_pool import run_slurm_pool
from furu_testing.nodes import Step

how, label = sys.argv[1:]
root = Step(label=label, needs=(Step(label="shared", waits=True),))
options = {"specs": {"default": {"cpus": 1, "mem_gb": 1}}, "poll_interval_sec": 0.3}
if how == "pool":
    run = run_slurm_pool(root, max_workers_total=1, **options)
else:
    run = submit_slurm_dag(root, **options).wait()
print("result", run.results())
"""
SETTINGS = {"FURU_LEASE_SECS": "6", "FURU_POLL_INTERVAL_SECS": "0.2"}


@contextmanager
def ended(programs: list[Program]) -> Iterator[list[Program]]:
    try:
        yield programs
    finally:
        for program in programs:
            program.end()


def test_p4_what_users_of_one_store_and_two_clusters_need_in_common_is_computed_once(
    two_users: TestUsers, own_slurm: Any
) -> None:
    """Neither user is shown the other's jobs, and each cluster has jobs of the same numbers."""
    alpha = own_slurm(nodes=2, conf={"ClusterName": "alpha", "PrivateData": "jobs"})
    beta = own_slurm(nodes=2, conf={"ClusterName": "beta"})
    store = two_users.folder / "store"
    first, second = two_users.names
    for cluster in (alpha, beta):
        let_users_in(cluster)

    def begin(user: str, cluster: Any, *arguments: str) -> Program:
        environment = {
            **two_users.environment,
            "FURU_PATH": str(store),
            "SLURM_CONF": str(cluster.conf),
            **SETTINGS,
        }
        command = two_users.command(user)
        return Program(
            two_users.folder, "-c", PROGRAM, *arguments, environment=environment, command=command
        )

    with ended([begin(first, alpha, "dag", "dag")]) as programs:
        await_mark(store, "shared")
        programs.append(begin(second, alpha, "dag", "other-dag"))
        programs.append(begin(second, alpha, "pool", "pool"))
        programs.append(begin(first, beta, "pool", "other-cluster"))
        time.sleep(4)  # in which whoever took the job for dead would compute the node
        let_go(store)
        for program in programs:
            said = program.finish()
            assert "result 2" in said.out, said
    assert times(store) == dict.fromkeys(("shared", "dag", "other-dag", "pool", "other-cluster"), 1)


NODES = """
from furu_core import Furu


class Thing:
    def __getstate__(self):
        return 1

    def __setstate__(self, state):
        print("unpickled")


class Made(Furu[object]):
    def _create(self):
        print("computed")
        return Thing()
"""
# Each line of the program's second part is done after the first one, or its error is told.
EACH = """
import sys
from pathlib import Path
from furu_core import settings
from furu_core.errors import FuruError
from furu_core.executors import RunState, named_roots, new_run_folder, runs_folder
from furu_core.workers import GraphReader, GraphWriter
from furu_slurm_pool import run_slurm_pool
from furu_slurm_pool._controller._start import begin_term
from furu_slurm_pool._executor import SlurmPoolExecutor
from furu_slurm_pool._queue import _tasks
from furu_testing.nodes import Leaf
from shared_nodes import Made

POOL = {"cluster": "local", "poll_interval_sec": 0.2, "max_workers_total": 1, "specs": {"default": {}}}

def begin_run():
    roots = named_roots(Leaf(x=1))
    folder = new_run_folder("slurm-pool", roots)[1]
    begin_term(folder, 0, SlurmPoolExecutor(**POOL)._request(), roots).end(RunState.CANCELLED)
    return folder.name

def queue_task():
    queue = _tasks.queue_folder(str(settings().path / "a-run"), "default")
    queue.make()
    _tasks.enqueue(queue, "001-00000001.abc", _tasks.QueuedTask("abc", "graph", 1))

def read_task(worker):
    queue = _tasks.queue_folder(str(settings().path / "a-run"), "default")
    claims = _tasks.Claims(queue, worker)
    (name,) = claims.claim(1)
    try:
        return claims.read(name).hash
    finally:
        _tasks.move_file(claims.path(name), f"{queue.todo}/{name}")

def write_graph():
    with GraphWriter(settings().path / "graph") as writer:
        return writer.add(Leaf(x=5))

def read_graph(place):
    return GraphReader(settings().path / "graph").read(place).x

for line in sys.argv[1:]:
    try:
        print(line, "=", eval(line))
    except FuruError as error:
        print(line, "raised", type(error).__name__, error)
"""


def test_p7_whose_code_one_runs_in_a_shared_store_is_what_the_setting_says(
    two_users: TestUsers,
) -> None:
    (two_users.folder / "shared_nodes.py").write_text(NODES)
    store = two_users.folder / "store"
    first, second = two_users.names

    def said(user: str, *lines: str, trust: str = "all") -> str:
        environment = {
            **two_users.environment,
            "FURU_PATH": str(store),
            "FURU_TRUST_PICKLES": trust,
            **SETTINGS,
        }
        environment["PYTHONPATH"] += f":{two_users.folder}"
        command = two_users.command(user)
        with ended([
            Program(two_users.folder, "-c", EACH, *lines, environment=environment, command=command)
        ]) as (program,):  # fmt: skip
            told = program.finish()
        assert told.status == 0, told
        return told.out

    told = said(first, "type(Made().get())", "queue_task()", "write_graph()", "begin_run()")
    assert "raised" not in told, told
    assert told.count("computed") == 1
    place = told.partition("write_graph() = ")[2].partition("\n")[0]
    run = told.partition("begin_run() = ")[2].strip()
    result = pickle_in(store)
    reads = ("type(Made().get())", f"read_graph({place})")

    told = said(second, *reads, "read_task('w1')", trust="own")
    for error, path in (
        ("FuruResultError", result),
        ("FuruUntrustedFile", store / "graph"),
        ("FuruUntrustedFile", store / "a-run" / "queue"),
    ):
        assert f"raised {error} {path}" in told, told
    assert told.count(f"belongs to {first}") == 3, told
    assert told.count(f"FURU_TRUST_PICKLES={first}") == 3, told
    assert "unpickled" not in told
    assert "computed" not in told

    for worker, trust in enumerate((first, f"{second},{first}", "all"), 2):
        told = said(second, *reads, f"read_task('w{worker}')", trust=trust)
        assert "raised" not in told, told
        assert told.count("unpickled") == 1
        assert "computed" not in told
        assert f"{reads[1]} = 5" in told
        assert "= abc" in told
    assert "unpickled" in said(first, *reads, trust="own")  # one's own

    # A run that the other user began is gone on with by those who trust them.
    line = "run_slurm_pool(Leaf(x=1), **POOL).run_id"
    told = said(second, line, trust="own")
    assert f"{line} = " in told, told
    assert run not in told
    begun = said(second, "begin_run()").partition("begin_run() = ")[2].strip()
    told = said(first, line, trust=second)
    assert f"{line} = {begun}" in told, told


def pickle_in(store: Path) -> Path:
    (found,) = store.glob("data/shared_nodes/Made/*/.furu.result.pickle")
    return found
