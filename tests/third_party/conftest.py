"""An environment with everything broken in it, made once for all tests, and small ones for one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from furu_core.executors import excluding
from third_party import environments, zoo
from third_party.environments import Environment, With
from third_party.wheels import Distribution

# For the fixtures that a test is the first to ask for, or whose makers it waits for: wheels are
# built and installed, which takes half a minute, and minutes where the disk is slow.
FIXTURES_SECS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the time that fixtures take not count as that of the first test which asks for them."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(FIXTURES_SECS + 300))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this test run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "third-party"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def furu_wheels(shared: Path) -> Path:
    """The wheels of this repository."""
    return once(shared / "dist", environments.build_furu)


@pytest.fixture(scope="session")
def zoo_environment(shared: Path, furu_wheels: Path) -> Path:
    """The environment that holds everything in `zoo`."""

    def fill(folder: Path) -> Path:
        made = environments.make(folder)
        made.install("furu-local", find_links=[furu_wheels])
        made.install_wheels(zoo.ALL)
        return folder

    return once(shared / "zoo", fill)


@pytest.fixture
def crowded(zoo_environment: Path, tmp_path: Path) -> Environment:
    """The environment in which nearly everything is broken, and an empty project."""
    (tmp_path / "pyproject.toml").touch()
    return Environment(zoo_environment / "env", tmp_path)


@pytest.fixture(scope="session")
def base_environment(shared: Path, furu_wheels: Path) -> Path:
    """The environment of a workstation."""

    def fill(folder: Path) -> Path:
        environments.make(folder).install("furu-local", find_links=[furu_wheels])
        return folder

    return once(shared / "base", fill)


@pytest.fixture
def workstation_with(base_environment: Path, tmp_path: Path) -> With:
    """An environment with furu-local and some distributions, and an empty project."""

    def install(*distributions: Distribution) -> Environment:
        project, beside = tmp_path / "project", tmp_path / "beside"
        project.mkdir()
        beside.mkdir()
        (project / "pyproject.toml").touch()
        made = Environment(base_environment / "env", project, beside)
        if distributions:
            made.install_wheels(distributions)
        return made

    return install


def once(folder: Path, fill: Callable[[Path], Path]) -> Path:
    """Have a folder filled by one of the workers, and wait for it in the others."""
    with excluding(f"{folder}.lock", what=f"filling {folder}", wait_secs=FIXTURES_SECS):
        done = folder.with_suffix(".done")
        if not done.exists():
            fill(folder)
            done.touch()
    return folder
