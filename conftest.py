"""Keeps one test run one test run, whatever the tests fork."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator

import pytest


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
