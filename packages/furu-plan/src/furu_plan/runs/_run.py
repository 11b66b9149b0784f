"""A run whose controller is a thread of this process, and the signals that cancel it."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from furu_core.errors import FuruRunError
from furu_core.executors import Roots, Run, RunStatus, count
from furu_plan.runs._conclusion import conclude, end_line, stale_line
from furu_plan.runs._controller import Controller, Wish

_log = logging.getLogger("furu.run")

_LOOK_SECS: Final = 0.5  # whether a signal came
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ControlledRun(Run):
    """A run that a `Controller` of this process drives. It ends with the process.

    Args:
        run_id: the run.
        folder: its folder.
        roots: what was asked for.
        controller: drives it.
        how: how nodes are computed, in words for the console; None says nothing there.
    """

    def __init__(
        self, run_id: str, folder: Path, roots: Roots, controller: Controller, how: str | None
    ) -> None:
        self.id = run_id
        self.folder = folder
        self.roots = roots
        self._controller = controller
        self._how = how
        self._began = time.monotonic()
        self._signal: signal.Signals | None = None
        self._ended = threading.Event()

    def start(
        self, *, here: bool = False, within: AbstractContextManager[Any] | None = None
    ) -> None:
        """Start the run; for the executor to call.

        Args:
            here: run in the calling thread, until the end.
            within: a context that is entered around the run, in the thread that it runs in.
        """
        self._announce()
        around = nullcontext() if within is None else within
        if here:
            with signals_forwarded(self._on_signal):
                self._run(around)
            return
        # No daemon thread: a program that ends without waiting for its run still gets its results.
        thread = threading.Thread(target=self._run, args=(around,), name=f"furu-run-{self.id}")
        # Starting it waits until it runs. Ctrl-C in that time would end the caller, and not the run.
        with signals_forwarded(self._on_signal):
            thread.start()

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the run has ended, and return it.

        In the main thread the signals that ask the program to end cancel the run meanwhile.

        Args:
            timeout: seconds; None waits as long as the run lives.

        Raises:
            FuruRunError: it ended without the artifacts of all its roots, or another controller has it.
            FuruRunCancelled: it was cancelled.
            TimeoutError: it has not ended yet.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        with signals_forwarded(self._on_signal):
            # Now and then, because Python misses a signal that comes just before it begins to wait.
            while not self._ended.wait(max(0.0, min(_LOOK_SECS, end - time.monotonic()))):
                if time.monotonic() >= end:
                    raise TimeoutError(f"run {self.id} has not ended after {timeout} s")
        controller = self._controller
        if controller.handed_over is not None:
            raise FuruRunError(
                f"run {self.id} goes on without this process: {controller.handed_over.why}",
                run_id=self.id,
                hint=controller.handed_over.hint,
            )
        conclude(
            self.id,
            controller.status(),
            retry_failed=controller.retry_failed,
            cause=controller.cause,
            interrupted=self._signal is not None,
        )
        return self

    def status(self) -> RunStatus:
        """The status of the run now."""
        return self._controller.status()

    def cancel(self) -> None:
        """Interrupt the nodes being computed and start no others; `wait` tells when that is done.

        Called a second time, it kills those that still run.
        """
        again = self._controller.wish is not Wish.GO_ON
        self._controller.ask(Wish.KILL if again else Wish.CANCEL)

    def results(self) -> Any:
        """The results, in the shape of the roots, once the run has ended.

        Raises:
            FuruRunError: as `wait`.
        """
        self.wait()
        return super().results()

    def __repr__(self) -> str:
        status = self.status()
        there = status.computed + status.loaded
        return f"<{type(self).__name__} {self.id}: {status.state.value}, {there} of {count(status.total, 'node')} there>"

    def _on_signal(self, number: signal.Signals) -> None:
        self._signal = self._signal or number
        self.cancel()

    def _run(self, around: AbstractContextManager[Any]) -> None:
        try:
            with around:
                self._controller.run()
            if self._how is not None and self._controller.handed_over is None:
                seconds = time.monotonic() - self._began
                _log.info("%s", end_line(self.id, self._controller.status(), seconds))
                if line := stale_line(self._controller.plan):
                    _log.info("run %s: %s", self.id, line)
        finally:
            self._ended.set()

    def _announce(self) -> None:
        status = self._controller.status()
        todo = status.total - status.loaded
        if self._how is not None and todo:
            _log.info(
                "run %s: %s, %d there, %d to compute, %s",
                *(self.id, count(status.total, "node"), status.loaded, todo, self._how),
            )


@contextmanager
def signals_forwarded(to: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `to` for each signal that asks this program to end, instead of its usual handler.

    In any thread but the main one this changes nothing, because Python handles signals there. A
    signal that the program ignores (``nohup``, a background job of a shell) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        to(signal.Signals(number))

    before = {}
    try:
        for number in _ENDING:
            current = signal.getsignal(number)
            if current not in (signal.SIG_IGN, None):
                before[number] = current
                signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
