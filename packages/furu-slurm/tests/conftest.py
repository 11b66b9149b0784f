"""Node classes and functions that other processes can import."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from furu_core.testing import furu_store

__all__ = ["furu_store"]

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))

from fake_slurm import FakeSlurm  # noqa: E402 - found by the line above


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FURU_"):
            monkeypatch.delenv(name)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Commands of Slurm that do what the test says."""
    return FakeSlurm(tmp_path / "fake", monkeypatch)
