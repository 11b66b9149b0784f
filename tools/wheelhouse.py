"""The folder of wheels that `uv.lock` names, and the sums that vouch for them.

A lock over a folder of wheels records file names only, so it is the same on every index. In
exchange it carries no hashes; `wheelhouse.sha256` does. Imported by `setup.py`, which runs before
anything is installed: standard library only.
"""

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WHEELHOUSE = ROOT / ".wheelhouse"
SUMS = ROOT / "wheelhouse.sha256"


class WheelhouseError(Exception):
    """What is wrong, and what to do."""


def locked_version(name: str) -> str:
    """The version of the distribution `name` in `uv.lock`."""
    for package in _locked_packages():
        if package["name"] == name:
            return str(package["version"])
    raise WheelhouseError(f"uv.lock does not name {name}; run `make lock`")


def locked_wheels() -> set[str]:
    """The file names of all wheels in `uv.lock`."""
    return {wheel["path"] for package in _locked_packages() for wheel in package.get("wheels", ())}


def export_pins(python: Path) -> str:
    """What the lock pins beside our own packages, as requirements with markers."""
    export = ["uv", "export", "--quiet", "--frozen", "--all-packages", "--all-extras"]
    form = ["--no-emit-workspace", "--no-hashes", "--no-header", "--no-annotate"]
    pins = output(python, "-m", *export, *form)
    if not pins:
        raise WheelhouseError("uv.lock could not be read; `uv export --frozen` says why")
    return pins


def write_sums() -> None:
    """Write the sums of the locked wheels, in the form that `sha256sum --check` reads."""
    lines = [f"{_sha256(WHEELHOUSE / name)}  {name}\n" for name in sorted(locked_wheels())]
    SUMS.write_text("".join(lines), "utf-8")


def check_sums() -> None:
    """Compare each wheel with its sum; one that differs is set aside and is an error.

    A wheel without a sum is none that the lock names, so nothing locked is installed from it.
    """
    lines = SUMS.read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    for wheel in sorted(WHEELHOUSE.glob("*.whl")):
        if wheel.name in sums and _sha256(wheel) != sums[wheel.name]:
            rejected = wheel.rename(wheel.with_suffix(".rejected"))
            raise WheelhouseError(
                f"{wheel.name} is not the file that was locked: its sum differs from the one in "
                f"{SUMS.name}. It was set aside as {rejected}. Run make again to download it "
                "again; if that ends the same, the index serves another file under this name."
            )


def pip(python: Path, *arguments: str | Path, silent: bool = False) -> None:
    call(python, "-m", "pip", "-qq", *arguments, silent=silent)


def call(*command: str | Path, silent: bool = False, **environ: str) -> None:
    """Run a command in the root; raises `CalledProcessError`."""
    sink = subprocess.DEVNULL if silent else None
    parts = [str(part) for part in command]
    subprocess.run(parts, cwd=ROOT, env=_environ(environ), check=True, stdout=sink, stderr=sink)


def output(*command: str | Path) -> str:
    """What a command run in the root prints, or nothing if it fails."""
    parts = [str(part) for part in command]
    done = subprocess.run(
        parts, cwd=ROOT, env=_environ({}), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def _environ(more: dict[str, str]) -> dict[str, str]:
    """Our environment without what an active virtualenv would lead uv to."""
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    return env | quiet | {"UV_PYTHON_DOWNLOADS": "never"} | more


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _locked_packages() -> list[dict[str, Any]]:
    with (ROOT / "uv.lock").open("rb") as file:
        packages: list[dict[str, Any]] = tomllib.load(file)["package"]
    return packages
