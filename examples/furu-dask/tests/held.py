"""A node that waits in the middle, so that a test can kill what it likes meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from furu_dask import run_dask

from furu_core import Furu


class Held(Furu[int]):
    """Notes its process, and waits until a file ``go`` is there; returns how often it was computed."""

    folder: Path
    label: str = "held"
    key: str = "default"

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> int:
        number = len(self.pids()) + 1
        temporary = self.folder / f".{self.label}.{number}"
        temporary.write_text(str(os.getpid()))
        temporary.rename(self.folder / f"{self.label}.{number}")
        while not (self.folder / "go").exists():
            time.sleep(0.01)
        return number

    def pids(self) -> list[int]:
        """The processes that have computed it so far."""
        return [int(path.read_text()) for path in sorted(self.folder.glob(f"{self.label}.*"))]

    def let_go(self) -> None:
        """Let it end."""
        (self.folder / "go").touch()


def main(folder: str, wait: str, address: str) -> None:
    """What a program does that a test kills: ``python held.py FOLDER wait|leave [ADDRESS]``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options: dict[str, Any] = {"address": address} if address else {"max_workers": 1}
    if wait == "wait":
        run_dask(Held(folder=Path(folder)), **options)
    else:
        from furu_dask import DaskExecutor

        DaskExecutor(**options).submit(Held(folder=Path(folder)))


if __name__ == "__main__":
    main(*[*sys.argv[1:], ""][:3])
