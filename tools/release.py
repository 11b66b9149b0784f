"""What the checks before a release share: the built wheels, and a fresh environment for them."""

import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from wheelhouse import ROOT, WHEELHOUSE, call, pip


@dataclass(frozen=True)
class Wheel:
    """A built wheel: its file, its metadata, and the names of the files in it."""

    path: Path
    metadata: Message
    files: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        with zipfile.ZipFile(path) as archive:
            files = tuple(archive.namelist())
            (name,) = (file for file in files if file.endswith(".dist-info/METADATA"))
            text = archive.read(name).decode("utf-8")
        return cls(path, HeaderParser().parsestr(text), files)

    def text(self, ending: str) -> str:
        """The text of the one file in the wheel with this ending."""
        (name,) = (file for file in self.files if file.endswith(ending))
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name).decode("utf-8")


def distributions() -> list[str]:
    """The names of the distributions of the workspace."""
    files = sorted(ROOT.glob("packages/*/pyproject.toml"))
    return [str(tomllib.loads(file.read_text("utf-8"))["project"]["name"]) for file in files]


def build(to: Path, *options: str) -> list[Wheel]:
    """Build all packages into the folder `to` and read the wheels."""
    what = ("--all-packages", "--offline", f"--out-dir={to}", *options)
    call(sys.executable, "-m", "uv", "build", "--quiet", *what)
    return [Wheel.read(path) for path in sorted(to.glob("*.whl"))]


def fresh_environment(folder: Path) -> Path:
    """Make a virtual environment with this Python and return its interpreter."""
    call(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, folder)
    return folder / "bin" / "python"


def install(python: Path, *what: str | Path, find_links: Sequence[Path] = ()) -> None:
    """Install from the wheelhouse, or from pip's index where the wheelhouse lacks some.

    uv needs a tenth of pip's processor time for that.
    """
    links = [f"--find-links={folder}" for folder in (*find_links, WHEELHOUSE)]
    into = ("uv", "pip", "install", "--quiet", "--python", python, "--offline", "--no-index")
    try:
        call(sys.executable, "-m", *into, *links, *what, silent=True)
    except subprocess.CalledProcessError:
        pip(Path(sys.executable), "--python", python, "install", *links, *what)


def outside(folder: Path, *command: str | Path, show: bool = False) -> str:
    """Run a command in a folder, with an environment that points to no workspace and no store.

    Returns what it prints, or with `show` lets it print; raises `CalledProcessError`.
    """
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    environ = {k: v for k, v in os.environ.items() if k not in hidden and k[:5] != "FURU_"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environ,
        text=True,
        check=False,
        stdout=None if show else subprocess.PIPE,
        stderr=None if show else subprocess.STDOUT,
    )
    if done.returncode != 0:
        print(done.stdout or "", end="", flush=True)
        done.check_returncode()
    return done.stdout or ""
