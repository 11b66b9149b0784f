"""What tests of furu and of its plugins are written with.

`ExecutorConformance` is the suite that every executor passes; inherit it in a test module of yours. The
fixture `furu_store` is there for the tests of a module, or of a `conftest.py`, that imports it. A `Host`
runs functions in processes that a test may kill, stop and continue, if wanted under a host name and in
a PID namespace of their own, as on another machine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from furu_core.testing._conformance import ExecutorConformance
    from furu_core.testing._hosts import (
        AT_END,
        Child,
        Ended,
        Host,
        KillAtEvent,
        KillAtLine,
        needs_namespaces,
    )
    from furu_core.testing._marks import Mark
    from furu_core.testing._stores import furu_store
    from furu_core.testing._views import cached_view, needs_cached_views
    from furu_core.testing._waiting import wait_until

_MODULES: Final = {
    "AT_END": "_hosts",
    "Child": "_hosts",
    "Ended": "_hosts",
    "ExecutorConformance": "_conformance",
    "Host": "_hosts",
    "KillAtEvent": "_hosts",
    "KillAtLine": "_hosts",
    "Mark": "_marks",
    "cached_view": "_views",
    "furu_store": "_stores",
    "needs_cached_views": "_views",
    "needs_namespaces": "_hosts",
    "wait_until": "_waiting",
}

__all__ = [
    "AT_END",
    "Child",
    "Ended",
    "ExecutorConformance",
    "Host",
    "KillAtEvent",
    "KillAtLine",
    "Mark",
    "cached_view",
    "furu_store",
    "needs_cached_views",
    "needs_namespaces",
    "wait_until",
]


def __getattr__(name: str) -> Any:
    # Workers import `nodes` below this package, on machines where nobody has installed pytest.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
