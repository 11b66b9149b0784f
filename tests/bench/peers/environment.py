"""An environment for peers, so that none is a requirement of the workspace."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import attrs

SCRIPTS = Path(__file__).parent
_INSTALL_SECS = 300.0
_WORK_SECS = 120.0


class PeerError(Exception):
    """A peer cannot be installed, or does not do its work."""


@attrs.frozen
class Environment:
    """A virtual environment in a folder; it is made when a peer is installed.

    Attributes:
        folder: the folder.
    """

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, distribution: str) -> None:
        """Have pip install a distribution as pip is set up on this machine, unless it is there.

        Raises:
            PeerError: it cannot be installed.
        """
        if not self.python.exists():
            venv.create(self.folder, with_pip=False, symlinks=True)
        options = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *options]
        _output([*pip, distribution], _INSTALL_SECS)

    def version(self, distribution: str) -> str:
        """The version that is installed."""
        ask = f"import importlib.metadata as m; print(m.version({distribution!r}))"
        return _output([str(self.python), "-c", ask], _WORK_SECS)

    def seconds(self, script: str, work: str, count: int, folder: Path) -> float:
        """What the script of a peer says that its work took.

        Args:
            script: its module beside this file.
            work: what it is to do.
            count: how many nodes or calls.
            folder: a new folder for what it keeps, its temporary files included.

        Raises:
            PeerError: it ended with an error.
        """
        python = self.python if self.python.exists() else Path(sys.executable)
        command = [str(python), str(SCRIPTS / f"{script}.py"), work, str(count), str(folder)]
        # The workers of some import the module of the work by its name; parsl starts a program of its own.
        folder.mkdir()
        env = {
            "TMPDIR": str(folder),
            "PYTHONPATH": str(SCRIPTS),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        return float(_output(command, _WORK_SECS, env).splitlines()[-1])


def _output(command: list[str], timeout: float, env: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"no answer within {timeout:g} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise PeerError(lines[-1])
    return done.stdout.strip()
