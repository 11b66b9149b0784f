"""`grid`, which makes the objects of a sweep, and `Roots`, what a run is to compute."""

from __future__ import annotations

import itertools
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from enum import Enum
from typing import Any, TypeVar

import attrs

from furu_core._config._objects import is_furu
from furu_core.errors import FuruDependencyError, FuruValueError

C = TypeVar("C")


def grid(cls: Callable[..., C], /, **axes: Any) -> list[C]:
    """One object for each combination of values, the last axis changing fastest.

    Args:
        cls: a config class, or a callable that takes the axes' names as keywords.
        **axes: lists, ranges and iterators are axes; everything else (numbers, strings, tuples,
            dicts, sets, Furu objects) is one value for all objects. To give a list as one value,
            wrap it in another list.

    Raises:
        FuruValueError: an axis has no order of its own, or is an array.

    Example:
        >>> from furu_core import Furu, grid
        >>> class Train(Furu[float]):
        ...     lr: float
        ...     seed: int
        >>> [(t.lr, t.seed) for t in grid(Train, lr=[0.1, 0.01], seed=range(2))]
        [(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1)]
    """
    values: list[list[Any]] = [_axis(name, axis) for name, axis in axes.items()]
    return [cls(**dict(zip(axes, chosen, strict=True))) for chosen in itertools.product(*values)]


def _axis(name: str, axis: Any) -> list[Any]:
    if isinstance(axis, (list, range, Iterator, *_VIEWS)) and not is_furu(axis):
        return list(axis)
    if type(axis).__module__ == "numpy" and getattr(axis, "ndim", None):
        raise FuruValueError(
            f"the axis {name}= is a NumPy array, which may be meant as one value or as many",
            hint=f"write {name}=array.tolist() for an axis, {name}=[array] for one value",
        )
    return [axis]


_VIEWS = (KeysView, ValuesView, ItemsView)


class RootsShape(Enum):
    """How roots were given: one, a list or a dict; results come back in the same shape."""

    ONE = "one"
    LIST = "list"
    DICT = "dict"


@attrs.frozen
class Roots:
    """The roots of a run: the nodes that it is to compute.

    Attributes:
        items: the Furu objects, in the order given.
        names: their keys in the dict, or their indices in the list.
        shape: how they were given.
    """

    items: tuple[Any, ...]
    names: tuple[str | int, ...]
    shape: RootsShape

    def shaped(self, values: Iterable[Any]) -> Any:
        """Values of the roots, in their order, in the shape in which the roots were given."""
        found = list(values)
        match self.shape:
            case RootsShape.ONE:
                return found[0]
            case RootsShape.LIST:
                return found
            case RootsShape.DICT:
                return dict(zip(self.names, found, strict=True))


def named_roots(roots: Any) -> Roots:
    """The `Roots` of a Furu object, or of an iterable or dict of Furu objects.

    Raises:
        FuruDependencyError: something in it is no Furu object; the message says where.
    """
    if isinstance(roots, Roots):
        return roots
    if is_furu(roots):
        return Roots((roots,), (0,), RootsShape.ONE)
    if isinstance(roots, Mapping):
        items, names, shape = list(roots.values()), list(roots), RootsShape.DICT
    elif isinstance(roots, Iterable) and not isinstance(roots, (str, bytes, type)):
        items, shape = list(roots), RootsShape.LIST
        names = list(range(len(items)))
    else:
        raise _no_furu("roots", roots)
    for name, item in zip(names, items, strict=True):
        if not is_furu(item):
            raise _no_furu(f"roots[{name!r}]", item)
    return Roots(tuple(items), tuple(names), shape)


def _no_furu(place: str, value: Any) -> FuruDependencyError:
    if isinstance(value, type) and hasattr(value, "__furu_class__"):
        what, hint = f"the class {value.__name__}", f"make an object of it: {value.__name__}(...)"
    else:
        what, hint = f"of type {type(value).__name__}", "expected a Furu object"
    return FuruDependencyError(f"{place} is {what}, no Furu object", hint=hint)
