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

LOCAL_IMPORT = "from furu_local import run_local\n"

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

POOL = """\
from graph import total
from furu_slurm_pool import run_slurm_pool

if __name__ == "__main__":
    specs = {"default": {"cpus": 1}}
    run = run_slurm_pool(total, specs=specs, cluster="local", max_workers_total=2)
    assert total.get() == 3, total.get()
    print(f"total is {total.get()}")
"""

INSPECT_POOL = """\
import importlib.metadata, importlib.util, sys
import furu_slurm, furu_slurm_pool
for module in (furu_slurm, furu_slurm_pool):
    assert module.__file__.startswith(sys.prefix), module.__file__
assert importlib.util.find_spec("submitit") is not None
assert "submitit" not in sys.modules, "it takes a while to import, and workers do not need it"
for other in ("furu_local", "furu_slurm_dag", "furu"):
    assert importlib.util.find_spec(other) is None, other
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
            try_workstation(folder)
            try_cluster(folder)
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


def try_workstation(folder: Path) -> None:
    """Install what a workstation needs into a fresh environment and run a small graph, twice."""
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


def try_cluster(folder: Path) -> None:
    """Install what a cluster needs by one name, and run a small graph on workers of this machine."""
    python = fresh_environment(folder / "cluster-env")
    install(python, "furu-slurm-pool", find_links=[folder / "dist"])
    user = folder / "cluster-user"
    user.mkdir()
    # Without furu-local, whose front door the graph's own script uses.
    (user / "graph.py").write_text(
        GRAPH.replace(LOCAL_IMPORT, "").partition("\nif __name__")[0], "utf-8"
    )
    (user / "pool.py").write_text(POOL, "utf-8")
    furu = python.with_name("furu")

    print(f"installed: {outside(user, python, '-c', INSPECT_POOL).strip()}")
    assert outside(user, python, "pool.py").rstrip().endswith("total is 3")
    assert len(artifacts(user)) == 4, artifacts(user)
    assert "slurm-pool" in outside(user, furu, "executors")
    outside(user, furu, "pool", "--help")
    print("a graph of 4 nodes: computed by a pool of workers; furu-slurm-pool brought all it needs")


def artifacts(user: Path) -> dict[Path, int]:
    """The artifacts in the user's store, each with the time it was made."""
    return {path.parent: path.stat().st_mtime_ns for path in user.rglob("data/**/.furu.json")}


if __name__ == "__main__":
    sys.exit(main())
