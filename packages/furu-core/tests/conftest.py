"""Node classes that child processes can import, and sessions of workers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from furu_core.executors import WorkerContext, worker_session

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))


Session = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def session() -> Session:
    """Makes this process a worker: ``with session(spec_key="gpu"): ...``."""

    def enter(spec_key: str = "default", **fields: object) -> AbstractContextManager[None]:
        return worker_session(
            WorkerContext(executor="test", run_id="run-1", spec_key=spec_key, **fields)  # type: ignore[arg-type]
        )

    return enter
