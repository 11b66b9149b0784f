"""Moving a bad artifact aside; planners do so as well, who compute nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from furu_core._attempts import _claims
from furu_core._attempts._attempts import Attempt
from furu_core._attempts._records import AttemptEnd, AttemptStatus
from furu_core._compute import _acquire
from furu_core._config._objects import short_name
from furu_core._output import _logging
from furu_core._store._layout import NodeRef

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject


def invalidate(obj: ConfigObject, ref: NodeRef, reason: str) -> None:
    """Move the bad artifact of `obj` aside, unless another process does so or has replaced it."""
    claimed = _acquire.acquire(obj, ref, suspect=True, to_invalidate=True)
    if isinstance(claimed, Attempt):
        _logging.log.warning("%s is invalid and was moved aside: %s", short_name(obj), reason)
        ended = AttemptEnd(time.time(), None, "InvalidArtifact", reason)
        _claims.end(claimed, AttemptStatus.INVALID, ended)
