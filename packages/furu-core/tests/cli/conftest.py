"""A small project in a temporary folder, and the `furu` command run in it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from furu_testing import Said

TRAIN = """
from __future__ import annotations
import enum, os, pathlib
from furu_core import Furu, grid

class Kind(enum.Enum):
    SMALL = "s"
    LARGE = "l"

class Split(Furu[int]):
    seed: int = 0
    def _create(self) -> int:
        print("splitting", self.seed)
        return self.seed

class Train(Furu[float]):
    data: Split = Split()
    lr: float = 0.1
    note: str | None = None
    kind: Kind = Kind.SMALL
    layers: tuple[int, ...] = (1, 2)
    def _create(self) -> float:
        os.write(1, b"training\\n")
        (self.furu_dir / "weights.txt").write_text("w")
        return self.data.get() + self.lr

class Broken(Furu[int]):
    needed: int
    def _create(self) -> int:
        print("about to fail")
        raise ZeroDivisionError("nothing to divide by")

one = Train()
several = [Train(), Train(lr=1)]
broken = Broken(needed=1)
number = 3

def sweep(n: int = 2, lr: float = 0.1):
    return {f"s{i}": Train(data=Split(seed=i), lr=lr) for i in range(n)}

def fails():
    raise KeyError("in the user's function")
"""

INLINE = """
from furu_core.executors import *
from furu_core.planning import *
from furu_core.workers import *
from furu_core.errors import FuruRunCancelled, FuruRunError

class InlineRun(Run):
    def __init__(self, roots):
        self.roots = roots
        self.id, self.folder = new_run_folder("inline", roots)
        self.counts = {"computed": 0, "loaded": 0, "failed": 0}
        self.failures, self.state = [], RunState.RUNNING

    def wait(self, timeout=None):
        with worker_session(WorkerContext(executor="inline", run_id=self.id)):
            for root in self.roots.items:
                self.visit(root)
        self.state = RunState.FAILED if self.failures else RunState.DONE
        if self.failures:
            raise FuruRunError("1 node failed", failures=self.failures, hint="mend it")
        return self

    def visit(self, node):
        if all([self.visit(dependency) for dependency in dependencies(node)]):
            result = run_node(node)
            self.counts[result.outcome.value] += 1
            if result.failure:
                self.failures.append(result.failure)
            return not result.failure
        return False

    def status(self):
        return RunStatus(
            self.state, sum(self.counts.values()), failures=tuple(self.failures), **self.counts
        )

    def cancel(self):
        pass

class InlineExecutor(Executor):
    name = "inline"

    @classmethod
    def from_options(cls, options):
        made = cls()
        made.options = options
        return made

    def submit(self, roots):
        print("an executor that prints")
        print("options", sorted(self.options.items()))
        return InlineRun(named_roots(roots))

class LyingRun(InlineRun):
    def wait(self, timeout=None):
        self.state = RunState.DONE
        return self

class LyingExecutor(InlineExecutor):
    name = "lying"
    def submit(self, roots):
        return LyingRun(named_roots(roots))

class InterruptedRun(InlineRun):
    def wait(self, timeout=None):
        self.state = RunState.CANCELLED
        raise FuruRunCancelled("the run was cancelled", hint="run it again")

class InterruptedExecutor(InlineExecutor):
    name = "interrupted"
    def submit(self, roots):
        return InterruptedRun(named_roots(roots))
"""

ENTRY_POINTS = """
[furu.executors]
inline = inline_for_tests:InlineExecutor
lying = inline_for_tests:LyingExecutor
interrupted = inline_for_tests:InterruptedExecutor
gone = no_such_module_for_tests:Executor
[furu.commands]
hello = hello_for_tests:hello
broken-one = no_such_module_for_tests:command
no-command = hello_for_tests:no_command
"""

HELLO = """
import click
no_command = 3

@click.command()
def hello():
    "Say hello."
    click.echo("hello")
"""

COMMAND = "from furu_core._cli import main; main()"


class Project:
    """A project folder with a package `exp`, and a distribution that exists for it alone.

    Args:
        folder: where.
        fresh: runs the command.
    """

    def __init__(self, folder: Path, fresh: Any) -> None:
        self.folder = folder / "project"
        self.store = self.folder / "furu-data"
        self._fresh = fresh
        self._site = folder / "site"
        self.env = {name: os.environ[name] for name in os.environ if not name.startswith("FURU_")}
        self.env["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(self._site), os.environ.get("PYTHONPATH")])
        )
        self.write("pyproject.toml", "")
        self.write("exp/__init__.py", "")
        self.write("exp/train.py", TRAIN)
        info = self._site / "some_tests-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-tests\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(ENTRY_POINTS)
        (self._site / "inline_for_tests.py").write_text(INLINE)
        (self._site / "hello_for_tests.py").write_text(HELLO)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def python(self, code: str) -> str:
        """Run code in the project, as a user would without the command."""
        printed: str = self._fresh.python(textwrap.dedent(code), self.folder, path=self._site)
        return printed

    def furu(self, *args: str, cwd: Path | None = None, **options: str) -> Said:
        """Run the command; options are `stdin` and environment variables."""
        said: Said = self._fresh.furu(args, cwd or self.folder, path=self._site, **options)
        return said

    def json(self, *args: str, **options: Any) -> Any:
        """Run the command with ``--json`` and return its document."""
        return json.loads(self.furu(*args, "--json", **options).out)

    def shell(self, line: str) -> Said:
        """Run a line of shell in which ``furu`` is the command in an interpreter of its own."""
        # -P, because the folder of an installed script is not that of the project either.
        command = f"furu() {{ {shlex.quote(sys.executable)} -P -c '{COMMAND}' \"$@\"; }}\n{line}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def project(tmp_path: Path, fresh: Any) -> Project:
    """A fresh project."""
    return Project(tmp_path, fresh)


@pytest.fixture(scope="session")
def make_project(fresh: Any) -> Callable[[Path], Project]:
    """Makes projects for fixtures that outlive one test."""
    return lambda folder: Project(folder, fresh)
