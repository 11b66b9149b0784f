"""A store of its own for each test, and node classes that child processes can import."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import furu_core
from furu_core.executors import WorkerContext, worker_session

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FURU_"):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store, for this process and for those that the test starts."""
    path = tmp_path / "store"
    monkeypatch.setenv("FURU_PATH", str(path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    with furu_core.use_settings(path=path, max_wait_secs=200.0, poll_interval_secs=0.05):
        yield path


Session = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def session() -> Session:
    """Makes this process a worker: ``with session(spec_key="gpu"): ...``."""

    def enter(spec_key: str = "default", **fields: object) -> AbstractContextManager[None]:
        return worker_session(
            WorkerContext(executor="test", run_id="run-1", spec_key=spec_key, **fields)  # type: ignore[arg-type]
        )

    return enter
