"""Makes the virtual environment of the workspace: `python tools/setup.py FOLDER`.

Needs Python with pip and venv, and an index that pip reaches, or a filled `.wheelhouse` and no
index at all. Standard library only.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wheelhouse import (
    ROOT,
    WHEELHOUSE,
    WheelhouseError,
    call,
    check_sums,
    export_pins,
    locked_version,
    output,
    pip,
    say,
)


def main() -> int:
    venv = ROOT / sys.argv[1]
    try:
        python = make_venv(venv)
        install_uv(python)
        pins = export_pins(python)
        try:
            fill_wheelhouse(python, pins)
            sync(venv, python)
        except subprocess.CalledProcessError:
            install_pins(python, pins)
    except WheelhouseError as error:
        say(str(error))
        return 1
    except subprocess.CalledProcessError as error:
        say(f"this failed, for the reason above: {' '.join(error.cmd)}")
        return 1
    return 0


def make_venv(venv: Path) -> Path:
    """Make the environment unless it is there, runs, and is of this Python's version."""
    python = venv / "bin" / "python"
    version = "import sys; print(sys.version.split()[0])"
    if python.exists() and output(python, "-c", version) == sys.version.split()[0]:
        return python
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise WheelhouseError(
            f"{sys.executable} comes without {' and '.join(missing)}. Debian and Ubuntu split "
            f"them off: `apt install {package}`. Or name another Python: make PYTHON=/path/to/python3"
        )
    say(f"making {venv.name} with Python {sys.version.split()[0]}")
    if venv.exists():
        shutil.rmtree(venv)
    call(sys.executable, "-m", "venv", venv)
    return python


def install_uv(python: Path) -> None:
    """Install the locked uv, from the wheelhouse where it is there."""
    wanted = locked_version("uv")
    if output(python, "-m", "uv", "--version").split()[1:2] == [wanted]:
        return
    WHEELHOUSE.mkdir(exist_ok=True)
    if not any(WHEELHOUSE.glob(f"uv-{wanted}-*.whl")):
        download = ["download", "--no-deps", "--only-binary=:all:", "--progress-bar=off"]
        pip(python, *download, "-d", WHEELHOUSE, f"uv=={wanted}")
    check_sums()
    pip(python, "install", "--no-index", "--find-links", WHEELHOUSE, f"uv=={wanted}")


def fill_wheelhouse(python: Path, pins: str) -> None:
    """Download the pinned wheels for this Python, unless all are there already."""
    with _as_file(pins) as file:
        what = [
            "--no-deps",
            "--only-binary=:all:",
            f"--find-links={WHEELHOUSE}",
            f"--requirement={file}",
        ]
        # With everything there no index is asked: an air-gapped machine needs only the folder.
        offline = ["install", "--dry-run", "--ignore-installed", "--no-index", *what]
        try:
            pip(python, *offline, silent=True)
        except subprocess.CalledProcessError:
            say(f"downloading the locked wheels into {WHEELHOUSE.name}")
            pip(python, "download", "--progress-bar=off", "-d", WHEELHOUSE, *what)
    check_sums()


def sync(venv: Path, python: Path) -> None:
    """Make the environment what the lock says, with our packages installed editable."""
    say(f"installing the locked packages into {venv.name}")
    what = ["--frozen", "--all-packages", "--all-extras", "--offline", "--quiet"]
    call(python, "-m", "uv", "sync", *what, UV_PROJECT_ENVIRONMENT=str(venv))


def install_pins(python: Path, pins: str) -> None:
    """Install the locked versions where the index has none of the locked files for this machine."""
    say(
        "the locked wheels cannot be had for this machine (see above), "
        "so the same versions are installed as pip finds them, unchecked by wheelhouse.sha256"
    )
    with _as_file(pins) as file:
        pip(python, "install", "--progress-bar=off", "--find-links", WHEELHOUSE, "-r", file)
    ours = [part for folder in sorted(ROOT.glob("packages/*/")) for part in ("--editable", folder)]
    install = ["uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    call(python, "-m", *install, "--python", python, *ours)


@contextmanager
def _as_file(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(text, "utf-8")
        yield path


if __name__ == "__main__":
    sys.exit(main())
