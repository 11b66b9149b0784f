"""What a conformance test depends on, so that an executor runs those that its own code can break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import pytest

#: What a test of the suite may depend on.
TAGS: Final = {
    "graph": "which nodes are begun, when, and what comes back",
    "failures": "what is tried again, what a failure ends, and what is said of it",
    "strict": "a worker's get() loads and computes nothing",
    "worker": "what a worker knows: settings, imports, folder, in whose name it computes",
    "cluster": "what is known of workers from outside: that they died, live, are to end",
    "run": "what a run says of itself, and what it leaves behind",
    "command": "`furu run`: exit status, signals, and going on after a kill",
}

T = TypeVar("T", bound=Any)


def depends_on(*tags: str) -> Callable[[T], T]:
    """Tag a test, or all tests of a class: code of these parts can break it.

    Args:
        tags: of `TAGS`.

    Raises:
        TypeError: a tag is none, or there are none.
    """
    if not tags or set(tags) - set(TAGS):
        raise TypeError(f"a test depends on one or more of {', '.join(TAGS)}; got {tags}")
    mark = pytest.mark.furu_conformance(*tags)

    def tag(what: T) -> T:
        if not isinstance(what, type):
            mark(what)
            return what
        # A mark of a class is one of all classes that inherit it, and so of all tests of a suite.
        for name, test in vars(what).items():
            if name.startswith("test_"):
                mark(test)
        return what

    return tag
