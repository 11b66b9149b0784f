"""Nodes that only tests of the pool compute."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from typing import Any

import furu_core
from furu_core import Furu
from furu_testing import marked, wait_until
from furu_testing.nodes import Step


class Works(Furu[int]):
    """Works for some time, in steps each of which it saves; returns how many it made in all.

    Attributes:
        label: its name.
        secs: how long a step takes.
        steps: how many there are.
        key: its spec key.
        needs: what it depends on.
    """

    label: str
    secs: float
    steps: int = 1
    key: str = "default"
    needs: tuple[Furu[int], ...] = ()

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> int:
        path = self.checkpoint_dir / "steps"
        with marked(self.label):
            for node in self.needs:
                node.get()
            while (done := int(path.read_text()) if path.exists() else 0) < self.steps:
                time.sleep(self.secs)
                with open(furu_core.settings().path / f"steps-{self.label}", "ab") as made:
                    made.write(b"x")
                new = path.with_suffix(".new")  # it may be interrupted at any moment
                new.write_text(str(done + 1))
                new.replace(path)
            return made_steps(self.label)


def made_steps(label: str) -> int:
    """How many steps there were, also those that were made again."""
    path = furu_core.settings().path / f"steps-{label}"
    return path.stat().st_size if path.exists() else 0


class Outsourced(Furu[int]):
    """Has a child process of its own do the work, the first time for ever."""

    label: str

    def _create(self) -> int:
        with marked(self.label) as number:
            if number == 1:
                subprocess.run(["sleep", "600"], check=True)
            return number


class Stubborn(Furu[int]):
    """Cannot be interrupted by anything but SIGKILL."""

    label: str

    def _create(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with marked(self.label):
            while True:
                time.sleep(600)


class PlannedTwice(Furu[int]):
    """Is planned by two programs at the same moment: each waits for the other one in it.

    Attributes:
        part: what it depends on.
    """

    part: Step

    def _dependencies(self) -> Iterable[Furu[Any]]:
        folder = furu_core.settings().path / "planners"
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).touch()
        wait_until("another program to plan it", lambda: len(os.listdir(folder)) > 1)
        return ()

    def _create(self) -> int:
        return self.part.get()
