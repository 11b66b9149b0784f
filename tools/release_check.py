"""Builds sdists, wheels from them, and runs the tests against the installed wheels.

`make release-check` runs it; arguments go to pytest. The tests run in a copy of the workspace
without any `src` folder, so that what they import can only be what was installed.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release import build, distributions, fresh_environment, install, outside
from wheelhouse import ROOT, WHEELHOUSE, call, export_pins

WHERE = """\
import sys
for name in sys.argv[1:]:
    file = __import__(name).__file__
    assert file.startswith(sys.prefix), f"{name} is imported from {file}"
print("installed in a fresh environment:", *sys.argv[1:])
"""


def main() -> int:
    packages = [name.replace("-", "_") for name in distributions()]
    with tempfile.TemporaryDirectory(prefix="furu-release-") as name:
        folder = Path(name)
        wheels = build(folder / "dist")
        print(f"built: {', '.join(sorted(path.name for path in (folder / 'dist').glob('furu*')))}")
        python = fresh_environment(folder / "env")
        install_tested(python, folder, [wheel.path for wheel in wheels])
        copy = copy_without_sources(folder / "workspace")
        print(outside(copy, python, "-c", WHERE, *packages), end="")
        where = [part for part in ("packages", "tests", "docs") if (copy / part).exists()]
        options = ["-p", "no:cacheprovider", "-m", "not source_tree", *sys.argv[1:]]
        try:
            outside(
                copy, python, "-m", "pytest", *options, *where, "--pyargs", *packages, show=True
            )
        except subprocess.CalledProcessError as error:
            return error.returncode
    return 0


def install_tested(python: Path, folder: Path, wheels: list[Path]) -> None:
    """Install the wheels beside the locked versions of everything else."""
    pins = folder / "requirements.txt"
    pins.write_text(export_pins(Path(sys.executable)), "utf-8")
    into = ("uv", "pip", "install", "--quiet", "--python", python, "--offline", "--no-index")
    try:
        call(sys.executable, "-m", *into, "--find-links", WHEELHOUSE, "--requirement", pins)
    except subprocess.CalledProcessError:
        install(python, "--requirement", pins)
    install(python, "--no-deps", *wheels)


def copy_without_sources(to: Path) -> Path:
    """Copy what tests read, but no `src` folder."""
    to.mkdir()
    kept = shutil.ignore_patterns("src", "__pycache__", "furu-data")
    for name in ("packages", "tests", "docs", "examples", "tools"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=kept)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, to)
    return to


if __name__ == "__main__":
    sys.exit(main())
