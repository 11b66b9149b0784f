"""Public modules whose names are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def late_imports(
    module: str, names: Mapping[str, str], *, forwards_to: tuple[str, ...] = ()
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """The `__all__`, `__getattr__` and `__dir__` of a module that imports late what it exports.

    A program that needs one name does not wait for the modules of all others. Type checkers read
    the same names in a branch of their own::

        if TYPE_CHECKING:
            from my_package._shapes import Circle as Circle, Square as Square
        else:
            __all__, __getattr__, __dir__ = late_imports(__name__, {"._shapes": "Circle Square"})

    Args:
        module: the `__name__` of the module.
        names: where what is defined: modules, relative to the module's package where they begin with
            a dot, and for each its names with spaces between them.
        forwards_to: modules made by this function whose names were here once, and can be imported from
            here as well, but are no part of `__all__`.
    """
    sources = {name: source for source, listed in names.items() for name in listed.split()}

    def find(name: str) -> Any:
        own = vars(sys.modules[module])
        source = sources.get(name)
        if source is None and not name.startswith("_"):  # each import asks for `__path__`
            source = next((one for one in forwards_to if name in import_module(one).__all__), None)
        if source is None:
            raise AttributeError(
                f"module {module!r} has no attribute {name!r}", name=name, obj=sys.modules[module]
            )
        found = own[name] = getattr(import_module(source, own["__package__"]), name)
        return found

    exported = sorted(sources)
    return exported, find, lambda: exported
