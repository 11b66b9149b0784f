"""Config objects as Python text: a short `repr`, and an expression that makes an equal object."""

from __future__ import annotations

import threading
from typing import Any

from furu_core._config_class import config_class
from furu_core._identity import furu_hash
from furu_core.errors import FuruError

_inside = threading.local()


def short_name(obj: Any) -> str:
    """``Train(3fa9c1)``: the class and the first digits of the hash."""
    try:
        digits = furu_hash(obj)[:6]
    except FuruError:
        digits = "..."  # it has no hash, and a repr must not fail
    return f"{type(obj).__name__}({digits})"


def short_repr(obj: Any) -> str:
    """``Train(data=Split(a41c07), lr=0.1)``: nested objects by their hashes, long values cut."""
    if getattr(_inside, "repr", False):
        return short_name(obj)
    _inside.repr = True  # objects nested in this one, in whichever container, come out short
    try:
        known = obj.__dict__
        shown = [
            f"{spec.alias}={_cut(repr(known[spec.name]))}"
            for spec in config_class(obj).fields
            if spec.in_repr and spec.name in known
        ]
    finally:
        _inside.repr = False
    return f"{type(obj).__name__}({', '.join(shown)})"


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:100]}...{text[-10:]}"


def to_python(obj: Any, limit_chars: int | None = None) -> str:
    raise NotImplementedError
