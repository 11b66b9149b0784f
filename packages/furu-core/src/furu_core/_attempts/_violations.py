"""Violations: rules of an executor that a node's code broke, noted in the attempt's folder."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from furu_core._store._layout import VIOLATIONS
from furu_core.errors import FuruInvalidDependency, FuruMissingArtifact, FuruSpecMismatch

if TYPE_CHECKING:
    from furu_core._attempts._attempts import Attempt
    from furu_core._context._context import ExecContext

_Violation = FuruMissingArtifact | FuruSpecMismatch | FuruInvalidDependency
_VIOLATIONS: Final = {
    cls.__name__: cls for cls in (FuruMissingArtifact, FuruSpecMismatch, FuruInvalidDependency)
}


def note_violation(context: ExecContext, error: _Violation) -> None:
    """Note a violation in the attempt's folder, in case the node's code swallows the error.

    A note that cannot be written is skipped: it must not hide the error that is about to be raised.
    """
    if not context.attempt:
        return
    line = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    line |= {"node": error.node, "hash": error.hash}
    with (
        suppress(OSError),
        open(f"{context.attempt}/{VIOLATIONS}", "a", encoding="utf-8") as file,
    ):
        file.write(json.dumps(line) + "\n")


def noted_violation(attempt: Attempt) -> _Violation | None:
    """The first violation that was noted for an attempt."""
    try:
        with open(f"{attempt.folder}/{VIOLATIONS}", encoding="utf-8") as file:
            line = json.loads(file.readline())
    except FileNotFoundError:
        return None
    except ValueError:  # a half-written note still proves a violation
        return FuruMissingArtifact(
            f"the code of {attempt.record.node} broke a rule of the executor, and the disk was too full "
            "to note which",
            hint="make room, and run the same command again",
        )
    cls = _VIOLATIONS[line.pop("error")]
    return cls(line.pop("message"), **line)
