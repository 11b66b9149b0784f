"""Nodes that count their attempts, fail, die, wait and look around."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
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


def wait_for(path: Path, seconds: float = 200.0) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {path}")
        time.sleep(0.005)


class Value(Furu[object]):
    x: object = None

    def _create(self) -> object:
        return self.x


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


class Above(Furu[int]):
    """Needs another node."""

    below: Furu[int]
    n: int = 0

    def _create(self) -> int:
        return self.below.get() + self.n


class Dies(Furu[int]):
    """Ends its own process, in one of many ways, so many times."""

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
            case "exit":
                os._exit(3)
            case "exit well":
                os._exit(0)
            case "system exit":
                sys.exit("that is all")
            case "memory":
                raise MemoryError("no more")
            case "interrupt":
                raise KeyboardInterrupt
            case "generator exit":
                raise GeneratorExit
            case "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(200)
            case "close standard":
                for fd in range(3):
                    os.close(fd)
                return attempt
            case "close all":
                os.closerange(0, 1024)
            case "fork":
                if os.fork() == 0:
                    return -1
                os.wait()
            case "thread exit":
                threading.Thread(target=os._exit, args=(7,)).start()
                time.sleep(200)
        return attempt


class Checkpoints(Furu[int]):
    """Is killed again and again, but gets on each time."""

    steps: int

    def _create(self) -> int:
        path = self.checkpoint_dir / "step"
        step = int(path.read_text()) if path.exists() else 0
        if step < self.steps:
            path.write_text(str(step + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return step


class Waiting(Furu[int]):
    """Says that it has begun, and waits until it may end."""

    n: int = 0
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        (self.folder / f"began-{self.n}").write_text(str(os.getpid()))
        wait_for(self.folder / "go")
        return self.n


class Together(Furu[int]):
    """Ends only when so many of its kind are computed at once."""

    n: int
    of: int
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        (self.folder / f"here-{self.n}").touch()
        deadline = time.monotonic() + 200
        while len(list(self.folder.glob("here-*"))) < self.of:
            if time.monotonic() > deadline:
                raise TimeoutError("the others did not come")
            time.sleep(0.005)
        return self.n


class Alone(Furu[int]):
    """Fails when another of its kind is computed at the same time."""

    n: int
    key: str = "default"
    secs: float = 0.02
    folder: Path = field(exclude_from_hash=True)

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> int:
        path = self.folder / f"alone-{self.key}"
        path.mkdir()
        time.sleep(self.secs)
        path.rmdir()
        return self.n


class Gpu(Furu[str]):
    """Tells which device it sees."""

    n: int
    key: str = "gpu"
    folder: Path | None = field(default=None, exclude_from_hash=True)
    of: int = 1

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> str:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
        if self.folder is not None:
            busy = self.folder / f"busy-{seen}"
            busy.mkdir()  # two nodes on one device would both want it
            (self.folder / f"gpu-{self.n}").touch()
            deadline = time.monotonic() + 200
            while len(list(self.folder.glob("gpu-*"))) < self.of:
                if time.monotonic() > deadline:
                    raise TimeoutError("the others did not come")
                time.sleep(0.005)
            busy.rmdir()
        return f"{seen} {os.getpid()}"


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
            data = self.what.furu_dir / ".furu" / "result.json"
            data.write_text("")
        return self.what.get()


class Undeclared(Furu[int]):
    """Asks for what it did not declare."""

    how: str

    def _create(self) -> int:
        other = Leaf(x=4711)
        match self.how:
            case "plain":
                return other.get()
            case "swallowed":
                try:
                    return other.get()
                except Exception:
                    return 0
            case "thread":
                thread = threading.Thread(target=other.get)
                thread.start()
                thread.join()
                return 0
            case "child":
                code = "from local_nodes import Leaf; Leaf(x=4711).get()"
                return subprocess.run([sys.executable, "-c", code], check=False).returncode
        raise AssertionError(self.how)


class StartsRun(Furu[int]):
    """Starts a run in its own code."""

    x: int = 0

    def _create(self) -> int:
        from furu_local import run_local

        return run_local(Leaf(x=self.x)).results()


class Noisy(Furu[int]):
    """Writes to all that leads out of a process."""

    x: int = 0

    def _create(self) -> int:
        print("printed")
        print("printed to stderr", file=sys.stderr)
        os.write(1, b"native\n")
        subprocess.run(["echo", "from a child"], check=True)
        return self.x


class LeavesChild(Furu[int]):
    """Leaves a process behind that would live on."""

    folder: Path = field(exclude_from_hash=True)
    wait: bool = False

    def _create(self) -> int:
        child = subprocess.Popen(["sleep", "600"])
        (self.folder / "child").write_text(str(child.pid))
        if self.wait:
            wait_for(self.folder / "go")
        child.returncode = 0  # so that its end is nobody's business any more
        return child.pid


class Stubborn(Furu[int]):
    """Cannot be interrupted by anything but SIGKILL."""

    how: str
    folder: Path = field(exclude_from_hash=True)

    def _create(self) -> int:
        (self.folder / f"began-{self.how}").write_text(str(os.getpid()))
        match self.how:
            case "swallows":
                while True:
                    try:
                        time.sleep(600)
                    except BaseException:
                        pass
            case "ignores":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True:
                    time.sleep(600)
            case "holds the lock":
                # One call into C that never looks at signals and never lets other threads run.
                pow(3, 10**9)
        return 0


class Where(Furu[tuple]):
    """Leaves the working directory, and tells where it began."""

    n: int

    def _create(self) -> tuple:
        before = os.getcwd()
        os.chdir("/")
        return (before, os.getpid())


class Context(Furu[tuple]):
    """Tells as whom it runs."""

    key: str = "default"

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> tuple:
        context = exec_context()
        return (context.executor, context.spec_key, context.strict)
