"""Node classes that workers can import, a store for each test, and scripts run as programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
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
        path=path, poll_interval_secs=0.1, max_wait_secs=60.0, always_rerun=()
    ):
        yield path


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    """Each kind of worker."""
    kind: str = request.param
    return kind


class Program:
    """A script that runs in a process group of its own; what it leaves behind is told and killed."""

    def __init__(self, folder: Path, code: str, *args: str, **kwargs: Any) -> None:
        self.script = folder / "program.py"
        if code:
            self.script.write_text(textwrap.dedent(code), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(self.script), *args],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **kwargs,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def finish(self, seconds: float = 60.0) -> tuple[int, str, str]:
        """Its exit status, output and error output."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


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
        one.process.communicate(timeout=30)


def processes_about(store: Path) -> dict[int, str]:
    """The living processes that were started for a store, and the guardians of their controllers."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environ = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"FURU_PATH={store}".encode() in environ and state not in "ZX":
                found[int(entry.name)] = command
    return found


@pytest.fixture
def nothing_left(store: Path) -> Callable[[], None]:
    """Waits until no process of the test's store is left."""

    def check() -> None:
        try:
            wait_until("all processes to end", lambda: not processes_about(store), seconds=20)
        except TimeoutError as error:
            raise AssertionError(f"left behind: {processes_about(store)}") from error

    return check
