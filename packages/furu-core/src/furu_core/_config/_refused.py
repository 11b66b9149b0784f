"""The error for values that have no stable hash."""

from __future__ import annotations

MAX_DEPTH = 100  # of plain containers in each other; Furu objects may nest without limit


class Refused(Exception):
    """A value that has no stable hash. `reason` follows the place and the value in a message."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
