"""Submitting a wide graph to a real Slurm cluster, one job per node.

The bare reference is as many jobs from as few calls of sbatch, without a graph, a store or a note of
what was submitted.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.child import measure
from bench.row import Row
from bench.trivial import Trivial
from furu_core import Furu, use_settings

sys.path.insert(0, str(Path(__file__).parents[1]))

from furu_testing.slurm import SlurmTestCluster, missing_programs, running

COUNT = 2_000


class Sum(Furu[int]):
    """The root, upon all others."""

    parts: tuple[Trivial, ...]

    def _create(self) -> int:
        return sum(part.get() for part in self.parts)


def ours(store: str) -> float:
    """Seconds to submit, nodes made and hashed within; the jobs are held back by their specs."""
    from furu_slurm import SlurmSpec
    from furu_slurm_dag import submit_slurm_dag

    with use_settings(path=store, log_level="ERROR"):
        began = time.perf_counter()
        root = Sum(parts=tuple(Trivial(index=index) for index in range(COUNT)))
        spec = SlurmSpec(cpus=1, mem_gb=1, extra={"slurm_additional_parameters": {"hold": True}})
        run = submit_slurm_dag(root, specs={"default": spec}, progress=False)
        spent = time.perf_counter() - began
        assert len(run.job_id_by_hash) == COUNT + 1
        run.cancel()
    return spent


def bare(slurm: SlurmTestCluster) -> float:
    """Seconds for as many jobs with sbatch alone."""
    began = time.perf_counter()
    halves = [slurm.sbatch("true", "--hold", f"--array=0-{COUNT // 2 - 1}") for _ in range(2)]
    after = f"--dependency=afterok:{':'.join(halves)}"
    last = slurm.sbatch("true", "--hold", after)
    spent = time.perf_counter() - began
    slurm.run("scancel", *halves, last)
    return spent


def rows() -> Iterator[Row]:
    """The rows of the table; none where Slurm is not installed."""
    if reason := missing_programs():
        print(f"bench_dag {reason}", file=sys.stderr)
        return
    folder = tempfile.mkdtemp(prefix="furu-bench-")
    try:
        with running() as slurm:
            env = dict(slurm.variables)
            pairs = [
                (measure("bench.bench_dag:ours", f"{folder}/{n}", env=env).seconds, bare(slurm))
                for n in range(3)
            ]
            furu, reference = (min(times) for times in zip(*pairs, strict=True))
        files = sum(len(names) for _, _, names in os.walk(f"{folder}/0/runs"))
        note = f"{files} files in the run's folder"
        yield Row(f"submit {COUNT:,} nodes and a root", furu, reference, note=note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
