"""`get()`: the way of a hit. What it does not need is imported by `_compute_or_wait`, and costs it nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from furu_core._compute import _artifacts, _reruns
from furu_core._compute._artifacts import MISSING, BadArtifact
from furu_core._context import _context
from furu_core._settings import _settings
from furu_core._store._layout import node_paths

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject


def get(obj: ConfigObject, *, force: bool) -> Any:
    """The result of `obj`: loaded where it is there, else computed or waited for, or refused."""
    paths = node_paths(obj)
    if _context.is_validating(obj.furu_hash):
        value = _artifacts.load_unvalidated(obj, paths)
        if value is not MISSING:
            return value
    rerun = _reruns.is_due(obj)
    bad = None
    if not rerun:
        try:
            value = _artifacts.load(obj, paths)
        except BadArtifact as found:
            bad = str(found)
        else:
            if value is not MISSING:
                if "logging" in sys.modules or _settings.settings().log_level == "DEBUG":
                    from furu_core._output import _logging  # else nobody asked to read of hits

                    _logging.hit(obj)
                return value
    from furu_core._compute import _compute_or_wait

    return _compute_or_wait.get(obj, paths, force=force, bad=bad, rerun=rerun)
