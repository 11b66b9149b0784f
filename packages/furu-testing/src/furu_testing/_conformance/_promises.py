"""Failing a test by the promise that was broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from furu_core.errors import FuruRunError
from furu_core.executors import Event, EventKind, Failure, FailureKind, Run, RunState
from furu_core.planning import short_name


def promise(holds: object, text: str) -> None:
    """Fail a test unless a promise holds.

    Args:
        holds: whether it does.
        text: the promise by its number and in plain words, and what was seen instead.
    """
    __tracebackhide__ = True
    if not holds:
        pytest.fail(text)


def failure_of(error: FuruRunError, node: Any, kind: FailureKind, promised: str) -> Failure:
    """The failure of a node among those of a run, which is to be of a kind."""
    __tracebackhide__ = True
    found = {failure.hash: failure for failure in error.failures}
    promise(
        node.furu_hash in found,
        f"P8: an error names each node that failed; {short_name(node)} is not among the failures "
        f"of: {error}",
    )
    failure: Failure = found[node.furu_hash]
    promise(
        failure.kind is kind,
        f"{promised}; expected a failure of kind {kind.value}, got {failure.kind.value}: {failure}",
    )
    return failure


def kinds(events: Sequence[Event], node: Any) -> list[EventKind]:
    """The kinds of a node's events, in their order."""
    return [event.kind for event in events if event.hash == node.furu_hash]


def says(run: Run, state: RunState) -> None:
    """See that a run says how it ended."""
    __tracebackhide__ = True
    said = run.status().state
    promise(said is state, f"P8: status() tells how the run ended: {state}; it says {said}")
