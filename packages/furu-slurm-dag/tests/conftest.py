"""Node classes that jobs can import, and a store for each test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import furu_core

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

for folder in (NODES, NODES.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FURU_"):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store, for this process and for the jobs that it submits."""
    path = tmp_path / "store"
    path.mkdir()
    monkeypatch.setenv("FURU_PATH", str(path))
    with furu_core.use_settings(path=path, poll_interval_secs=0.1, max_wait_secs=600.0):
        yield path
