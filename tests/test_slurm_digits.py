"""The digits experiment is the same on a workstation, as Slurm jobs, and on a pool of workers."""

from __future__ import annotations

from pathlib import Path

from furu_testing.slurm import SlurmTestCluster
from slurm_demo import EXECUTORS, run_report

# The experiment on two of its trials; `make demo-slurm` runs the whole.
SMALL = """
from digits import FinalTest, Neighbours, Pixels, Ranking, Report, Validate, split

features = Pixels(split=split)
trials = tuple(Validate(features=features, model=Neighbours(k=k), folds=2) for k in (1, 3))
ranking = Ranking(trials=trials)
report = Report(ranking=ranking, test=FinalTest(ranking=ranking), plots=())
"""
NODES = 8


def test_digits_finds_the_same_under_all_three_executors(
    slurm: SlurmTestCluster, tmp_path: Path
) -> None:
    (tmp_path / "small_digits.py").write_text(SMALL)
    environ = {**slurm.environment, "PYTHONPATH": str(tmp_path)}
    outcomes = [
        run_report(executor, tmp_path / executor, environ, "small_digits:report")
        for executor in EXECUTORS
    ]
    assert {outcome.computed for outcome in outcomes} == {NODES}
    assert len({outcome.hash for outcome in outcomes}) == 1
    assert len({outcome.report for outcome in outcomes}) == 1
    check_jobs_of_nodes(slurm, tmp_path / "slurm-dag")
    logs = [*(tmp_path / "slurm-pool" / "submitit" / "workers" / "default").glob("*/*_log.out")]
    assert 1 <= len(logs) <= 3, logs


def check_jobs_of_nodes(slurm: SlurmTestCluster, store: Path) -> None:
    logs = [*(store / "submitit" / "nodes" / "default").glob("*/*_log.out")]
    assert len(logs) == NODES, logs
    of_nodes = [row for row in slurm.squeue() if str(store) in row["stdout"]]
    assert [row["state"] for row in of_nodes] == ["COMPLETED"] * NODES
