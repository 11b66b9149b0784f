"""What a conformance test depends on, so that an executor runs those that its own code can break."""

from __future__ import annotations

from typing import Any, Final

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
MARKER: Final = "furu_conformance"


def depends_on(*tags: str) -> Any:
    """Tag a test, or all tests of a class: code of these parts can break it.

    Args:
        tags: of `TAGS`.
    """
    unknown = set(tags) - set(TAGS)
    if unknown or not tags:
        raise TypeError(f"a test depends on one or more of {', '.join(TAGS)}; got {tags}")
    return pytest.mark.furu_conformance(*tags)
