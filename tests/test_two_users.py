"""Users of one group who share a store, and clusters that share a filesystem."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
