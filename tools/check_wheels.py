"""Builds the wheels, checks what they say, and tries them where there is no workspace.

`make check-wheels` runs it. It ends with status 1 and one line per fault.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from release import Wheel, build, distributions, fresh_environment, install, outside
from wheelhouse import ROOT

GRAPH = '''\
"""A graph of four nodes, as a user would write it outside the workspace."""

from furu_core import Furu
from furu_local import run_local


class Split(Furu[int]):
    seed: int = 0

    def _create(self) -> int:
        return self.seed


class Total(Furu[int]):
    parts: tuple[Split, ...]

    def _create(self) -> int:
        return sum(part.get() for part in self.parts)


total = Total(parts=tuple(Split(seed=seed) for seed in range(3)))

if __name__ == "__main__":
    run_local([total], max_workers=2)
    assert total.get() == 3, total.get()
    print(f"total is {total.get()}")
'''

INSPECT = """\
import importlib.metadata, importlib.util, sys
import furu_core, furu_local
for module in (furu_core, furu_local):
    assert module.__file__.startswith(sys.prefix), module.__file__
assert importlib.util.find_spec("submitit") is None
assert importlib.util.find_spec("furu") is None
names = {d.name.lower() for d in importlib.metadata.distributions()}
print(*sorted(names - {"pip", "setuptools"}))
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="furu-wheels-") as name:
        folder = Path(name)
        wheels = build(folder / "dist", "--wheel")
        faults = check_metadata(wheels)
        for fault in faults:
            print(fault)
        if faults:
            return 1
        print(f"wheels: {', '.join(wheel.path.name for wheel in wheels)}")
        try:
            try_outside(folder)
        except subprocess.CalledProcessError as error:
            print(f"failed with status {error.returncode}: {' '.join(error.cmd)}")
            return 1
    return 0


def check_metadata(wheels: list[Wheel]) -> list[str]:
    """What is wrong with the wheels, one line per fault."""
    ours = set(distributions())
    named = {str(wheel.metadata["Name"]) for wheel in wheels}
    versions = {str(wheel.metadata["Version"]) for wheel in wheels}
    faults = []
    if named != ours:
        faults.append(f"built {sorted(named)}, but packages/ holds {sorted(ours)}")
    if len(versions) != 1:
        faults.append(f"our packages share one version, but these were built: {sorted(versions)}")
    for wheel in wheels:
        faults += (f"{wheel.path.name}: {fault}" for fault in _faults_of(wheel, ours))
    return faults


def _faults_of(wheel: Wheel, ours: set[str]) -> list[str]:
    name, version = str(wheel.metadata["Name"]), str(wheel.metadata["Version"])
    package = name.replace("-", "_")
    faults = []
    for requirement in wheel.metadata.get_all("Requires-Dist", []):
        required = re.split(r"[^A-Za-z0-9._-]", str(requirement), maxsplit=1)[0]
        pinned = str(requirement).replace(" ", "") == f"{required}=={version}"
        if required in ours and not pinned:
            faults.append(f"requires {requirement}, should be {required}=={version}")
    if wheel.metadata["License-Expression"] != "MIT":
        faults.append(f"license is {wheel.metadata['License-Expression']}, should be MIT")
    if wheel.text(".dist-info/licenses/LICENSE") != (ROOT / "LICENSE").read_text("utf-8"):
        faults.append("its LICENSE is not that of the workspace")
    if not str(wheel.metadata.get_payload()).strip():
        faults.append("has no description; is README.md empty?")
    if f"{package}/py.typed" not in wheel.files:
        faults.append("has no py.typed")
    foreign = {file.split("/")[0] for file in wheel.files} - {
        package,
        f"{package}-{version}.dist-info",
    }
    if foreign:
        faults.append(f"installs beside {package}: {sorted(foreign)}")
    return faults


def try_outside(folder: Path) -> None:
    """Install two of our packages into a fresh environment and run a small graph there, twice."""
    python = fresh_environment(folder / "env")
    install(python, "furu-core", "furu-local", find_links=[folder / "dist"])
    user = folder / "user"
    user.mkdir()
    (user / "graph.py").write_text(GRAPH, "utf-8")
    furu = python.with_name("furu")

    print(f"installed: {outside(user, python, '-c', INSPECT).strip()}")
    assert outside(user, python, "graph.py").rstrip().endswith("total is 3")
    made = artifacts(user)
    assert len(made) == 4, made
    for command in (["run", "graph:total", "-j", "2"], ["plan", "graph:total"], ["executors"]):
        outside(user, furu, *command)
    assert artifacts(user) == made, "`furu run` computed again what was there"
    print("a graph of 4 nodes: computed once, then loaded by `furu run`; submitit is not installed")


def artifacts(user: Path) -> dict[Path, int]:
    """The artifacts in the user's store, each with the time it was made."""
    return {path.parent: path.stat().st_mtime_ns for path in user.rglob(".furu/config.json")}


if __name__ == "__main__":
    sys.exit(main())
