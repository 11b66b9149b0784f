"""The test cluster itself: what the other tests rely on."""

from __future__ import annotations

from pathlib import Path

from slurm_cluster import SlurmCluster


def test_a_job_runs_and_accounting_knows_it(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = slurm.sbatch("echo done", f"--output={tmp_path / 'out'}")
    slurm.wait_for_state(job, "COMPLETED")
    assert (tmp_path / "out").read_text() == "done\n"
