"""Keeps one test run one test run, whatever the tests fork, and doctests out of the user's store."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from furu_testing import Scripts

pytest_plugins = ["furu_testing.slurm.fixtures"]
# The one cannot be imported, and says why; the other is no test.
collect_ignore = ["packages/furu-core/src/furu_core/testing.py", "tests/slurm_demo.py"]


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, Any, Any]:
    """Look for examples in docstrings only where there are some, which halves the time of collection."""
    found = yield
    if file_path.suffix == ".py" and b">>>" not in file_path.read_bytes():
        return [one for one in found if type(one).__name__ != "DoctestModule"]
    return found


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no process is left with one when the others are done.

    xdist cuts the list into one stretch for each of its processes, so each stretch begins with some.
    """
    stretches = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if stretches == 1:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = (item for item in items if not item.get_closest_marker("slow"))
    ordered: list[pytest.Item] = []
    for n in range(stretches):
        ordered += slow[n::stretches]
        ordered += islice(others, max(0, len(items) * (n + 1) // stretches - len(ordered)))
    items[:] = ordered


@pytest.fixture(autouse=True)
def _no_settings_from_outside(furu_environment: None) -> None:
    pass


@pytest.fixture
def store(furu_store: Path) -> Path:
    """An empty store, for this process and for those that the test starts."""
    return furu_store


@pytest.fixture
def program(furu_program: Scripts) -> Scripts:
    """Starts scripts in a project of their own."""
    return furu_program


@pytest.fixture
def nothing_left(furu_nothing_left: Callable[[], None]) -> Callable[[], None]:
    """Waits until no process of the test's store is left."""
    return furu_nothing_left


@pytest.fixture(autouse=True)
def _store_of_a_doctest(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give each docstring's example a store of its own, instead of `furu-data` in the workspace."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    request.getfixturevalue("furu_store")
    yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call() -> Iterator[None]:
    """End a forked child that leaves its test.

    It would go on as a second pytest: run the tests that follow, and report them through the
    pipe of its parent, which ends the whole run in an internal error instead of one failure.
    """
    parent = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != parent:
            sys.stderr.write("A forked child left its test, so it is ended here.\n")
            if sys.exception() is not None:
                traceback.print_exc(limit=-1)
            sys.stderr.flush()
            os._exit(70)
