"""Node classes that workers can import, a store for each test, and scripts run as programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import furu_core
from furu_core.testing import wait_until

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))

from local_programs import Program, processes_about  # noqa: E402 - found by the line above

WORKERS = ("process", "thread", "inline")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("FURU_", "CUDA_")):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store, for this process and for those that the test starts."""
    path = tmp_path / "store"
    monkeypatch.setenv("FURU_PATH", str(path))
    monkeypatch.setenv("FURU_POLL_INTERVAL_SECS", "0.1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    with furu_core.use_settings(
        path=path, poll_interval_secs=0.1, max_wait_secs=200.0, always_rerun=()
    ):
        yield path


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    """Each kind of worker."""
    kind: str = request.param
    return kind


@pytest.fixture
def program(tmp_path: Path, store: Path) -> Iterator[Callable[..., Program]]:
    """Starts scripts in a project of their own."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").touch()
    started: list[Program] = []

    def start(code: str, *args: str, **kwargs: Any) -> Program:
        started.append(Program(tmp_path / "project", code, *args, **kwargs))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate(timeout=120)


@pytest.fixture
def nothing_left(store: Path) -> Callable[[], None]:
    """Waits until no process of the test's store is left."""

    def check() -> None:
        try:
            wait_until("all processes to end", lambda: not processes_about(store))
        except TimeoutError as error:
            raise AssertionError(f"left behind: {processes_about(store)}") from error

    return check
