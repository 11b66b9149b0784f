"""Runs that a test watches, and that end whatever they do."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, Final

import pytest

from furu_core.executors import Executor, Run
from furu_testing._conformance._promises import promise

_CLEAN_UP_SECS: Final = 5.0


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
        except BaseException as error:
            self.error = error
        finally:
            self._submitted.set()
