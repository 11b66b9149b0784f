"""Node classes that workers can import, a store for each test, and programs that tests may kill."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import furu_core
from furu_core.testing import furu_store, wait_until

__all__ = ["furu_store"]

NODES = Path(__file__).parent / "nodes"
collect_ignore = ["nodes"]  # collected, they would be imported a second time under other names

if str(NODES) not in sys.path:
    sys.path.insert(0, str(NODES))

from pool_programs import Program, processes_about  # noqa: E402 - found by the line above


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("FURU_", "CUDA_")) and not name.startswith("FURU_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store, for this process and for those that the test starts."""
    path = tmp_path / "store"
    path.mkdir()
    monkeypatch.setenv("FURU_PATH", str(path))
    monkeypatch.setenv("FURU_POLL_INTERVAL_SECS", "0.1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    with furu_core.use_settings(
        path=path, poll_interval_secs=0.1, max_wait_secs=600.0, always_rerun=()
    ):
        yield path
    for pid in processes_about(path):  # of a test that failed, or was interrupted
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


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
        one.end()


@pytest.fixture
def nothing_left(store: Path) -> Callable[[], None]:
    """Waits until no process of the test's store is left."""

    def check() -> None:
        try:
            wait_until("all processes to end", lambda: not processes_about(store))
        except TimeoutError as error:
            raise AssertionError(f"left behind: {processes_about(store)}") from error

    return check
