"""Keeps one test run one test run, whatever the tests fork, and doctests out of the user's store."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

import furu_core

TESTS = Path(__file__).parent / "tests"
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

pytest_plugins = ["slurm_cluster_fixtures"]
# Collected for doctests, they would be imported a second time under other names.
collect_ignore = [str(path) for path in TESTS.glob("slurm_*.py")]


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
def _store_of_a_doctest(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give each docstring's example a store of its own, instead of `furu-data` in the workspace."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    store = request.getfixturevalue("tmp_path") / "furu-data"
    request.getfixturevalue("monkeypatch").setenv("FURU_PATH", str(store))
    with furu_core.use_settings(path=store):  # this process may have read its settings before
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
