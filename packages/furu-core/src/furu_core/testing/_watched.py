"""Runs and commands that a test watches, and that end whatever they do."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from furu_core._executor import Executor, Run
from furu_core.testing._promises import promise

_CLEAN_UP_SECS: Final = 5.0
_DEATH_SECS: Final = 60.0  # a killed process that waits for a slow disk dies when that answers


class Going:
    """A run in a thread of its own, so that neither `submit` nor `wait` can hang a test."""

    def __init__(self, executor: Executor, roots: Any, patience: float) -> None:
        self.error: BaseException | None = None
        self._run: Run | None = None
        self._patience = patience
        self._submitted = threading.Event()
        self._thread = threading.Thread(
            target=self._go, args=(executor, roots), name="conformance-run", daemon=True
        )
        self._thread.start()

    @property
    def run(self) -> Run:
        """The run, once `submit` has returned it."""
        promise(
            self._submitted.wait(self._patience),
            f"P6: submit() has not returned after {self._patience:g} s",
        )
        if self._run is None:
            assert self.error is not None
            raise self.error
        return self._run

    @property
    def going(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def finish(self, promised: str = "P6: nothing waits for ever") -> Going:
        """Wait for the end; a run that has none fails the test with what was promised."""
        __tracebackhide__ = True
        self._thread.join(self._patience)
        if self._thread.is_alive():
            stands = "" if self._run is None else f"; it says {self._run.status()}"
            where = "wait" if self._submitted.is_set() else "submit"
            pytest.fail(
                f"{promised}; the run has not ended (its {where}() has not returned) after {self._patience:g} s{stands}"
            )
        return self

    def end(self) -> None:
        """Get rid of it, whatever it does."""
        if self._thread.is_alive() and self._run is not None:
            for _ in range(2):
                with suppress(Exception):  # a broken executor may raise anything
                    self._run.cancel()
        self._thread.join(_CLEAN_UP_SECS)

    def _go(self, executor: Executor, roots: Any) -> None:
        try:
            self._run = executor.submit(roots)
            self._submitted.set()
            self._run.wait()
        except BaseException as error:  # noqa: BLE001 - looked at by whoever waits for the end
            self.error = error
        finally:
            self._submitted.set()


@attrs.frozen
class Said:
    """How a command ended.

    Attributes:
        status: its exit status; negative for the signal that killed it.
        out: its standard output.
        err: its standard error.
    """

    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit status {self.status}, stdout {self.out!r}, stderr {self.err!r}"


class Command:
    """A `furu run` in a process group of its own."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        # Files, not pipes: a process that is left behind would keep a pipe open.
        self._log = log
        with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def finish(self, seconds: float, promised: str) -> Said:
        """Wait for its end; one that does not end fails the test with what was promised."""
        __tracebackhide__ = True
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.said(0)
            self.end()
            pytest.fail(f"{promised}; it has not ended after {seconds:g} s: {said.err!r}")
        return self.said(status)

    def said(self, status: int) -> Said:
        """What it has written so far."""
        texts = [Path(f"{self._log}.{name}").read_text(errors="replace") for name in ("out", "err")]
        return Said(status, *texts)

    def end(self) -> None:
        """Get rid of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_DEATH_SECS)
