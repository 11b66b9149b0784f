"""Turning the signals that ask a program to end into calls, while a run is waited for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_forwarded(to: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `to` for each signal that asks this program to end, instead of what they did before.

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
        for number in ENDING:
            current = signal.getsignal(number)
            if current not in (signal.SIG_IGN, None):
                before[number] = current
                signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
