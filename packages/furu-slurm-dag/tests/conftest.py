"""Modules that jobs can import, and what is given to sbatch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from furu_slurm import SlurmCluster

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))


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
