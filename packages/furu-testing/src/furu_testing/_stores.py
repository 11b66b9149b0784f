"""A store for each test, and what must be gone when it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from furu_testing._processes import processes_of
from furu_testing._programs import Scripts
from furu_testing._waiting import wait_until


@pytest.fixture
def furu_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of furu, and no choice of devices, from outside."""
    for name in list(os.environ):
        if name.startswith(("FURU_", "CUDA_")):
            monkeypatch.delenv(name)


@pytest.fixture
def furu_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, furu_environment: None
) -> Iterator[Path]:
    """An empty store for one test, in this process and in those that it starts.

    Those find what this one can import, as it is: `FURU_CODE` is ``live``, because a snapshot would be made
    anew in each test's store. Processes that the test leaves behind are killed.
    """
    # A program that only starts others, such as pytest with a plugin, has no need of furu before.
    import furu_core

    store = tmp_path / "furu-store"
    store.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    monkeypatch.setenv("FURU_PATH", str(store))
    monkeypatch.setenv("FURU_POLL_INTERVAL_SECS", "0.1")
    monkeypatch.setenv("FURU_CODE", "live")
    with furu_core.use_settings(
        path=store,
        code="live",
        poll_interval_secs=0.1,
        max_wait_secs=600.0,
        retry_failed=True,
        always_rerun=(),
    ):
        yield store
    for process in processes_of(store):  # of a test that failed, or was interrupted
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def furu_program(tmp_path: Path, furu_store: Path) -> Iterator[Scripts]:
    """Starts scripts as programs, in a project folder of their own."""
    scripts = Scripts(tmp_path / "project")
    yield scripts
    scripts.end()


@pytest.fixture
def furu_nothing_left(furu_store: Path) -> Callable[[], None]:
    """Waits until no process of the test's store is left."""

    def check() -> None:
        try:
            wait_until("all processes to end", lambda: not processes_of(furu_store), pause_secs=0.2)
        except TimeoutError as error:
            left = ", ".join(map(str, processes_of(furu_store)))
            raise AssertionError(f"left behind: {left}") from error

    return check
