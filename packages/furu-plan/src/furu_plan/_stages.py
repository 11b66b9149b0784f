"""Where a node stands within a run."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a node stands within a run."""

    PENDING = "pending"  # waits for dependencies, or for its root's turn
    READY = "ready"  # can be taken
    OUT = "out"  # taken, and nothing heard of it yet
    WAITING = "waiting"  # computed by someone else
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"  # can never run, because something that it depends on failed


class Reopening(StrEnum):
    """What became of the report that a node's dependency is invalid."""

    REOPENED = "reopened"  # the dependency is computed again, the asker waits for it
    WAITS = "waits"  # the dependency is on its way already, the asker waits for it
    AGAIN = "again"  # the dependency was computed anew meanwhile, the asker is ready again
    REFUSED = "refused"  # it was computed anew before, or failed; the asker is still OUT: fail it
