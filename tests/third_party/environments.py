"""Throwaway environments that furu and distributions of third parties are installed into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from third_party.wheels import Distribution

ROOT = Path(__file__).parents[2]
DEADLINE_SECS = 240  # many times what a command takes, since the machine may be busy


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a project of a user who works with it.

    Attributes:
        folder: the environment.
        project: where commands are run.
        beside: a folder of further installed distributions.
    """

    folder: Path
    project: Path
    beside: Path | None = None

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where distributions are installed."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return self.beside or found

    def install(self, *what: str | Path, find_links: Sequence[Path] = ()) -> None:
        """Install with nothing but what the workspace holds."""
        links = [f"--find-links={folder}" for folder in (*find_links, ROOT / ".wheelhouse")]
        offline = ("--offline", "--no-index")
        _uv("pip", "install", "--python", self.python, *offline, *links, *what)

    def install_wheels(self, distributions: Iterable[Distribution]) -> None:
        """Install distributions, whether what they require is there or not."""
        with tempfile.TemporaryDirectory() as wheels:
            paths = [distribution.write_wheel(Path(wheels)) for distribution in distributions]
            where = ("--python", self.python, "--target", self.site_packages)
            _uv("pip", "install", *where, "--offline", "--no-deps", *paths)

    def furu(self, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a user would."""
        return self._run([self.folder / "bin" / "furu", *args], environ)

    def json(self, *args: str) -> Any:
        """What a command prints with ``--json``."""
        done = self.furu(*args, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def run(self, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program."""
        return self._run([self.python, "-c", code], environ)

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell with the environment activated."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return self._run(["bash", "-c", line], {"PATH": path, "COLUMNS": "200"})

    def _run(
        self, command: list[str | Path], environ: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        hidden = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
        kept = {
            k: v for k, v in os.environ.items() if k not in hidden and not k.startswith("FURU_")
        }
        path = [environ.pop("PYTHONPATH", ""), "" if self.beside is None else str(self.beside)]
        if any(path):
            kept["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        return subprocess.run(
            command,
            cwd=self.project,
            env={**kept, **environ},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECS,
        )


With = Callable[..., Environment]  # as in `workstation_with(distribution, ...)`


def make(folder: Path) -> Environment:
    """Make an environment with nothing in it."""
    project = folder / "project"
    project.mkdir(parents=True)
    (project / "pyproject.toml").touch()
    _uv("venv", "--python", sys.executable, folder / "env")
    return Environment(folder / "env", project)


def build_furu(to: Path) -> Path:
    """Build the wheels of this repository's packages into a folder."""
    _uv("build", "--offline", "--wheel", "--all-packages", f"--out-dir={to}")
    return to


def build(source: Path, to: Path) -> Path:
    """Build the wheel of a distribution that lies outside the workspace."""
    _uv("build", "--offline", "--wheel", f"--out-dir={to}", source)
    (wheel,) = to.glob(f"{source.name.replace('-', '_')}-*.whl")
    return wheel


def _uv(*arguments: str | Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environ | {"UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
