"""Node classes that workers can import, and the kinds of workers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))


@pytest.fixture(params=["process", "thread", "inline"])
def worker(request: pytest.FixtureRequest) -> str:
    """Each kind of worker."""
    kind: str = request.param
    return kind


@pytest.fixture(params=["thread", "inline"])
def inside(request: pytest.FixtureRequest) -> str:
    """Each kind of worker inside of the program, for what the suite says of worker processes."""
    kind: str = request.param
    return kind
