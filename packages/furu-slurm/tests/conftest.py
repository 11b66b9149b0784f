"""Node classes and functions that other processes can import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))

from fake_slurm import FakeSlurm  # noqa: E402 - found by the line above


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Commands of Slurm that do what the test says."""
    return FakeSlurm(tmp_path / "fake", monkeypatch)
