"""Background threads, one per process, started when first needed and restarted when they ended."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


class Background:
    """A thread of which at most one runs at a time.

    Args:
        run: what it does; it need not end.
        name: the thread's name.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._name = name
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None

    def ensure(self) -> None:
        """Start the thread, unless it runs.

        Raises:
            RuntimeError: the system starts no thread now; the next call tries again.
        """
        with self._mutex:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def _serve(self) -> None:
        # `python -m trace` writes its counts while this thread still runs, and fails if it adds to them.
        sys.settrace(None)
        self._run()
