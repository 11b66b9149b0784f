"""Scripts that tests run as programs of their own, and the processes that these leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

NODES = Path(__file__).parent


def _heed_signals() -> None:
    # Tests that run in the background, or under nohup, would hand on that signals are ignored.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


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
            preexec_fn=_heed_signals,
            **kwargs,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def finish(self, seconds: float = 200.0) -> tuple[int, str, str]:
        """Its exit status, output and error output."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


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
