"""The fixtures `slurm` and `own_slurm`, and what ends the shared cluster with the test run."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from furu_testing.slurm._cluster import (
    NEEDS,
    PREFIX,
    SlurmTestCluster,
    base_folder,
    missing_programs,
    running,
    shared,
)
from furu_testing.slurm._users import NoUsers, TestUsers, users

__all__ = [
    "TIMEOUT_SECS",
    "OwnSlurm",
    "cached_squeue",
    "own_slurm",
    "shared_slurm",
    "slurm",
    "two_users",
]

OwnSlurm = Callable[..., SlurmTestCluster]


@attrs.frozen
class Shared:
    """Where the cluster of this test run is or will be, and the process with which it ends."""

    folder: Path
    watched: int


# Clusters start, and jobs wait for those of other tests, many times as long where the machine is busy.
TIMEOUT_SECS: Final = 1200
SHARED: Final = pytest.StashKey[Shared]()


def pytest_configure(config: pytest.Config) -> None:
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None:
        folder = base_folder() / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        config.stash[SHARED] = Shared(folder, os.getpid())
    else:
        config.stash[SHARED] = Shared(Path(given["slurm_folder"]), given["slurm_watched"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests on a cluster more time than others, unless they say themselves how much."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if {"shared_slurm", "own_slurm"} & {*fixtures} and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECS))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist about the cluster of the whole run."""
    here = node.config.stash[SHARED]
    node.workerinput["slurm_folder"] = str(here.folder)
    node.workerinput["slurm_watched"] = here.watched


def pytest_unconfigure(config: pytest.Config) -> None:
    here = config.stash.get(SHARED, None)
    if here is not None and here.watched == os.getpid() and here.folder.exists():
        if (here.folder / "failure").exists():
            shutil.rmtree(here.folder)
        else:
            SlurmTestCluster(here.folder).end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let all tests that need Slurm skip in one line, which counts them, instead of one line each.

    Of a test that failed, show the end of the controller's log.
    """
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and NEEDS in report.longrepr[2]:
        report.longrepr = (__file__, None, report.longrepr[2])  # type: ignore[assignment]
    arguments: dict[str, object] = getattr(item, "funcargs", {})
    if report.failed and isinstance(slurm := arguments.get("slurm"), SlurmTestCluster):
        report.sections.append(("end of slurmctld's log", slurm.log_tail(40)))
    return report


@pytest.fixture(scope="session")
def shared_slurm(request: pytest.FixtureRequest) -> SlurmTestCluster:
    """The cluster of the whole test run; tests take `slurm` instead."""
    if reason := missing_programs():
        pytest.skip(reason)
    here = request.config.stash[SHARED]
    return shared(here.folder, here.watched)


@pytest.fixture
def slurm(
    shared_slurm: SlurmTestCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmTestCluster]:
    """A running cluster, also for this process and what it starts: ``SLURM_CONF`` is set.

    Other tests use it at the same time, so nothing may be done to it that hurts them. The object
    knows the jobs of this test from those of others, and what is left of them is cancelled.
    """
    cluster = attrs.evolve(shared_slurm, key=f"test-{secrets.token_hex(4)}")
    enter(cluster, monkeypatch)
    yield cluster
    cluster.cancel_all()


@pytest.fixture
def cached_squeue(
    slurm: SlurmTestCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], int]]:
    """Lets `squeue` tell users what it told first, whatever becomes of their jobs; how often it has.

    So do sites that answer it from a cache, where that is renewed now and then. Of the object
    `slurm` itself all questions are answered as ever.
    """
    program = shutil.which("squeue")
    folder = tmp_path / "cached"
    folder.mkdir()
    script = folder / "squeue"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *--user=*) ;; *) exec {program} "$@";; esac\n'
        f"cd '{folder}' && echo >> asked\n"
        f'[ -e told ] || {{ {program} "$@" > told.$$ && mv told.$$ told; }}\ncat told\n'
    )
    script.chmod(0o755)
    asked = folder / "asked"
    with monkeypatch.context() as patch:  # over before `slurm` asks what is left
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        yield lambda: asked.read_text().count("\n") if asked.exists() else 0


@pytest.fixture
def own_slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnSlurm]:
    """Starts clusters of this test's own, which it may hurt: ``own_slurm(max_array_size=11)``.

    The keywords are the fields of `ClusterOptions`. The environment is set for the
    one started last.
    """
    if reason := missing_programs():
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:

        def begin(**options: Any) -> SlurmTestCluster:
            cluster = stack.enter_context(running(**options))
            enter(cluster, monkeypatch)
            return cluster

        yield begin


@pytest.fixture
def two_users() -> Iterator[TestUsers]:
    """Two users of one group, made for this test; it is skipped where they may not be made."""
    try:
        made = contextlib.ExitStack()
        found = made.enter_context(users(2))
    except NoUsers as error:
        pytest.skip(str(error))
    with made:
        yield found


def enter(cluster: SlurmTestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_")):
            monkeypatch.delenv(name)
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
