"""What a check found."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import attrs

from furu_core._text import writable
from furu_core.errors import FuruError


class CheckLevel(Enum):
    """How bad it is; only a problem keeps anything from working."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@attrs.frozen
class CheckResult:
    """One thing that was checked.

    Attributes:
        check: the name of the check, a word.
        level: how it stands.
        what: what was found, in a line.
        next_step: what to type, or to do; empty where nothing need be done.
        host: the host on which it was checked; empty for this one.

    Example:
        >>> from furu_core.checks import CheckLevel, CheckResult
        >>> CheckResult("space", CheckLevel.OK, "3.1 GiB are free").to_json()["level"]
        'ok'
    """

    check: str
    level: CheckLevel
    what: str
    next_step: str = ""
    host: str = ""

    def to_json(self) -> dict[str, Any]:
        """It as JSON, as `furu doctor --json` prints it."""
        return {
            "check": self.check,
            "level": self.level.value,
            "what": writable(self.what),
            "next": writable(self.next_step) or None,
            "host": self.host or None,
        }


def ok(check: str, what: str) -> CheckResult:
    """What is as it should be."""
    return CheckResult(check, CheckLevel.OK, what)


def note(check: str, what: str, next_step: str) -> CheckResult:
    """What is worth knowing."""
    return CheckResult(check, CheckLevel.NOTE, what, next_step)


def warning(check: str, what: str, next_step: str) -> CheckResult:
    """What will or may get in the way."""
    return CheckResult(check, CheckLevel.WARNING, what, next_step)


def problem(check: str, what: str, next_step: str) -> CheckResult:
    """What keeps something from working."""
    return CheckResult(check, CheckLevel.PROBLEM, what, next_step)


def caught(check: str, results: Iterator[CheckResult]) -> Iterator[CheckResult]:
    """Results of a check; an error that ends it is one of them, so that other checks go on."""
    try:
        yield from results
    except FuruError as error:
        yield problem(check, error.message, error.hint)
    except OSError as error:
        where = "" if error.filename is None else f" ({error.filename})"
        yield problem(
            check,
            f"it cannot be checked: {error.strerror or error}{where}",
            "mend that, and type furu doctor again",
        )
