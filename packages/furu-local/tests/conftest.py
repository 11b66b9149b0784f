"""Node classes that workers can import, and each kind of worker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))

WORKERS = ("process", "thread", "inline")


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    """Each kind of worker."""
    kind: str = request.param
    return kind
