"""furu's plugin for pytest: fixtures, and which tests of a conformance suite run.

Installed with furu-testing. It adds the fixtures of `furu_testing`, and the option ``--conformance``:
with ``own``, the default, a suite runs the tests that the executor's own code can break, which its
attribute `own_code` says; with ``all`` it runs every test. What ran where is printed at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from furu_testing._stores import furu_environment, furu_nothing_left, furu_program, furu_store

__all__ = [
    "furu_environment",
    "furu_nothing_left",
    "furu_program",
    "furu_store",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
]

_MARKER: Final = "furu_conformance"
# For each suite: how many of its tests run, how many there are, and the tags of its own code.
_Chosen = dict[str, tuple[int, int, tuple[str, ...]]]
_CHOSEN: Final = pytest.StashKey[_Chosen]()
_OUTPUT: Final = "furu_conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--conformance``."""
    parser.getgroup("furu").addoption(
        "--conformance",
        choices=("own", "all"),
        default="own",
        help="which tests of a conformance suite run: those that the executor's own code can break "
        "(its attribute own_code), or all",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the tags' marker."""
    config.addinivalue_line(
        "markers", f"{_MARKER}(*tags): what a test of furu's conformance suite depends on"
    )
    config.stash[_CHOSEN] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of suites that the executor's own code cannot break."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    chosen = config.stash[_CHOSEN]
    for item in items:
        suite = getattr(item, "cls", None)
        own = getattr(suite, "own_code", None)
        if suite is None or own is None:
            kept.append(item)
            continue
        tags = {tag for marker in item.iter_markers(_MARKER) for tag in marker.args}
        # A test without tags is the author's own.
        runs = config.getoption("conformance") == "all" or not tags or not tags.isdisjoint(own)
        (kept if runs else left_out).append(item)
        name = f"{item.nodeid.partition('::')[0]}::{suite.__name__}"
        ran, total, _ = chosen.get(name, (0, 0, ()))
        chosen[name] = (ran + runs, total + 1, tuple(sorted(own)))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that reports, where pytest-xdist runs tests in several."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = session.config.stash[_CHOSEN]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear it from a process of pytest-xdist."""
    chosen: _Chosen = getattr(node, "workeroutput", {}).get(_OUTPUT, {})
    node.config.stash[_CHOSEN].update(chosen)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print which tests ran where."""
    chosen = config.stash[_CHOSEN]
    if not chosen:
        return
    terminalreporter.section("conformance")
    for line in _lines(chosen):
        terminalreporter.write_line(line)


def _lines(chosen: _Chosen) -> Iterator[str]:
    some = False
    for name, (ran, total, own) in sorted(chosen.items()):
        what = f"all {total} tests" if ran == total else f"{ran} of {total} tests"
        some = some or ran != total
        yield f"{name}: {what}" + (f", own code: {', '.join(own)}" if ran != total else "")
    if some:
        yield "the others are of code that furu's own packages test; --conformance=all runs them"
