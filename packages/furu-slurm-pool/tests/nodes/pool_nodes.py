"""Nodes that count their attempts, fail, die, wait and look around."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from furu_core import Furu, exec_context, field


def count(folder: Path, name: str) -> int:
    """Count one more attempt, in a way that survives the process; the number so far."""
    with open(folder / name, "ab") as file:
        file.write(b"x")
        return file.tell()


def counted(folder: Path, name: str) -> int:
    """How many attempts there were."""
    path = folder / name
    return path.stat().st_size if path.exists() else 0


def wait_for(path: Path, seconds: float = 900.0) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {path}")
        time.sleep(0.01)


class Leaf(Furu[int]):
    x: int

    def _create(self) -> int:
        return self.x


class Sum(Furu[int]):
    parts: tuple[Furu[int], ...]
    tag: str = ""

    def _create(self) -> int:
        return sum(part.get() for part in self.parts)


class Link(Furu[int]):
    """One link of a chain."""

    below: Furu[int] | None = None
    n: int = 0

    def _create(self) -> int:
        return 1 + (self.below.get() if self.below is not None else 0)


class Timed(Furu[tuple]):
    """When it began and ended, by the clock of the machine."""

    below: Furu[tuple] | None = None
    n: int = 0
    secs: float = 0.0

    def _create(self) -> tuple:
        began = time.time()
        if self.below is not None:
            self.below.get()
        time.sleep(self.secs)
        return (began, time.time())


class Keyed(Furu[str]):
    """Tells as whom it runs; counts how often."""

    n: int
    key: str = "default"
    below: tuple[Furu[str], ...] = ()
    secs: float = 0.0
    folder: Path | None = field(default=None, exclude_from_hash=True)

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> str:
        for node in self.below:
            node.get()
        if self.folder is not None:
            count(self.folder, f"keyed-{self.key}-{self.n}")
        if self.secs:
            time.sleep(self.secs)
        context = exec_context()
        assert context.submission is not None
        return f"{context.executor} {context.spec_key} {context.submission.id}"


class Flaky(Furu[int]):
    """Fails so many times, then works."""

    times: int
    tag: str = ""
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        attempt = count(self.folder, f"flaky-{self.times}-{self.tag}")
        if attempt <= self.times:
            raise ValueError(f"attempt {attempt} fails\non purpose")
        return attempt


class FlakyWaiting(Furu[int]):
    """Fails each time when it may."""

    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        attempt = count(self.folder, "flaky-waiting")
        wait_for(self.folder / f"go-{attempt}")
        raise ValueError(f"attempt {attempt} fails")


class Above(Furu[int]):
    """Needs another node."""

    below: Furu[int]
    n: int = 0

    def _create(self) -> int:
        return self.below.get() + self.n


class Dies(Furu[int]):
    """Ends its own process, so many times."""

    how: str
    times: int = 1_000_000
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        attempt = count(self.folder, f"dies-{self.how}")
        if attempt > self.times:
            return attempt
        match self.how:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "worker":
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(600)
        return attempt


class Checkpoints(Furu[int]):
    """Its worker is killed again and again, but it gets on each time."""

    steps: int
    worker: bool = False

    def _create(self) -> int:
        path = self.checkpoint_dir / "step"
        step = int(path.read_text()) if path.exists() else 0
        if step < self.steps:
            path.write_text(str(step + 1))
            os.kill(os.getppid() if self.worker else os.getpid(), signal.SIGKILL)
            time.sleep(600)
        return step


class Saves(Furu[int]):
    """Works for so many quarters of a second, each of which it saves."""

    steps: int
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        count(self.folder, "saves")
        path = self.checkpoint_dir / "steps"
        while (done := int(path.read_text()) if path.exists() else 0) < self.steps:
            time.sleep(0.25)
            count(self.folder, "saved")
            new = path.with_suffix(".new")  # it may be interrupted at any moment
            new.write_text(str(done + 1))
            new.replace(path)
        return done


class Waiting(Furu[int]):
    """Says that it has begun, and waits until it may end."""

    n: int = 0
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        count(self.folder, f"attempts-{self.n}")
        new = self.folder / f"new-{self.n}"  # whoever sees the other one finds all in it
        new.write_text(f"{os.getpid()} {os.getppid()}")
        new.rename(self.folder / f"began-{self.n}")
        wait_for(self.folder / "go")
        return self.n


class Together(Furu[int]):
    """Ends only when so many of its kind are computed at once."""

    n: int
    of: int
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        (self.folder / f"here-{self.n}").touch()
        deadline = time.monotonic() + 250
        while len(list(self.folder.glob("here-*"))) < self.of:
            if time.monotonic() > deadline:
                raise TimeoutError("the others did not come")
            time.sleep(0.005)
        return self.n


class Unsure(Furu[int]):
    """Is invalid once, when the file says so."""

    n: int = 0
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        return count(self.folder, f"unsure-{self.n}")

    def _validate(self) -> bool:
        return not (self.folder / f"bad-{self.n}").exists()


class Spoils(Furu[int]):
    """Makes what the others depend on invalid while the run goes on, once."""

    what: Unsure
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        mark = self.folder / "spoiled"
        if not mark.exists():
            mark.touch()
            (self.what.furu_dir / ".furu" / "result.json").write_text("")
        return self.what.get()


class Undeclared(Furu[int]):
    """Asks for what it did not declare."""

    n: int = 0

    def _create(self) -> int:
        return Leaf(x=4711 + self.n).get()


class StartsRun(Furu[int]):
    """Starts a run in its own code."""

    x: int = 0

    def _create(self) -> int:
        from furu_slurm_pool import run_slurm_pool

        return run_slurm_pool(Leaf(x=self.x), specs={"default": {}}, cluster="local").results()


class Outsourced(Furu[int]):
    """Has a child process of its own do the work."""

    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        count(self.folder, "outsourced")
        script = f"while [ ! -e {self.folder}/go ]; do sleep 0.05; done"
        subprocess.run(["sh", "-c", script], check=True)
        return 1


class Stubborn(Furu[int]):
    """Cannot be interrupted by anything but SIGKILL."""

    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (self.folder / "began-stubborn").write_text(str(os.getpid()))
        while True:
            time.sleep(600)


class Imports(Furu[int]):
    """Tells whether its process knows a module, which only the nodes' own process may."""

    def _create(self) -> int:
        return int("pool_nodes" in sys.modules)
