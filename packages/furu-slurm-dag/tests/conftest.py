"""Modules that jobs can import, and what is given to sbatch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from furu_slurm import SlurmCluster

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

FAKES = Path(__file__).parents[2] / "furu-slurm" / "tests" / "nodes"

for folder in (FAKES, NODES):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from fake_slurm import FakeSlurm  # noqa: E402 - found by the lines above


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Commands of Slurm that do what the test says."""
    return FakeSlurm(tmp_path / "fake", monkeypatch)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is given to sbatch, also where it refuses."""
    seen: list[dict[str, Any]] = []
    submit_once = SlurmCluster.submit

    def noting(self: SlurmCluster, **fields: Any) -> list[str]:
        seen.append(fields)
        return submit_once(self, **fields)

    monkeypatch.setattr(SlurmCluster, "submit", noting)
    return seen
