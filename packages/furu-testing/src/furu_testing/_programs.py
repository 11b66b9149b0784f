"""Programs that tests start, signal and kill, and that end with the test whatever they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from furu_testing._waiting import WAIT_SECS

_DEATH_SECS: Final = 120.0  # a killed process that waits for a slow disk dies when that answers
_numbers = count(1)


class Said(NamedTuple):
    """How a program ended, and what it wrote.

    Attributes:
        status: its exit status; negative for the signal that killed it.
        out: its standard output.
        err: its standard error.
    """

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it wrote."""
        return self.out + self.err

    def __str__(self) -> str:
        return f"exit status {self.status}, stdout {self.out!r}, stderr {self.err!r}"


class Program:
    """A Python program in a session of its own, which hears signals as one in a terminal does.

    Args:
        folder: its working directory; what it writes goes to files there.
        arguments: those of the interpreter: a script, or ``"-c"`` and code.
        environment: replaces that of this process.
        command: starts the interpreter.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     said = Program(Path(folder), "-c", "print(6 * 7)").finish()
        ...     said.status, said.out
        (0, '42\\n')
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable,),
    ) -> None:
        self._log = folder / f"program-{next(_numbers)}"
        # Files, not pipes: a process that is left behind would keep a pipe open.
        with open(f"{self._log}.out", "wb") as out, open(f"{self._log}.err", "wb") as err:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [*command, *arguments],
                cwd=folder,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                # A thread of a test holds no lock that the function needs.
                preexec_fn=_heed_signals,  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.said().text

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, and wait until it is dead."""
        self.process.kill()
        self.process.wait(_DEATH_SECS)

    def finish(self, seconds: float = WAIT_SECS) -> Said:
        """Wait for its end.

        Raises:
            AssertionError: it does not end within that time.
        """
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the program goes on after {seconds:g} s:\n{self.output}"
            ) from None
        return self.said(status)

    def said(self, status: int = 0) -> Said:
        """What it has written so far."""
        texts = [Path(f"{self._log}.{name}").read_text(errors="replace") for name in ("out", "err")]
        return Said(status, *texts)

    def end(self) -> None:
        """Get rid of it."""
        if self.process.poll() is None:
            self.kill()


class Scripts:
    """A project folder in which a test runs scripts as programs.

    Args:
        folder: a folder that does not exist yet; it becomes the root of a project.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "pyproject.toml").touch()
        self.folder = folder
        self._started: list[Program] = []

    @property
    def script(self) -> Path:
        """The file that is run."""
        return self.folder / "program.py"

    def __call__(self, code: str, *arguments: str, **variables: str) -> Program:
        """Start a script.

        Args:
            code: its text; empty for the one before, once more.
            arguments: what it gets on its command line.
            variables: what its environment has beside that of this process.
        """
        if code:
            self.script.write_text(textwrap.dedent(code), encoding="utf-8")
        environment: dict[str, Any] = {**os.environ, **variables}
        program = Program(self.folder, str(self.script), *arguments, environment=environment)
        self._started.append(program)
        return program

    def end(self) -> None:
        """End what still runs."""
        for program in self._started:
            program.end()


def _heed_signals() -> None:
    # A test runner in the background, or under nohup, hands on that signals are ignored.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
