"""`FURU_ALWAYS_RERUN`: which nodes are computed again although they are there, each once a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from furu_core import _hooks, _settings

if TYPE_CHECKING:
    from furu_core._furu import Furu

_reran: set[str] = set()


def is_due(obj: Furu[Any]) -> bool:
    """Whether `FURU_ALWAYS_RERUN` names the class of `obj` and this process has not rerun it yet."""
    wanted = _settings.current().always_rerun
    return bool(wanted) and matches_rerun(obj, wanted) and obj.furu_hash not in _reran


def matches_rerun(obj: Furu[Any], wanted: frozenset[str]) -> bool:
    """Whether `FURU_ALWAYS_RERUN` names the class of `obj`, by plain or by importable name."""
    cls = type(obj)
    return not wanted.isdisjoint(("ALL", cls.__name__, cls.__qualname__, _hooks.class_name(cls)))


def reran(node_hash: str) -> None:
    """Remember that a node was computed again, which happens once per run."""
    _reran.add(node_hash)
