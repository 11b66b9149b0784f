"""The parent's handle of a watchdog: starts it, and tells it which sessions there are."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from furu_core.errors import FuruPlatformError

_SCRIPT = Path(__file__).with_name("_watchdog_main.py")


def interpreter() -> str:
    """The interpreter that processes are started with.

    Raises:
        FuruPlatformError: the interpreter's path is unknown.
    """
    if not sys.executable:
        raise FuruPlatformError(
            "worker processes need sys.executable, which is empty in this program",
            hint="compute nodes in threads instead, as run_local does with worker='thread'",
        )
    return sys.executable


class Watchdog:
    """Kills sessions of processes should this process die; `_watchdog_main` has what it does.

    Raises:
        FuruPlatformError: the interpreter's path is unknown.
    """

    def __init__(self) -> None:
        python = interpreter()
        reading, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [python, "-I", "-S", str(_SCRIPT), str(reading), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[reading],
                # A signal to the controller's process group must not reach the watchdog.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reading)
        os.set_blocking(self._pipe, False)

    @property
    def pid(self) -> int:
        """The watchdog's process id."""
        return self._process.pid

    def add(self, session: int) -> None:
        """Let the watchdog kill this session if this process dies."""
        self._tell(f"+{session}\n")

    def remove(self, session: int) -> None:
        """Forget a session that has ended: another process may get its number."""
        self._tell(f"-{session}\n")

    def forget(self) -> None:
        """Let go of the watchdog, in a child that this process forked."""
        os.close(self._pipe)

    def close(self) -> None:
        """End the watchdog; the caller has ended all sessions."""
        self._process.kill()
        self._process.wait()
        os.close(self._pipe)

    def _tell(self, line: str) -> None:
        # A killed watchdog matters only if the controller is killed as well; and even then workers
        # that can still run code end by themselves.
        with suppress(OSError):
            os.write(self._pipe, line.encode())
