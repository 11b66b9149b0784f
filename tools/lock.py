"""Makes `.wheelhouse`, `uv.lock` and `wheelhouse.sha256` anew: `python tools/lock.py`.

Runs in the workspace's environment (`make lock`), for its uv; the first lock of all needs any
environment with pip and uv. The newest versions that fit every Python are taken.
"""

import shutil
import sys
import tomllib
from pathlib import Path

from wheelhouse import ROOT, WHEELHOUSE, WheelhouseError, call, locked_wheels, pip, say, write_sums

PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def main() -> int:
    python = Path(sys.executable)
    fresh = WHEELHOUSE.with_name(".wheelhouse-new")
    shutil.rmtree(fresh, ignore_errors=True)
    wanted = requirements()
    pins: list[str] = []
    for version in PYTHONS:
        say(f"downloading wheels for Python {version}")
        # The oldest Python chooses the versions and the others take the same: all test one code.
        download = ["download", "--only-binary=:all:", "--progress-bar=off"]
        pip(python, *download, "--python-version", version, "-d", fresh, *wanted, *pins)
        pins = sorted({pin(wheel) for wheel in fresh.glob("*.whl")})
    shutil.rmtree(WHEELHOUSE, ignore_errors=True)
    fresh.rename(WHEELHOUSE)
    call(python, "-m", "uv", "lock", "--upgrade", "--quiet")
    unknown = locked_wheels() - {wheel.name for wheel in WHEELHOUSE.glob("*.whl")}
    if unknown:
        raise WheelhouseError(f"uv.lock names wheels that were not downloaded: {sorted(unknown)}")
    write_sums()
    say(f"locked {len(locked_wheels())} wheels")
    return 0


def requirements() -> list[str]:
    """What the workspace asks for beside its own packages."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = set(root["dependency-groups"]["dev"])
    for file in ROOT.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        wanted.update(project.get("dependencies", ()))
        for extra in project.get("optional-dependencies", {}).values():
            wanted.update(extra)
    return sorted(line for line in wanted if not line.startswith("furu-"))


def pin(wheel: Path) -> str:
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version}"


if __name__ == "__main__":
    sys.exit(main())
