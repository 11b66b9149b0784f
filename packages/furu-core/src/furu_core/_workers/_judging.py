"""Judging what attempts have left, without computing: progress, and artifacts that are bad."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from furu_core._attempts import _attempts, _checkpoints
from furu_core._compute import _hit, _invalid
from furu_core._config._objects import short_name
from furu_core._context import _context
from furu_core._output import _logging
from furu_core._store import _published
from furu_core._store._layout import Node, ref_of
from furu_core.errors import FuruInvalidDependency, FuruProtocolError

if TYPE_CHECKING:
    from furu_core._furu import Furu


def made_progress(node: Node, attempt: int | None = None) -> bool:
    """Whether an ended attempt, by default the newest, changed the node's checkpoint folder."""
    ref = ref_of(node)
    known = _attempts.numbers(ref)
    if attempt is None and not known:
        return False
    return _checkpoints.made_progress(ref, known[-1] if attempt is None else attempt)


def invalidate_if_bad(obj: Furu[Any]) -> bool:
    """Move the artifact of `obj` aside if it is damaged or its `_validate` refuses it.

    As in a worker, `_validate` may load nodes and compute none. An artifact that it cannot judge
    because another one is missing is left as it is.

    Returns:
        Whether there is no valid artifact any more.

    Raises:
        FuruResultError: it was computed with other defaults of fields that its hash leaves out.
    """
    ref = ref_of(obj)
    found = _published.found_ref(ref) or ref
    try:
        with _strictly(obj):
            reason = _hit.bad_reason(obj, found)
    except (FuruProtocolError, FuruInvalidDependency) as error:
        _logging.log.warning("%s cannot be validated: %s", short_name(obj), error)
        return False
    if reason is None:
        return False
    _invalid.invalidate(obj, ref, reason)
    return not _published.is_published(ref)  # another process may have just replaced it


@contextmanager
def _strictly(obj: Furu[Any]) -> Iterator[None]:
    context = _context.exec_context()
    if context.strict or not has_validator(type(obj)):
        yield
        return
    strict = attrs.evolve(context, strict=True, node=short_name(obj), hash=obj.furu_hash)
    with _context.session(strict, process_wide=False):
        yield


def has_validator(cls: type) -> bool:
    """Whether a config class overrides `_validate`."""
    return _hit.overrides(cls, "_validate")
