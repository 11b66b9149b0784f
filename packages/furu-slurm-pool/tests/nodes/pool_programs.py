"""Scripts that tests run as programs of their own, and the processes that work for their stores."""

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
    """A script that runs in a session of its own; its output goes to a file beside it."""

    count = 0

    def __init__(self, folder: Path, code: str, *args: str, **kwargs: Any) -> None:
        self.script = folder / "program.py"
        if code:
            self.script.write_text(textwrap.dedent(code), encoding="utf-8")
        Program.count += 1
        self._output = folder / f"output-{Program.count}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(self.script), *args],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_heed_signals,
                **kwargs,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_before_its_end(self, runs: Path) -> bool:
        """Kill it, unless its run has ended: then it ends by itself, and once more would be another run."""
        if self.process.poll() is None:
            self.signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if any(runs.glob("*/controllers/*/ended-*")):
            if self.process.poll() is None:
                self.signal(signal.SIGCONT)
            return False
        self.kill()
        return True

    def finish(self, seconds: float = 250.0) -> tuple[int, str]:
        """Its exit status and output."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the program goes on after {seconds} s:\n{self.output}") from None
        return self.process.returncode, self.output

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()


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
