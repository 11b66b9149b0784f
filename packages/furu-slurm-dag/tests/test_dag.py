"""Graphs as jobs of a real cluster, one per node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dag_nodes as nodes
import pytest

from furu_core import Furu
from furu_core.executors import NodeState, RunState, StateReader
from furu_slurm import SlurmSpec
from furu_slurm_dag import SlurmDagSubmission, submit_slurm_dag

SMALL = {"default": SlurmSpec(partition="cpu", cpus=1, mem_gb=0.5, time_min=5)}
WAIT_SECS = 120.0


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """Where nodes write down what they did."""
    return tmp_path / "note"


def submit(roots: Any, **options: Any) -> SlurmDagSubmission:
    return submit_slurm_dag(roots, **{"specs": SMALL, "poll_interval_sec": 0.3, **options})


def lines(note: Path) -> list[str]:
    return note.read_text().splitlines() if note.exists() else []


def states(*wanted: Furu[Any]) -> list[NodeState]:
    reader = StateReader()
    return [reader.state(node).state for node in wanted]


def diamond(note: Path) -> tuple[nodes.Source, nodes.Add, nodes.Add, nodes.Add]:
    source = nodes.Source(x=1, note=note)
    left, right = (nodes.Add(terms=(source,), note=note, extra=extra) for extra in (1, 2))
    return source, left, right, nodes.Add(terms=(left, right), note=note)


def test_a_diamond_is_one_job_per_node_each_after_its_dependencies(
    slurm: Any, store: Path, note: Path
) -> None:
    _source, left, right, root = diamond(note)
    run = submit({"root": root})
    jobs = run.job_id_by_hash
    assert len(set(jobs.values())) == 4
    assert run.root_job_ids == (jobs[root.furu_hash],)
    assert run.run_dir == store / "runs" / run.run_id
    assert len(run.plan) == 4
    assert run.wait(WAIT_SECS).results() == {"root": 5}
    assert [line.split()[0] for line in lines(note)] == ["Source", "Add", "Add", "Add"]
    assert lines(note)[-1] == "Add 0"
    status = run.status()
    assert (status.state, status.total, status.computed) == (RunState.DONE, 4, 4)
    # Left and right wait for the same node, so they share an array; the root waits for all of it.
    array, _, _ = jobs[left.furu_hash].partition("_")
    assert {jobs[left.furu_hash], jobs[right.furu_hash]} == {f"{array}_0", f"{array}_1"}
    logs = store / "submitit" / "nodes" / "default" / run.run_id
    for job_id in jobs.values():
        assert "is there: computed" in (logs / f"{job_id}_0_log.out").read_text()
